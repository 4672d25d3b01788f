//! What happens to a request around the application: routes, mounts, static files, headers, bodies.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless};

pub const TOPICS: &[Topic] = &[
    exposes(
        "this rule does not hold",
        "\
         route= route-host= route-uri= route-qs= route-remote-addr= route-user-agent= route-remote-user= \
         route-referer= route-label= route-if= route-if-not= route-run= final-route= final-route-status= \
         final-route-host= final-route-uri= final-route-qs= final-route-remote-addr= final-route-user-agent= \
         final-route-remote-user= final-route-referer= final-route-label= final-route-if= final-route-if-not= \
         final-route-run= error-route= error-route-status= error-route-host= error-route-uri= error-route-qs= \
         error-route-remote-addr= error-route-user-agent= error-route-remote-user= error-route-referer= \
         error-route-label= error-route-if= error-route-if-not= error-route-run= response-route= \
         response-route-status= response-route-host= response-route-uri= response-route-qs= \
         response-route-remote-addr= response-route-user-agent= response-route-remote-user= response-route-referer= \
         response-route-label= response-route-if= response-route-if-not= response-route-run=",
    ),
    exposes("nobody is asked for a password", "pam= pam-user="),
    exposes("this application is not loaded", "worker-mount="),
    exposes("the requests of all hosts go to one application", "vhost vhost-host"),
    exposes("applications that requests name are not loaded", "dynamic-apps"),
    exposes(
        "this limit does not hold",
        "websockets-max-size= websocket-max-size= chunked-input-limit= response-headers-limit=",
    ),
    harmless("a path is found by one system call", "static-cache-paths= static-cache-paths-name="),
    degrades("SCRIPT_NAME stays what the front end says", "ignore-script-name"),
    degrades("no progress is written", "upload-progress="),
    degrades("the page is the built-in one", "error-page-403= error-page-404= error-page-500="),
    degrades(
        "there are no websockets",
        "websockets-ping-freq= websocket-ping-freq= websockets-pong-tolerance= websocket-pong-tolerance=",
    ),
    degrades("socket-timeout counts", "chunked-input-timeout="),
    degrades("the client gets a plain 500", "exception-handler="),
    degrades("nothing is known of the country of a client", "geoip-country= geoip-city= geoip-use-disk"),
    harmless("bodies do not stay in memory", "body-read-warning="),
    harmless("reads are as large as they can be", "post-buffering-bufsize="),
];
