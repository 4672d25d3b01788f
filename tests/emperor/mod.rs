//! The emperor: many instances from one directory. What the plan decides is tested beside it, in a simulation; here are
//! real files, processes, sockets and users.

mod control;
mod demand;
mod files;
mod interop;
mod life;
mod machine;
mod tyrant;

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::harness::{Answer, Client, Process, Server, Site, eventually};

/// A folder with an application, a directory for vassals and an emperor's configuration, which looks at files by itself
/// once an hour only: what is seen is told by the kernel.
fn empire(options: &str) -> Site {
    let site = Site::empty().ini("emperor = v\nemperor-freq = 3600\nemperor-control = control.sock").ini(options);
    std::fs::create_dir(site.path("v")).unwrap();
    site.write("app.py", include_str!("../apps/control.py"));
    site
}

/// The configuration of a vassal that listens at this socket.
fn vassal(socket: &str) -> String {
    format!("[uwsgi]\nhttp-socket = ../{socket}\nwsgi-file = ../app.py\n")
}

/// Writes the file of a vassal: it is there whole or not at all.
fn put(site: &Site, name: impl AsRef<OsStr>, text: &str) -> PathBuf {
    let (path, fresh) = (site.path("v").join(name.as_ref()), site.path("v/.fresh"));
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(&fresh, &path).unwrap();
    path
}

/// Asks the vassal at this socket.
fn ask(server: &Server, socket: &str, path: &str) -> Answer {
    Client::unix(&server.path(socket)).get(path)
}

/// Waits until the log says that a vassal is ready, for the `n`th time.
fn wait_ready(server: &Server, name: &str, n: usize) {
    let line = format!("vassal {name} (pid ");
    server.log.wait(&format!("{name} is ready {n} times"), |log, _| {
        let births = log.lines().filter(|it| it.starts_with(&line) && it.contains(") ready after "));
        (births.count() >= n).then_some(())
    });
}

/// What `ruwsgi vassals` prints, which must succeed.
fn vassals<S: AsRef<OsStr>>(server: &Server, words: impl IntoIterator<Item = S>) -> String {
    let all = ["vassals", "--control", "control.sock"].map(Into::into);
    let words = words.into_iter().map(|word| word.as_ref().to_owned());
    let ended = server.site.run_with(all.into_iter().chain(words));
    assert_eq!(ended.code, 0, "{}", ended.log);
    ended.out
}

/// The state of a vassal, as the list shows it.
fn state(server: &Server, name: &str) -> String {
    let list = vassals(server, ["list"]);
    let line = list.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap_or_default();
    line[name.len().min(line.len())..].split_whitespace().next().unwrap_or("none").to_owned()
}

fn wait_state(server: &Server, name: &str, wanted: &str) {
    eventually(&format!("{name} is {wanted}"), || (state(server, name) == wanted).then_some(()));
}

/// The masters of the vassals that run.
fn masters(server: &Server) -> Vec<Process> {
    server.master().children()
}

/// Nothing is left of any vassal.
fn wait_alone(server: &Server) {
    eventually("no vassal runs", || masters(server).is_empty().then_some(()));
}
