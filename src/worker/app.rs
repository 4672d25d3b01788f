//! The seam between the engine and a language.

use ruwsgi_wire::Vars;

use crate::input::Input;
use crate::response::Response;

/// A language in this process.
pub trait Language: Sync {
    /// What runs the application on one core.
    type App: App;

    /// Called once on the thread of each core, before its first request; `core` counts from 0, and core 0 is the
    /// thread that called [`run`](crate::run).
    fn app(&self, core: usize) -> Self::App;
}

/// The application on one core.
pub trait App {
    /// Decides which application a request is for, before anything answers it: the part of the path that leads there
    /// moves from `PATH_INFO` to `SCRIPT_NAME`.
    fn mount(&mut self, _vars: &mut Vars) {}

    /// Answers one request: runs the application on this thread, from the call to the end of its body. Whatever
    /// happens, it returns; a failure of the application is told by [`Response::fail`].
    fn serve(&mut self, request: &mut Request<'_>, response: &mut Response<'_>);

    /// The response is out, and the line of the log is not yet written.
    fn after(&mut self) {}

    /// The core is about to block: let others run (Python: give the GIL back).
    fn rest(&mut self);

    /// The core has something to do again (Python: take the GIL).
    fn resume(&mut self);
}

/// One whole request.
pub struct Request<'r> {
    /// Its variables.
    pub vars: &'r Vars,
    /// Its body. An application that keeps its input object beyond the request must not keep this: take it out, and
    /// put it back before [`App::serve`] returns.
    pub input: Input,
    /// `http` or `https`, as far as the client can be believed.
    pub scheme: &'static str,
}
