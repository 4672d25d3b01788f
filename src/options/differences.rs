//! Where an existing configuration gets something else here than from uWSGI 2.0, on purpose, and the option that brings
//! the old way back. Read by `guide`; nothing acts on it.

/// A difference.
pub struct Difference {
    /// What it is about.
    pub subject: &'static str,
    /// What uWSGI does.
    pub uwsgi: &'static str,
    /// What this server does.
    pub here: &'static str,
    /// The line that brings uWSGI's way back; empty where nothing does.
    pub back: &'static str,
}

impl Difference {
    /// Whether it is about this option.
    pub fn speaks_of(&self, option: &str) -> bool {
        let back = self.back.split(" = ").next() == Some(option);
        // `http = :8080` in backticks speaks of `http`.
        let mut marked = self.subject.split('`').skip(1).step_by(2);
        back || marked.any(|marked| marked.split(" = ").next() == Some(option))
    }
}

const fn differs(subject: &'static str, uwsgi: &'static str, here: &'static str, back: &'static str) -> Difference {
    Difference { subject, uwsgi, here, back }
}

/// How processes start, stop and reload.
const LIFE: &[Difference] = &[
    differs(
        "`SIGTERM`",
        "a reload that kills requests",
        "a graceful stop: requests in flight are finished, 60 s at most (`worker-reload-mercy`)",
        "die-on-term = false",
    ),
    differs(
        "`SIGINT`, `SIGQUIT`",
        "both stop at once",
        "`SIGINT` stops gracefully, a second one at once; `SIGQUIT` at once",
        "",
    ),
    differs(
        "`SIGHUP`",
        "all workers stop, the server starts again; a broken file ends it",
        "new workers beside the old ones, one by one; a broken file or application leaves the old ones serving",
        "",
    ),
    differs(
        "a reload where another executable is on the disk",
        "executes it; one that does not work ends the server",
        "tries it first, then executes it; one that does not work leaves the one that runs",
        "",
    ),
    differs(
        "an application that does not load",
        "the server starts and answers 500",
        "exit code 22; at a reload the old code goes on",
        "need-app = false",
    ),
    differs(
        "`daemonize`",
        "returns at once, with 0; the daemon has no umask",
        "returns when the first worker is ready, or with the code and the reason of a failure; the umask stays",
        "umask = 000",
    ),
    differs(
        "hooks: `hook-as-root`, `hook-as-user` and the like",
        "`as-user` only if root was dropped; both several times if it was not; again at each reload",
        "once, at the start; `as-user` always",
        "",
    ),
    differs(
        "a hook that fails in a worker: `hook-post-fork`, `hook-accepting`",
        "the instance ends",
        "the worker ends; a start or a reload fails, later it is replaced",
        "",
    ),
    differs(
        "`master-as-root`",
        "the application is loaded as root, workers become the user",
        "the zygote becomes the user before it loads the application",
        "drop-after-apps = true",
    ),
    differs(
        "`log-format`",
        "`json` is text; quotes in values break an object",
        "`json` is a format of its own; in a format that is an object, values are escaped",
        "",
    ),
    differs(
        "daemons: `attach-daemon` and its kin",
        "end before the workers; at a reload in any case",
        "end after the workers; are renewed when the new generation is complete, not if a reload fails",
        "",
    ),
    differs("`touch-reload`", "sees a later second", "sees any change of time, size or file", ""),
    differs(
        "`reload-on-fd`, once nobody can write there",
        "reloads without a pause",
        "tells it and watches no more",
        "",
    ),
    differs(
        "`harakiri`",
        "the worker is killed with all its requests",
        "the client gets 504, the stack is logged, other requests of the worker are finished",
        "",
    ),
    differs(
        "`stats`",
        "all variables of a request, cookies too; the socket is open to whom the umask lets in",
        "method, URI and address; mode 600",
        "chmod-socket = 660",
    ),
    differs(
        "`NOTIFY_SOCKET`, `WATCHDOG_USEC`",
        "passed on to the application",
        "for the master alone: the application is told nothing of them",
        "",
    ),
    differs(
        "a full listen queue",
        "told each second",
        "told at once, every 30 s while it lasts, and when it is over",
        "",
    ),
    differs("`py-tracebacker`", "a socket whose mode is that of the umask", "mode 600", "chmod-socket = 660"),
    differs(
        "`reload-on-rss` and its kin",
        "the worker ends after a request, then another one starts",
        "the other one is ready first, one at a time",
        "",
    ),
    differs(
        "`touch-chain-reload`, the letter `c`",
        "workers end one by one; new code only with `lazy-apps`",
        "a reload, as `touch-reload`: workers are always replaced one by one",
        "",
    ),
    differs("the loading of an application", "may take any time", "600 s at most", "load-timeout = 0"),
    differs("the master (`master`)", "only with `master`", "always there", ""),
    differs("interpreters (`single-interpreter`)", "one for each application", "one for each process", ""),
    differs(
        "threads of the application (`enable-threads`)",
        "stand still between requests without `enable-threads`",
        "always run",
        "",
    ),
    differs("`sys.executable`", "the server", "the interpreter of the virtual environment", ""),
    differs(
        "what a client sends, in request lines",
        "written as it is, line breaks included",
        "control characters are written as `\\x0a`",
        "",
    ),
    differs(
        "`log-x-forwarded-for`",
        "believes everybody",
        "believes unix sockets, loopback, private networks and `trusted-proxies`",
        "trusted-proxies = *",
    ),
    differs("`%(rss)`, `%(vsz)` in `log-format`", "0 without `memory-report`", "the memory of the worker", ""),
    differs(
        "memory sized by the limit of open files",
        "gigabytes where the limit is very high",
        "nothing is sized by it",
        "",
    ),
];

