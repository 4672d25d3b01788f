//! What a start would meet on this machine: directories and files, users and groups, the interpreter, ports, the queue.

use std::fs::Metadata;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::{Config, Listener, Problem, Source};
use ruwsgi_sys::listen::{self, Place};
use ruwsgi_sys::privilege::{self, Account};

use crate::listeners::{Address, address_of};
use crate::{emperor, python, why};

/// What a path has to be.
#[derive(Clone, Copy)]
enum Wanted {
    Folder,
    File,
    Anything,
    /// In a folder that is there.
    Beside,
}

/// Everything that is in the way, and what is worth knowing.
pub fn here(config: &Config, source: &Source) -> Vec<Problem> {
    let mut look = Look { config, start: &source.cwd, after: source.cwd.clone(), problems: Vec::new() };
    if let Some(folder) = &config.process.chdir {
        look.after = source.cwd.join(folder);
    }
    look.paths();
    let places = emperor::places(config, &look.after);
    look.problems.extend(places.into_iter().map(Problem::error));
    if !emperor::is_emperor(config) {
        look.interpreter(source);
    }
    let user = look.accounts();
    look.queue();
    for listener in config.listeners().iter().chain(config.router_listeners()) {
        // Addresses that can't be read are told on paper.
        match address_of(config, listener) {
            Ok(Address::Unix(path)) if !config.sockets.abstract_socket => {
                look.unix(listener, &look.after.join(path), user.as_ref());
            }
            Ok(address @ Address::Inet { .. }) => look.inet(listener, &address),
            _ => {}
        }
    }
    look.problems
}

struct Look<'c> {
    config: &'c Config,
    /// Where the start is.
    start: &'c Path,
    /// Where it goes by `chdir`.
    after: PathBuf,
    problems: Vec<Problem>,
}

