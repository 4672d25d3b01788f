//! The master's FIFO: letters that operators and scripts write, and what comes of them.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;

use crate::harness::{Server, Site, eventually};

fn start(app: &str, more: &str) -> Server {
    Site::app(app).ini(&format!("master-fifo = orders\n{more}")).start()
}

fn order(server: &Server, letters: &str) {
    write(server, "orders", letters);
}

fn write(server: &Server, name: &str, letters: &str) {
    let mut options = File::options();
    options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
    let mut fifo = eventually("somebody reads the FIFO", || options.open(server.path(name)).ok());
    fifo.write_all(letters.as_bytes()).unwrap();
}

#[test]
fn it_is_the_operators_and_goes_with_the_server() {
    let server = start("hello.py", "");
    let found = std::fs::metadata(server.path("orders")).unwrap();
    assert!(found.file_type().is_fifo());
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let path = server.path("orders");
    order(&server, "q");
    server.wait_for("stopping:");
    eventually("the FIFO goes", || (!path.exists()).then_some(()));
    assert_eq!(server.wait().code, 0);
}

#[test]
fn letters_reload_and_stop() {
    let server = start("control.py", "");
    order(&server, "r");
    server.wait_for("generation 2 is complete");
    order(&server, "R");
    server.wait_for("generation 3 is complete");
    order(&server, "c");
    server.wait_for("generation 4 is complete");
    let mut client = server.connect();
    client.send("GET /gate/never HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at never");
    order(&server, "Q");
    assert!(client.rest().is_empty());
    assert_eq!(server.wait().code, 0);
}

#[test]
fn w_renews_the_workers_and_nothing_else() {
    let server = start("control.py", "processes = 2");
    let (zygote, old) = (server.zygote(), server.workers());
    order(&server, "w");
    server.wait_for_workers(4);
    for worker in &old {
        worker.wait_for_end("a worker that was renewed");
    }
    assert_eq!(server.zygote(), zygote);
    let old = server.workers();
    order(&server, "W");
    server.wait_for_workers(6);
    for worker in &old {
        worker.wait_for_end("a worker that was renewed brutally");
    }
    assert!(!server.log.text().contains("early deaths"), "{}", server.log.text());
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn paused_nobody_accepts_and_resumed_everybody_does() {
    let server = start("control.py", "processes = 2");
    let mut kept = server.connect();
    kept.get("/").ok();
    order(&server, "p");
    server.wait_for("paused:");
    // What is told to the workers has reached them when they do not accept any more.
    let mut waiting = eventually("nobody accepts", || {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.read_within(Duration::from_millis(400)).is_none().then_some(client)
    });
    assert_eq!(kept.get("/").ok(), "hello", "connections that are open go on");
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for_workers(3);
    assert!(waiting.read_within(Duration::from_millis(400)).is_none(), "a new worker does not accept either");
    server.signal(Signal::SIGTSTP);
    server.wait_for("resumed");
    assert_eq!(waiting.answer().ok(), "hello");
}

#[test]
fn plus_and_minus_change_the_number_of_workers() {
    let server = start("hello.py", "processes = 3");
    order(&server, "-");
    server.wait_for("cheaper: 3 to 2 workers: asked for");
    eventually("one has gone", || (server.workers().len() == 2).then_some(()));
    order(&server, "--");
    server.wait_for("cheaper: 2 to 1 worker: asked for");
    server.get("/").ok();
    order(&server, "+");
    server.wait_for("cheaper: 1 to 2 workers: asked for");
    server.wait_for_workers(4);
    server.get("/").ok();
}

#[test]
fn one_that_was_removed_comes_again() {
    let server = start("hello.py", "");
    std::fs::remove_file(server.path("orders")).unwrap();
    eventually("the FIFO is there again", || server.path("orders").exists().then_some(()));
    eventually("and means us", || {
        order(&server, "s");
        server.log.text().contains("statistics: 1 workers").then_some(())
    });
}

#[test]
fn a_digit_turns_to_another_one() {
    let server = start("hello.py", "master-fifo = others");
    order(&server, "1");
    eventually("the other one is there", || server.path("others").exists().then_some(()));
    eventually("the first one goes", || (!server.path("orders").exists()).then_some(()));
    write(&server, "others", "r");
    server.wait_for("generation 2 is complete");
}

#[test]
fn a_digit_that_names_an_unusable_one_leaves_the_one_that_is_open() {
    let server = start("hello.py", "master-fifo = none/others");
    order(&server, "1");
    server.wait_for("none/others");
    order(&server, "s");
    server.wait_for("statistics: 1 workers");
}

#[test]
fn one_that_can_t_be_made_for_a_while_comes_again() {
    let server = start("hello.py", "");
    server.site.write("orders", "mine");
    server.wait_for("is no FIFO");
    std::fs::remove_file(server.path("orders")).unwrap();
    server.log.wait_for_nth("master-fifo: ", 3);
    order(&server, "s");
    server.wait_for("statistics: 1 workers");
}

#[test]
fn one_that_a_reload_names_no_more_goes() {
    let server = start("hello.py", "");
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &good.replace("orders", "others"));
    order(&server, "r");
    server.wait_for("generation 2 is complete");
    assert!(!server.path("orders").exists());
    server.site.write("uwsgi.ini", &good.replace("master-fifo = orders", ""));
    write(&server, "others", "r");
    server.wait_for("generation 3 is complete");
    assert!(!server.path("others").exists());
}

