//! Workers: how many there are when, when they are replaced, what else they run and share.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless, never};

pub const TOPICS: &[Topic] = &[
    degrades("the instance goes on", "die-on-no-workers"),
    harmless("harakiri ends with the request", "harakiri-no-arh no-harakiri-arh no-harakiri-after-req-hook"),
    degrades(
        "a worker goes on after an exception",
        "reload-on-exception reload-on-exception-type= reload-on-exception-value= reload-on-exception-repr=",
    ),
    degrades(
        "nothing reloads when it changes: send a HUP, or use touch-reload",
        "touch-mules-reload= touch-spoolers-reload=",
    ),
    degrades("nothing happens when it changes", "touch-signal= fs-signal="),
    degrades(
        "requests run in threads, as many at a time as threads says",
        "\
         async= loop= asyncio= gevent= gevent-monkey-patch gevent-early-monkey-patch gevent-wait-for-hub greenlet \
         tornado= disable-async-warn-on-queue-full",
    ),
    never("threads do this", "stackless ugreen ugreen-stacksize="),
    exposes("this mule does not run", "mule? mules= farm="),
    degrades("there are no mules", "mule-harakiri= mule-reload-mercy= mule-msg-size? mule-msg-recv-size="),
    exposes("no task is run", "spooler=,Q spooler-external="),
    degrades(
        "there is no spooler",
        "\
         spooler-ordered spooler-chdir= spooler-processes= spooler-quiet spooler-max-tasks= spooler-harakiri= \
         spooler-frequency= spooler-freq= spooler-cheap spooler-signal-as-task",
    ),
    exposes(
        "this job does not run",
        "\
         legion-cron= cron-legion= unique-legion-cron= unique-cron-legion= curl-cron= \
         cron-curl= legion-curl-cron= legion-cron-curl= curl-cron-legion= cron-curl-legion=",
    ),
    exposes("this signal is not raised", "signal-timer= timer= signal-rbtimer= rbtimer="),
    exposes("nothing receives updates of the cache at this address", "cache-udp-server="),
    degrades(
        "there is no cache: calls of the application to it fail",
        "\
         cache= cache-blocksize= cache-store= cache-store-sync= cache-no-expire cache-expire-freq= \
         cache-report-freed-items cache-udp-node= cache-sync= cache-use-last-modified add-cache-item= \
         load-file-in-cache= load-file-in-cache-gzip= cache2=",
    ),
    degrades(
        "there is no such thing to share: calls of the application to it fail",
        "\
         lock-engine= ftok= persistent-ipcsem sharedarea=,A queue= queue-blocksize= queue-store= \
         queue-store-sync= py-sharedarea=",
    ),
    degrades("responses come from the application, not from the cache", "check-cache?"),
    degrades(
        "the stack of a thread has its usual size",
        "thread-stacksize= threads-stacksize= thread-stack-size= threads-stack-size=",
    ),
    degrades("a crash loop backs off by its own rule", "forkbomb-delay="),
    degrades("threads are waited for", "no-threads-wait"),
    harmless("children of the application are always reaped", "reaper,r"),
    harmless(
        "nothing is sized by it",
        "max-vars=,v max-apps= signal-bufsize= signals-bufsize= rpc-max= check-interval=",
    ),
    harmless("no worker waits for the lock of another", "thunder-lock-watchdog"),
    harmless("all workers are told of a reload", "propagate-touch"),
    harmless("a worker is a plain process", "cgi-mode,c"),
];