impl Look<'_> {
    fn paths(&mut self) {
        let config = self.config;
        let lost = config.workers.need_app != Some(false);
        self.path("chdir", config.process.chdir.as_deref(), Wanted::Folder, true);
        for (option, file) in [
            ("daemonize", &config.process.daemonize),
            ("daemonize2", &config.process.daemonize2),
            ("logto", &config.logging.logto),
            ("logto2", &config.logging.logto2),
        ] {
            self.path(option, file.as_deref(), Wanted::Beside, true);
        }
        self.path("pidfile", config.process.pidfile.as_deref(), Wanted::Beside, true);
        self.path("wsgi-file", config.python.wsgi_file.as_deref(), Wanted::File, lost);
        for mount in config.python.mounts.iter().filter(|mount| mount.is_file) {
            self.path("mount", Some(&mount.app), Wanted::File, lost);
        }
        for folder in &config.python.pythonpath {
            self.path("pythonpath", Some(folder), Wanted::Folder, false);
        }
        for folder in &config.static_files.check_static {
            self.path("check-static", Some(folder), Wanted::Folder, false);
        }
        for (option, maps) in
            [("static-map", &config.static_files.static_map), ("static-map2", &config.static_files.static_map2)]
        {
            for map in maps {
                self.path(option, Some(&map.path), Wanted::Anything, false);
            }
        }
        for file in &config.workers.touch_reload {
            self.path("touch-reload", Some(file), Wanted::Anything, false);
        }
    }

    /// Whether what an option names is there; `fatal`: the start fails without it.
    fn path(&mut self, option: &'static str, path: Option<&(impl AsRef<Path> + ?Sized)>, wanted: Wanted, fatal: bool) {
        let Some(path) = path.map(AsRef::as_ref) else { return };
        let base = match wanted {
            Wanted::Beside => self.start,
            _ if option == "chdir" => self.start,
            _ => &self.after,
        };
        let whole = base.join(path);
        let is = |test: fn(&Metadata) -> bool, path: &Path| path.metadata().is_ok_and(|metadata| test(&metadata));
        let parent = whole.parent().unwrap_or(Path::new("/"));
        let missing = match wanted {
            Wanted::Folder if !is(Metadata::is_dir, &whole) => "is no directory of this machine".to_owned(),
            Wanted::File if !is(Metadata::is_file, &whole) => "is no file of this machine".to_owned(),
            Wanted::Anything if !whole.exists() => "is not there".to_owned(),
            Wanted::Beside if whole.is_dir() => "is a directory, and a file is written there".to_owned(),
            Wanted::Beside if !parent.is_dir() => format!("can't be written: {} is no directory", parent.display()),
            _ => return,
        };
        self.tell(fatal, option, &path.display().to_string(), format!("{} {missing}", whole.display()));
    }

    fn tell(&mut self, fatal: bool, option: &str, text: &str, message: String) {
        let problem = if fatal { Problem::error(message) } else { Problem::warning(message) };
        let problem = problem.of(option, text);
        let origin = self.config.origin_of(option, text).or_else(|| self.config.origin(option));
        self.problems.push(match origin {
            Some(origin) => problem.at(origin),
            None => problem,
        });
    }

    fn interpreter(&mut self, source: &Source) {
        if let Some(home) = self.config.python.home.clone() {
            if let Err(why) = python::in_folder(&self.after.join(&home)) {
                self.tell(true, "virtualenv", &home.display().to_string(), why);
            }
            return;
        }
        let value = |wanted| source.env.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let active = value("VIRTUAL_ENV").filter(|folder| python::in_folder(Path::new(folder)).is_ok());
        let path = value("PATH").unwrap_or_default();
        if active.is_none() && !std::env::split_paths(&path).any(|folder| folder.join("python3").is_file()) {
            let message = "there is no python3: virtualenv is not set, VIRTUAL_ENV has none, and none is on PATH";
            self.problems.push(Problem::error(message));
        }
    }

    /// Whom the server would become.
    fn accounts(&mut self) -> Option<Account> {
        let config = self.config;
        let mut found = None;
        if let Some(name) = &config.process.uid {
            found = self.account("uid", name, "user", privilege::user(name));
        }
        if let Some(name) = &config.process.gid {
            self.account("gid", name, "group", privilege::group(name));
        }
        if let Some(text) = &config.sockets.chown_socket {
            let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
            if !user.is_empty() {
                self.account("chown-socket", user, "user", privilege::user(user));
            }
            if let Some(group) = group {
                self.account("chown-socket", group, "group", privilege::group(group));
            }
        }
        let target = privilege::Target { user: found.clone(), ..privilege::Target::default() };
        match (&config.process.uid, privilege::is_root()) {
            (None, true) => {
                let message = "this is root, and no uid says whom to become: the application would run as root";
                self.problems.push(Problem::warning(message));
            }
            (Some(name), false) if found.is_some() && !target.is_me() => {
                self.tell(true, "uid", name, format!("only root can become {name}: this is another user"));
            }
            _ => {}
        }
        found
    }

    fn account<T>(
        &mut self,
        option: &'static str,
        name: &str,
        kind: &str,
        found: std::io::Result<Option<T>>,
    ) -> Option<T> {
        match found {
            Ok(Some(found)) => return Some(found),
            Ok(None) => self.tell(true, option, name, format!("this machine has no {kind} {name:?}")),
            Err(error) => {
                self.tell(true, option, name, format!("the {kind} {name:?} can't be looked up: {}", why(&error)));
            }
        }
        None
    }

    fn queue(&mut self) {
        let most = listen::somaxconn();
        if let Some(asked) = self.config.sockets.listen.filter(|asked| *asked > most) {
            let message = format!("{asked} is more than net.core.somaxconn allows here: {most} would be used");
            self.tell(false, "listen", &asked.to_string(), message);
        }
    }

    fn unix(&mut self, listener: &Listener, path: &Path, user: Option<&Account>) {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let problem = match (folder.metadata(), listen::look(path)) {
            (Err(error), _) => Problem::error(format!("{}: {}", folder.display(), why(&error).to_lowercase())),
            (Ok(metadata), _) if !metadata.is_dir() => Problem::error(format!("{} is no directory", folder.display())),
            (Ok(_), Ok(Place::Taken)) => Problem::error(format!("{} is there, and is no socket", path.display())),
            (Ok(_), Ok(Place::Live)) => Problem::warning(in_use(&listener.address)),
            (Ok(metadata), _) if user.is_some_and(|user| !may_write(&metadata, user, self.config)) => {
                let user = self.config.process.uid.as_deref().unwrap_or_default();
                let told = format!("{user} can make no file in {}: give it the directory", folder.display());
                // With an owner of its own, the socket is made by root.
                if self.config.sockets.chown_socket.is_some() { return } else { Problem::error(told) }
            }
            _ => return,
        };
        self.problems.push(problem.of(listener.option, &listener.address).at(&listener.origin));
    }

    fn inet(&mut self, listener: &Listener, address: &Address) {
        let problem = match address.resolve() {
            Err(why) => Problem::error(format!("{:?} {why}", listener.address)),
            Ok(address) => match bound(address) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                    Problem::warning(in_use(&listener.address))
                }
                Err(error) => Problem::error(format!("{} can't be bound here: {}", listener.address, why(&error))),
            },
        };
        self.problems.push(problem.of(listener.option, &listener.address).at(&listener.origin));
    }
}

