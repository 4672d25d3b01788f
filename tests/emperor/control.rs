//! Seeing and steering: statistics, the log with names in front, `ruwsgi vassals` and who may give orders.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use super::*;

#[test]
fn orders_start_stop_and_reload_a_vassal() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    assert!(vassals(&server, [""; 0]).starts_with("VASSAL"), "a list is what is shown without a word");
    vassals(&server, ["reload", "a.ini"]);
    wait_ready(&server, "a.ini", 2);
    assert!(vassals(&server, ["log", "a.ini"]).contains("generation 2 serves"));
    assert_eq!(vassals(&server, ["stop", "a.ini"]), "a.ini: stopping\n");
    wait_state(&server, "a.ini", "stopped");
    // Its file may change: who was stopped by hand is started by hand.
    put(&server.site, "a.ini", &(vassal("a.sock") + "env = A=1\n"));
    wait_alone(&server);
    assert_eq!(state(&server, "a.ini"), "stopped");
    vassals(&server, ["start", "a.ini"]);
    wait_ready(&server, "a.ini", 3);
    let refused = server.site.run_with(["vassals", "--control", "control.sock", "stop", "b.ini"]);
    assert_eq!((refused.code, refused.log.as_str()), (1, "error: there is no vassal b.ini\n"));
    let nobody = server.site.run_with(["vassals", "--control", "nowhere.sock"]);
    assert_eq!((nobody.code, nobody.log.as_str()), (1, "error: no emperor listens at nowhere.sock\n"));
}

#[test]
fn the_control_socket_is_the_emperors_alone() {
    let server = empire("").launch();
    server.wait_for("the emperor governs");
    let mode = std::fs::metadata(server.path("control.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = server.path("control.sock");
    // Who says nothing, and who says too much, keeps nobody from being heard.
    let silent = UnixStream::connect(&path).unwrap();
    let mut loud = UnixStream::connect(&path).unwrap();
    let _ = std::io::Write::write_all(&mut loud, &[b'x'; 20_000]);
    assert!(vassals(&server, ["list"]).starts_with("VASSAL"));
    drop(silent);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn statistics_have_the_keys_of_uwsgi() {
    let site = empire("emperor-stats = stats.sock\nemperor-throttle = 50");
    put(&site, "a.ini", &vassal("a.sock"));
    put(&site, "bad.ini", "[uwsgi]\nhttp-socket = ../bad.sock\nmodule = nothing_like_it\n");
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    ask(&server, "a.sock", "/").ok();
    server.wait_for("vassal a.ini (pid");
    server.log.wait("loyalty", |log, _| log.contains("is now loyal").then_some(()));
    let told = eventually("a blacklist", || {
        let mut text = String::new();
        let mut stream = UnixStream::connect(server.path("stats.sock")).unwrap();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        let told: serde_json::Value = serde_json::from_str(&text).unwrap();
        (!told["blacklist"].as_array().unwrap().is_empty()).then_some(told)
    });
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(keys(&told), "version pid uid gid cwd emperor emperor_tyrant throttle_level vassals blacklist");
    let vassal = &told["vassals"][0];
    assert_eq!(
        keys(vassal),
        "id pid born last_mod last_heartbeat loyal ready accepting last_loyal last_ready last_accepting first_run \
         last_run cursed zerg on_demand uid gid monitor respawns state reason"
    );
    assert_eq!((&vassal["id"], &vassal["loyal"], &vassal["state"]), (&"a.ini".into(), &1.into(), &"loyal".into()));
    assert!(vassal["last_mod"].as_i64().unwrap() > 1_700_000_000 && vassal["born"].as_i64().unwrap() > 1_700_000_000);
    let bad = &told["blacklist"][0];
    assert_eq!(keys(bad), "id throttle_level attempt first_attempt last_attempt reason");
    assert!(bad["reason"].as_str().unwrap().contains("nothing_like_it"), "{bad}");
}
