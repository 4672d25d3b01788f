//! The classic traps: lines that load and do something else than their author thinks.
//!
//! `ruwsgi check` calls [`traps`] with what was said. Each trap is a pure function over the lines, in the file of its
//! topic, and a row of [`TRAPS`]; none looks at the machine.

mod apps;
mod life;
mod lines;
mod seen;
mod sockets;
mod values;

use bstr::ByteSlice;

use crate::directive::Origin;
use crate::record::Record;
use crate::report::Problem;
use seen::Seen;

/// A trap.
pub struct Trap {
    /// Its name, by which `--ignore` leaves it out.
    pub name: &'static str,
    /// What it is about, as a line of configuration or a clause.
    pub about: &'static str,
    /// It is why a value or a name makes no sense.
    explains: bool,
    look: fn(&Seen<'_>) -> Vec<Problem>,
}

const fn trap(name: &'static str, about: &'static str, look: fn(&Seen<'_>) -> Vec<Problem>) -> Trap {
    Trap { name, about, explains: false, look }
}

const fn cause(name: &'static str, about: &'static str, look: fn(&Seen<'_>) -> Vec<Problem>) -> Trap {
    Trap { name, about, explains: true, look }
}

/// All traps.
pub const TRAPS: &[Trap] = &[
    cause("comment", "a comment behind a value is a part of it", values::comment),
    cause("quotes", "quotes around a value are a part of it", values::quotes),
    cause("shell-variable", "${NAME} is text; the environment is $(NAME)", values::shell_variable),
    cause("template", "a file that a template engine has yet to fill in", values::template),
    cause("flag-as-name", "daemonize = true logs to a file that is called true", values::flag),
    cause("unit", "buffer-size = 64k is 64", values::unit),
    trap("megabytes", "reload-on-rss and its kin count in MiB", values::megabytes),
    trap("path-list", "pythonpath = /a:/b is one directory", values::path_list),
    trap("env-blanks", "blanks around the second = of env = NAME = VALUE", values::env),
    trap("overridden", "an option that is said twice with different values", lines::overridden),
    cause("no-equals-sign", "name: value and name value are no lines of an INI file", lines::no_equals_sign),
    trap("port-as-file", "http = 8080 is a unix socket called 8080", sockets::port_as_file),
    cause("scheme", "unix: and http:// are no part of an address", sockets::scheme),
    trap("http-port", "socket, which is not HTTP, on a port where HTTP is expected", sockets::http_port),
    trap("public-socket", "a uwsgi socket on all addresses believes everybody", sockets::public),
    trap("open-mode", "chmod-socket = 666 lets every user of the machine in", sockets::open_mode),
    trap("socket-in-tmp", "unix sockets in /tmp", sockets::in_tmp),
    trap("trusts-everybody", "trusted-proxies = *", sockets::trusts_everybody),
    trap("daemonize", "daemonize where something watches the process", life::daemonize),
    trap("two-logs", "logto beside daemonize", life::two_logs),
    trap("front-waits-longer", "harakiri below the time that the front waits", life::front_waits_longer),
    trap("mercy", "harakiri above the mercy of a reload", life::mercy),
    trap("small-buffer", "a buffer-size that holds no request head", life::small_buffer),
    trap("cheaper", "cheaper that is not lower than processes", life::cheaper),
    trap("root", "uid = root", life::root),
    trap("uid-without-gid", "a numeric uid without gid", life::uid_without_gid),
    trap("auto-reload", "py-auto-reload outside development", life::auto_reload),
    trap("two-projects", "two Django projects under mount", apps::two_projects),
    trap("mount-by-name", "mount without manage-script-name", apps::mount_needs_a_name),
    trap("file-or-module", "a file as module, a module as wsgi-file", apps::file_or_module),
    trap("two-callables", "callable beside module = name:callable", apps::two_callables),
    trap("manage", "manage.py as the application", apps::manage),
    trap("served-code", "static files served out of the directory of the code", apps::served_code),
    trap("tracebacks", "catch-exceptions shows tracebacks to clients", apps::told_to_everybody),
];

/// Something to say, and the trap that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What there is to say.
    pub problem: Problem,
    /// The name of the trap, where it is one.
    pub trap: Option<&'static str>,
}

/// These problems and what the traps find, in the order of the lines, without the traps that are ignored. Why a
/// line makes no sense is told with it, as advice.
pub fn remarks(problems: Vec<Problem>, records: &[Record], ignored: &[&str]) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = problems.into_iter().map(|problem| Remark { problem, trap: None }).collect();
    let loaded = remarks.len();
    let seen = Seen::of(records);
    for trap in TRAPS.iter().filter(|trap| !ignored.contains(&trap.name)) {
        for problem in (trap.look)(&seen) {
            let same = |known: &&mut Remark| {
                let known = &known.problem;
                trap.explains && known.name == problem.name && known.origin == problem.origin && is_of_text(known)
            };
            match remarks[..loaded].iter_mut().find(same) {
                Some(known) => {
                    let advice = known.problem.advice.take().map_or(String::new(), |advice| advice + "; ");
                    known.problem.advice = Some(advice + &problem.message);
                    known.trap = known.trap.or(Some(trap.name));
                }
                None => remarks.push(Remark { problem, trap: Some(trap.name) }),
            }
        }
    }
    remarks.sort_by(|one, other| place(one).cmp(&place(other)));
    remarks
}

/// Whether a problem is that a text makes no sense: it shows it, or knows no such name.
fn is_of_text(problem: &Problem) -> bool {
    let shown = problem.text.as_ref().map(|text| format!("{:?}", text.to_str_lossy()));
    problem.message == "unknown option" || shown.is_some_and(|text| problem.message.contains(&text))
}

/// Files by their names and lines; what stands in no file is the last.
fn place(remark: &Remark) -> (bool, Option<&std::path::Path>, u32) {
    match &remark.problem.origin {
        Some(Origin::File { path, line }) => (false, Some(path), *line),
        _ => (true, None, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::Directive;
    use std::collections::HashSet;

    fn records(lines: &[(&str, &str)]) -> Vec<Record> {
        let record = |(line, (name, value)): (usize, &(&str, &str))| {
            let origin = Origin::File { path: "app.ini".into(), line: line as u32 + 1 };
            Record {
                directive: Directive::new(*name, Some(value), origin),
                raw: None,
                through: [].into(),
                done: false,
                conditional: false,
                unsure: false,
            }
        };
        lines.iter().enumerate().map(record).collect()
    }

    /// What a trap says of these lines.
    pub fn found(look: fn(&Seen<'_>) -> Vec<Problem>, lines: &[(&str, &str)]) -> Vec<String> {
        look(&Seen::of(&records(lines))).iter().map(ToString::to_string).collect()
    }

    /// A trap says nothing of these lines.
    pub fn silent(look: fn(&Seen<'_>) -> Vec<Problem>, lines: &[(&str, &str)]) {
        assert_eq!(found(look, lines), [""; 0], "{lines:?}");
    }

    #[test]
    fn a_trap_has_a_name_of_its_own() {
        let mut names = HashSet::new();
        for trap in TRAPS {
            assert!(names.insert(trap.name), "{} twice", trap.name);
            assert!(trap.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", trap.name);
            assert!(!trap.about.ends_with('.') && trap.about.len() < 80, "{}", trap.about);
        }
    }

    #[test]
    fn a_sound_file_has_no_traps() {
        let lines = [
            ("chdir", "/srv/app"),
            ("module", "shop.wsgi:application"),
            ("home", "/srv/venv"),
            ("socket", "/run/shop/app.sock"),
            ("chmod-socket", "660"),
            ("chown-socket", "shop:www-data"),
            ("uid", "shop"),
            ("gid", "shop"),
            ("processes", "4"),
            ("threads", "2"),
            ("harakiri", "30"),
            ("static-map", "/static=/srv/app/static"),
            ("env", "DJANGO_SETTINGS_MODULE=shop.settings"),
            ("log-format", "%(addr) \"%(method) %(uri)\" %(status) ; %(msecs)"),
        ];
        assert_eq!(remarks(Vec::new(), &records(&lines), &[]), []);
    }

    #[test]
    fn why_a_line_makes_no_sense_is_told_with_it() {
        let records = records(&[("processes", "4k"), ("uid", "root")]);
        let odd = Problem::warning("\"4k\" is not a number").about(&records[0].directive);
        let told = remarks(vec![odd], &records, &[]);
        assert_eq!(told.len(), 2);
        assert_eq!((told[0].trap, told[1].trap), (Some("unit"), Some("root")));
        assert!(told[0].problem.advice.as_ref().is_some_and(|advice| advice.contains("write 4000")));
        assert_eq!(remarks(Vec::new(), &records, &["root", "unit"]), []);
    }
}
