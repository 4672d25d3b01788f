//! Where a configuration comes from, what depends on a condition, and commands that print or signal instead of
//! serving.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless, never};

pub const TOPICS: &[Topic] = &[
    exposes("this file is not read", "xmlconfig=,x xml= config= yaml=,y yml= json=,j js= ldap= sqlite3= sqlite="),
    exposes("this text is no part of the files", "inject-before= inject-after="),
    degrades("a start that fails is not tried again with another file", "fallback-config="),
    exposes(
        "the lines that depend on it are read in any case",
        "\
         for= for-glob= for-times= for-readline= endfor? end-for? if-opt= if-not-opt= if-env= if-not-env= ifenv= \
         if-reload if-not-reload if-hostname= if-not-hostname= if-hostname-match= if-not-hostname-match= if-exists= \
         if-not-exists= ifexists= if-plugin= if-not-plugin= ifplugin= if-file= if-not-file= if-dir= if-not-dir= \
         ifdir= if-directory= endif? end-if? else=",
    ),
    exposes("the option that it declares is unknown", "declare-option= declare-option2="),
    exposes("the placeholder that it sets stays unknown", "resolve="),
    exposes("the options that it forbids are accepted", "blacklist= end-blacklist whitelist= end-whitelist"),
    exposes(
        "a server starts instead of printing this",
        "\
         get= extract= imperial-monitor-list imperial-monitors-list print-sym= print-symbol= logger-list \
         loggers-list alarm-list alarms-list cheaper-algo-list cheaper-algos-list cheaper-list router-list \
         routers-list clock-list clocks-list loop-list loops-list plugins-list plugin-list dump-options \
         binary-append-data= cflags dot-h config-py ldap-schema ldap-schema-ldif php-dump-config perl-version \
         test=,J python-version zabbix-template?",
    ),
    never("there are no plugins to build: what is there is built in", "build-plugin="),
    exposes(
        "a server starts and the other one goes on (signal it with kill)",
        "stop= reload= pause= suspend= resume= signal=",
    ),
    exposes("a server starts instead of asking another one", "connect-and-read= nagios ping= ping-timeout="),
    exposes("the server starts and stays", "no-server command-mode exit?"),
    exposes("this library is not loaded", "dlopen="),
    degrades("nothing is printed", "print= iprint="),
    harmless("plugins are built in", "autoload"),
];
