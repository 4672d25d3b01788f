//! What the project ships for a machine: the example as its README starts it, the configuration and the unit in `conf`.

use std::process::Command;

use super::*;
use crate::harness::{apps, project, python};

/// A virtual environment of this interpreter, without pip: nothing is installed.
fn venv(python: &std::path::Path, folder: &std::path::Path) {
    let made = Command::new(python).args(["-m", "venv", "--without-pip"]).arg(folder).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn the_example_runs_three_applications_on_two_pythons() {
    let pythons: Vec<_> = python::usable().collect();
    let Some((first, last)) = pythons.first().zip(pythons.last()) else { return };
    let site = Site::empty();
    apps::copy(&apps::example("emperor"), &site.path("e"));
    venv(&first.path, &site.path("e/venvs/one"));
    venv(&last.path, &site.path("e/venvs/two"));
    let server = site.launch_with(["--ini", "e/emperor.ini"]);
    server.wait_for("vassal three.ini sleeps");
    let answer = |name: &str| {
        let socket = format!("e/run/{name}.sock");
        Client::unix(&server.path(&socket)).get("/").ok().to_owned()
    };
    let says =
        |name: &str, python: &python::Python| format!("{name} on Python {}.{}.", python.version.0, python.version.1);
    wait_ready(&server, "one.ini", 1);
    wait_ready(&server, "two.ini", 1);
    assert!(answer("one").starts_with(&says("one", first)), "{}", answer("one"));
    assert!(answer("two").starts_with(&says("two", last)), "{}", answer("two"));
    assert!(answer("three").starts_with(&says("three", first)));
    let list = server.site.run_with(["vassals", "--control", "e/run/emperor.sock"]).out;
    assert!(["one.ini", "two.ini", "three.ini"].iter().all(|name| list.contains(name)), "{list}");
    server.stop();
}

#[test]
fn the_configuration_for_a_machine_is_one() {
    let site = Site::empty();
    let text = apps::read(&project().join("conf/emperor.ini"));
    let (etc, run) = (site.path("etc"), site.path("run"));
    std::fs::create_dir_all(etc.join("vassals")).unwrap();
    std::fs::create_dir(&run).unwrap();
    let text =
        text.replace("/etc/ruwsgi", &etc.display().to_string()).replace("/run/ruwsgi", &run.display().to_string());
    assert!(text.contains(&format!("emperor = {}/vassals", etc.display())), "{text}");
    site.write("emperor.ini", &(text + "strict = true\n"));
    let checked = site.run_with(["check", "emperor.ini"]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.log);
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let server = site.launch_with(["--ini", "emperor.ini"]);
    server.wait_for("the emperor governs 0 vassals");
    assert!(run.join("emperor.sock").exists() && run.join("emperor-stats.sock").exists());
    server.stop();
}

#[test]
fn the_unit_of_systemd_is_one() {
    let unit = project().join("conf/systemd/ruwsgi-emperor.service");
    let text = apps::read(&unit);
    for line in ["ExecStart=/usr/bin/ruwsgi --ini /etc/ruwsgi/emperor.ini", "KillMode=mixed", "RuntimeDirectory=ruwsgi"]
    {
        assert!(text.lines().any(|it| it == line), "{line}");
    }
    // The binary is not installed where the unit expects it: everything else must be right.
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output() else {
        return apps::skip("systemd-analyze is not installed");
    };
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let wrong =
        told.lines().find(|line| line.contains("ruwsgi-emperor.service:") && !line.contains("is not executable"));
    assert_eq!(wrong, None, "{told}");
}
