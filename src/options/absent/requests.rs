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
    exposes("these files are not served", "check-static= check-static-docroot static-check= static-map= static-map2="),
    exposes(
        "responses keep or lack this header",
        "add-header= rem-header= del-header= collect-header= response-header-collect= pull-header=",
    ),
    exposes(
        "this limit does not hold",
        "limit-post= websockets-max-size= websocket-max-size= chunked-input-limit= response-headers-limit=",
    ),
    degrades(
        "no static file is served that way",
        "\
         static-skip-ext= static-index= static-safe= static-cache-paths= static-cache-paths-name= mimefile= \
         mime-file= static-expires-type= static-expires-type-mtime= static-expires= static-expires-mtime= \
         static-expires-uri= static-expires-uri-mtime= static-expires-path-info= static-expires-path-info-mtime= \
         static-gzip= static-gzip-all static-gzip-dir= static-gzip-prefix= static-gzip-ext= static-gzip-suffix= \
         honour-range file-serve-mode= fileserve-mode= disable-sendfile",
    ),
    degrades("SCRIPT_NAME stays what the front end says", "ignore-script-name"),
    degrades("wsgi.input can not seek", "post-buffering= post-buffering-bufsize="),
    degrades("no progress is written", "upload-progress="),
    degrades("the page is the built-in one", "error-page-403= error-page-404= error-page-500="),
    degrades(
        "there are no websockets",
        "websockets-ping-freq= websocket-ping-freq= websockets-pong-tolerance= websocket-pong-tolerance=",
    ),
    degrades("socket-timeout counts", "chunked-input-timeout="),
    degrades("the client gets a plain 500", "exception-handler="),
    degrades(
        "a client that is gone is an exception of the application",
        "write-errors-tolerance= write-errors-exception-only disable-write-exception",
    ),
    degrades("nothing is known of the country of a client", "geoip-country= geoip-city= geoip-use-disk"),
    harmless("a client that is gone is counted, not logged", "ignore-sigpipe ignore-write-errors"),
    harmless("bodies do not stay in memory", "body-read-warning="),
    harmless("regular expressions are as fast as they can be", "pcre-jit"),
];
