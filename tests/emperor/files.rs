//! What monitors see: directories, patterns, lists, and everything that can be wrong with a file or its name.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;

#[test]
fn what_is_no_configuration_is_told_and_not_started() {
    let site = empire("");
    std::fs::create_dir(site.path("v/dir.ini")).unwrap();
    symlink("nowhere.ini", site.path("v/link.ini")).unwrap();
    std::fs::File::create(site.path("v/huge.ini")).unwrap().set_len((16 << 20) + 1).unwrap();
    put(&site, "a:b.ini", &vassal("colon.sock"));
    put(&site, "broken.ini", "[uwsgi]\nhttp-socket = ../broken.sock\nprocesses = many\n");
    put(&site, "broken.yaml", "uwsgi: [\n");
    for ignored in [".hidden.ini", ".#emacs.ini", "a.ini~", "a.ini.swp", "note.txt"] {
        std::fs::write(site.path("v").join(ignored), "x").unwrap();
    }
    let server = site.launch();
    for line in [
        "vassal dir.ini: it is a directory; it is not started",
        "vassal link.ini: it is a link to what is not there; it is not started",
        "vassal huge.ini: it is larger than 16 MiB: is this a configuration?; it is not started",
        "vassal a:b.ini: what stands behind a colon in a name is a section: rename the file; it is not started",
        "[broken.ini] error: processes: \"many\" is not a number (broken.ini:3)",
        "[broken.yaml] error: ",
    ] {
        server.wait_for(line);
    }
    std::fs::write(server.path("v/empty.ini"), "\n \n").unwrap();
    server.wait_for("vassal empty.ini: it is empty; it is not started");
    put(&server.site, "empty.ini", &vassal("full.sock"));
    wait_ready(&server, "empty.ini", 1);
    let list = vassals(&server, ["list"]);
    assert!(!list.contains("hidden") && !list.contains("emacs") && !list.contains("note"), "{list}");
}

#[test]
fn names_may_hold_anything() {
    let site = empire("");
    let names: [&[u8]; 5] = [b"two words.ini", b"it's \"q\".ini", b"line\nbreak.ini", b"caf\xe9.ini", b"-x.ini"];
    for (number, name) in names.iter().enumerate() {
        put(&site, OsStr::from_bytes(name), &vassal(&format!("{number}.sock")));
    }
    let server = site.launch();
    for (number, shown) in
        ["two words.ini", "it's \"q\".ini", "line\\nbreak.ini", "caf\\xe9.ini", "-x.ini"].iter().enumerate()
    {
        wait_ready(&server, shown, 1);
        assert_eq!(ask(&server, &format!("{number}.sock"), "/").ok(), "hello");
    }
    for name in names {
        let out = vassals(&server, [OsStr::new("stop"), OsStr::from_bytes(name)]);
        assert!(out.ends_with(": stopping\n") && out.lines().count() == 1, "{out}");
    }
    wait_alone(&server);
}

#[test]
fn a_config_map_is_exchanged_as_kubernetes_does_it() {
    let site = empire("");
    for (version, b) in [("..one", "env = A=1\n"), ("..two", "env = A=2\n")] {
        std::fs::create_dir(site.path("v").join(version)).unwrap();
        std::fs::write(site.path("v").join(version).join("a.ini"), vassal("a.sock")).unwrap();
        std::fs::write(site.path("v").join(version).join("b.ini"), vassal("b.sock") + b).unwrap();
    }
    let swap = |folder: &std::path::Path, version: &str| {
        symlink(version, folder.join("..fresh")).unwrap();
        std::fs::rename(folder.join("..fresh"), folder.join("..data")).unwrap();
    };
    swap(&site.path("v"), "..one");
    for name in ["a.ini", "b.ini"] {
        symlink(format!("..data/{name}"), site.path("v").join(name)).unwrap();
    }
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    wait_ready(&server, "b.ini", 1);
    swap(&server.path("v"), "..two");
    wait_ready(&server, "b.ini", 2);
    assert!(!server.log.text().contains("a.ini (pid 1) reloads"));
    let reloads = server.log.text().lines().filter(|line| line.contains("reloads: its file")).count();
    assert_eq!(reloads, 1, "only the one that has changed");
}

#[test]
fn a_file_behind_a_link_is_watched_where_it_is() {
    let site = empire("");
    std::fs::create_dir(site.path("available")).unwrap();
    std::fs::write(site.path("available/a.ini"), vassal("a.sock")).unwrap();
    symlink("../available/a.ini", site.path("v/a.ini")).unwrap();
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    std::fs::write(server.path("available/a.ini"), vassal("a.sock") + "env = A=1\n").unwrap();
    wait_ready(&server, "a.ini", 2);
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("vassal a.ini is removed");
}

