//! What a list of directives means: the one pure function that both the binary and the extension module call, and the
//! questions that need more than one field to answer.

use std::time::Duration;

use bstr::{BString, ByteSlice};

use crate::directive::{Directive, Origin};
use crate::kind::{Reading, Remark, Said, keepalive};
use crate::kind_log::is_address;
use crate::report::{Error, Problem};
use crate::table::{Config, Listener, Process, Row, Sockets, row};

/// How long an idle connection stays open unless somebody says otherwise, in seconds: longer than the 60 s of the
/// usual load balancer, so that it is the balancer that closes.
const KEEPALIVE: u32 = 75;

/// How long a peer may keep us waiting unless somebody says otherwise, in seconds.
const TIMEOUT: u32 = 60;

impl Config {
    /// Reads the values of all options that work, in order: the last one wins, lists grow. Other names are passed over:
    /// they are placeholders, or were judged when the configuration was loaded.
    pub fn interpret(directives: Vec<Directive>) -> Result<(Self, Vec<Problem>), Error> {
        let (config, problems) = Self::read(directives);
        Error::of(&problems)?;
        Ok((config, problems))
    }

    /// The same, whatever is wrong: what can't be read stays as it was.
    pub(crate) fn read(directives: Vec<Directive>) -> (Self, Vec<Problem>) {
        let mut config = Self::default();
        let mut found = Vec::new();
        for directive in &directives {
            let Some((row, name)) = row(&directive.name) else { continue };
            let reading = config.take(row, name, directive);
            // One list, in the order in which all of them were said.
            let Sockets { listeners, fronted, persistent, fastcgi, scgi, .. } = &mut config.sockets;
            for more in [fronted, persistent, fastcgi, scgi] {
                listeners.append(more);
            }
            if !matches!(reading, Ok(None)) {
                found.push((directive, row, reading));
            }
        }
        let strict = config.control.strict;
        let problems =
            found.into_iter().filter_map(|(directive, row, reading)| problem(directive, row, reading, strict));
        let mut problems: Vec<Problem> = problems.collect();
        // Wherever it stands, as in uWSGI.
        for listener in config.sockets.listeners.iter_mut().filter(|listener| listener.by_default) {
            listener.protocol = config.sockets.protocol;
        }
        config.directives = directives;
        problems.extend(config.route());
        (config, problems)
    }