/// Sockets and connections.
const SOCKETS: &[Difference] = &[
    differs(
        "`http = :8080`",
        "a router process in front of the workers",
        "the workers themselves answer; a router does as soon as an option needs one",
        "http-router = true",
    ),
    differs(
        "a router without a backend for a request",
        "closes the connection",
        "503 with Retry-After; 502 and 504 where a backend does not answer as it should",
        "",
    ),
    differs(
        "several ways to find a backend (`http-to` beside `http-subscription-server` ...)",
        "the first one counts, the others do nothing",
        "the first one that has a backend for the request counts",
        "",
    ),
    differs(
        "a router at a reload, or one of its processes after a death",
        "knows nobody until instances announce themselves again",
        "is told by the former one, or by the others",
        "",
    ),
    differs("keep-alive of the HTTP router", "only with `http-keepalive`", "75 s", "http-keepalive = 0"),
    differs(
        "the queue of a backend is full",
        "the backend is marked as failed",
        "the request waits for room, up to `http-connect-timeout`",
        "",
    ),
    differs(
        "`http-socket`",
        "a connection for each request",
        "connections are kept, 75 s without a request",
        "http-keepalive = 0",
    ),
    differs(
        "`listen`",
        "100; more than the system allows ends the start",
        "1024; lowered to what the system allows, with a warning where more was asked for",
        "listen = 100",
    ),
    differs(
        "unix sockets",
        "the mode comes from the umask; a socket that is there is replaced",
        "0660 (an `umask` that is set counts); the live socket of another server is never taken over",
        "chmod-socket = 755",
    ),
    differs(
        "`enable-proxy-protocol`, `http-enable-proxy-protocol`",
        "read version 1 where it is there, from anybody",
        "read versions 1 and 2, from unix sockets, loopback, private networks and `trusted-proxies`; over HTTP, \
         connections without a header are closed",
        "",
    ),
    differs(
        "programs that the application starts",
        "get the connections and sockets of the server",
        "get none of them",
        "close-on-exec = false",
    ),
    differs("`vacuum`", "off", "on; removes only what this server made", "vacuum = false"),
    differs(
        "announcements to routers (`subscribe-to`)",
        "begin before the application is loaded; a stop closes the sockets at once",
        "begin when a worker accepts; a stop unsubscribes, and takes requests for 200 ms more",
        "",
    ),
    differs(
        "the announced address of a socket that is bound to all addresses",
        "as it is written: `:3031`",
        "for routers of other machines the address of this machine, and the first socket that speaks uwsgi",
        "",
    ),
    differs(
        "`subscription-algo`",
        "`wrr` gives a node all its turns in a row",
        "`wrr` spreads them out; `iphash` keeps clients where they are when other nodes come and go; `p2c`",
        "",
    ),
    differs("signed announcements", "can be played again when the node was forgotten", "are believed once", ""),
];

