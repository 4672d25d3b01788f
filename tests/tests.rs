//! Black-box tests: the real binary, real sockets, real signals. One file a topic; `harness` starts and ends servers.
//!
//! Each test owns its servers and folder and runs beside the others. Nothing sleeps to wait: a test waits for a line of
//! the log, for an answer, for the end of a process, and says what it waited for when that does not come.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod harness;

mod api;
mod bad_input;
mod check;
mod conf;
mod config_language;
mod conformance;
mod curl;
mod daemonize;
mod daemons;
mod docs;
mod emperor;
mod examples;
mod fairness;
mod fastcgi;
mod fastrouter;
mod fifo;
mod file_wrapper;
mod front_ends;
mod gateways;
mod guides;
mod headers;
mod hello;
mod hooks;
mod http;
mod inherit;
mod limits;
mod log_format;
mod loggers;
mod logs;
mod migrate;
mod mounts;
mod namespaces;
mod options;
mod privileges;
mod proxy_protocol;
mod pythons;
mod rawrouter;
mod recycle;
mod reliability;
mod reload;
mod reload_on_fd;
mod router_life;
mod routers;
mod scgi;
mod sdks;
mod service;
mod sockets;
mod stacks;
mod static_files;
mod static_variants;
mod stats;
mod stop;
mod subscription_servers;
mod subscriptions;
mod supervision;
mod top;
mod touch;
mod upgrade;
mod upgrade_kin;
mod uwsgi;
mod write_errors;
mod wsgi;
mod wsgi_input;
mod wsgi_response;
