//! Emperors and vassals, legions, and subscriptions to routers.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes};

pub const TOPICS: &[Topic] = &[
    exposes("no vassal runs", "emperor= early-emperor emperor-broodlord= zeus="),
    exposes(
        "vassals are not confined",
        "\
         emperor-tyrant emperor-tyrant-nofollow emperor-use-clone= emperor-cap= vassals-cap= vassal-cap= \
         emperor-tyrant-initgroups",
    ),
    exposes(
        "nothing listens at this address",
        "emperor-proxy-socket= emperor-stats= emperor-stats-server= emperor-command-socket= emperor-trigger-socket=",
    ),
    degrades(
        "there are no vassals",
        "\
         emperor-wrapper= emperor-wrapper-override= emperor-wrapper-fallback= emperor-nofollow emperor-procname= \
         emperor-freq= emperor-required-heartbeat= emperor-curse-tolerance= emperor-pidfile= emperor-throttle= \
         emperor-max-throttle= emperor-magic-exec emperor-on-demand-extension= emperor-on-demand-ext= \
         emperor-on-demand-directory= emperor-on-demand-dir= emperor-on-demand-exec= emperor-extra-extension= \
         emperor-extra-ext= emperor-no-blacklist emperor-graceful-shutdown vassals-inherit= vassals-include= \
         vassals-inherit-before= vassals-include-before= vassals-start-hook= vassals-stop-hook= vassals-set= \
         vassal-set= emperor-chdir-attr= emperor-collect-attr= emperor-collect-attribute= emperor-fork-server-attr= \
         emperor-subreaper emperor-use-fork-server= emperor-wait-for-command emperor-wait-for-command-ignore= \
         emperor-wrapper-attr= vassal-fork-base=",
    ),
    degrades("no emperor is told", "vassal-sos= vassal-sos-backlog= heartbeat="),
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
    degrades("nobody is notified", "notify-socket="),
];
