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
    exposes(
        "announcements are not checked",
        "\
         subscriptions-sign-check= subscriptions-sign-check-tolerance= subscriptions-sign-skip-uid= \
         subscriptions-credentials-check= subscriptions-use-credentials subscription-vassal-required",
    ),
    exposes("no router is told of this instance", "subscribe-to= st= subscribe= subscribe2="),
    degrades(
        "there are no subscriptions",
        "\
         weight= auto-weight= subscription-notify-socket= subscription-algo= subscription-dotsplit subscribe-freq= \
         subscription-tolerance= unsubscribe-on-graceful-reload start-unsubscribed subscribe-with-modifier1= \
         subscription-clear-on-shutdown subscription-mountpoint= subscription-mountpoints= \
         subscription-tolerance-inactive=",
    ),
    degrades("nobody is notified", "notify-socket="),
];