#[test]
fn a_reload_whose_fifo_can_t_be_made_is_refused_and_the_old_one_is_there() {
    let server = start("hello.py", "");
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &good.replace("orders", "none/orders"));
    for number in 1..3 {
        order(&server, "r");
        let line = server.log.wait_for_nth("goes on", number);
        assert!(line.contains("none/orders"), "{line}");
    }
    std::fs::create_dir(server.path("none")).unwrap();
    order(&server, "r");
    server.wait_for("generation 4 is complete");
    assert!(server.path("none/orders").exists() && !server.path("orders").exists());
}

#[test]
fn letters_that_mean_nothing_do_nothing() {
    let server = start("hello.py", "");
    order(&server, "zx!EBfS\n");
    server.wait_for("there is no emperor");
    server.get("/").ok();
}

#[test]
fn what_is_no_fifo_stays_and_is_told() {
    let site = Site::app("hello.py").ini("master-fifo = orders");
    site.write("orders", "mine");
    site.run().failed(1, &["master-fifo: ", "is no FIFO"]);
    assert_eq!(std::fs::read_to_string(site.path("orders")).unwrap(), "mine");
}

#[test]
fn the_log_is_opened_anew_and_put_aside() {
    let site = Site::app("control.py").ini("master-fifo = orders\nlogto = log\nadmin = admin.sock");
    let server = site.launch();
    let log = |name: &str| std::fs::read_to_string(server.path(name)).unwrap_or_default();
    eventually("it is started", || log("log").contains("started after").then_some(()));
    let address: std::net::SocketAddr = {
        let text = log("log");
        let line = text.lines().find(|line| line.contains("http-socket on ")).unwrap();
        line.split(' ').nth(2).unwrap().parse().unwrap()
    };
    let get = |path: &str| crate::harness::Client::tcp(address).get(path).ok().to_owned();
    get("/one");
    std::fs::rename(server.path("log"), server.path("moved")).unwrap();
    order(&server, "l");
    eventually("the log is there again", || log("log").contains("opened anew").then_some(()));
    eventually("workers log there", || {
        get("/two");
        log("log").contains("GET /two").then_some(())
    });
    assert!(log("moved").contains("GET /one") && !log("log").contains("GET /one"));
    order(&server, "L");
    let aside = || {
        let names = std::fs::read_dir(server.site.dir()).unwrap().flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.into_string().ok()).find(|name| name.starts_with("log."))
    };
    let aside = eventually("the log is put aside", aside);
    eventually("workers log in the new one", || {
        get("/three");
        log("log").contains("GET /three").then_some(())
    });
    assert!(log(&aside).contains("GET /two") && !log("log").contains("GET /two"));
}

#[test]
fn files_can_ask_for_the_same() {
    let server = Site::app("control.py")
        .ini("touch-workers-reload = workers\ntouch-exec = run echo ran > out\nfs-brutal-reload = brutal")
        .start();
    let zygote = server.zygote();
    server.site.write("workers", "");
    server.wait_for_workers(2);
    assert_eq!(server.zygote(), zygote);
    server.site.write("run", "");
    eventually("the command has run", || (std::fs::read_to_string(server.path("out")).ok()? == "ran\n").then_some(()));
    server.site.write("brutal", "");
    server.wait_for("generation 2 is complete");
}

#[test]
fn a_pidfile_is_enough_to_pause_and_resume() {
    let server = Site::app("hello.py").ini("pidfile = pid").start();
    for (option, says) in [("--pause", "paused:"), ("--resume", "resumed")] {
        let ended = server.site.run_with([option, "pid"]);
        assert_eq!((ended.code, ended.log.as_str()), (0, ""));
        server.wait_for(says);
    }
    server.get("/").ok();
    server.site.run_with(["--suspend", "nothing"]).failed(1, &["nothing can't be read"]);
}
