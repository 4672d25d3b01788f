//! A folder with an application and a configuration, and how the binary is started in it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::server::{Ended, Server};
use super::{app, dedent, python};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A folder of one test, gone when the test is over.
pub struct Site {
    dir: PathBuf,
    ini: String,
    env: Vec<(OsString, OsString)>,
}

impl Site {
    /// An empty folder; the configuration says nothing yet.
    pub fn empty() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ruwsgi-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir, ini: "[uwsgi]\n".to_owned(), env: Vec::new() }
    }

    /// With `tests/apps/NAME` as `app.py`, on a port that the kernel chooses.
    pub fn app(name: &str) -> Self {
        let code = fs::read_to_string(app(name)).unwrap_or_else(|error| panic!("tests/apps/{name}: {error}"));
        Self::code(&code)
    }

    /// With this text (its common indentation is taken away) as `app.py`, on a port that the kernel chooses.
    pub fn code(code: &str) -> Self {
        let site = Self::empty().ini("http-socket = 127.0.0.1:0").ini("wsgi-file = app.py");
        site.write("app.py", &dedent(code));
        site
    }

    /// Adds lines to `uwsgi.ini`.
    pub fn ini(mut self, lines: &str) -> Self {
        self.ini.push_str(lines);
        self.ini.push('\n');
        self
    }

    /// Sets a variable in the server's environment, which holds next to nothing otherwise.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file into the folder; it is there whole or not at all.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, fresh) = (self.path(name), self.path(&format!(".{name}.new")));
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, &path).unwrap();
        path
    }

    /// Writes `uwsgi.ini` as it stands.
    pub fn write_ini(&self) -> PathBuf {
        self.write("uwsgi.ini", &self.ini)
    }

    /// The binary, to be started in the folder with the environment of this site.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ruwsgi"));
        command.args(arguments);
        self.dress(&mut command);
        command
    }

    /// Gives any command the folder, the environment and the pipes of a server.
    pub fn dress(&self, command: &mut Command) {
        command.current_dir(&self.dir).env_clear();
        // The interpreter itself rather than a shim: that alone saves a tenth of a second at each start.
        let path = format!("{}:/usr/bin:/bin", python::default().parent().unwrap().display());
        command.env("PATH", path).env("HOME", &self.dir).env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Starts `ruwsgi --ini uwsgi.ini` and waits until all workers are ready.
    pub fn start(self) -> Server {
        let workers = self.number("processes").or(self.number("workers")).unwrap_or(1);
        let server = self.launch();
        server.wait_for_workers(workers);
        server
    }

    /// Starts `ruwsgi --ini uwsgi.ini` and waits for nothing.
    pub fn launch(self) -> Server {
        self.write_ini();
        self.launch_with(["--ini", "uwsgi.ini"])
    }

    /// Starts the binary with these arguments and waits for nothing.
    pub fn launch_with<S: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = S>) -> Server {
        let command = self.command(arguments);
        Server::spawn(command, self)
    }

    /// Runs `ruwsgi --ini uwsgi.ini`, which is expected to end by itself.
    pub fn run(&self) -> Ended {
        self.write_ini();
        self.run_with(["--ini", "uwsgi.ini"])
    }

    /// Runs the binary with these arguments; it is expected to end by itself.
    pub fn run_with<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ended {
        super::server::run(self.command(arguments))
    }

    fn number(&self, option: &str) -> Option<usize> {
        let value = |line: &str| line.strip_prefix(option)?.trim_start().strip_prefix('=')?.trim().parse().ok();
        self.ini.lines().rev().find_map(value)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
