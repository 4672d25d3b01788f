//! Vassals that run as the owners of their files. It takes root to test it.

use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;

use super::*;

const ONE: (u32, u32) = (4_242, 4_343);
const OTHER: (u32, u32) = (4_244, 4_345);

/// Answers with who it is.
const WHO: &str = "import os\ndef application(e, start):\n    start('200 OK', [])\n    \
                   return [f'{os.getuid()} {os.getgid()} {os.getgroups()}'.encode()]\n";

/// An emperor whose binary and interpreter everybody may run. `None`: that can't be had here.
fn tyranny(options: &str) -> Option<Site> {
    if !nix::unistd::geteuid().is_root() {
        apps_skip("not root");
        return None;
    }
    let python = std::path::Path::new("/usr/bin/python3");
    if !crate::harness::python::usable().any(|known| known.path == python) {
        apps_skip("no python3 that everybody may run");
        return None;
    }
    let site = empire("emperor-tyrant = true").ini(options).env("PATH", "/usr/bin:/bin");
    site.write("who.py", WHO);
    let bin = site.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_ruwsgi"));
    let module = binary.parent().unwrap().join("deps/libruwsgi_python.so");
    for file in [binary, &module] {
        let copy = bin.join(file.file_name().unwrap());
        std::fs::hard_link(file, &copy).or_else(|_| std::fs::copy(file, &copy).map(drop)).unwrap();
    }
    Some(site)
}

fn apps_skip(why: &str) {
    crate::harness::apps::skip(why);
}

fn launch(site: Site) -> Server {
    site.write_ini();
    let mut command = std::process::Command::new(site.path("bin/ruwsgi"));
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    Server::of(command, site)
}

/// The file of a vassal of this user, which listens on a port that the kernel chooses.
fn put_of(site: &Site, name: &str, (user, group): (u32, u32)) -> PathBuf {
    let fresh = site.path("v/.fresh");
    std::fs::write(&fresh, "[uwsgi]\nhttp-socket = 127.0.0.1:0\nwsgi-file = ../who.py\n").unwrap();
    chown(&fresh, Some(user), Some(group)).unwrap();
    std::fs::rename(&fresh, site.path("v").join(name)).unwrap();
    site.path("v").join(name)
}

/// Asks the vassal of this name, started for the `n`th time.
fn who(server: &Server, name: &str, n: usize) -> String {
    wait_ready(server, name, n);
    let start = format!("[{name}] http-socket on ");
    let address: SocketAddr = server.log.wait("an address", |log, _| {
        let lines = log.lines().filter_map(|line| line.strip_prefix(&start));
        lines.filter_map(|line| line.split(' ').next()?.parse().ok()).nth(n - 1)
    });
    Client::tcp(address).get("/").ok().to_owned()
}

#[test]
fn a_vassal_runs_as_the_owner_of_its_file_and_as_another_one_when_that_changes() {
    let Some(site) = tyranny("") else { return };
    let path = put_of(&site, "a.ini", ONE);
    put_of(&site, "b.ini", OTHER);
    let server = launch(site);
    assert_eq!(who(&server, "a.ini", 1), "4242 4343 []");
    assert_eq!(who(&server, "b.ini", 1), "4244 4345 []");
    chown(&path, Some(OTHER.0), Some(OTHER.1)).unwrap();
    server.wait_for("stops: its owner or its socket is another one now");
    assert_eq!(who(&server, "a.ini", 2), "4244 4345 []");
    chown(&path, Some(0), Some(0)).unwrap();
    server.wait_for("vassal a.ini: emperor-tyrant: its user is root's");
    server.wait_for("stops: nobody may run its file any more");
    eventually("it is gone", || (state(&server, "a.ini") == "forbidden").then_some(()));
    let emperor = server.master();
    let tree: Vec<Process> = emperor.tree();
    assert_eq!(server.stop().code, 0);
    for process in tree {
        process.wait_for_end("a vassal of another user");
    }
}

