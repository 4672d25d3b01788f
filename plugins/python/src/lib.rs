//! The extension module: what makes the user's own Python the zygote, and then the workers, of an instance.
//!
//! The master runs `python -c BOOT` (`boot.py`), which imports this module and calls [`run`]; that does not return.
//! From there on: `zygote.rs` loads the applications (`mount.rs`) and forks (`birth.rs`), `worker.rs` is what a fork does
//! with its life, and `wsgi.rs` answers a request. Nothing here decides about processes or touches a socket.

mod api;
mod apps;
mod autoreload;
mod birth;
mod body;
mod collector;
mod environ;
mod ffi;
mod file_wrapper;
mod input;
mod load;
mod mount;
mod names;
mod reply;
mod stacks;
mod stage;
mod start_response;
mod stdio;
mod trouble;
mod warm_up;
mod worker;
mod wsgi;
mod zygote;

use pyo3::prelude::*;

/// The module, as `boot.py` imports it.
#[pymodule]
mod ruwsgi_python {
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("BUILD", ruwsgi_contract::BUILD)?;
        // Used here, it stays in the file, where the master looks for it without loading anything.
        module.add("MARK", ruwsgi_contract::MARK)
    }

    /// Lives the life of a zygote, or of a worker, with the control socket `fd`. Never returns.
    #[pyfunction]
    fn run(py: Python<'_>, fd: i32) {
        super::live(py, fd);
    }
}

/// The border to Python: a panic ends here, with an exit code.
fn live(py: Python<'_>, fd: i32) -> ! {
    let life = std::panic::catch_unwind(|| zygote::live(py, fd));
    let code = life.unwrap_or(1);
    stdio::flush(py);
    ruwsgi_sys::process::exit_now(code)
}
