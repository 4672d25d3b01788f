//! The table of the options that work: a row is the field, its default, how its value is read, its names in files, on
//! the command line and in the environment, and its line in `--help`. Nothing else has to be told about an option.
//!
//! `Config::interpret` and the command line read the rows. Options that are not built are rows of `absent`.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::directive::{Directive, Origin};
use crate::kind::{
    Address, Arg, Bytes, Count, Environ, Few, Flag, Keepalive, Kind, MaybeCount, MaybeFlag, MaybeSeconds, Mode, Mounts,
    OneOrMore, OptionalFlag, Patience, Protocol, Reading, Requests, Said, Seconds, Socket, Text, Texts, Umask,
};
use crate::kind_daemon::{Crons, Daemons, KeyedCrons, KeyedDaemons, SmartDaemons};
use crate::kind_emperor::{Namespaces, Places, Settings};
use crate::kind_hook::{Awaits, Commands, Hooks as Actions, MountHooks, TouchHooks, UmountHooks};
use crate::kind_language::{Acted, Mark, MaybeMark};
use crate::kind_log::{Collects, LogDate, LogFile, LogFormat, LogTarget, MaybeNumber, Prefix, ThreeDigits};
use crate::kind_logger::{Encoders, LinePatterns, LogSocket, Loggers, Routes, Syslog};
use crate::kind_path::{MorePaths, OnePath};
use crate::kind_privilege::{Capabilities, Limit};
use crate::kind_process::{Algorithm, FileAndText, Surge};
use crate::kind_router::{Door, Modifier, MostBytes, Pairs, ProxyVersion, SocketNumber};
use crate::kind_socket::{Fields, Mappings};
use crate::kind_static::{
    Encoding, Encodings, ExpiryOfPattern, ExpiryOfType, FileServing, Mapping, Paths, Patterns, ServedBy,
};
use crate::kind_subscription::{
    Balancer, DigestAndFolder, FlagWithValue, MaybeModifier, Subscribe, SubscribeByKeys, Uids,
};
use crate::kind_watch::Descriptors;
use crate::plugin::{NeedPlugins, Plugins};

/// An address on which the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The address, as it was written.
    pub address: String,
    /// The option that asked for it: `socket`, `http-socket` ...
    pub option: &'static str,
    /// The name of its protocol in `ruwsgi_wire::PROTOCOLS`.
    pub protocol: &'static str,
    /// The option names no protocol: the one of `protocol` counts.
    pub(crate) by_default: bool,
    /// Where it was said.
    pub origin: Origin,
}

/// A socket and the workers that serve it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Which listener, counted from 0.
    pub socket: usize,
    /// Which workers, counted from 1.
    pub workers: Vec<u32>,
}

/// A part of the address space that is served from the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMap {
    /// What the path of a request starts with.
    pub prefix: String,
    /// A directory, or a single file.
    pub path: String,
}

/// How long what some responses carry stays fresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// A regular expression, or a media type.
    pub of: String,
    /// So many seconds.
    pub seconds: u32,
}

/// A field of responses that is a variable of the request for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// The name of the field.
    pub header: String,
    /// The name of the variable.
    pub variable: String,
}

/// An application and where it is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The mountpoint, as it was written: it begins with `/` or is empty.
    pub point: String,
    /// The application: a file, or `module:callable`.
    pub app: String,
    /// It is a file.
    pub is_file: bool,
    /// Where it was said.
    pub origin: Origin,
}

/// An option that works.
pub struct Row {
    /// Its names; the first is the one that `--help` shows.
    pub names: &'static [&'static str],
    /// Its letter on the command line.
    #[cfg_attr(not(feature = "argv"), allow(dead_code, reason = "only the command line asks"))]
    pub short: Option<char>,
    /// Whether it takes a value on the command line.
    #[cfg_attr(not(feature = "argv"), allow(dead_code, reason = "only the command line asks"))]
    pub arg: Arg,
    /// What stands for the value in `--help`.
    #[cfg_attr(not(feature = "argv"), allow(dead_code, reason = "only the command line asks"))]
    pub hint: &'static str,
    /// The part of `--help` that shows it.
    #[cfg_attr(not(feature = "argv"), allow(dead_code, reason = "only the command line asks"))]
    pub heading: &'static str,
    /// Its line there.
    #[cfg_attr(not(feature = "argv"), allow(dead_code, reason = "only the command line asks"))]
    pub help: &'static str,
    /// What it takes, for those who gave it something else.
    pub takes: Option<&'static str>,
    /// Whether its value may be bytes that are no text.
    pub bytes: bool,
    /// How its value is read.
    #[cfg(test)]
    pub kind: &'static str,
    /// Reads a value into the configuration.
    pub set: fn(&mut Config, &Said<'_>) -> Reading,
}

/// Names that uWSGI does not know.
#[cfg(feature = "argv")]
pub const OURS: &[&str] = &[
    "trusted-proxies",
    "underscore-headers",
    "allow-missing",
    "help-all",
    "options-status",
    "request-queue",
    "request-queue-timeout",
    "response-buffer",
    "admin",
    "drain-delay",
    "load-timeout",
    "reload-surge",
    "reload-in-place",
    "warm-up",
    "no-new-privs",
    "rlimit-core",
    "rlimit-cpu",
    "rlimit-data",
    "rlimit-fsize",
    "rlimit-memlock",
    "rlimit-stack",
    "evil-reload-on-uss",
    "evil-reload-on-pss",
    "http-router",
    "rawrouter-proxy-protocol",
    "emperor-control",
    "static-fallback",
    "static-fallback-except",
    "static-encodings",
];

#[cfg(feature = "argv")]
impl Row {
    /// What it does, and its default: `run NUM worker processes [1]` in two. A flag is off unless it says otherwise.
    pub fn about(&self) -> (String, Option<&'static str>) {
        if let Some((text, rest)) = self.help.split_once(" [")
            && let Some((default, rest)) = rest.split_once(']')
            && (rest.is_empty() || rest.starts_with(';'))
        {
            return (format!("{text}{rest}"), default.split(':').next());
        }
        let is_on = self.help.contains("(on") || self.help.starts_with("always on");
        let default = if is_on { "on" } else { "off" };
        (self.help.to_owned(), (self.arg == Arg::None).then_some(default))
    }
}

/// The row that has this name.
pub fn row(name: &str) -> Option<(&'static Row, &'static str)> {
    INDEX.get_key_value(name).map(|(known, row)| (*row, *known))
}

static INDEX: LazyLock<HashMap<&'static str, &'static Row>> =
    LazyLock::new(|| ROWS.iter().flat_map(|row| row.names.iter().map(move |name| (*name, row))).collect());

macro_rules! options {
    ($(
        #[doc = $about:literal]
        pub struct $Group:ident: $heading:literal as $group:ident {
            $(
                #[doc = $help:literal]
                [$($name:literal),+] $(, $short:literal)? => $field:ident: $Kind:ident $(as $hint:literal)? $(= $default:expr)?;
            )*
        }
    )*) => {
        $(
            #[doc = $about]
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Group {
                $(
                    #[doc = $help]
                    #[doc = concat!("(", $("`", $name, "` ",)+ ")")]
                    pub $field: <$Kind as Kind>::Field,
                )*
            }

            impl Default for $Group {
                fn default() -> Self {
                    Self { $($field: options!(@first $({ $default })? { Default::default() }),)* }
                }
            }
        )*

        /// What was said and what it means.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct Config {
            $(
                #[doc = $about]
                pub $group: $Group,
            )*
            /// Where the HTTP router listens, if there is one.
            pub routed: Vec<Listener>,
            /// All that was said, in order, with placeholders filled in.
            pub directives: Vec<Directive>,
        }

        /// All options that work.
        pub static ROWS: &[Row] = &[$($(
            Row {
                names: &[$($name),+],
                short: options!(@first $({ Some($short) })? { None }),
                arg: <$Kind as Kind>::ARG,
                hint: options!(@first $({ $hint })? { <$Kind as Kind>::HINT }),
                heading: $heading,
                help: $help.trim_ascii_start(),
                takes: <$Kind as Kind>::TAKES,
                bytes: <$Kind as Kind>::BYTES,
                #[cfg(test)]
                kind: stringify!($Kind),
                set: |config, said| <$Kind as Kind>::read(&mut config.$group.$field, said),
            },
        )*)*];
    };
    (@first { $first:expr } $({ $other:expr })?) => { $first };
}

