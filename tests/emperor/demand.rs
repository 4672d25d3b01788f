//! Vassals that sleep until somebody connects, and sleep again when nobody asks for anything.

use super::*;

/// A vassal that gets its socket as standard input.
const SLEEPER: &str = "[uwsgi]\nprotocol = http\nwsgi-file = ../app.py\nidle = 1\ndie-on-idle = true\n";

#[test]
fn a_connection_wakes_a_vassal_that_sleeps_again_when_idle() {
    let site = empire("emperor-on-demand-extension = .socket");
    put(&site, "a.ini.socket", "../a.sock\n");
    put(&site, "a.ini", SLEEPER);
    let server = site.launch();
    let line = server.wait_for("vassal a.ini sleeps: a connection to");
    assert!(line.ends_with("a.sock starts it"), "{line}");
    assert!(masters(&server).is_empty());
    for round in 1..3 {
        assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
        wait_ready(&server, "a.ini", round);
        server.log.wait_for_nth("exited with code 0: it is idle", round);
        wait_state(&server, "a.ini", "asleep");
        wait_alone(&server);
        assert!(server.path("a.sock").exists());
    }
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("vassal a.ini is removed");
    assert!(!server.path("a.sock").exists());
}

#[test]
fn the_socket_may_be_named_by_a_directory_or_by_a_command() {
    let site = empire("emperor-on-demand-directory = run");
    std::fs::create_dir(site.path("run")).unwrap();
    put(&site, "my shop.ini", SLEEPER);
    let server = site.launch();
    server.wait_for("vassal my shop.ini sleeps");
    assert_eq!(ask(&server, "run/my shop.socket", "/").ok(), "hello");

    let site = empire("emperor-on-demand-exec = sh ../where");
    site.write("where", "case \"$1\" in a*) echo ../by-command.sock;; *) ;; esac\n");
    put(&site, "a'b.ini", SLEEPER);
    put(&site, "b.ini", &vassal("b.sock"));
    let server = site.launch();
    server.wait_for("vassal a'b.ini sleeps");
    wait_ready(&server, "b.ini", 1);
    assert_eq!(ask(&server, "by-command.sock", "/").ok(), "hello");
}

#[test]
fn who_connects_while_a_vassal_fails_is_answered_when_it_is_mended() {
    let site = empire("emperor-on-demand-extension = .socket\nemperor-throttle = 100");
    put(&site, "a.ini.socket", "../a.sock");
    put(&site, "a.ini", "[uwsgi]\nprotocol = http\nmodule = nothing_like_it\n");
    let server = site.launch();
    server.wait_for("vassal a.ini sleeps");
    let mut client = Client::unix(&server.path("a.sock"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    server.wait_for("exited with code 22");
    put(&server.site, "a.ini", SLEEPER);
    assert_eq!(client.answer().ok(), "hello");
}

#[test]
fn a_socket_that_another_server_has_is_waited_for() {
    let site = empire("emperor-on-demand-extension = .socket\nemperor-throttle = 100\nemperor-max-throttle = 100");
    let other = std::os::unix::net::UnixListener::bind(site.path("a.sock")).unwrap();
    put(&site, "a.ini.socket", "../a.sock");
    put(&site, "a.ini", SLEEPER);
    let server = site.launch();
    let line = server.wait_for("is in use: another server listens on it; next try in 100 ms");
    assert!(line.contains("vassal a.ini"), "{line}");
    drop(other);
    server.wait_for("vassal a.ini sleeps");
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
}

#[test]
fn a_hundred_that_sleep_cost_nothing() {
    let site = empire("emperor-on-demand-directory = run");
    std::fs::create_dir(site.path("run")).unwrap();
    for number in 0..100 {
        put(&site, format!("{number}.ini"), SLEEPER);
    }
    let server = site.launch();
    server.wait_for("vassal 99.ini sleeps");
    let emperor = server.master();
    server.wait_for("the emperor governs 100 vassals");
    let (ticks, wakes) = (emperor.ticks(), emperor.wakes("ruwsgi"));
    assert!(
        crate::harness::within(std::time::Duration::from_secs(2), || (emperor.ticks() > ticks + 1).then_some(()))
            .is_none()
    );
    assert!(emperor.wakes("ruwsgi") < wakes + 3, "it wakes for nothing");
    assert_eq!(masters(&server).len(), 0);
}