/// Requests.
const REQUESTS: &[Difference] = &[
    differs(
        "request heads",
        "up to 4 KiB, 64 KiB at most; larger ones close the connection",
        "up to 32 KiB, or what is set; above it 431 or 414, and the log names the option",
        "buffer-size = 4096",
    ),
    differs("malformed and slow requests over HTTP", "the connection is closed", "400, 408 and the like", ""),
    differs(
        "chunked request bodies",
        "only through `uwsgi.chunked_read()`",
        "`wsgi.input` streams them and `wsgi.input_terminated` is set",
        "",
    ),
    differs(
        "the scheme in `X-Forwarded-Proto` and `X-Forwarded-SSL`",
        "believed from anybody",
        "believed from unix sockets, loopback, private networks and `trusted-proxies`",
        "trusted-proxies = *",
    ),
    differs(
        "header names with `_` over HTTP",
        "the same variable as with `-`",
        "dropped; the first of each name is told",
        "underscore-headers = true",
    ),
    differs("the header `Proxy`", "becomes `HTTP_PROXY`", "dropped", ""),
    differs(
        "`UWSGI_FILE`, `UWSGI_SCRIPT`, `UWSGI_MODULE` and the like in a request",
        "load what they name: whoever reaches the socket runs code",
        "mean nothing",
        "",
    ),
];

/// Responses.
const RESPONSES: &[Difference] = &[
    differs(
        "header fields that the server adds",
        "none",
        "over HTTP `Date`, and `Connection` and `Transfer-Encoding` where they are needed; none over the uwsgi protocol",
        "",
    ),
    differs("an exception before any output", "the connection is closed without a byte", "500", ""),
    differs("a body above its `Content-Length`; a body with HEAD, 204 and 304", "sent as it is", "cut", ""),
    differs("CR, LF and NUL in the status or in fields", "sent as they are", "an exception in the application", ""),
    differs(
        "a client that is gone while it is written to",
        "an `OSError` in the log for each",
        "no line",
        "ignore-write-errors = false",
    ),
    differs(
        "static files: links out of the root, FIFOs and devices, names with `..` or an encoded slash",
        "the application answers",
        "404, and a line in the log",
        "",
    ),
    differs(
        "`Range` for a static file",
        "only with `honour-range`, and only the first one",
        "always, and up to 32 of them; with `ETag` and all conditions of RFC 9110",
        "honour-range = false",
    ),
    differs(
        "`static-gzip-all` and its kin",
        "the names in `Accept-Encoding` count, not their weights; no `Vary`",
        "weights count; files of Zstandard, too; `Vary`, and an `ETag` of their own",
        "static-encodings = br,gzip",
    ),
    differs(
        "`file-serve-mode`",
        "names the compressed file, and answers conditions itself",
        "the front end sees to both; odd characters of the path are escaped",
        "",
    ),
    differs(
        "`offload-threads`",
        "threads that send to slow clients",
        "threads that read what is not in memory; slow clients take none",
        "",
    ),
];