options! {
    /// How many workers run, and how they live and die.
    pub struct Workers: "Workers" as workers {
        /// run NUM worker processes [1]
        ["processes", "workers"], 'p' => processes: Count = 1;
        /// run NUM requests at a time in each worker [1]
        ["threads"] => threads: OneOrMore = 1;
        /// load the application in each worker, not once before them
        ["lazy-apps"] => lazy_apps: Flag;
        /// the same as lazy-apps
        ["lazy"] => lazy: Flag;
        /// replace a worker after NUM requests [0: never]
        ["max-requests"], 'R' => max_requests: Requests;
        /// so many requests more for each worker behind the first
        ["max-requests-delta"] => max_requests_delta: Requests;
        /// replace a worker at this age [0: never]
        ["max-worker-lifetime"] => max_worker_lifetime: Seconds;
        /// so much later for each worker behind the first
        ["max-worker-lifetime-delta"] => max_worker_lifetime_delta: Seconds;
        /// replace a worker with so many MiB of addresses
        ["reload-on-as"] => reload_on_as: Requests as "MIB";
        /// replace a worker with so many MiB resident
        ["reload-on-rss"] => reload_on_rss: Requests as "MIB";
        /// replace a worker with so many MiB of its own
        ["reload-on-uss"] => reload_on_uss: Requests as "MIB";
        /// replace a worker with so many MiB, shared ones in part
        ["reload-on-pss"] => reload_on_pss: Requests as "MIB";
        /// kill a worker with so many MiB of addresses
        ["evil-reload-on-as"] => evil_reload_on_as: Requests as "MIB";
        /// kill a worker with so many MiB resident
        ["evil-reload-on-rss"] => evil_reload_on_rss: Requests as "MIB";
        /// kill a worker with so many MiB of its own
        ["evil-reload-on-uss"] => evil_reload_on_uss: Requests as "MIB";
        /// kill a worker with so many MiB, shared ones in part
        ["evil-reload-on-pss"] => evil_reload_on_pss: Requests as "MIB";
        /// how often memory is looked at [3]
        ["mem-collector-freq"] => mem_collector_freq: OneOrMore as "SECONDS" = 3;
        /// don't replace a worker for max-requests before this age [10]
        ["min-worker-lifetime"] => min_worker_lifetime: Seconds = 10;
        /// kill a worker that needs longer for a request [0: never]
        ["harakiri"], 't' => harakiri: Seconds;
        /// say in the log what the kernel knows of the thread, too
        ["harakiri-verbose"] => harakiri_verbose: Flag;
        /// send a signal first, and kill only after so long
        ["harakiri-graceful-timeout"] => harakiri_graceful_timeout: Seconds;
        /// this signal [15]
        ["harakiri-graceful-signal"] => harakiri_graceful_signal: Few as "NUM" = 15;
        /// only where at least NUM connections wait
        ["harakiri-queue-threshold"] => harakiri_queue_threshold: Few;
        /// the longest time that loading the application may take; 0: any [600]
        ["load-timeout"] => load_timeout: Seconds = 600;
        /// replace so many workers at a time at a reload, or all [1]
        ["reload-surge"] => reload_surge: Surge = 1;
        /// end the former workers before new ones begin
        ["reload-in-place"] => reload_in_place: Flag;
        /// keep serving for so long after a stop is ordered; /readyz says no
        ["drain-delay"] => drain_delay: Seconds;
        /// answer this path once before workers are forked
        ["warm-up"] => warm_up: Paths as "/PATH";
        /// how long a worker may finish its requests at a reload or stop [60]
        ["worker-reload-mercy"] => worker_reload_mercy: Seconds = 60;
        /// how long all of them together may
        ["reload-mercy"] => reload_mercy: MaybeSeconds;
        /// stop where a reload is asked for
        ["exit-on-reload"] => exit_on_reload: Flag;
        /// reload when this file changes
        ["touch-reload", "touch-chain-reload"] => touch_reload: Paths as "FILE";
        /// replace the workers by others of the same code when this file changes
        ["touch-workers-reload"] => touch_workers_reload: Paths as "FILE";
        /// reload when this file or directory changes
        ["fs-reload"] => fs_reload: Paths as "PATH";
        /// the same, and kill requests in flight
        ["fs-brutal-reload"] => fs_brutal_reload: Paths as "PATH";
        /// reload when something can be read from this descriptor
        ["reload-on-fd"] => reload_on_fd: Descriptors;
        /// the same, and kill requests in flight
        ["brutal-reload-on-fd"] => brutal_reload_on_fd: Descriptors;
        /// run this command when the file changes
        ["touch-exec"] => touch_exec: FileAndText as "FILE COMMAND";
        /// SIGTERM stops the server (on; false: it reloads, as in uWSGI)
        ["die-on-term"] => die_on_term: MaybeFlag;
        /// no start without an application; false: start even if it fails to load
        ["need-app"] => need_app: OptionalFlag;
        /// so many locks more for uwsgi.lock(NUM) [0]
        ["locks"] => locks: Few;
        /// always on: threads of the application run all the time
        ["enable-threads"], 'T' => enable_threads: Flag = true;
        /// not needed: a connection wakes one worker only
        ["thunder-lock"] => thunder_lock: Flag;
        /// always on: there is always a master
        ["master"], 'M' => master: Flag = true;
        /// always on: no worker outlives its master
        ["no-orphans"] => no_orphans: Flag = true;
        /// always on: one interpreter in each process
        ["single-interpreter"], 'i' => single_interpreter: Flag = true;
    }

    /// Where the server listens, and how it treats connections.
    pub struct Sockets: "Sockets" as sockets {
        /// serve there for nginx and other front ends, in the uwsgi protocol
        ["socket", "uwsgi-socket"], 's' => fronted: Socket;
        /// the same, with packet after packet on a connection
        ["puwsgi-socket"] => persistent: Socket;
        /// serve there for front ends, in FastCGI
        ["fastcgi-socket", "fastcgi-nph-socket"] => fastcgi: Socket;
        /// serve there for front ends, in SCGI
        ["scgi-socket", "scgi-nph-socket"] => scgi: Socket;
        /// the protocol of socket: uwsgi, http, fastcgi or scgi [uwsgi]
        ["protocol", "socket-protocol"] => protocol: Protocol = "uwsgi";
        /// serve HTTP there: host:port, /path or @name
        ["http-socket", "http", "http11-socket", "httprouter"] => listeners: Address;
        /// bind this before the privileges are dropped, for =NUM
        ["shared-socket", "undeferred-shared-socket"] => shared_socket: Texts as "ADDRESS";
        /// only these workers serve this socket, counted from 0
        ["map-socket"] => map_socket: Mappings;
        /// standard input is no socket to listen on, even if it is one
        ["skip-zero"] => skip_zero: Flag;
        /// others may listen at the same addresses (SO_REUSEPORT)
        ["reuse-port"] => reuse_port: Flag;
        /// bind addresses that are not there yet
        ["freebind"] => freebind: Flag;
        /// let so many clients send data with their first packet
        ["tcp-fast-open", "tcp-fastopen"] => tcp_fast_open: Requests as "NUM";
        /// ask silent peers whether they are still there
        ["so-keepalive"] => so_keepalive: Flag;
        /// the room of a connection for what is sent
        ["socket-sndbuf"] => socket_sndbuf: Requests as "BYTES";
        /// the room of a connection for what is received
        ["socket-rcvbuf"] => socket_rcvbuf: Requests as "BYTES";
        /// always on: small packets are not held back
        ["tcp-nodelay"] => tcp_nodelay: Flag = true;
        /// how many connections may wait to be accepted [1024]
        ["listen"], 'l' => listen: MaybeCount;
        /// the permissions of unix sockets, such as 660
        ["chmod-socket", "chmod"], 'C' => chmod_socket: Mode;
        /// who owns unix sockets, by names or numbers
        ["chown-socket"] => chown_socket: Text as "USER:GROUP";
        /// unix sockets are abstract names, not files
        ["abstract-socket"], 'a' => abstract_socket: Flag;
        /// the largest request head [32768]
        ["buffer-size"], 'b' => buffer_size: Bytes = 32 * 1024;
        /// how long a client may keep a request or response waiting [60]
        ["socket-timeout"], 'z' => socket_timeout: Patience;
        /// the same, where socket-timeout says nothing
        ["http-timeout"] => http_timeout: Patience;
        /// how long an idle connection stays open [75]; 0: one request each
        ["http-keepalive"] => http_keepalive: Keepalive;
        /// refuse request bodies above NUM bytes [0: none]
        ["limit-post"] => limit_post: Requests as "BYTES";
        /// so many requests may wait for the application, then 503; 0: any number [1024]
        ["request-queue"] => request_queue: Requests = 1024;
        /// how long a request may wait for the application, then 503; 0: no limit [60]
        ["request-queue-timeout"] => request_queue_timeout: Seconds = 60;
        /// how much of a response may wait for a slow client in memory [1048576]
        ["response-buffer"] => response_buffer: Bytes = 1024 * 1024;
        /// receive whole bodies first, large ones into a file [0: no]
        ["post-buffering"] => post_buffering: Requests as "BYTES";
        /// remove the unix sockets and the pidfile at the end (on)
        ["vacuum"] => vacuum: Flag = true;
        /// no line for a client that is gone before its response is out (on)
        ["ignore-write-errors"] => ignore_write_errors: Flag = true;
        /// the same (on)
        ["ignore-sigpipe"] => ignore_sigpipe: Flag = true;
        /// accept who says nothing at once, not a second later
        ["no-defer-accept"] => no_defer_accept: Flag;
        /// believe X-Forwarded-Proto and Forwarded from there; * is everybody
        ["trusted-proxies"] => trusted_proxies: Texts as "NETWORK";
        /// add this field to all responses
        ["add-header"] => add_header: Fields;
        /// leave this field out of all responses
        ["rem-header", "del-header"] => rem_header: Texts as "NAME";
        /// always on: a response without a length is sent in chunks
        ["http-auto-chunked"] => http_auto_chunked: Flag = true;
        /// always on: wsgi.input reads bodies that come in chunks
        ["http-chunked-input", "http-raw-body"] => http_chunked_input: Flag = true;
        /// HTTP sockets but those of http: a load balancer says who the client is
        ["enable-proxy-protocol"] => enable_proxy_protocol: Flag;
        /// the same for http
        ["http-enable-proxy-protocol"] => http_enable_proxy_protocol: OptionalFlag;
        /// accept header names with an underscore
        ["underscore-headers"] => underscore_headers: Flag;
    }

    /// The router of HTTP.
    pub struct HttpRouter: "HTTP router" as http {
        /// let a router process serve http; any option that needs one does
        ["http-router"] => router: OptionalFlag;
        /// run NUM processes of it [1]
        ["http-processes", "http-workers"] => processes: OneOrMore = 1;
        /// send requests there: ADDRESS, or http://, puwsgi://, fastcgi:// or scgi:// before it
        ["http-to"] => to: Texts as "NODE";
        /// send what finds no backend there
        ["http-fallback"] => fallback: Texts as "NODE";
        /// the backend of a key: this address, with %s for the key
        ["http-use-pattern"] => pattern: Text as "ADDRESS";
        /// the backend of a key: this, and the key behind it
        ["http-use-base"] => base: Text as "PREFIX";
        /// send requests to the Nth socket of this instance
        ["http-use-socket"] => socket: SocketNumber;
        /// let instances announce themselves there (subscribe-to)
        ["http-subscription-server"] => subscription_servers: Texts as "ADDRESS";
        /// let nobody in while no instance has announced itself
        ["http-cheap"] => cheap: Flag;
        /// the key of what no instance has announced
        ["http-subscription-fallback-key"] => fallback_key: Text as "KEY";
        /// how long a backend that failed is left alone [30]
        ["http-gracetime"] => grace: Seconds = 30;
        /// take NUM events at a time [64]
        ["http-events"] => events: OneOrMore = 64;
        /// 1: no line for a backend that fails
        ["http-quiet"] => quiet: Few;
        /// tell its statistics in JSON there
        ["http-stats", "http-stats-server", "http-ss"] => stats: Text as "ADDRESS";
        /// run it as this user
        ["http-uid"] => uid: Text as "USER";
        /// run it as this group
        ["http-gid"] => gid: Text as "GROUP";
        /// the largest request head [buffer-size]
        ["http-buffer-size"] => buffer_size: Requests as "BYTES";
        /// how long a client may take for a request head [http-timeout]
        ["http-headers-timeout"] => headers_timeout: Patience;
        /// how long a backend may take to be connected to [http-timeout]
        ["http-connect-timeout"] => connect_timeout: Patience;
        /// add this variable to requests
        ["http-var"] => vars: Pairs;
        /// 1: SERVER_NAME is what Host says
        ["http-server-name-as-http-host"] => server_name_as_host: Few;
        /// the kind of packet that backends get [0]
        ["http-modifier1"] => modifier1: Modifier;
        /// its second number [0]
        ["http-modifier2"] => modifier2: Modifier;
        /// 100 Continue is sent anyway; NUM: no body above so many bytes
        ["http-manage-expect"] => manage_expect: MostBytes;
        /// receive whole bodies before a backend is asked, above so many bytes in a file
        ["http-post-buffering"] => post_buffering: Requests as "BYTES";
        /// speak HTTP with backends, not uwsgi
        ["http-backend-http"] => backend_http: Flag;
        /// always on: a connection that becomes a websocket is passed through
        ["http-websockets"] => websockets: Flag = true;
    }

    /// The router of uwsgi packets.
    pub struct FastRouter: "fastrouter" as fastrouter {
        /// route uwsgi packets that come there
        ["fastrouter"] => addresses: Door;
        /// run NUM processes of it [1]
        ["fastrouter-processes", "fastrouter-workers"] => processes: OneOrMore = 1;
        /// send requests there: ADDRESS, or http://, puwsgi://, fastcgi:// or scgi:// before it
        ["fastrouter-to"] => to: Texts as "NODE";
        /// send what finds no backend there
        ["fastrouter-fallback"] => fallback: Texts as "NODE";
        /// the backend of a key: this address, with %s for the key
        ["fastrouter-use-pattern"] => pattern: Text as "ADDRESS";
        /// the backend of a key: this, and the key behind it
        ["fastrouter-use-base"] => base: Text as "PREFIX";
        /// send requests to the Nth socket of this instance
        ["fastrouter-use-socket"] => socket: SocketNumber;
        /// let instances announce themselves there (subscribe-to)
        ["fastrouter-subscription-server"] => subscription_servers: Texts as "ADDRESS";
        /// let nobody in while no instance has announced itself
        ["fastrouter-cheap"] => cheap: Flag;
        /// the key of what no instance has announced
        ["fastrouter-subscription-fallback-key"] => fallback_key: Text as "KEY";
        /// how long a backend that failed is left alone [30]
        ["fastrouter-gracetime"] => grace: Seconds = 30;
        /// take NUM events at a time [64]
        ["fastrouter-events"] => events: OneOrMore = 64;
        /// 1: no line for a backend that fails
        ["fastrouter-quiet"] => quiet: Few;
        /// tell its statistics in JSON there
        ["fastrouter-stats", "fastrouter-stats-server", "fastrouter-ss"] => stats: Text as "ADDRESS";
        /// the same, also for what says no key
        ["fastrouter-fallback-on-no-key"] => fallback_on_no_key: Flag;
        /// the key of all requests
        ["fastrouter-force-key"] => force_key: Text as "KEY";
        /// run it as this user
        ["fastrouter-uid"] => uid: Text as "USER";
        /// run it as this group
        ["fastrouter-gid"] => gid: Text as "GROUP";
        /// the largest packet [65535]
        ["fastrouter-buffer-size"] => buffer_size: Requests as "BYTES";
        /// how long a client or backend may keep it waiting [60]
        ["fastrouter-timeout"] => timeout: Patience;
        /// ask so many other backends where one fails [3]
        ["fastrouter-max-retries"] => max_retries: Few = 3;
        /// receive whole bodies before a backend is asked, above so many bytes in a file
        ["fastrouter-post-buffering"] => post_buffering: Requests as "BYTES";
    }

    /// The router of bytes.
    pub struct RawRouter: "rawrouter" as rawrouter {
        /// pass on the bytes of connections that come there
        ["rawrouter"] => addresses: Door;
        /// run NUM processes of it [1]
        ["rawrouter-processes", "rawrouter-workers"] => processes: OneOrMore = 1;
        /// send requests there: ADDRESS, or http://, fastcgi:// or scgi:// before it
        ["rawrouter-to"] => to: Texts as "NODE";
        /// send what finds no backend there
        ["rawrouter-fallback"] => fallback: Texts as "NODE";
        /// the backend of a key: this address, with %s for the key
        ["rawrouter-use-pattern"] => pattern: Text as "ADDRESS";
        /// the backend of a key: this, and the key behind it
        ["rawrouter-use-base"] => base: Text as "PREFIX";
        /// send requests to the Nth socket of this instance
        ["rawrouter-use-socket"] => socket: SocketNumber;
        /// let instances announce themselves there (subscribe-to)
        ["rawrouter-subscription-server"] => subscription_servers: Texts as "ADDRESS";
        /// let nobody in while no instance has announced itself
        ["rawrouter-cheap"] => cheap: Flag;
        /// how long a backend that failed is left alone [30]
        ["rawrouter-gracetime"] => grace: Seconds = 30;
        /// take NUM events at a time [64]
        ["rawrouter-events"] => events: OneOrMore = 64;
        /// 1: no line for a backend that fails
        ["rawrouter-quiet"] => quiet: Few;
        /// tell its statistics in JSON there
        ["rawrouter-stats", "rawrouter-stats-server", "rawrouter-ss"] => stats: Text as "ADDRESS";
        /// how long both sides may be silent [60]
        ["rawrouter-timeout"] => timeout: Patience;
        /// ask so many other backends where one fails [3]
        ["rawrouter-max-retries"] => max_retries: Few = 3;
        /// so many bytes may wait for each side [65536]
        ["rawrouter-buffer-size"] => buffer_size: Requests as "BYTES" = 65_536;
        /// tell an SMTP server who its client is (XCLIENT)
        ["rawrouter-xclient"] => xclient: Flag;
        /// tell backends who their client is, in this version of the PROXY protocol: 1 or 2
        ["rawrouter-proxy-protocol"] => proxy_protocol: ProxyVersion;
    }

    /// The process: who it is and what surrounds it.
    pub struct Process: "Process" as process {
        /// run as this user, by name or number
        ["uid"] => uid: Text as "USER";
        /// run as this group, by name or number
        ["gid"] => gid: Text as "GROUP";
        /// the process is in this group too; of several, in these and no others
        ["add-gid"] => add_gid: Texts as "GROUP";
        /// not in the other groups of the user
        ["no-initgroups"] => no_initgroups: Flag;
        /// become this user before anything else
        ["immediate-uid"] => immediate_uid: Text as "USER";
        /// become this group before anything else
        ["immediate-gid"] => immediate_gid: Text as "GROUP";
        /// the master stays root; the zygote becomes the user before it loads the application
        ["master-as-root"] => master_as_root: Flag;
        /// sockets are bound as root
        ["drop-after-init"] => drop_after_init: Flag;
        /// the application is loaded as root
        ["drop-after-apps"] => drop_after_apps: Flag;
        /// of the powers of root, keep these: net_bind_service,chown
        ["cap"] => cap: Capabilities;
        /// sudo and other setuid programs give nobody anything
        ["no-new-privs"] => no_new_privs: Flag;
        /// this folder is all that there is
        ["chroot"] => chroot: OnePath as "DIR";
        /// a worker has at most so many MiB of addresses
        ["limit-as"] => limit_as: Requests as "MIB";
        /// the user has at most so many processes
        ["limit-nproc"] => limit_nproc: Requests as "NUM";
        /// the size of a file that a crash leaves
        ["rlimit-core"] => rlimit_core: Limit;
        /// seconds of the processor for a worker
        ["rlimit-cpu"] => rlimit_cpu: Limit;
        /// bytes of the data segment of a worker
        ["rlimit-data"] => rlimit_data: Limit;
        /// bytes of a file that a worker writes
        ["rlimit-fsize"] => rlimit_fsize: Limit;
        /// bytes of memory that a worker may lock
        ["rlimit-memlock"] => rlimit_memlock: Limit;
        /// bytes of the stack of a worker
        ["rlimit-stack"] => rlimit_stack: Limit;
        /// each worker runs on NUM processors of its own, as far as there are enough
        ["cpu-affinity"] => cpu_affinity: Few as "NUM";
        /// the mask of permissions for new files, such as 022
        ["umask"] => umask: Umask;
        /// how many files a process may have open; otherwise as it was started
        ["max-fd"] => max_fd: MaybeCount;
        /// go to this directory before the application is loaded
        ["chdir"] => chdir: OnePath as "DIR";
        /// write the pid of the master to this file
        ["pidfile"] => pidfile: OnePath as "FILE";
        /// the same, after the privileges are dropped
        ["pidfile2"] => pidfile2: OnePath as "FILE";
        /// the same, when the first worker is ready
        ["safe-pidfile"] => safe_pidfile: OnePath as "FILE";
        /// the same
        ["safe-pidfile2"] => safe_pidfile2: OnePath as "FILE";
        /// take orders from this FIFO: r to reload, q to stop and more
        ["master-fifo"] => master_fifo: Paths as "FILE";
        /// what uwsgi.mode is for the application
        ["mode"] => mode: Text;
        /// set a variable of the environment; without = it is removed
        ["env"] => env: Environ;
        /// programs that the application starts do not get its connections (on)
        ["close-on-exec"] => close_on_exec: Flag = true;
        /// nor its listening sockets (on)
        ["close-on-exec2"] => close_on_exec2: Flag = true;
        /// the application may read the standard input of the server
        ["honour-stdin"] => honour_stdin: Flag;
        /// the executable that a reload becomes, where it is not the one that runs
        ["binary-path"] => binary_path: Text as "FILE";
        /// run in the background, and log to this file
        ["daemonize"], 'd' => daemonize: LogFile;
        /// the same, and show the log of the start
        ["daemonize2"] => daemonize2: LogFile;
        /// show in ps what each process is: uWSGI worker 1
        ["auto-procname"] => auto_procname: Flag;
        /// show this in ps for all processes
        ["procname"] => procname: Text as "NAME";
        /// show this in ps for the master
        ["procname-master"] => procname_master: Text as "NAME";
        /// show this in front of it
        ["procname-prefix", "procname-prefix-spaced"] => procname_prefix: Prefix;
        /// show this behind it
        ["procname-append"] => procname_append: Text as "TEXT";
    }

    /// What processes do on their way, besides their work.
    pub struct Hooks: "Hooks, daemons, jobs" as hooks {
        /// do this as soon as the configuration was read
        ["hook-asap"] => hook_asap: Actions;
        /// mount this as soon as the configuration was read
        ["mount-asap"] => mount_asap: MountHooks;
        /// unmount this as soon as the configuration was read
        ["umount-asap"] => umount_asap: UmountHooks;
        /// run this command as soon as the configuration was read
        ["exec-asap"] => exec_asap: Commands;
        /// do this before the privileges are dropped and chroot
        ["hook-pre-jail"] => hook_pre_jail: Actions;
        /// mount this before the privileges are dropped and chroot
        ["mount-pre-jail"] => mount_pre_jail: MountHooks;
        /// unmount this before the privileges are dropped and chroot
        ["umount-pre-jail"] => umount_pre_jail: UmountHooks;
        /// run this command before the privileges are dropped and chroot
        ["exec-pre-jail"] => exec_pre_jail: Commands;
        /// do this after that
        ["hook-in-jail"] => hook_in_jail: Actions;
        /// mount this after that
        ["mount-in-jail"] => mount_in_jail: MountHooks;
        /// unmount this after that
        ["umount-in-jail"] => umount_in_jail: UmountHooks;
        /// run this command after that
        ["exec-in-jail"] => exec_in_jail: Commands;
        /// do this as root, right before the privileges are dropped
        ["hook-as-root"] => hook_as_root: Actions;
        /// mount this as root, right before the privileges are dropped
        ["mount-as-root"] => mount_as_root: MountHooks;
        /// unmount this as root, right before the privileges are dropped
        ["umount-as-root"] => umount_as_root: UmountHooks;
        /// run this command as root, right before the privileges are dropped
        ["exec-as-root"] => exec_as_root: Commands;
        /// do this right after the privileges were dropped
        ["hook-as-user"] => hook_as_user: Actions;
        /// run this command right after the privileges were dropped
        ["exec-as-user"] => exec_as_user: Commands;
        /// do this when the instance ends
        ["hook-as-user-atexit"] => hook_as_user_atexit: Actions;
        /// run this command when the instance ends
        ["exec-as-user-atexit"] => exec_as_user_atexit: Commands;
        /// do this before the application is loaded
        ["hook-pre-app"] => hook_pre_app: Actions;
        /// run this command before the application is loaded
        ["exec-pre-app"] => exec_pre_app: Commands;
        /// do this after the application was loaded
        ["hook-post-app"] => hook_post_app: Actions;
        /// run this command after the application was loaded
        ["exec-post-app"] => exec_post_app: Commands;
        /// do this in each worker, as soon as it is there
        ["hook-post-fork"] => hook_post_fork: Actions;
        /// do this in each worker, before it accepts
        ["hook-accepting"] => hook_accepting: Actions;
        /// do this in the first worker, before it accepts
        ["hook-accepting1"] => hook_accepting1: Actions;
        /// do this in each worker, before it accepts, unless it replaces one
        ["hook-accepting-once"] => hook_accepting_once: Actions;
        /// do this in the first worker, before it accepts, unless it replaces one
        ["hook-accepting1-once"] => hook_accepting1_once: Actions;
        /// do this when the master begins its work
        ["hook-master-start"] => hook_master_start: Actions;
        /// do this whenever a file is touched
        ["hook-touch"] => hook_touch: TouchHooks;
        /// run this program beside the workers; it stays in the foreground
        ["attach-daemon"] => attach_daemon: Daemons;
        /// the same; when it ends, so does the instance
        ["attach-control-daemon"] => attach_control_daemon: Daemons;
        /// run this program, which goes into the background
        ["smart-attach-daemon"] => smart_attach_daemon: SmartDaemons;
        /// the same, and it stays in the foreground
        ["smart-attach-daemon2"] => smart_attach_daemon2: SmartDaemons;
        /// a program with keys: command, pidfile, control, stopsignal and more
        ["attach-daemon2"] => attach_daemon2: KeyedDaemons;
        /// these programs may read the standard input of the server
        ["daemons-honour-stdin"] => daemons_honour_stdin: Flag;
        /// run this command at these times
        ["cron"] => cron: Crons;
        /// the same, but not while it still runs
        ["unique-cron"] => unique_cron: Crons;
        /// the same with keys: minute, hour, day, month, week, unique, harakiri
        ["cron2"] => cron2: KeyedCrons;
        /// kill such a command after so many seconds
        ["cron-harakiri"] => cron_harakiri: Seconds;
        /// wait until this is there
        ["wait-for-fs"] => wait_for_fs: Awaits;
        /// wait until this is a file
        ["wait-for-file"] => wait_for_file: Awaits;
        /// wait until this is a folder
        ["wait-for-dir"] => wait_for_dir: Awaits;
        /// for at most so many seconds [60]
        ["wait-for-fs-timeout"] => wait_for_fs_timeout: OneOrMore as "SECONDS" = 60;
        /// wait until somebody accepts connections here
        ["wait-for-socket"] => wait_for_socket: Awaits as "ADDRESS";
        /// for at most so many seconds [60]
        ["wait-for-socket-timeout"] => wait_for_socket_timeout: OneOrMore as "SECONDS" = 60;
    }

    /// The application and its interpreter.
    pub struct Python: "Python" as python {
        /// load this module: package.module or package.module:callable
        ["module", "wsgi"], 'w' => module: Text as "MODULE";
        /// load this file
        ["wsgi-file", "file"] => wsgi_file: Text as "FILE";
        /// the name of the application in it [application]
        ["callable"] => callable: Text as "NAME";
        /// load this application too: /path=FILE or /path=module:callable
        ["mount"] => mounts: Mounts;
        /// choose the application by the path; its mount becomes SCRIPT_NAME
        ["manage-script-name"] => manage_script_name: Flag;
        /// what no mount matches is answered with 500
        ["no-default-app"] => no_default_app: Flag;
        /// import this module or file first
        ["import", "pyimport", "py-import", "python-import"] => imports: Texts as "MODULE";
        /// the words of sys.argv behind the first one
        ["pyargv"] => pyargv: Text as "WORDS";
        /// answer with the traceback (for tests only: it tells everybody)
        ["catch-exceptions"] => catch_exceptions: Flag;
        /// write() raises nothing when the client is gone
        ["disable-write-exception"] => disable_write_exception: Flag;
        /// go on with a response until more than NUM pieces could not be sent [0]
        ["write-errors-tolerance"] => write_errors_tolerance: Requests;
        /// a client that is gone ends no response: write() raises, and that is all
        ["write-errors-exception-only"] => write_errors_exception_only: Flag;
        /// pieces of a body may be arrays, bytearrays and the like
        ["wsgi-accept-buffer", "wsgi-accept-buffers"] => accept_buffers: Flag;
        /// give the application no wsgi.file_wrapper
        ["wsgi-disable-file-wrapper"] => disable_file_wrapper: Flag;
        /// always on: wsgi.input reads chunked bodies to their end
        ["wsgi-manage-chunked-input"] => manage_chunked_input: Flag = true;
        /// search modules in this directory too
        ["pythonpath", "python-path", "pp"] => pythonpath: MorePaths as "DIR";
        /// always on: the hooks of Python run around each fork
        ["py-call-uwsgi-fork-hooks", "py-call-osafterfork"] => fork_hooks: Flag = true;
        /// use this virtual environment
        ["virtualenv", "home", "venv", "pyhome"], 'H' => home: OnePath as "DIR";
        /// reload changed code
        ["py-auto-reload", "py-autoreload", "python-auto-reload", "python-autoreload"] => auto_reload: Seconds as "SEC";
        /// tell where the threads of a worker are, at this unix socket with its number behind
        ["py-tracebacker"] => tracebacker: Text as "ADDRESS";
        /// don't look at this module for py-auto-reload
        ["py-auto-reload-ignore"] => auto_reload_ignore: Texts as "MODULE";
        /// accepted: python, http and the like are built in
        ["plugins", "plugin"] => plugins: Plugins;
        /// the same, and don't start without one of them
        ["need-plugins", "need-plugin"] => need_plugins: NeedPlugins;
        /// look for the server's own Python module there, too
        ["plugins-dir", "plugin-dir"] => plugins_dir: Paths as "DIR";
    }

    /// Files that are served without the application.
    pub struct StaticFiles: "Static files" as static_files {
        /// serve what is in this directory
        ["check-static", "static-check"] => check_static: Paths as "DIR";
        /// serve this directory or file under a prefix
        ["static-map"] => static_map: Mapping;
        /// the same, with the prefix as a part of the file's path
        ["static-map2"] => static_map2: Mapping;
        /// serve this file of a directory that is asked for
        ["static-index"] => static_index: Paths as "FILE";
        /// leave names that end so to the application
        ["static-skip-ext"] => static_skip_ext: Paths as "SUFFIX";
        /// links may lead into this directory
        ["static-safe"] => static_safe: Paths as "DIR";
        /// serve what is in the directory that the front end says, DOCUMENT_ROOT
        ["check-static-docroot"] => check_static_docroot: Flag;
        /// answer pages below PREFIX that have no file with this one
        ["static-fallback"] => static_fallback: Mapping;
        /// but not below this prefix
        ["static-fallback-except"] => static_fallback_except: Paths as "PREFIX";
        /// send compressed files beside those whose path matches
        ["static-gzip"] => static_gzip: Patterns;
        /// send compressed files beside all of them
        ["static-gzip-all"] => static_gzip_all: Flag;
        /// send compressed files beside those whose path starts so
        ["static-gzip-dir", "static-gzip-prefix"] => static_gzip_dir: Paths as "PREFIX";
        /// send compressed files beside those whose path ends so
        ["static-gzip-ext", "static-gzip-suffix"] => static_gzip_ext: Paths as "SUFFIX";
        /// the best of them first [br,zstd,gzip]
        ["static-encodings"] => static_encodings: Encodings = Encoding::ALL.to_vec();
        /// let the front end send files: x-sendfile or x-accel-redirect
        ["file-serve-mode", "fileserve-mode"] => file_serve_mode: FileServing = ServedBy::Server;
        /// so many threads in each worker for files not in memory [0]
        ["offload-threads", "offload-thread"] => offload_threads: Few;
        /// copy files where sendfile(2) sends them otherwise
        ["disable-sendfile"] => disable_sendfile: Flag;
        /// take media types from this file, too
        ["mimefile", "mime-file"] => mimefile: Paths as "FILE";
        /// answer requests for a part of a file (on)
        ["honour-range"] => honour_range: Flag = true;
        /// send Expires with files of this media type
        ["static-expires-type"] => static_expires_type: ExpiryOfType;
        /// the same, counted from the change of the file
        ["static-expires-type-mtime"] => static_expires_type_mtime: ExpiryOfType;
        /// send Expires with files whose path matches
        ["static-expires"] => static_expires: ExpiryOfPattern;
        /// the same, counted from the change of the file
        ["static-expires-mtime"] => static_expires_mtime: ExpiryOfPattern;
        /// send Expires with files where REQUEST_URI matches
        ["static-expires-uri"] => static_expires_uri: ExpiryOfPattern;
        /// the same, counted from the change of the file
        ["static-expires-uri-mtime"] => static_expires_uri_mtime: ExpiryOfPattern;
        /// send Expires with files where PATH_INFO matches
        ["static-expires-path-info"] => static_expires_path_info: ExpiryOfPattern;
        /// the same, counted from the change of the file
        ["static-expires-path-info-mtime"] => static_expires_path_info_mtime: ExpiryOfPattern;
        /// not needed: a regular expression is compiled once
        ["pcre-jit"] => pcre_jit: Flag;
    }

    /// What is written about requests.
    pub struct Logging: "Logging" as logging {
        /// write no line for each request
        ["disable-logging"], 'L' => disable_logging: Flag;
        /// with disable-logging: log what was answered with 4xx all the same
        ["log-4xx"] => log_4xx: Flag;
        /// with disable-logging: log what was answered with 5xx all the same
        ["log-5xx"] => log_5xx: Flag;
        /// with disable-logging: log what took so many milliseconds all the same
        ["log-slow"] => log_slow: MaybeNumber as "MS";
        /// with disable-logging: log what was answered with so many bytes
        ["log-big"] => log_big: MaybeNumber as "BYTES";
        /// with disable-logging: log what was answered with nothing
        ["log-zero"] => log_zero: Flag;
        /// log responses that came from a file, even with disable-logging
        ["log-sendfile"] => log_sendfile: FlagWithValue;
        /// log requests whose client was gone, even with disable-logging
        ["log-ioerror"] => log_ioerror: FlagWithValue;
        /// the line of a request, with variables such as %(uri)
        ["log-format", "logformat"] => log_format: LogFormat;
        /// %(ftime) is the time as log-date has it
        ["log-format-strftime", "logformat-strftime"] => log_format_strftime: Flag;
        /// say in microseconds how long a request took
        ["log-micros"] => log_micros: Flag;
        /// show the address that a trusted proxy gives in X-Forwarded-For
        ["log-x-forwarded-for"] => log_x_forwarded_for: Flag;
        /// show a field of the response as %(var.NAME)
        ["collect-header", "response-header-collect"] => collect_header: Collects;
        /// the same, and don't send the field
        ["pull-header"] => pull_header: Collects;
        /// put the time before the server's own lines, in this strftime format
        ["log-date", "logdate"] => log_date: LogDate;
        /// log to this file
        ["logto"] => logto: LogTarget;
        /// log to this file once the privileges are dropped
        ["logto2"] => logto2: LogFile;
        /// open the log file anew when this file changes
        ["touch-logreopen"] => touch_logreopen: Paths as "FILE";
        /// put the log file aside when this file changes
        ["touch-logrotate"] => touch_logrotate: Paths as "FILE";
        /// give the log file to uid and gid
        ["logfile-chown"] => logfile_chown: Flag;
        /// the permissions of the log file, such as 640
        ["logfile-chmod"] => logfile_chmod: ThreeDigits;
        /// always on: a reload opens a log file anew that was moved
        ["log-reopen"] => log_reopen: Flag = true;
        /// empty the log file at the start
        ["log-truncate"] => log_truncate: Flag;
        /// put the log file aside when it has so many bytes
        ["log-maxsize"] => log_maxsize: Requests as "BYTES";
        /// under this name, not under that of the file with the time behind
        ["log-backupname"] => log_backupname: Text as "FILE";
        /// lines go here: file:F, stdio, fd:N, socket:A, syslog, rsyslog:A, systemd
        ["logger"] => logger: Loggers;
        /// lines of requests go here
        ["req-logger", "logger-req"] => req_logger: Loggers;
        /// lines go to syslog(3)
        ["log-syslog"] => log_syslog: Syslog;
        /// lines go to this socket as datagrams
        ["log-socket"] => log_socket: LogSocket;
        /// lines that match go to this logger
        ["log-route"] => log_route: Routes;
        /// lines of requests that match go to this logger
        ["log-req-route"] => log_req_route: Routes;
        /// lines that match are dropped
        ["log-drain"] => log_drain: LinePatterns;
        /// lines that match none of these are dropped
        ["log-filter"] => log_filter: LinePatterns;
        /// what loggers get of a line: prefix, suffix, nl, format, json
        ["log-encoder"] => log_encoder: Encoders;
        /// the same for the lines of requests
        ["log-req-encoder"] => log_req_encoder: Encoders;
        /// the longest packet of rsyslog [1024]
        ["rsyslog-packet-size"] => rsyslog_packet_size: Count as "BYTES" = 1024;
        /// a longer line is several of them; otherwise it is cut
        ["rsyslog-split-messages"] => rsyslog_split_messages: Flag;
    }

    /// Workers that come and go with the load.
    pub struct Cheaper: "Workers for the load" as cheaper {
        /// keep at least NUM workers, and start more up to processes
        ["cheaper"] => cheaper: Few;
        /// start with NUM workers
        ["cheaper-initial"] => initial: Few;
        /// how the load is judged: spare, spare2, backlog, manual, busyness [spare]
        ["cheaper-algo"] => algorithm: Algorithm = "spare";
        /// start NUM workers at once [1]
        ["cheaper-step"] => step: OneOrMore = 1;
        /// how long the load must last, in seconds; for backlog: how many wait [3]
        ["cheaper-overload"] => overload: Few = 3;
        /// spare2: end a worker when too many were idle for so long [10]
        ["cheaper-idle"] => idle_after: Few as "SECONDS" = 10;
        /// start no more when all have so much memory
        ["cheaper-rss-limit-soft"] => rss_limit_soft: Requests as "BYTES";
        /// end some when all have so much memory
        ["cheaper-rss-limit-hard"] => rss_limit_hard: Requests as "BYTES";
        /// busyness: start more above this percentage [50]
        ["cheaper-busyness-max"] => busyness_max: Few = 50;
        /// busyness: end some below this percentage [25]
        ["cheaper-busyness-min"] => busyness_min: Few = 25;
        /// busyness: after so many quiet windows [10]
        ["cheaper-busyness-multiplier"] => busyness_multiplier: Few = 10;
        /// busyness: and so many more if they were missed [2]
        ["cheaper-busyness-penalty"] => busyness_penalty: Few = 2;
        /// always on: each decision is told
        ["cheaper-busyness-verbose"] => busyness_verbose: Flag = true;
        /// busyness: more at once when so many connections wait [33]
        ["cheaper-busyness-backlog-alert"] => busyness_backlog_alert: Few = 33;
        /// busyness: end those after so many windows [3]
        ["cheaper-busyness-backlog-multiplier"] => busyness_backlog_multiplier: Few = 3;
        /// busyness: so many at once [1]
        ["cheaper-busyness-backlog-step"] => busyness_backlog_step: Few = 1;
        /// busyness: the same when somebody waits for so long [60]
        ["cheaper-busyness-backlog-nonzero"] => busyness_backlog_nonzero: Few as "SECONDS" = 60;
        /// start no worker before somebody connects
        ["cheap"] => cheap: Flag;
        /// end the workers when nobody asks for anything for so long
        ["idle"] => idle: Seconds;
        /// stop the server then
        ["die-on-idle"] => die_on_idle: Flag;
    }

    /// Many instances, one for each file of a directory.
    pub struct Emperor: "Emperor and vassals" as emperor {
        /// run an instance for each file there: a directory, a pattern, list://FILE
        ["emperor"] => provinces: Places;
        /// start the emperor before the privileges are dropped
        ["early-emperor"] => early: Flag;
        /// files of this suffix are vassals, too
        ["emperor-extra-extension", "emperor-extra-ext"] => extra_extensions: Paths as "EXT";
        /// the time of a link counts, not that of its file
        ["emperor-nofollow"] => nofollow: Flag;
        /// how often all files are looked at: 3, or 30 where the kernel tells of changes
        ["emperor-freq"] => freq: MaybeSeconds;
        /// how long after a start the next one may be, in milliseconds [1000]
        ["emperor-throttle"] => throttle: Requests as "MS" = 1_000;
        /// how long a vassal that keeps failing waits at most, in milliseconds [180000]
        ["emperor-max-throttle"] => max_throttle: Requests as "MS" = 180_000;
        /// a vassal that keeps failing waits no longer each time
        ["emperor-no-blacklist"] => no_blacklist: Flag;
        /// kill a vassal that has sent heartbeats and sends none for so long [30]
        ["emperor-required-heartbeat"] => required_heartbeat: Seconds = 30;
        /// kill a vassal that was told to stop and has not for so long [30]
        ["emperor-curse-tolerance"] => curse_tolerance: Seconds = 30;
        /// vassals finish their requests when they are stopped (on)
        ["emperor-graceful-shutdown"] => graceful: Flag = true;
        /// run vassal files that are executable: what they print is the configuration
        ["emperor-magic-exec"] => magic_exec: Flag;
        /// start vassals with this program
        ["emperor-wrapper"] => wrapper: OnePath as "FILE";
        /// try this program first
        ["emperor-wrapper-override"] => wrapper_override: MorePaths as "FILE";
        /// try this program when the others can't be started
        ["emperor-wrapper-fallback"] => wrapper_fallback: MorePaths as "FILE";
        /// show this in ps for the emperor
        ["emperor-procname"] => procname: Text as "NAME";
        /// write the pid of the emperor to this file
        ["emperor-pidfile"] => pidfile: OnePath as "FILE";
        /// tell the statistics of vassals in JSON there
        ["emperor-stats", "emperor-stats-server"] => stats: Text as "ADDRESS";
        /// take orders of `ruwsgi vassals` at this unix socket
        ["emperor-control"] => control: OnePath as "FILE";
        /// a connection to what FILE.EXT names starts a vassal
        ["emperor-on-demand-extension", "emperor-on-demand-ext"] => on_demand_extension: Text as "EXT";
        /// the same, with NAME.socket in this directory
        ["emperor-on-demand-directory", "emperor-on-demand-dir"] => on_demand_directory: OnePath as "DIR";
        /// the same, with the socket that this command prints
        ["emperor-on-demand-exec"] => on_demand_exec: Text as "COMMAND";
        /// a vassal runs as the owner of its file
        ["emperor-tyrant"] => tyrant: Flag;
        /// the owner of a link counts, not that of its file
        ["emperor-tyrant-nofollow"] => tyrant_nofollow: Flag;
        /// it has all groups of that user
        ["emperor-tyrant-initgroups"] => tyrant_initgroups: Flag;
        /// vassals have these capabilities and no other
        ["emperor-cap", "vassals-cap", "vassal-cap"] => capabilities: Capabilities;
        /// vassals live in namespaces of their own
        ["emperor-use-clone"] => namespaces: Namespaces;
        /// always on: what a vassal leaves behind is ended with it
        ["emperor-subreaper"] => subreaper: Flag = true;
        /// say this option to each vassal
        ["vassals-set", "vassal-set"] => set: Settings;
        /// each vassal reads this file, too
        ["vassals-include"] => include: MorePaths as "FILE";
        /// before its own
        ["vassals-include-before"] => include_before: MorePaths as "FILE";
        /// each vassal reads this file behind everything else
        ["vassals-inherit"] => inherit: MorePaths as "FILE";
        /// the same; it stands before its own
        ["vassals-inherit-before"] => inherit_before: MorePaths as "FILE";
        /// run this command before a vassal starts, with its name behind it
        ["vassals-start-hook"] => start_hook: Text as "COMMAND";
        /// run this command when a vassal is gone, with its name behind it
        ["vassals-stop-hook"] => stop_hook: Text as "COMMAND";
        /// do this in each vassal before it starts
        ["hook-as-vassal"] => hook_as_vassal: Actions;
        /// mount this in each vassal before it starts
        ["mount-as-vassal"] => mount_as_vassal: MountHooks;
        /// unmount this in each vassal before it starts
        ["umount-as-vassal"] => umount_as_vassal: UmountHooks;
        /// run this in each vassal before it starts
        ["exec-as-vassal"] => exec_as_vassal: Commands;
        /// do this in the emperor when a vassal has started
        ["hook-as-emperor"] => hook_as_emperor: Actions;
        /// mount this in the emperor when a vassal has started
        ["mount-as-emperor"] => mount_as_emperor: MountHooks;
        /// unmount this in the emperor when a vassal has started
        ["umount-as-emperor"] => umount_as_emperor: UmountHooks;
        /// run this in the emperor when a vassal has started
        ["exec-as-emperor"] => exec_as_emperor: Commands;
        /// tell the emperor of this instance that it lives, so often
        ["heartbeat"] => heartbeat: Seconds;
        /// do this when this instance has found its emperor
        ["hook-emperor-start"] => hook_start: Actions;
        /// do this when the emperor wants this instance to stop
        ["hook-emperor-stop"] => hook_stop: Actions;
        /// do this when the emperor wants this instance to reload
        ["hook-emperor-reload"] => hook_reload: Actions;
        /// do this when the emperor of this instance is gone
        ["hook-emperor-lost"] => hook_lost: Actions;
    }

    /// What operators and their tools ask the master.
    pub struct Stats: "Statistics and health" as stats {
        /// tell statistics in JSON there: host:port, /path or @name
        ["stats", "stats-server"] => stats: Text as "ADDRESS";
        /// tell them over HTTP
        ["stats-http"] => stats_http: Flag;
        /// tell them without blanks and newlines
        ["stats-minified", "stats-min"] => stats_minified: Flag;
        /// leave the cores of the workers out
        ["stats-no-cores"] => stats_no_cores: Flag;
        /// show memory in request lines and statistics
        ["memory-report"], 'm' => memory_report: Flag;
        /// answer health checks there over HTTP: /livez and /readyz
        ["admin"] => admin: Text as "ADDRESS";
    }

    /// Who tells whom where requests can go: instances tell routers, which believe some.
    pub struct Subscriptions: "Subscriptions" as subscriptions {
        /// tell this router that requests for KEY may come here
        ["subscribe-to", "st", "subscribe"] => to: Subscribe;
        /// the same, with more to say
        ["subscribe2"] => to_by_keys: SubscribeByKeys;
        /// how often [10]
        ["subscribe-freq"] => freq: OneOrMore as "SECONDS" = 10;
        /// the share of the requests that this instance wants; 0 is 1
        ["weight"] => weight: Requests as "NUM";
        /// it is the number of requests that can run at a time
        ["auto-weight"] => auto_weight: FlagWithValue;
        /// requests come in packets of this first number
        ["subscribe-with-modifier1"] => with_modifier1: MaybeModifier;
        /// routers may say there, in datagrams, that they know this instance
        ["subscription-notify-socket"] => notify_socket: Text as "FILE";
        /// the same, and what is said there comes into the log
        ["notify-socket"] => notices: Text as "FILE";
        /// take no new requests from routers while a reload is under way
        ["unsubscribe-on-graceful-reload"] => off_at_reload: Flag;
        /// tell routers nothing before S is written into the FIFO
        ["start-unsubscribed"] => start_off: Flag;
        /// tell and want to know who announces, over unix sockets
        ["subscriptions-use-credentials"] => use_credentials: Flag;
        /// routers: how requests are shared out: wrr, lrc, wlrc, iphash, p2c [wrr]
        ["subscription-algo"] => algorithm: Balancer = "wrr";
        /// routers: ask .b.c and .c too where there is nobody for a.b.c
        ["subscription-dotsplit"] => dotsplit: Flag;
        /// routers: how long without an announcement until nothing goes there [17]
        ["subscription-tolerance"] => tolerance: OneOrMore as "SECONDS" = 17;
        /// routers: believe what the key DIR/KEY.pem has signed, and nothing else
        ["subscriptions-sign-check"] => sign_check: DigestAndFolder;
        /// routers: how old a signature may be [86400]
        ["subscriptions-sign-check-tolerance"] => sign_tolerance: OneOrMore as "SECONDS" = 86_400;
        /// routers: this user needs no signature, over unix sockets
        ["subscriptions-sign-skip-uid"] => sign_skip_uid: Uids;
        /// routers: believe only the owner of the file KEY in this folder
        ["subscriptions-credentials-check"] => credentials_check: Paths as "DIR";
    }

    /// Where the configuration comes from, and how strictly it is read.
    pub struct Control: "Configuration" as control {
        /// read this file; FILE:section reads another section than [uwsgi], - is standard input
        ["ini"] => ini: Acted as "FILE";
        /// read this file of YAML; FILE:name reads another mapping than uwsgi
        ["yaml", "yml"], 'y' => yaml: Acted as "FILE";
        /// read this file of JSON; FILE:name reads another object than uwsgi
        ["json", "js"], 'j' => json: Acted as "FILE";
        /// read this file of XML; FILE:id reads what has this id
        ["xml", "xmlconfig"], 'x' => xml: Acted as "FILE";
        /// read this file, whose suffix says its format; without a known one it is INI
        ["config"] => config: Acted as "FILE";
        /// read this file at this place
        ["include"] => include: Acted as "FILE";
        /// read this file after everything else
        ["inherit"] => inherit: Acted as "FILE";
        /// put the text of this file in front of every file that is read from here on
        ["inject-before"] => inject_before: Acted as "FILE";
        /// the same, behind it
        ["inject-after"] => inject_after: Acted as "FILE";
        /// start with this file instead, if the start fails with exit code 1
        ["fallback-config"] => fallback_config: Acted as "FILE";
        /// set an option or a placeholder
        ["set"], 'S' => set: Acted as "NAME=VALUE";
        /// set a placeholder; an option of that name is refused
        ["set-placeholder", "set-ph"] => set_placeholder: Acted as "NAME=VALUE";
        /// set a placeholder to the IPv4 address of a host
        ["resolve"] => resolve: Acted as "NAME=HOST";
        /// make an option: web=http-socket=:$1;processes=$2
        ["declare-option"] => declare_option: Acted as "NAME=TEMPLATE";
        /// the same, after placeholders in the template were filled in
        ["declare-option2"] => declare_option2: Acted as "NAME=TEMPLATE";
        /// say the next lines for each of these words, which is %(_)
        ["for"] => for_words: Acted as "WORDS";
        /// for each file that matches
        ["for-glob"] => for_glob: Acted as "PATTERN";
        /// for each number from 1 on
        ["for-times"] => for_times: Acted as "NUM";
        /// for each line of a file
        ["for-readline"] => for_readline: Acted as "FILE";
        /// the end of what is said for each, or on a condition
        ["endfor", "end-for", "endif", "end-if"] => end_of_block: MaybeMark;
        /// read the next lines only if this option was said, perhaps with this value
        ["if-opt"] => if_opt: Acted as "NAME[=VALUE]";
        /// only if not
        ["if-not-opt"] => if_not_opt: Acted as "NAME[=VALUE]";
        /// only if this variable is set, perhaps to this value
        ["if-env", "ifenv"] => if_env: Acted as "NAME[=VALUE]";
        /// only if not
        ["if-not-env"] => if_not_env: Acted as "NAME[=VALUE]";
        /// only at a reload
        ["if-reload"] => if_reload: Mark;
        /// only at the start
        ["if-not-reload"] => if_not_reload: Mark;
        /// only on this machine
        ["if-hostname"] => if_hostname: Acted as "HOST";
        /// only elsewhere
        ["if-not-hostname"] => if_not_hostname: Acted as "HOST";
        /// only on machines whose name matches
        ["if-hostname-match"] => if_hostname_match: Acted as "REGEX";
        /// only elsewhere
        ["if-not-hostname-match"] => if_not_hostname_match: Acted as "REGEX";
        /// only if this file or directory is there
        ["if-exists", "ifexists"] => if_exists: Acted as "PATH";
        /// only if not
        ["if-not-exists"] => if_not_exists: Acted as "PATH";
        /// only if this file is there
        ["if-file"] => if_file: Acted as "FILE";
        /// only if not
        ["if-not-file"] => if_not_file: Acted as "FILE";
        /// only if this directory is there
        ["if-dir", "ifdir", "if-directory"] => if_dir: Acted as "DIR";
        /// only if not
        ["if-not-dir"] => if_not_dir: Acted as "DIR";
        /// only if this plugin is built in
        ["if-plugin", "ifplugin"] => if_plugin: Acted as "NAME";
        /// only if not
        ["if-not-plugin"] => if_not_plugin: Acted as "NAME";
        /// refuse these options from here on
        ["blacklist"] => blacklist: Acted as "NAMES";
        /// until here
        ["end-blacklist"] => end_blacklist: Mark;
        /// refuse all but these options from here on
        ["whitelist"] => whitelist: Acted as "NAMES";
        /// until here
        ["end-whitelist"] => end_whitelist: Mark;
        /// say this in the log
        ["print", "iprint"] => print: Acted;
        /// end with this code, without a server
        ["exit"] => exit: MaybeMark as "CODE";
        /// print the first value of an option and end
        ["get"] => get: Texts as "NAME";
        /// print what this names (a file, exec://COMMAND ...) and end
        ["extract"] => extract: Acted as "NAME";
        /// print the names of all options and end
        ["dump-options"] => dump_options: Flag;
        /// print this file as data://0 reads it when it is appended to the executable
        ["binary-append-data"] => binary_append_data: Acted as "FILE";
        /// stop the server that has this pidfile
        ["stop"] => stop: Acted as "PIDFILE";
        /// make the server that has this pidfile reload
        ["reload"] => reload: Acted as "PIDFILE";
        /// pause the server that has this pidfile, or let it go on
        ["pause", "suspend", "resume"] => pause: Acted as "PIDFILE";
        /// unknown options, odd values and options that are not built yet are errors
        ["strict"] => strict: Flag;
        /// say the configuration as one file in the log, then start
        ["show-config"] => show_config: Flag;
        /// start even though this option is not built yet
        ["allow-missing"] => allow_missing: Texts as "OPTION";
        /// print the usual options; with OPTION behind it, that one
        ["help", "usage"], 'h' => help: Flag;
        /// print all options that work
        ["help-all"] => help_all: Flag;
        /// print how vassals can be found and end
        ["imperial-monitor-list", "imperial-monitors-list"] => monitor_list: Flag;
        /// print how many of uWSGI's options work
        ["options-status"] => options_status: Flag;
        /// print the version
        ["version"] => version: Flag;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_name_and_a_letter_belong_to_one_row() {
        let (mut names, mut letters) = (HashSet::new(), HashSet::new());
        for row in ROWS {
            assert!(row.names.iter().all(|name| names.insert(name)), "{:?}", row.names);
            assert!(row.short.is_none_or(|letter| letters.insert(letter)), "{:?}", row.short);
        }
    }

    #[test]
    fn a_line_of_help_is_short() {
        for row in ROWS {
            assert!(row.help.len() <= 85 && !row.help.ends_with('.'), "{}", row.help);
        }
    }

    #[test]
    fn a_row_is_found_by_each_of_its_names() {
        let (row, name) = row("venv").expect("a row");
        assert_eq!((row.names[0], name), ("virtualenv", "venv"));
        assert!(super::row("nope").is_none());
    }
}
