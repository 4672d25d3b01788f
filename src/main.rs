//! The binary: reads what it was asked for, and hands over to the master. The only place that makes an exit code.

mod commands;

use std::io::{self, Write};
use std::process::ExitCode;

use ruwsgi_core::exit;
use ruwsgi_log::Log;
use ruwsgi_options::{Request, Source, load};

fn main() -> ExitCode {
    ExitCode::from(run())
}

fn run() -> u8 {
    let (log, source) = match (Log::stderr(), Source::capture()) {
        (Ok(log), Ok(source)) => (log, source),
        (Err(error), _) => return complain(&format!("standard error can't be written: {error}")),
        (_, Err(error)) => return complain(&format!("the current directory can't be read: {error}")),
    };
    if let Some(code) = commands::run(&source) {
        return code;
    }
    log.subscribe();
    match load(&source) {
        Ok(Request::Run(loaded)) => {
            if loaded.config.control.show_config {
                loaded.config.lines().for_each(|line| log.say(format!("{line}\n").as_bytes()));
            }
            ruwsgi_core::run(source, loaded, &log)
        }
        Ok(Request::Help(text) | Request::Version(text)) => {
            // Whoever reads only the first lines (`| head`) has what he wants.
            let _ = writeln!(io::stdout(), "{}", text.trim_end());
            exit::DONE
        }
        Ok(Request::Usage(text)) => {
            let _ = writeln!(io::stderr(), "{}", text.trim_end());
            exit::FAILED
        }
        Err(error) => {
            for line in error.lines() {
                log.say(format!("error: {line}\n").as_bytes());
            }
            error.code()
        }
    }
}

fn complain(reason: &str) -> u8 {
    let _ = writeln!(io::stderr(), "error: {reason}");
    exit::FAILED
}