    fn take(&mut self, row: &Row, name: &'static str, directive: &Directive) -> Reading {
        let bytes = directive.value.as_ref().map(|value| value.as_bstr());
        let value = match bytes.map(|bytes| bytes.to_str()) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) if row.bytes => None,
            Some(Err(_)) => return Err(format!("{:?} is not UTF-8 text", bytes.unwrap_or_default())),
        };
        (row.set)(self, &Said { name, value, bytes, origin: &directive.origin })
    }

    /// All that was said as one file, with placeholders filled in: what `show-config` writes, line by line. What options
    /// of `declare-option` stand for is a comment: the line that used them is there.
    pub fn lines(&self) -> impl Iterator<Item = BString> {
        let said = self.directives.iter().map(|directive| match &directive.origin {
            Origin::Declared { .. } => {
                [&b"; "[..], &directive.line(), format!(" ({})", directive.origin).as_bytes()].concat().into()
            }
            _ => directive.line(),
        });
        let [title, section, end] =
            [";ruwsgi instance configuration", "[uwsgi]", ";end of configuration"].map(BString::from);
        [title, section].into_iter().chain(said).chain([end])
    }

    /// Where an option was said, by any of its names; the last time counts.
    pub fn origin(&self, option: &str) -> Option<&Origin> {
        let alone = [option];
        let names = row(option).map_or(&alone[..], |(row, _)| row.names);
        let last = self.directives.iter().rev().find(|directive| names.contains(&directive.name.as_str()));
        last.map(|directive| &directive.origin)
    }

    /// Where an option was given this value, or a value that ends with it: of several lines of a list, the one that counts.
    pub fn origin_of(&self, option: &str, value: &str) -> Option<&Origin> {
        let names = row(option).map_or(&[][..], |(row, _)| row.names);
        let ends = |said: &Directive| said.value.as_ref().is_some_and(|text| text.ends_with(value.as_bytes()));
        let mut lines = self.directives.iter().filter(|said| names.contains(&said.name.as_str()));
        lines.rfind(|said| ends(said)).map(|said| &said.origin)
    }

    /// What was said for workers and their applications: a process that is an emperor and nothing else has none of them.
    pub fn for_workers(&self) -> impl Iterator<Item = &Directive> {
        const HEADINGS: [&str; 5] =
            ["Workers", "Workers for the load", "Python", "Static files", "Statistics and health"];
        // What an emperor does, too, and what is so anyway.
        const ALL: [&str; 6] = ["reload-mercy", "plugins", "need-plugins", "plugins-dir", "stats-minified", "need-app"];
        let is = |said: &&Directive| {
            row(&said.name).is_some_and(|(row, _)| {
                let always = row.help.starts_with("always on") || row.help.starts_with("not needed");
                HEADINGS.contains(&row.heading)
                    && !ALL.contains(&row.names[0])
                    && !always
                    && row.names[0] != "die-on-term"
            })
        };
        self.directives.iter().filter(is)
    }

    /// Where to listen, in the order in which it was said.
    pub fn listeners(&self) -> &[Listener] {
        &self.sockets.listeners
    }

    /// After how many requests the worker of this slot is replaced: later ones later, so that not all are replaced at
    /// once. 0: never.
    pub fn max_requests_of(&self, slot: u32) -> u64 {
        let later = self.workers.max_requests_delta.saturating_mul(slot.saturating_sub(1).into());
        if self.workers.max_requests == 0 { 0 } else { self.workers.max_requests.saturating_add(later) }
    }

    /// Where the log goes from the start on, and the option that says so; the first of both is that of a daemon.
    pub fn log_file(&self) -> Option<(&'static str, &str)> {
        let logto = self.logging.logto.as_deref().filter(|path| !is_address(path));
        self.daemon().or(logto.map(|path| ("logto", path)))
    }

    /// Lines of the log pass through the master, since somebody wants more of them than that they are written.
    pub fn routes_log(&self) -> bool {
        let it = &self.logging;
        let loggers = [&it.logger, &it.req_logger, &it.log_syslog, &it.log_socket].iter().any(|list| !list.is_empty());
        let patterns = [&it.log_route, &it.log_drain, &it.log_filter].iter().any(|list| !list.is_empty());
        let udp = it.logto.as_deref().is_some_and(is_address);
        loggers || patterns || udp || !it.log_encoder.is_empty() || self.routes_requests()
    }

    /// So do the lines of requests, apart from the others.
    pub fn routes_requests(&self) -> bool {
        let it = &self.logging;
        !it.req_logger.is_empty() || !it.log_req_route.is_empty() || !it.log_req_encoder.is_empty()
    }

    /// The log of a daemon, where this is one.
    pub fn daemon(&self) -> Option<(&'static str, &str)> {
        let Process { daemonize, daemonize2, .. } = &self.process;
        let first = daemonize.as_deref().map(|path| ("daemonize", path));
        first.or(daemonize2.as_deref().map(|path| ("daemonize2", path)))
    }

    /// What `ps` shows for a process, in the words of uWSGI: `role` is `master`, `worker 1`. `None`: nobody asked.
    pub fn process_name(&self, role: &str) -> Option<String> {
        let Process { auto_procname, procname, procname_master, procname_prefix, procname_append, .. } = &self.process;
        let parts = [procname, procname_master, procname_prefix, procname_append];
        if !auto_procname && parts.iter().all(|part| part.is_none()) {
            return None;
        }
        let own = procname_master.as_ref().filter(|_| role == "master").or(procname.as_ref());
        Some(self.full_process_name(&own.map_or_else(|| format!("uWSGI {role}"), String::clone)))
    }

    /// A name for `ps` with what stands before and behind each of them.
    pub fn full_process_name(&self, name: &str) -> String {
        let Process { procname_prefix, procname_append, .. } = &self.process;
        let part = |part: &Option<String>| part.clone().unwrap_or_default();
        part(procname_prefix) + name + &part(procname_append)
    }

    /// How long an idle HTTP connection stays open. `None`: it is closed after each request.
    pub fn keepalive(&self) -> Option<Duration> {
        let seconds = keepalive(self.sockets.http_keepalive.as_deref(), KEEPALIVE);
        seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// How long to wait for a request head, for more of a body, or for a client to take more of a response.
    pub fn head_timeout(&self) -> Duration {
        let seconds = self.sockets.socket_timeout.or(self.sockets.http_timeout).unwrap_or(TIMEOUT);
        Duration::from_secs(seconds.into())
    }
}

