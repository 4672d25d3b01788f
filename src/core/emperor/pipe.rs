//! The bytes between an emperor and its vassals: those of uWSGI 2.0, one a message, on a pair of stream sockets.
//!
//! Both sides of this program use them: the emperor, and an instance that is somebody's vassal.

/// From the emperor: stop. uWSGI's vassals stop at once.
pub(crate) const STOP: u8 = 0;
/// From the emperor: reload.
pub(crate) const RELOAD: u8 = 1;
/// From the emperor: stop when the requests in flight are done.
pub(crate) const STOP_GRACEFULLY: u8 = 2;

/// From a vassal: its master is there.
pub(crate) const READY: u8 = 1;
/// From a vassal: send the configuration again.
pub(crate) const CONFIG: u8 = 2;
/// From a vassal: it accepts requests.
pub(crate) const ACCEPTING: u8 = 5;
/// From a vassal: it has answered a request.
pub(crate) const LOYAL: u8 = 17;
/// From a vassal: nobody asks for anything, stop it.
pub(crate) const IDLE: u8 = 22;
/// From a vassal: it lives.
pub(crate) const HEARTBEAT: u8 = 26;

/// The variable with the number of the vassal's end.
pub(crate) const VARIABLE: &str = "UWSGI_EMPEROR_FD";
/// The variable with the number of the pipe for a configuration.
pub(crate) const CONFIG_VARIABLE: &str = "UWSGI_EMPEROR_FD_CONFIG";

/// The exit code of a vassal that is not to be started again.
pub(crate) const EXILE: i32 = 26;
