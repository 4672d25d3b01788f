//! Emperors and vassals, legions, and subscriptions to routers.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes};

pub const TOPICS: &[Topic] = &[
    exposes("this emperor is not started", "emperor-broodlord= zeus="),
    exposes("nothing listens at this address", "emperor-proxy-socket= emperor-command-socket= emperor-trigger-socket="),
    degrades(
        "uWSGI 2.0 has no such option either",
        "\
         emperor-chdir-attr= emperor-collect-attr= emperor-collect-attribute= emperor-fork-server-attr= \
         emperor-use-fork-server= emperor-wait-for-command emperor-wait-for-command-ignore= emperor-wrapper-attr= \
         vassal-fork-base=",
    ),
    degrades("no emperor is told", "vassal-sos= vassal-sos-backlog="),
    exposes(
        "the instance is in no legion",
        "\
         legion= legion-mcast= legion-node= legion-freq= legion-tolerance= legion-death-on-lord-error= \
         legion-skew-tolerance= legion-lord= legion-unlord= legion-setup= legion-death= legion-join= \
         legion-node-joined= legion-node-left= legion-quorum= legion-scroll= legion-scroll-max-size= \
         legion-scroll-list-max-size=",
    ),
    exposes("others than vassals can announce themselves", "subscription-vassal-required"),
    degrades("keys are names of hosts, without paths", "subscription-mountpoint= subscription-mountpoints="),
    degrades(
        "nodes leave one by one, and all of them in the same time",
        "subscription-clear-on-shutdown subscription-tolerance-inactive=",
    ),
];