/// How the configuration is read.
const CONFIGURATION: &[Difference] = &[
    differs(
        "values that are not what the option wants, such as `max-requests = 1000 ; a note`",
        "read as far as they make sense, silently",
        "read the same way, with a warning that says as what; `strict` makes it an error",
        "",
    ),
    differs(
        "options that nobody knows",
        "accepted, silently",
        "accepted where a placeholder uses them; a warning with a suggestion otherwise; `strict` makes it an error",
        "",
    ),
    differs(
        "`for` and `if-env` without an end, files and placeholders that lead back to themselves, NUL bytes",
        "read as far as possible, or without end",
        "an error with file and line",
        "",
    ),
    differs(
        "YAML",
        "line by line, in the usual build: quotes stay, lists end the section",
        "as YAML; line by line only what is none, with a warning",
        "",
    ),
    differs(
        "a configuration from `http://`, `sym://`, LDAP, sqlite, Lua",
        "read",
        "refused; `exec://` runs a command",
        "",
    ),
    differs(
        "options that are not built here",
        "-",
        "a warning that says what follows; the server does not start where leaving the option out would open or change \
         something",
        "allow-missing = NAME",
    ),
];

/// Emperors and vassals.
const EMPEROR: &[Difference] = &[
    differs(
        "a vassal whose file goes, and vassals of an `emperor` that stops",
        "are stopped at once",
        "finish their requests, for `emperor-curse-tolerance` (30 s) or `reload-mercy` (30 s) at most",
        "emperor-graceful-shutdown = false",
    ),
    differs(
        "the stop byte of an `emperor`",
        "requests are killed",
        "requests are finished; a second one kills them",
        "",
    ),
    differs("an `emperor` that dies", "the kernel kills its vassals", "vassals finish their requests and stop", ""),
    differs(
        "a changed file of a vassal",
        "a later time, seen within `emperor-freq`",
        "another time or another content, told by the kernel; behind a link another file counts only with another content",
        "",
    ),
    differs("names of vassals that begin with a dot", "are vassals", "are passed over", ""),
    differs(
        "a vassal that keeps failing",
        "waits a second longer each time, whatever happens to its file",
        "waits twice as long each time; a changed file is tried at once",
        "",
    ),
    differs("lines of vassals in the log of their `emperor`", "as they are", "behind the name of the vassal", ""),
    differs(
        "sockets of `emperor-on-demand-extension` and its kin",
        "open to everybody",
        "mode 660, and the vassal's own under `emperor-tyrant`",
        "chmod-socket = 666",
    ),
    differs(
        "`emperor-tyrant`",
        "asks for an owner that is not root",
        "also that nobody else may write the file, its folders and links",
        "",
    ),
    differs("`emperor` = an unknown scheme", "a directory or a pattern", "an error", ""),
    differs("`SIGHUP` of an `emperor`", "all vassals reload", "its own configuration is read, too", ""),
];

/// All differences, under their headings.
pub const DIFFERENCES: &[(&str, &[Difference])] = &[
    ("Start, stop, reload", LIFE),
    ("Sockets and connections", SOCKETS),
    ("Requests", REQUESTS),
    ("Responses", RESPONSES),
    ("Configuration", CONFIGURATION),
    ("Emperor and vassals", EMPEROR),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::row;

    #[test]
    fn what_brings_the_old_way_back_works() {
        for difference in DIFFERENCES.iter().flat_map(|(_, differences)| differences.iter()) {
            let option = difference.back.split(" = ").next().unwrap_or_default();
            assert!(option.is_empty() || row(option).is_some(), "{option} is no option that works");
        }
    }

    #[test]
    fn a_cell_is_one_clause_without_bars() {
        for row in DIFFERENCES.iter().flat_map(|(_, differences)| differences.iter()) {
            for text in [row.subject, row.uwsgi, row.here, row.back] {
                assert!(!text.contains(['|', '\n']) && !text.ends_with('.') && !text.contains("  "), "{text}");
            }
            assert!(!row.subject.is_empty() && !row.uwsgi.is_empty() && !row.here.is_empty(), "{}", row.subject);
        }
    }
}
