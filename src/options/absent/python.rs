//! Python: other ways to load an application, and details of its interpreter.
//!
//! Read by `known`; how a row is written is told in the parent module.

use super::{Topic, degrades, exposes, harmless, never};

pub const TOPICS: &[Topic] = &[
    exposes("this application is not loaded", "eval= pecan= paste= ini-paste= ini-paste-logged= python-raw="),
    never("nothing makes such applications any more: make it a WSGI application", "web3= pump= wsgi-lite="),
    exposes(
        "this module is not imported",
        "\
         shared-import= shared-pyimport= shared-py-import= \
         shared-python-import= early-pyimport= early-python-import=",
    ),
    exposes("this name means another module", "pymodule-alias= post-pymodule-alias="),
    exposes("modules are not searched there", "early-pythonpath= early-python-path="),
    exposes("this script does not run", "pyshell? pyshell-oneshot? python= py= pyrun= python-worker-override="),
    degrades(
        "sys.executable is that of the interpreter",
        "py-programname= py-program-name= py-executable= py-sys-executable=",
    ),
    degrades("the interpreter starts as it always does", "optimize=,O no-site"),
    degrades("there is no spooler", "spooler-import= spooler-pyimport= spooler-py-import= spooler-python-import="),
    degrades("no logging is set up from a Paste file", "paste-logger paste-name="),
    degrades("os.environ stays as it was", "reload-os-env"),
    degrades("headers go out with the first bytes of the body", "start_response-nodelay"),
    degrades("the master runs no Python", "py-master-check-signals"),
    harmless("every request has an environ of its own", "wsgi-env-behaviour= wsgi-env-behavior="),
    harmless("PEP 3333 is always followed", "wsgi-strict"),
    harmless("the interpreter is there before the workers are", "early-python"),
];
