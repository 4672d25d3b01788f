//! Router processes (HTTP, HTTPS, fastrouter, rawrouter, sslrouter and their kin) and TLS.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless};

pub const TOPICS: &[Topic] = &[
    exposes(
        "nothing listens at this address",
        "\
         forkptyrouter= forkpty-router= forkptyurouter= forkpty-urouter= forkptyrouter-stats= \
         forkptyrouter-stats-server= forkptyrouter-ss= https= https2= http-to-https= sslrouter= sslrouter2= \
         sslrouter-subscription-server= sslrouter-stats= sslrouter-stats-server= sslrouter-ss= tuntap-router= \
         tuntap-device=",
    ),
    exposes(
        "requests are not forwarded there",
        "\
         fastrouter-zerg= fastrouter-use-cache? fastrouter-use-code-string= fastrouter-resubscribe= \
         fastrouter-resubscribe-bind= forkptyrouter-zerg= forkptyrouter-fallback= http-zerg= http-use-cache? \
         http-use-code-string= http-resubscribe= rawrouter-zerg= rawrouter-use-cache? rawrouter-use-code-string= \
         sslrouter-zerg= sslrouter-use-cache? sslrouter-use-pattern= sslrouter-use-base= sslrouter-fallback= \
         sslrouter-use-code-string= sslrouter-use-socket? sslrouter-to= fastrouter-emperor-socket=",
    ),
    exposes("requests do not get this variable", "https-export-cert"),
    exposes("connections that begin with such a line are refused", "http-stud-prefix="),
    exposes("%2F in a path is decoded", "http-path-info-no-decode-slashes="),
    exposes(
        "TLS is not set up that way",
        "\
         ssl-verbose ssl-verify-depth? ssl-sessions-use-cache? ssl-session-use-cache? ssl-sessions-timeout= \
         ssl-session-timeout= sni= sni-dir= sni-dir-ciphers= ssl-enable3 ssl-enable-sslv3 ssl-enable-tlsv1 \
         ssl-option sni-regexp= ssl-tmp-dir= https-session-context= sslrouter-session-context= sslrouter-sni",
    ),
    exposes(
        "packets are not checked",
        "\
         tuntap-use-credentials? tuntap-router-firewall-in= tuntap-router-firewall-out= tuntap-router-route= \
         tuntap-device-rule=",
    ),
    exposes("nothing listens at this address", "tuntap-router-stats="),
    degrades("responses are not compressed", "http-auto-gzip"),
    degrades("such requests are answered as HTTP or refused", "http-manage-source http-manage-rtsp"),
    harmless("the workers serve HTTP themselves", "force-gateway"),
    harmless(
        "it does nothing",
        "fastrouter-subscription-slot= fastrouter-post-buffering-dir= rawrouter-subscription-slot=",
    ),
    degrades(
        "there is no such router",
        "\
         forkptyrouter-command= forkpty-router-command= forkptyrouter-cmd= forkpty-router-cmd= \
         forkptyrouter-rows= forkptyrouter-cols= forkptyrouter-processes= forkptyrouter-workers= \
         forkptyrouter-events= forkptyrouter-cheap forkptyrouter-timeout= forkptyrouter-harakiri= \
         sslrouter-processes= sslrouter-workers= sslrouter-gracetime= sslrouter-events= sslrouter-max-retries= \
         sslrouter-quiet= sslrouter-cheap sslrouter-timeout= sslrouter-harakiri= sslrouter-buffer-size= \
         fastrouter-defer-connect-timeout=",
    ),
    harmless(
        "a router runs nothing that could hang: its time-outs count",
        "http-harakiri= fastrouter-harakiri= rawrouter-harakiri=",
    ),
    harmless("TMPDIR is used, as in uWSGI", "http-post-buffering-dir="),
];
