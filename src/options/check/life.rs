//! Traps in how processes live, wait and die.

use super::seen::{Line, Seen};
use crate::report::Problem;

/// What a request head of a browser needs at least, in bytes.
const LEAST_HEAD: u64 = 1024;

/// How long a worker may finish its requests unless somebody says otherwise, in seconds.
const MERCY: u64 = 60;

/// `daemonize` where somebody watches the process that was started.
pub fn daemonize(seen: &Seen<'_>) -> Vec<Problem> {
    let lines = seen.lines.iter().filter(|line| matches!(line.option, "daemonize" | "daemonize2"));
    let told = "under systemd, docker or supervisord leave it out: they watch the process that they started, which ends \
                at once, and take the server for dead; logto alone writes the log to a file";
    lines.map(|line| line.is(told)).collect()
}

/// `logto` beside `daemonize`
pub fn two_logs(seen: &Seen<'_>) -> Vec<Problem> {
    let daemon = seen.last("daemonize").or(seen.last("daemonize2"));
    let (Some(daemon), Some(logto)) = (daemon, seen.last("logto")) else { return Vec::new() };
    if daemon.value == logto.value {
        return Vec::new();
    }
    vec![logto.is(format!("nothing is written to {}: the log goes where {} says", logto.value, daemon.name))]
}

/// `harakiri` below the time that the front waits.
pub fn front_waits_longer(seen: &Seen<'_>) -> Vec<Problem> {
    let harakiri = seen.last("harakiri").and_then(|line| Some((line, line.number().filter(|number| *number > 0)?)));
    let front = seen.last("http-timeout").and_then(|line| Some((line, line.number()?)));
    let (Some((line, harakiri)), Some((other, front))) = (harakiri, front) else { return Vec::new() };
    let told = || {
        line.is(format!(
            "a request that takes longer than {harakiri} s is killed with its worker and its client gets no answer, \
             though {} = {front} lets it wait ({})",
            other.name, other.origin
        ))
    };
    if harakiri < front { vec![told()] } else { Vec::new() }
}

/// `harakiri` above the mercy of a reload.
pub fn mercy(seen: &Seen<'_>) -> Vec<Problem> {
    let Some((line, harakiri)) = seen.last("harakiri").and_then(|line| Some((line, line.number()?))) else {
        return Vec::new();
    };
    let mercy = seen.last("worker-reload-mercy").map_or(Some(MERCY), Line::number);
    let told = |mercy: u64| {
        line.is(format!(
            "a request may take {harakiri} s, but a reload or stop cuts it after {mercy} s: worker-reload-mercy = \
             {harakiri} lets it end"
        ))
    };
    mercy.filter(|mercy| *mercy < harakiri).map(told).into_iter().collect()
}

/// `buffer-size = 64`
pub fn small_buffer(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let bytes = line.number().filter(|bytes| (1..LEAST_HEAD).contains(bytes))?;
        Some(
            line.is(format!("{bytes} bytes hold no request head: nearly every request is refused; it counts in bytes")),
        )
    };
    seen.last("buffer-size").and_then(told).into_iter().collect()
}

/// `cheaper` not below `processes`
pub fn cheaper(seen: &Seen<'_>) -> Vec<Problem> {
    let Some((line, least)) = seen.last("cheaper").and_then(|line| Some((line, line.number()?))) else {
        return Vec::new();
    };
    let most = seen.last("processes").map_or(Some(1), Line::number);
    let told =
        |most: u64| line.is(format!("{least} is not lower than processes, which is {most}: uWSGI does not start"));
    most.filter(|most| least >= *most).map(told).into_iter().collect()
}

/// `uid = root`
pub fn root(seen: &Seen<'_>) -> Vec<Problem> {
    let line = seen.last("uid").filter(|line| matches!(&*line.value, "root" | "0"));
    let told = "the application runs as root: whatever it can be made to do, it may do; name a user of its own";
    line.map(|line| line.is(told)).into_iter().collect()
}

