//! The process and what surrounds it: users, confinement, limits, actions, other programs.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless, never};

pub const TOPICS: &[Topic] = &[
    never(
        "this server runs on Linux, which has no FreeBSD jails",
        "jail= jail-ip4= jail-ip6= jidfile= jid-file= jail2= libjail= jail-attach=",
    ),
    exposes(
        "the server is not confined",
        "\
         pivot-root= pivot_root= unshare= unshare2= setns-socket= setns-socket-skip= setns-skip= setns= \
         setns-preopen jailed cgroup= cgroup-opt= cgroup-dir-mode= namespace= namespace-keep-mount= ns= \
         namespace-net= ns-net=",
    ),
    degrades(
        "processes are not forked once more",
        "refork re-fork refork-as-root re-fork-as-root refork-post-jail re-fork-post-jail",
    ),
    exposes("a second instance is not held back", "flock= flock-wait= flock2= flock-wait2="),
    exposes(
        "this action does not run",
        "\
         hook-post-jail= hook-as-mule= hook-as-gateway= \
         hook-as-emperor-before-vassal= hook-as-emperor-setns= hook-as-on-config-vassal= hook-as-on-demand-vassal= \
         hook-as-vassal-before-drop=",
    ),
    exposes("this command does not run", "exec-post-jail="),
    exposes("this function is not called", "after-request-hook= after-request-call="),
    never(
        "there are no C functions to call: hooks can run commands",
        "\
         call-asap= call-pre-jail= call-post-jail= call-in-jail= \
         call-as-root= call-as-user= call-as-user-atexit= call-pre-app= call-post-app= call-as-vassal= \
         call-as-vassal1= call-as-vassal3= call-as-emperor= call-as-emperor1= call-as-emperor2= call-as-emperor4=",
    ),
    exposes("this file system is not mounted", "mount-post-jail="),
    exposes("this file system stays mounted", "umount-post-jail="),
    exposes(
        "this program is not started",
        "\
         privileged-binary-patch= unprivileged-binary-patch= privileged-binary-patch-arg= \
         unprivileged-binary-patch-arg= worker-exec= worker-exec2= legion-attach-daemon= legion-smart-attach-daemon= \
         legion-smart-attach-daemon2=",
    ),
    exposes("this file is not written", "file-write="),
    exposes("these variables are not set", "envdir= early-envdir= ienv="),
    exposes("the application sees this variable", "unenv="),
    exposes("the server stays in another directory", "force-cwd= chdir2="),
    degrades(
        "the start does not wait for it",
        "\
         wait-for-interface= wait-for-interface-timeout= wait-interface= wait-interface-timeout= wait-for-iface= \
         wait-for-iface-timeout= wait-iface= wait-iface-timeout= \
         wait-for-mountpoint=",
    ),
    degrades("the kernel decides by itself", "ksm? never-swap prio="),
    degrades("commands run in /bin/sh", "binsh="),
    degrades("a crash leaves what the kernel leaves", "backtrace-depth= profiler= use-abort"),
    degrades("a worker ends as a Python process does", "skip-atexit skip-atexit-teardown"),
    degrades(
        "the instance goes on when the mount is gone",
        "check-mountpoint= mountpoint-check= check-mount= mount-check=",
    ),
    harmless("it does nothing", "noop"),
];
