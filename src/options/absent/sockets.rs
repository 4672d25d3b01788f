//! Listeners, what is set on them, and how instances share them.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless};

pub const TOPICS: &[Topic] = &[
    exposes(
        "nothing listens at this address",
        "\
         suwsgi-socket= ssl-socket= https-socket= raw-socket= udp= \
         multicast= pty-socket=",
    ),
    exposes(
        "requests go to the Python application, not to what this number names",
        "\
         http-socket-modifier1= http-socket-modifier2= https-socket-modifier1= https-socket-modifier2= \
         fastcgi-modifier1= fastcgi-modifier2= scgi-modifier1= scgi-modifier2= raw-modifier1= raw-modifier2= \
         allowed-modifiers= remap-modifier=",
    ),
    exposes("no socket is shared with other instances", "zerg= zerg-fallback zerg-server= zergpool= zerg-pool="),
    exposes("nothing waits for orders on this socket", "pty-connect= pty-uconnect= fork-server= fork-socket="),
    degrades(
        "the kernel does it its own way",
        "\
         shutdown-sockets tcp-fast-open-client tcp-fastopen-client",
    ),
    degrades(
        "socket-timeout says how long a response may wait",
        "so-send-timeout socket-send-timeout so-write-timeout socket-write-timeout",
    ),
    degrades("there is no multicast", "multicast-ttl= multicast-loop="),
    degrades("descriptors that are not inherited on purpose are closed", "safe-fd= fd-safe="),
    degrades("there is no terminal to share", "pty-log pty-input pty-no-isig pty-exec="),
    harmless("descriptors are passed only where that is needed", "no-fd-passing"),
];
