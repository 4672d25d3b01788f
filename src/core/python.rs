//! Finding the user's own interpreter. It is executed, not examined: a pyenv shim is as good as a file.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use ini::Ini;
use ruwsgi_options::Config;

use crate::{Place, why};

/// An interpreter to execute.
#[derive(Debug)]
pub(crate) struct Interpreter {
    /// A path, or `python3`, to be found on the `PATH`.
    pub program: OsString,
    /// Where it comes from, as lines say it.
    pub from: &'static str,
}

/// Finds it: `home`, then `VIRTUAL_ENV`, then the `PATH`. A `home` without a working python is an error: whoever says
/// it does not want another one.
pub(crate) fn find(config: &Config, env: &[(OsString, OsString)]) -> Result<Interpreter, String> {
    if let Some(home) = &config.python.home {
        return match in_folder(Path::new(home)) {
            Ok(program) => Ok(Interpreter { program: program.into(), from: "home" }),
            Err(why) => Err(format!("home: {why}{}", Place(config, "home"))),
        };
    }
    if let Some(folder) = value(env, "VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
        match in_folder(Path::new(folder)) {
            Ok(program) => return Ok(Interpreter { program: program.into(), from: "VIRTUAL_ENV" }),
            Err(why) => tracing::warn!("VIRTUAL_ENV: {why}; the python3 on PATH is used"),
        }
    }
    Ok(Interpreter { program: "python3".into(), from: "PATH" })
}

/// Why it could not be executed.
pub(crate) fn not_started(interpreter: &Interpreter, env: &[(OsString, OsString)], error: &io::Error) -> String {
    let program = interpreter.program.to_string_lossy();
    if interpreter.from == "PATH" && error.kind() == io::ErrorKind::NotFound {
        let path = value(env, "PATH").unwrap_or_default().to_string_lossy();
        return format!("no python: home is not set, VIRTUAL_ENV has none, and there is no {program} on PATH ({path})");
    }
    format!("{program} can't be started: {}", why(error))
}

fn value<'e>(env: &'e [(OsString, OsString)], wanted: &str) -> Option<&'e OsStr> {
    env.iter().rev().find(|(name, _)| name == wanted).map(|(_, value)| value.as_os_str())
}

/// The interpreter of a virtual environment, or why it has none.
pub(crate) fn in_folder(home: &Path) -> Result<PathBuf, String> {
    if !home.is_dir() {
        return Err(format!("{} is no folder", home.display()));
    }
    let mut tried = Vec::new();
    for name in ["bin/python3", "bin/python"] {
        let path = home.join(name);
        if path.is_file() {
            return Ok(path);
        }
        tried.push(match std::fs::read_link(&path) {
            Ok(target) => format!("{name} (leads to {}, which is gone)", last_link(&path, target).display()),
            Err(_) => format!("{name} (not there)"),
        });
    }
    let made = maker(home).map_or(String::new(), |maker| format!("; the venv was made by {maker}"));
    Err(format!("no python in {}: tried {}{made}", home.display(), tried.join(", ")))
}

/// Where a chain of links ends that leads to nothing.
fn last_link(path: &Path, target: PathBuf) -> PathBuf {
    let (mut path, mut target) = (path.to_path_buf(), target);
    // As many as the kernel follows.
    for _ in 0..40 {
        path = path.parent().unwrap_or(Path::new("/")).join(target);
        match std::fs::read_link(&path) {
            Ok(next) => target = next,
            Err(_) => break,
        }
    }
    path
}

/// Which python made a venv, by its `pyvenv.cfg`: the version is `version` (venv), `version_info` (uv), or both.
fn maker(home: &Path) -> Option<String> {
    let ini = Ini::load_from_file(home.join("pyvenv.cfg")).ok()?;
    let section = ini.general_section();
    let version = section.get("version").or_else(|| section.get("version_info"));
    let version = version.map_or_else(String::new, |version| format!(" {version}"));
    let folder = section.get("home")?;
    let gone = if Path::new(folder).is_dir() { "" } else { ", which is gone" };
    Some(format!("Python{version} in {folder}{gone}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_venv_whose_python_is_gone_says_who_made_it() {
        let home = std::env::temp_dir().join(format!("ruwsgi-venv-{}", std::process::id()));
        std::fs::create_dir_all(home.join("bin")).unwrap();
        symlink("python", home.join("bin/python3")).unwrap();
        symlink("/nonexistent/bin/python3.9", home.join("bin/python")).unwrap();
        std::fs::write(home.join("pyvenv.cfg"), "home = /nonexistent/bin\nversion = 3.9.2\n").unwrap();
        let why = in_folder(&home).unwrap_err();
        let expected = format!(
            "no python in {}: tried bin/python3 (leads to /nonexistent/bin/python3.9, which is gone), bin/python (leads \
             to /nonexistent/bin/python3.9, which is gone); the venv was made by Python 3.9.2 in /nonexistent/bin, which \
             is gone",
            home.display()
        );
        assert_eq!(why, expected);
        std::fs::remove_file(home.join("bin/python")).unwrap();
        std::fs::write(home.join("bin/python"), "").unwrap();
        assert_eq!(in_folder(&home).unwrap(), home.join("bin/python3"));
        std::fs::remove_dir_all(&home).unwrap();
        assert_eq!(in_folder(&home).unwrap_err(), format!("{} is no folder", home.display()));
    }
}
