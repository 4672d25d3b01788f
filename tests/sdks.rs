//! The SDKs that look for uWSGI start as under uWSGI: no warning about threads, forks or the master, and their
//! background threads run in the workers.
//!
//! They are not installed for this: `RUWSGI_SDKS` names a virtual environment that has them (`pip install sentry-sdk
//! ddtrace newrelic`). Without it, nothing is tested.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::Site;

/// A virtual environment that has this module.
fn environment(module: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("RUWSGI_SDKS").map(PathBuf::from);
    let has = |folder: &Path| {
        let asked = Command::new(folder.join("bin/python")).args(["-c", &format!("import {module}")]).output();
        asked.is_ok_and(|asked| asked.status.success())
    };
    let found = folder.filter(|folder| has(folder));
    if found.is_none() {
        eprintln!("RUWSGI_SDKS names no virtual environment with {module}: not tested");
    }
    found
}

/// Loads `code`, which defines `touch()`, and checks what comes of it: the names of the threads that run in a worker.
fn starts_quietly(module: &str, options: &str, code: &str) -> Option<String> {
    let venv = environment(module)?;
    let app = "\ndef application(environ, start_response):\n    touch()\n    start_response('200 OK', [])\n    \
               tasks = [pathlib.Path(f'/proc/self/task/{task}/comm').read_text().strip() for task in os.listdir('/proc/self/task')]\n    \
               return [repr(([thread.name for thread in threading.enumerate()], sorted(tasks))).encode()]\n";
    let site =
        Site::code(&format!("import os, pathlib, threading, warnings\nwarnings.simplefilter('always')\n{code}{app}"))
            .ini(&format!("virtualenv = {}\nprocesses = 2\n{options}", venv.display()))
            .ini("env = NEW_RELIC_LICENSE_KEY=0123456789012345678901234567890123456789\nenv = NEW_RELIC_APP_NAME=x")
            .ini("env = NEW_RELIC_HOST=127.0.0.1\nenv = DD_TRACE_AGENT_URL=http://127.0.0.1:9")
            .ini("env = DD_INSTRUMENTATION_TELEMETRY_ENABLED=false\nenv = DD_REMOTE_CONFIGURATION_ENABLED=false");
    let server = site.start();
    let threads = server.get("/").ok().to_owned();
    let log = server.log.text();
    for line in log.lines().filter(|line| !line.contains("running as root")) {
        let line = line.to_lowercase();
        let bad = ["warn", "uwsgi.opt", "enable-threads", "py-call", "lazy-apps", "traceback"];
        assert!(!bad.iter().any(|word| line.contains(word)), "{module} says: {line}\n{log}");
    }
    Some(threads)
}

const WAYS: [&str; 3] =
    ["", "enable-threads = true\nmaster = true\npy-call-uwsgi-fork-hooks = true", "lazy-apps = true"];

#[test]
fn sentry_starts_its_worker() {
    for way in WAYS {
        let code = "import sentry_sdk\nsentry_sdk.init('http://key@127.0.0.1:9/1', traces_sample_rate=1.0)\n\
                    def touch():\n    sentry_sdk.capture_message('hello')\n";
        let Some(threads) = starts_quietly("sentry_sdk", way, code) else { return };
        assert!(threads.contains("sentry-sdk.BackgroundWorker"), "{way}: {threads}");
    }
}

#[test]
fn ddtrace_starts_its_threads_again() {
    for way in WAYS {
        let code = "import ddtrace.auto\nfrom ddtrace import tracer\n\
                    def touch():\n    with tracer.trace('x'):\n        pass\n";
        let Some(threads) = starts_quietly("ddtrace", way, code) else { return };
        // The main thread, and those of its library.
        assert!(threads.matches(", ").count() > 2, "{way}: {threads}");
    }
}

#[test]
fn new_relic_starts_its_session() {
    for way in WAYS {
        let code = "import newrelic.agent\nnewrelic.agent.initialize()\n\
                    def touch():\n    newrelic.agent.register_application(timeout=0.0)\n";
        let Some(threads) = starts_quietly("newrelic", way, code) else { return };
        assert!(threads.contains("NR-Activate-Session"), "{way}: {threads}");
    }
}
