//! Router processes (HTTP, HTTPS, fastrouter, rawrouter, sslrouter and their kin) and TLS.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless};

pub const TOPICS: &[Topic] = &[
    exposes(
        "nothing listens at this address",
        "\
         fastrouter= fastrouter-subscription-server= fastrouter-stats= fastrouter-stats-server= fastrouter-ss= \
         forkptyrouter= forkpty-router= forkptyurouter= forkpty-urouter= forkptyrouter-stats= \
         forkptyrouter-stats-server= forkptyrouter-ss= https= https2= http-to-https= http-subscription-server= \
         http-stats= http-stats-server= http-ss= rawrouter= rawrouter-subscription-server= rawrouter-stats= \
         rawrouter-stats-server= rawrouter-ss= sslrouter= sslrouter2= sslrouter-subscription-server= \
         sslrouter-stats= sslrouter-stats-server= sslrouter-ss= tuntap-router= tuntap-device=",
    ),
    exposes(
        "requests are not forwarded there",
        "\
         fastrouter-zerg= fastrouter-use-cache? fastrouter-use-pattern= fastrouter-use-base= fastrouter-fallback= \
         fastrouter-use-code-string= fastrouter-use-socket? fastrouter-to= fastrouter-resubscribe= \
         fastrouter-resubscribe-bind= fastrouter-fallback-on-no-key fastrouter-subscription-fallback-key= \
         forkptyrouter-zerg= forkptyrouter-fallback= http-to= http-zerg= http-fallback= http-use-cache? \
         http-use-pattern= http-use-base= http-subscription-fallback-key= http-use-code-string= http-use-socket? \
         http-resubscribe= rawrouter-zerg= rawrouter-use-cache? rawrouter-use-pattern= rawrouter-use-base= \
         rawrouter-fallback= rawrouter-use-code-string= rawrouter-use-socket? rawrouter-to= sslrouter-zerg= \
         sslrouter-use-cache? sslrouter-use-pattern= sslrouter-use-base= sslrouter-fallback= \
         sslrouter-use-code-string= sslrouter-use-socket? sslrouter-to= fastrouter-emperor-socket= \
         fastrouter-force-key= http-backend-http",
    ),
    exposes("requests go to the Python application, not to what this number names", "http-modifier1= http-modifier2="),
    exposes("requests do not get this variable", "https-export-cert http-var= http-server-name-as-http-host="),
    exposes("the workers serve HTTP themselves, as the user they run as", "http-uid= http-gid="),
    exposes("the router runs as another user", "fastrouter-uid= fastrouter-gid="),
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
    degrades("there are no websockets", "http-websockets"),
    degrades("responses are not compressed", "http-auto-gzip"),
    degrades("such requests are answered as HTTP or refused", "http-manage-source http-manage-rtsp"),
    degrades("harakiri of the workers counts", "http-harakiri="),
    degrades("socket-timeout counts", "http-headers-timeout= http-connect-timeout="),
    degrades("buffer-size counts", "http-buffer-size="),
    harmless("100 Continue is always sent where it is waited for", "http-manage-expect?"),
    harmless(
        "the workers serve HTTP themselves",
        "\
         force-gateway http-processes= http-workers= http-events= http-gracetime= http-quiet= http-cheap \
         http-post-buffering= http-post-buffering-dir=",
    ),
    harmless(
        "it does nothing",
        "fastrouter-subscription-slot= fastrouter-post-buffering-dir= rawrouter-subscription-slot=",
    ),
    degrades(
        "there is no such router",
        "\
         fastrouter-processes= fastrouter-workers= fastrouter-gracetime= fastrouter-events= fastrouter-quiet= \
         fastrouter-cheap fastrouter-timeout= fastrouter-post-buffering= fastrouter-harakiri= \
         fastrouter-buffer-size= forkptyrouter-command= forkpty-router-command= forkptyrouter-cmd= \
         forkpty-router-cmd= forkptyrouter-rows= forkptyrouter-cols= forkptyrouter-processes= forkptyrouter-workers= \
         forkptyrouter-events= forkptyrouter-cheap forkptyrouter-timeout= forkptyrouter-harakiri= \
         rawrouter-processes= rawrouter-workers= rawrouter-gracetime= rawrouter-events= rawrouter-max-retries= \
         rawrouter-quiet= rawrouter-cheap rawrouter-timeout= rawrouter-harakiri= rawrouter-xclient \
         rawrouter-buffer-size= sslrouter-processes= sslrouter-workers= sslrouter-gracetime= sslrouter-events= \
         sslrouter-max-retries= sslrouter-quiet= sslrouter-cheap sslrouter-timeout= sslrouter-harakiri= \
         sslrouter-buffer-size= fastrouter-defer-connect-timeout= fastrouter-max-retries=",
    ),
];
