//! Logs, alarms, statistics and metrics.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless};

pub const TOPICS: &[Topic] = &[
    exposes("nothing listens at this address", "snmp?"),
    exposes("the statistics are not protected", "snmp-community="),
    degrades(
        "the log goes where it went: logger and req-logger do this",
        "log-zeromq= worker-logger= worker-logger-req=",
    ),
    degrades("lines are as they are: log-encoder does this", "worker-log-encoder= worker-log-req-encoder="),
    degrades("lines of the log have no such prefix", "log-prefix?"),
    degrades("with disable-logging such requests are not logged, otherwise all are", "notfound-log"),
    degrades(
        "nobody is alarmed",
        "\
         alarm-metric= alarm= alarm-cheap= alarm-freq= alarm-fd= alarm-segfault= segfault-alarm= alarm-backlog= \
         backlog-alarm= lq-alarm= alarm-lq= alarm-listen-queue= listen-queue-alarm= log-alarm= alarm-log= \
         not-log-alarm= not-alarm-log= alarm-msg-size=",
    ),
    degrades(
        "there are no statistics to serve or send",
        "\
         stats-push= stats-pusher-default-freq= stats-pushers-default-freq= \
         carbon= carbon-timeout= carbon-freq= carbon-id= carbon-no-workers \
         carbon-max-retry= carbon-retry-delay= carbon-root= carbon-hostname-dots= carbon-name-resolve \
         carbon-resolve-names carbon-idle-avg= carbon-use-metrics rrdtool= rrdtool-freq= rrdtool-lib= \
         statsd-all-gauges statsd-no-workers",
    ),
    degrades(
        "there are no metrics",
        "\
         enable-metrics metric= metric-threshold= metric-alarm= metrics-dir= metrics-dir-restore metric-dir= \
         metric-dir-restore metrics-no-cores",
    ),
    harmless("statistics have no metrics", "stats-no-metrics"),
    degrades("time is the time of the system", "clock="),
    harmless(
        "the log never blocks a worker",
        "threaded-logger log-master log-master-bufsize= log-master-stream log-master-req-stream",
    ),
];