/// What there is to say about a value that was read.
fn problem(directive: &Directive, row: &Row, reading: Reading, strict: bool) -> Option<Problem> {
    let problem = match reading {
        Ok(None) => return None,
        Ok(Some(Remark::Odd { problem, .. })) if strict => Problem::error(problem),
        Ok(Some(Remark::Odd { problem, read_as })) => {
            Problem { advice: Some(format!("read as {read_as}")), ..Problem::warning(problem) }
        }
        Ok(Some(Remark::Told(text))) => return Some(Problem::warning(text).about(directive)),
        Err(problem) => Problem::error(problem),
    };
    Some(Problem { allowed: row.takes, ..problem.about(directive) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[(&str, &str)]) -> Vec<Directive> {
        let directive = |(line, (name, value)): (usize, &(&str, &str))| {
            Directive::new(*name, Some(value), Origin::File { path: "app.ini".into(), line: line as u32 + 1 })
        };
        lines.iter().enumerate().map(directive).collect()
    }

    fn interpret(lines: &[(&str, &str)]) -> (Config, Vec<String>) {
        let (config, notices) = Config::interpret(said(lines)).expect("a configuration");
        (config, notices.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_said_is_the_default() {
        let (config, notices) = interpret(&[]);
        assert_eq!(config, Config::default());
        assert_eq!(notices, [""; 0]);
        assert_eq!((config.workers.processes, config.workers.threads), (1, 1));
        assert_eq!((config.workers.max_requests, config.workers.min_worker_lifetime), (0, 10));
        assert_eq!((config.workers.worker_reload_mercy, config.workers.reload_mercy), (60, None));
        assert_eq!((config.workers.die_on_term, config.workers.need_app), (None, None));
        assert_eq!((config.sockets.buffer_size, config.sockets.vacuum), (32768, true));
        assert_eq!(config.keepalive(), Some(Duration::from_secs(75)));
        assert_eq!(config.head_timeout(), Duration::from_secs(60));
    }

    #[test]
    fn later_workers_may_answer_more_requests() {
        let (config, _) = interpret(&[("max-requests", "100"), ("max-requests-delta", "7")]);
        assert_eq!([1, 2, 4].map(|slot| config.max_requests_of(slot)), [100, 107, 121]);
        let (config, _) = interpret(&[("max-requests-delta", "7")]);
        assert_eq!(config.max_requests_of(3), 0);
    }

    #[test]
    fn the_last_scalar_wins_and_lists_grow() {
        let (config, _) = interpret(&[("processes", "2"), ("pp", "a"), ("workers", "4"), ("pythonpath", "b")]);
        assert_eq!(config.workers.processes, 4);
        assert_eq!(config.python.pythonpath, ["a", "b"].map(std::path::PathBuf::from));
        assert_eq!(config.origin("processes").map(ToString::to_string).as_deref(), Some("app.ini:3"));
        assert_eq!(config.origin("workers"), config.origin("processes"));
        assert_eq!(config.origin("threads"), None);
    }

    #[test]
    fn listeners_stand_in_the_order_in_which_they_were_said() {
        let (config, _) = interpret(&[("http11-socket", ":1"), ("http", ":2"), ("http-socket", "/s"), ("http", ":3")]);
        let seen: Vec<_> = config.listeners().iter().map(|one| (one.option, one.address.as_str())).collect();
        assert_eq!(seen, [("http11-socket", ":1"), ("http", ":2"), ("http-socket", "/s"), ("http", ":3")]);
        assert!(config.listeners().iter().all(|one| one.protocol == "http"));
        assert_eq!(config.listeners()[2].origin.to_string(), "app.ini:3");
    }

    #[test]
    fn protocol_is_that_of_plain_sockets() {
        let protocols = |lines: &[(&str, &str)]| -> Vec<(&str, &str)> {
            interpret(lines).0.listeners().iter().map(|one| (one.option, one.protocol)).collect()
        };
        let three = [("socket", ":1"), ("http-socket", ":2"), ("uwsgi-socket", ":3")];
        assert_eq!(protocols(&three), [("socket", "uwsgi"), ("http-socket", "http"), ("uwsgi-socket", "uwsgi")]);
        let named = [&three[..], &[("protocol", "http")]].concat();
        assert_eq!(protocols(&named), [("socket", "http"), ("http-socket", "http"), ("uwsgi-socket", "uwsgi")]);
        assert_eq!(protocols(&[("socket-protocol", "http11"), ("socket", "/s")]), [("socket", "http")]);
        for name in ["fastcgi", "fastcgi-nph", "scgi", "scgi-nph", "puwsgi"] {
            let (option, by_name) = (format!("{name}-socket"), [("protocol", name), ("socket", "/s")]);
            assert_eq!(protocols(&by_name), [("socket", name)]);
            assert_eq!(protocols(&[(&*option, "/s")]), [(&*option, name)]);
        }
    }

    #[test]
    fn an_odd_value_is_one_warning_with_its_place_and_an_error_under_strict() {
        let odd = ("max-requests", "1000 ; note");
        let (config, notices) = interpret(&[("master", "true"), odd]);
        assert_eq!(config.workers.max_requests, 1000);
        assert_eq!(notices, ["max-requests: \"1000 ; note\" is not a number; read as 1000 (app.ini:2)"]);
        for lines in [[("strict", "true"), odd], [odd, ("strict", "true")]] {
            let error = Config::interpret(said(&lines)).expect_err("strict").to_string();
            assert!(error.starts_with("max-requests: \"1000 ; note\" is not a number (app.ini:"), "{error}");
        }
        assert!(Config::interpret(said(&[odd, ("strict", "false")])).is_ok());
    }

    #[test]
    fn all_errors_are_told_at_once() {
        let error = Config::interpret(said(&[("processes", "true"), ("chmod-socket", "")])).expect_err("two errors");
        assert_eq!(error.lines().len(), 2);
        assert_eq!(error.lines()[0], "processes: \"true\" is not a number (app.ini:1)");
        assert_eq!(error.code(), 1);
    }

    #[test]
    fn processes_are_named_as_uwsgi_names_them() {
        let named = |lines: &[(&str, &str)]| {
            let config = interpret(lines).0;
            (config.process_name("master"), config.process_name("worker 1"))
        };
        let pair = |master: &str, worker: &str| (Some(master.to_owned()), Some(worker.to_owned()));
        assert_eq!(named(&[]), (None, None));
        assert_eq!(named(&[("auto-procname", "true")]), pair("uWSGI master", "uWSGI worker 1"));
        assert_eq!(named(&[("procname", "shop")]), pair("shop", "shop"));
        assert_eq!(named(&[("procname-master", "boss")]), pair("boss", "uWSGI worker 1"));
        assert_eq!(
            named(&[("procname-prefix", "a"), ("procname-append", "z")]),
            pair("auWSGI masterz", "auWSGI worker 1z")
        );
        let both = [("procname-prefix", "a"), ("procname-prefix-spaced", "shop:"), ("procname", "x")];
        assert_eq!(named(&both), pair("shop: x", "shop: x"));
    }

    #[test]
    fn what_is_for_workers_is_nothing_to_an_emperor() {
        let lines = [("emperor", "v"), ("processes", "2"), ("master", "true"), ("reload-mercy", "3"), ("module", "a")];
        let names: Vec<String> = interpret(&lines).0.for_workers().map(|said| said.name.clone()).collect();
        assert_eq!(names, ["processes", "module"]);
    }

    #[test]
    fn a_daemon_has_one_log() {
        let log =
            |lines: &[(&str, &str)]| interpret(lines).0.log_file().map(|(option, path)| format!("{option} {path}"));
        assert_eq!(log(&[]), None);
        assert_eq!(log(&[("logto", "a")]).as_deref(), Some("logto a"));
        assert_eq!(log(&[("logto", "a"), ("daemonize", "b")]).as_deref(), Some("daemonize b"));
        assert_eq!(log(&[("daemonize2", "c")]).as_deref(), Some("daemonize2 c"));
    }

    #[test]
    fn the_timeouts_of_a_head() {
        assert_eq!(interpret(&[("http-timeout", "75")]).0.head_timeout(), Duration::from_secs(75));
        let both = [("socket-timeout", "5"), ("http-timeout", "75")];
        assert_eq!(interpret(&both).0.head_timeout(), Duration::from_secs(5));
    }
}
