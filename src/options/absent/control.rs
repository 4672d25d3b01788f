//! Where a configuration comes from, and commands that print or signal instead of
//! serving.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, exposes, harmless, never};

pub const TOPICS: &[Topic] = &[
    never("a configuration stands in a file; exec://COMMAND reads it from elsewhere", "ldap= sqlite3= sqlite="),
    exposes("uWSGI 2.0 has no else: say if-not-env and the like", "else="),
    exposes(
        "a server starts instead of printing this",
        "\
         print-sym= print-symbol= logger-list \
         loggers-list alarm-list alarms-list cheaper-algo-list cheaper-algos-list cheaper-list router-list \
         routers-list clock-list clocks-list loop-list loops-list plugins-list plugin-list \
         cflags dot-h config-py ldap-schema ldap-schema-ldif php-dump-config perl-version \
         test=,J python-version zabbix-template?",
    ),
    never("there are no plugins to build: what is there is built in", "build-plugin="),
    exposes("a server starts and the other one goes on (signal it with kill)", "signal="),
    exposes("a server starts instead of asking another one", "connect-and-read= nagios ping= ping-timeout="),
    exposes("the server starts and stays", "no-server command-mode"),
    exposes("this library is not loaded", "dlopen="),
    harmless("plugins are built in", "autoload"),
];