#[test]
fn files_that_others_could_have_put_there_are_nobodys() {
    let Some(site) = tyranny("") else { return };
    put_of(&site, "root.ini", (0, 0));
    put_of(&site, "group.ini", (ONE.0, 0));
    let open = put_of(&site, "open.ini", ONE);
    std::fs::set_permissions(open, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::fs::create_dir_all(site.path("home/drop")).unwrap();
    std::fs::set_permissions(site.path("home/drop"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let hidden = put_of(&site, "hidden.ini", ONE);
    std::fs::rename(hidden, site.path("home/drop/app.ini")).unwrap();
    symlink("../home/drop/app.ini", site.path("v/dropped.ini")).unwrap();
    put_of(&site, "fine.ini", ONE);
    std::fs::rename(site.path("v/fine.ini"), site.path("home/fine.ini")).unwrap();
    symlink("../home/fine.ini", site.path("v/linked.ini")).unwrap();
    symlink("../home/fine.ini", site.path("v/foreign.ini")).unwrap();
    lchown(site.path("v/foreign.ini"), Some(OTHER.0), Some(OTHER.1)).unwrap();
    let server = launch(site);
    assert_eq!(who(&server, "linked.ini", 1), "4242 4343 []", "a link of root's to a file of a user");
    for (name, reason) in [
        ("root.ini", "its user is root's (0): give it to a user of its own"),
        ("group.ini", "its group is root's (0): give it to a user of its own"),
        ("open.ini", "others than its owner may write it: chmod go-w"),
        ("dropped.ini", "home/drop: chmod go-w"),
        ("foreign.ini", "foreign.ini is a link of another user (4244)"),
    ] {
        let line = server.wait_for(&format!("vassal {name}: emperor-tyrant: "));
        assert!(line.contains(reason) && line.ends_with("nobody may run it"), "{line}");
    }
    // The folder is open to all from here on: what runs is stopped, before somebody else's file can be read as the user's.
    std::fs::set_permissions(server.path("v"), std::fs::Permissions::from_mode(0o777)).unwrap();
    server.wait_for("vassal linked.ini: emperor-tyrant: others may write to the folder");
    wait_alone(&server);
}

#[test]
fn the_owner_of_a_link_counts_where_that_is_wanted() {
    let Some(site) = tyranny("emperor-tyrant-nofollow = true") else { return };
    put_of(&site, "a.ini", ONE);
    std::fs::rename(site.path("v/a.ini"), site.path("a.ini")).unwrap();
    symlink("../a.ini", site.path("v/a.ini")).unwrap();
    let server = launch(site);
    server.wait_for("vassal a.ini: emperor-tyrant: its user is root's");
    lchown(server.path("v/a.ini"), Some(ONE.0), Some(ONE.1)).unwrap();
    assert_eq!(who(&server, "a.ini", 1), "4242 4343 []");
}

#[test]
fn users_see_and_steer_their_own_vassals_only() {
    let Some(site) = tyranny("") else { return };
    put_of(&site, "a.ini", ONE);
    put_of(&site, "b.ini", OTHER);
    let server = launch(site);
    wait_ready(&server, "a.ini", 1);
    wait_ready(&server, "b.ini", 1);
    let as_user = |words: &[&str]| {
        let mut command = std::process::Command::new(server.path("bin/ruwsgi"));
        command.args(["vassals", "--control", "control.sock"]).args(words).current_dir(server.site.dir());
        let output = command.uid(ONE.0).gid(ONE.1).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (list, _) = as_user(&["list"]);
    assert!(list.contains("a.ini") && !list.contains("b.ini"), "{list}");
    assert_eq!(as_user(&["stop", "b.ini"]).1, "error: user 4242 has no vassal b.ini\n");
    assert_eq!(as_user(&["log", "c.ini"]).1, "error: user 4242 has no vassal c.ini\n");
    assert_eq!(as_user(&["stop", "a.ini"]).0, "a.ini: stopping\n");
    wait_state(&server, "a.ini", "stopped");
}

#[test]
fn vassals_have_the_capabilities_and_namespaces_that_are_said_and_their_own_socket() {
    let Some(site) =
        tyranny("emperor-cap = net_bind_service\nemperor-use-clone = uts,ipc\nemperor-on-demand-directory = run")
    else {
        return;
    };
    std::fs::create_dir(site.path("run")).unwrap();
    let path = site.path("v/a.ini");
    std::fs::write(&path, "[uwsgi]\nprotocol = http\nwsgi-file = ../who.py\n").unwrap();
    chown(&path, Some(ONE.0), Some(ONE.1)).unwrap();
    let server = launch(site);
    server.wait_for("vassal a.ini sleeps");
    let socket = std::fs::metadata(server.path("run/a.socket")).unwrap();
    assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), (ONE.0, ONE.1, 0o660));
    assert_eq!(ask(&server, "run/a.socket", "/").ok(), "4242 4343 []");
    let master = masters(&server)[0];
    assert_eq!(master.status("CapEff").as_deref(), Some("0000000000000400"));
    assert_eq!(master.status("CapBnd").as_deref(), Some("0000000000000400"));
    for kind in ["uts", "ipc", "net"] {
        let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_eq!(namespace(master.pid) == namespace(server.master().pid), kind == "net", "{kind}");
    }
}