#[test]
fn patterns_and_lists_are_places_too_and_several_go_together() {
    let site = Site::empty()
        .ini("emperor = homes/*/vassal.ini\nemperor = list://list.txt\nemperor = dir://v\nemperor-freq = 1");
    site.write("app.py", include_str!("../apps/control.py"));
    for folder in ["homes/one", "homes/two", "v", "etc"] {
        std::fs::create_dir_all(site.path(folder)).unwrap();
    }
    let dir = site.dir().display().to_string();
    let text = |socket: &str| format!("[uwsgi]\nhttp-socket = {dir}/{socket}\nwsgi-file = {dir}/app.py\n");
    std::fs::write(site.path("homes/one/vassal.ini"), text("one.sock")).unwrap();
    std::fs::write(site.path("etc/listed.ini"), text("listed.sock")).unwrap();
    std::fs::write(site.path("v/listed.ini"), text("other.sock")).unwrap();
    site.write("list.txt", "# all of them\n\netc/listed.ini\n");
    let server = site.launch();
    for (name, socket) in
        [("homes/one/vassal.ini", "one.sock"), ("etc/listed.ini", "listed.sock"), ("listed.ini", "other.sock")]
    {
        wait_ready(&server, name, 1);
        assert_eq!(ask(&server, socket, "/").ok(), "hello");
    }
    std::fs::write(server.path("homes/two/vassal.ini"), text("two.sock")).unwrap();
    wait_ready(&server, "homes/two/vassal.ini", 1);
    server.site.write("list.txt", "\n");
    server.wait_for("vassal etc/listed.ini is removed");
}

#[test]
fn of_two_files_of_one_name_the_first_runs() {
    let site = empire("emperor = w");
    std::fs::create_dir(site.path("w")).unwrap();
    put(&site, "a.ini", &vassal("first.sock"));
    std::fs::write(site.path("w/a.ini"), vassal("second.sock")).unwrap();
    let server = site.launch();
    let line = server.wait_for("warning: vassal a.ini: ");
    assert!(line.contains("w/a.ini is not run") && line.contains("v/a.ini has this name"), "{line}");
    wait_ready(&server, "a.ini", 1);
    assert_eq!(ask(&server, "first.sock", "/").ok(), "hello");
    assert!(!server.path("second.sock").exists());
}

#[test]
fn places_that_are_none_end_the_start() {
    empire("emperor = nowhere").run().failed(1, &["emperor: nowhere is no directory of this machine", "uwsgi.ini:5"]);
    empire("emperor = list://nowhere").run().failed(1, &["list://nowhere is no file"]);
    empire("emperor = pg://host=db;SELECT")
        .run()
        .failed(1, &["pg:// is not built here: use a job that writes each row"]);
    empire("emperor = zmq://tcp://127.0.0.1:5000").run().failed(1, &["zmq:// is not built here", "ruwsgi vassals"]);
    empire("emperor-tyrant = true\nuid = 65534").run().failed(1, &["emperor-tyrant", "early-emperor"]);
    let listed = Site::empty().run_with(["--imperial-monitor-list"]);
    assert_eq!(listed.out, "dir://\nglob://\nlist://\n");
}

#[test]
fn a_file_that_is_written_all_the_time_is_told_and_runs_when_it_is_whole() {
    let site = empire("emperor-freq = 1");
    let server = site.ini("emperor-freq = 1").launch();
    server.wait_for("the emperor governs");
    let path = server.path("v/a.ini");
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(vassal("a.sock").as_bytes()).unwrap();
    drop(file);
    wait_ready(&server, "a.ini", 1);
    // Half of a file that is then finished: at the end the whole one runs.
    let mut file = std::fs::File::create(&path).unwrap();
    file.write_all(b"[uwsgi]\nhttp-socket = ../a.sock\n").unwrap();
    server.log.wait("a scan", |_, _| Some(()));
    file.write_all(b"wsgi-file = ../app.py\nenv = WHOLE=1\n").unwrap();
    drop(file);
    eventually("the vassal answers", || {
        (server.path("a.sock").exists() && Client::unix(&server.path("a.sock")).get("/").status == 200).then_some(())
    });
}

#[test]
fn thousands_of_changes_in_a_second_end_as_the_directory_says() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    for number in 0..3_000 {
        put(&server.site, "a.ini", &(vassal("a.sock") + &format!("env = N={number}\n")));
        let other = server.path("v").join(format!("x{}.ini", number % 50));
        if number % 100 < 50 { std::fs::write(other, "").unwrap() } else { std::fs::remove_file(other).unwrap() }
    }
    put(&server.site, "a.ini", "[uwsgi]\nhttp-socket = ../a.sock\nwsgi-file = ../last.py\n");
    server.site.write("last.py", "def application(e, start):\n    start('200 OK', [])\n    return [b'the last one']\n");
    eventually("the last file counts", || (ask(&server, "a.sock", "/").text() == "the last one").then_some(()));
    let log = server.log.text();
    let reloads = log.lines().filter(|line| line.contains("reloads: its file has changed")).count();
    assert!(reloads < 30, "{reloads} reloads");
    assert_eq!(log.lines().filter(|line| line.starts_with("vassal a.ini") && line.contains(" started")).count(), 1);
}