/// `uid = 1000` without `gid`
pub fn uid_without_gid(seen: &Seen<'_>) -> Vec<Problem> {
    let number =
        |line: &&Line<'_>| !matches!(&*line.value, "" | "0") && line.value.bytes().all(|byte| byte.is_ascii_digit());
    let line = seen.last("uid").filter(number).filter(|_| seen.last("gid").is_none());
    let told = "a number has a group of its own only where the machine knows the user; otherwise the server stays in the \
                group of whoever starts it, which may be root: say gid, too";
    line.map(|line| line.is(told)).into_iter().collect()
}

/// `py-auto-reload`
pub fn auto_reload(seen: &Seen<'_>) -> Vec<Problem> {
    let line = seen.last("py-auto-reload").filter(|line| line.number() != Some(0));
    let told = "for development only: every changed file of the application restarts it, one that is half written too";
    line.map(|line| line.is(told)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{found, silent};

    #[test]
    fn a_watched_process_is_no_daemon() {
        assert_eq!(found(daemonize, &[("daemonize", "/var/log/a.log")]).len(), 1);
        assert_eq!(found(daemonize, &[("daemonize2", "/var/log/a.log")]).len(), 1);
        silent(daemonize, &[("logto", "/var/log/a.log")]);
    }

    #[test]
    fn a_daemon_has_one_log() {
        let told = found(two_logs, &[("logto", "/b"), ("daemonize", "/a")]);
        assert_eq!(told, ["logto: nothing is written to /b: the log goes where daemonize says (app.ini:1)"]);
        silent(two_logs, &[("logto", "/a"), ("daemonize", "/a")]);
        silent(two_logs, &[("logto", "/a")]);
        silent(two_logs, &[("daemonize", "/a")]);
    }

    #[test]
    fn the_front_waits_for_a_worker_that_is_dead() {
        let told = found(front_waits_longer, &[("http-timeout", "75"), ("harakiri", "30")]);
        assert!(told[0].contains("than 30 s") && told[0].contains("= 75 lets it wait (app.ini:1)"), "{told:?}");
        silent(front_waits_longer, &[("http-timeout", "30"), ("harakiri", "30")]);
        silent(front_waits_longer, &[("harakiri", "30")]);
        silent(front_waits_longer, &[("http-timeout", "30"), ("harakiri", "0")]);
    }

    #[test]
    fn a_reload_waits_as_long_as_a_request_may_take() {
        assert!(found(mercy, &[("harakiri", "120")])[0].contains("cuts it after 60 s"));
        assert_eq!(found(mercy, &[("harakiri", "30"), ("worker-reload-mercy", "5")]).len(), 1);
        silent(mercy, &[("harakiri", "60")]);
        silent(mercy, &[("harakiri", "120"), ("worker-reload-mercy", "120")]);
        silent(mercy, &[("worker-reload-mercy", "5")]);
    }

    #[test]
    fn a_head_needs_room() {
        assert_eq!(found(small_buffer, &[("buffer-size", "64k")]).len(), 1);
        silent(small_buffer, &[("buffer-size", "4096")]);
        silent(small_buffer, &[("buffer-size", "none")]);
    }

    #[test]
    fn cheaper_is_cheaper() {
        assert_eq!(found(cheaper, &[("cheaper", "4"), ("workers", "4")]).len(), 1);
        assert_eq!(found(cheaper, &[("cheaper", "1")]).len(), 1);
        silent(cheaper, &[("cheaper", "2"), ("processes", "4")]);
    }

    #[test]
    fn root_is_told_and_a_group_belongs_to_a_user() {
        assert_eq!(found(root, &[("uid", "root")]).len(), 1);
        assert_eq!(found(root, &[("uid", "0")]).len(), 1);
        silent(root, &[("uid", "www-data"), ("gid", "root")]);
        assert_eq!(found(uid_without_gid, &[("uid", "1000")]).len(), 1);
        silent(uid_without_gid, &[("uid", "1000"), ("gid", "1000")]);
        silent(uid_without_gid, &[("uid", "www-data")]);
        silent(uid_without_gid, &[("uid", "0")]);
    }

    #[test]
    fn watching_code_is_for_development() {
        assert_eq!(found(auto_reload, &[("py-autoreload", "1")]).len(), 1);
        silent(auto_reload, &[("py-autoreload", "0")]);
    }
}
