//! Other languages and obsolete plugins: what will not be built, and what to use.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, never};

pub const TOPICS: &[Topic] = &[
    never(
        "it runs Python; for PHP there is PHP-FPM",
        "\
         php-ini= php-config= php-ini-append= php-config-append= php-set= php-index= php-docroot= \
         php-allowed-docroot= php-allowed-ext= php-allowed-script= php-server-software= php-app= php-app-qs= \
         php-fallback= php-fallback2= php-fallback-qs= php-app-bypass= php-var= php-constant= php-exec-before= \
         php-exec-begin= php-exec-after= php-exec-end= php-sapi-name= early-php early-php-sapi-name= php-mount=",
    ),
    never(
        "it runs Python; for Perl there is Starman",
        "\
         coroae= psgi= psgi-enable-psgix-io perl-no-die-catch perl-local-lib= perl-args= perl-arg= perl-exec= \
         perl-exec-post-fork= perl-auto-reload= perl-auto-reload-ignore= plshell? plshell-oneshot perl-no-plack \
         early-perl= early-perl-exec= early-psgi=",
    ),
    never(
        "it runs Python; for Ruby there is Puma",
        "\
         fiber rails= rack= ruby-gc-freq= rb-gc-freq= rb-lib= ruby-lib= rb-require= ruby-require= rbrequire= \
         rubyrequire= require= shared-rb-require= shared-ruby-require= shared-rbrequire= shared-rubyrequire= \
         shared-require= gemset= rvm= rvm-path= rbshell? rbshell-oneshot rbthreads rb-threads rbthread rb-thread",
    ),
    never(
        "it runs Python; for Lua there is OpenResty",
        "\
         lua= lua-load= lua-shell luashell lua-gc-freq lua-gc-full lua-postfork-mule= lua-postfork-spooler= \
         lua-postfork-worker= lua-postload= lua-shell-oneshot luashell-oneshot",
    ),
    never(
        "it runs Python; for Java and Clojure there is Jetty",
        "jvm-main-class= jvm-opt= jvm-class= jvm-classpath= jwsgi= ring-load= clojure-load= ring-app=",
    ),
    never(
        "it runs Python; for .NET there is Kestrel",
        "mono-app= mono-gc-freq= mono-key= mono-version= mono-config= mono-assembly= mono-exec= mono-index=",
    ),
    never(
        "it runs Python; programs in Go serve HTTP by themselves",
        "go-load= gccgo-load= go-args= gccgo-args= goroutines=",
    ),
    never(
        "it runs Python; for JavaScript there is Node.js",
        "v8-module-path= v8-gc-freq= v8-preemptive= v8-load= v8-jsgi=",
    ),
    never(
        "it runs CPython; PyPy has servers in Python, such as gunicorn",
        "\
         pypy-lib= pypy-setup= pypy-home= pypy-wsgi= pypy-wsgi-file= pypy-ini-paste= pypy-paste= pypy-eval= \
         pypy-eval-post-fork= pypy-exec= pypy-exec-post-fork= pypy-pp= pypy-python-path= pypy-pythonpath=",
    ),
    never(
        "for CGI scripts there is fcgiwrap",
        "\
         cgi= cgi-map-helper= cgi-helper= cgi-from-docroot cgi-buffer-size= cgi-timeout= cgi-index= cgi-allowed-ext= \
         cgi-unset= cgi-loadlib= cgi-optimize cgi-optimized cgi-path-info cgi-do-not-kill-on-error \
         cgi-async-max-attempts cgi-close-stdin-on-eof cgi-safe= cgi-dontresolve",
    ),
    never(
        "it loads no C functions",
        "\
         dumbloop-modifier1= dumbloop-code= dumbloop-function= symcall= symcall-use-next symcall-register-rpc= \
         symcall-post-fork=",
    ),
    never("put an HTTP server in front", "zeromq= zmq= zeromq-socket= zmq-socket= mongrel2="),
    never(
        "nginx and Apache serve WebDAV",
        "\
         webdav-mount= webdav-css= webdav-javascript= webdav-js= webdav-class-directory= webdav-div= \
         webdav-lock-cache= webdav-principal-base= webdav-add-option= webdav-add-prop= webdav-add-collection-prop= \
         webdav-add-object-prop= webdav-add-prop-href= webdav-add-collection-prop-href= webdav-add-object-prop-href= \
         webdav-add-prop-comp= webdav-add-collection-prop-comp= webdav-add-object-prop-comp= webdav-add-rtype-prop= \
         webdav-add-rtype-collection-prop= webdav-add-rtype-object-prop= webdav-skip-prop=",
    ),
    never("transform XML in the application", "xslt-docroot= xslt-ext= xslt-var= xslt-stylesheet= xslt-content-type="),
    never(
        "mount it as a file system, or read it in the application",
        "glusterfs-mount= glusterfs-timeout= rados-mount= rados-timeout= gridfs-mount= gridfs-debug",
    ),
];