/// A configuration is often checked while the server that it is for runs.
fn in_use(address: &str) -> String {
    format!("a server listens on {address} already: unless that is this one, a start fails")
}

/// Binds it for a glance; nothing listens on it.
fn bound(address: SocketAddr) -> std::io::Result<()> {
    listen::tcp(address, true).map(drop)
}

fn may_write(folder: &Metadata, user: &Account, config: &Config) -> bool {
    let group = config.process.gid.as_deref().and_then(|name| privilege::group(name).ok().flatten());
    let group = group.or(user.known.as_ref().map(|(_, primary)| *primary));
    let bits = match () {
        () if user.uid == 0 => return true,
        () if folder.uid() == user.uid => folder.mode() >> 6,
        () if Some(folder.gid()) == group => folder.mode() >> 3,
        () => folder.mode(),
    };
    bits & 0o3 == 0o3
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

    fn told(lines: &[(&str, &str)]) -> Vec<String> {
        let source = Source {
            cwd: env!("CARGO_MANIFEST_DIR").into(),
            env: vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())],
            ..Source::default()
        };
        let problems = here(&config(lines), &source);
        problems.iter().filter(|problem| problem.origin.is_some()).map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_there_is_told_with_its_line() {
        let folder = env!("CARGO_MANIFEST_DIR");
        let told = told(&[
            ("pythonpath", "."),
            ("pp", "nope"),
            ("wsgi-file", "gone.py"),
            ("pidfile", "no/app.pid"),
            ("static-map", "/s=lost"),
        ]);
        assert_eq!(
            told,
            [
                format!("pidfile: {folder}/no/app.pid can't be written: {folder}/no is no directory (app.ini:4)"),
                format!("wsgi-file: {folder}/gone.py is no file of this machine (app.ini:3)"),
                format!("pythonpath: {folder}/nope is no directory of this machine (app.ini:2)"),
                format!("static-map: {folder}/lost is not there (app.ini:5)"),
            ]
        );
    }

    #[test]
    fn paths_are_looked_for_where_chdir_leads() {
        assert_eq!(told(&[("chdir", "master"), ("wsgi-file", "plan.rs"), ("pidfile", "x.pid")]), [""; 0]);
        assert_eq!(told(&[("chdir", "nowhere")]).len(), 1);
    }

    #[test]
    fn strangers_are_told() {
        let told = told(&[("uid", "nobody-of-that-name"), ("gid", "no-such-group"), ("chown-socket", "x-y:z-q")]);
        assert!(told[0].starts_with("uid: this machine has no user \"nobody-of-that-name\" (app.ini:1)"), "{told:?}");
        assert_eq!(told.len(), 4, "{told:?}");
    }

    #[test]
    fn ports_and_sockets_are_looked_at() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let there = told(&[("http", &address), ("socket", "127.0.0.1:0")]);
        assert_eq!(there.len(), 1, "{there:?}");
        assert!(there[0].contains("listens on") && there[0].ends_with("(app.ini:1)"), "{there:?}");
        assert!(told(&[("socket", "no/such/a.sock")])[0].contains("/no/such: no such file"));
        assert!(told(&[("socket", "lib.rs")])[0].contains("is no socket"));
        assert!(told(&[("http", "192.0.2.1:80")])[0].contains("can't be bound here"));
    }

    #[test]
    fn a_queue_has_an_end() {
        assert!(told(&[("listen", "1000000000")])[0].contains("somaxconn"));
    }

    #[test]
    fn an_interpreter_is_there() {
        assert!(told(&[("home", "master")])[0].contains("no python in"));
    }
}
