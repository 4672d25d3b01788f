//! `warm-up`: requests that the zygote answers before it forks.

use pyo3::prelude::*;
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::clock;

use crate::apps::Apps;
use crate::trouble;

const CODE: &std::ffi::CStr =
    match std::ffi::CStr::from_bytes_with_nul(concat!(include_str!("warm_up.py"), "\0").as_bytes()) {
        Ok(code) => code,
        Err(_) => panic!("a NUL in warm_up.py"),
    };

/// Answers what the configuration asks for, by the application of the root. What goes wrong is told and ends nothing:
/// the workers may well answer it.
pub fn answer(py: Python<'_>, config: &Config, apps: &Apps, log: &Log) {
    let Some(app) = apps.default().and_then(|number| apps.get(number)) else { return };
    for target in &config.workers.warm_up {
        let began_us = clock::monotonic_us();
        let answered = PyModule::from_code(py, CODE, c"<ruwsgi: warm-up>", c"ruwsgi_warm_up")
            .and_then(|module| module.getattr("warm_up")?.call1((app.callable.bind(py), target)))
            .and_then(|status| status.extract::<String>());
        match answered {
            Ok(status) => {
                let took_ms = (clock::monotonic_us() - began_us) / 1000;
                tracing::info!("warm-up: {target} answered {status} after {took_ms} ms");
            }
            Err(error) => {
                tracing::warn!("warm-up: {target} failed:");
                trouble::tell(py, log, &error);
            }
        }
    }
}
