//! The binary: reads what it was asked for, and hands over to the master. The only place that makes an exit code.

mod commands;
mod plugins;

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use bstr::{BStr, BString, ByteSlice};
use ruwsgi_core::{Inheritance, exit};
use ruwsgi_log::Log;
use ruwsgi_options::{Error, Request, Source, survey};

fn main() -> ExitCode {
    ExitCode::from(run())
}

fn run() -> u8 {
    let (log, mut source) = match (Log::stderr(), Source::capture()) {
        (Ok(log), Ok(source)) => (log, source),
        (Err(error), _) => return complain(&format!("standard error can't be written: {error}")),
        (_, Err(error)) => return complain(&format!("the current directory can't be read: {error}")),
    };
    let left = match Inheritance::take(&mut source) {
        Ok(left) => left,
        Err(reason) => return complain(&reason),
    };
    if let Some(left) = left {
        return go_on(left, source, &log);
    }
    if let Some(code) = commands::run(&source) {
        return code;
    }
    log.subscribe();
    let survey = survey(&source, true);
    // Whoever wants to see it wants to see most what does not start.
    if survey.config.control.show_config {
        survey.config.lines().for_each(|line| say(&log, &line));
    }
    let (code, fallback) = act(survey.request(), source, &log);
    match fallback {
        Some(file) if code == exit::FAILED => fall_back(file.as_bstr(), &log),
        _ => code,
    }
}

/// Goes on where another executable of this process was, or sees whether it could.
fn go_on(left: Inheritance, source: Source, log: &Log) -> u8 {
    if left.is_trial {
        return ruwsgi_core::try_out(left, source, log, plugins::ROUTERS);
    }
    log.subscribe();
    match survey(&source, true).request() {
        Ok(Request::Run(loaded)) => ruwsgi_core::resume(left, (source, loaded), log, plugins::ROUTERS),
        // The trial has just read the same.
        Ok(_) => complain("there is nothing to run any more"),
        Err(error) => {
            for line in error.lines() {
                say(log, format!("error: {line}").as_bytes());
            }
            error.code()
        }
    }
}

/// Does what was asked for: the exit code, and the file to start with instead where that is a failure.
fn act(request: Result<Request, Error>, source: Source, log: &Log) -> (u8, Option<BString>) {
    let code = match request {
        Ok(Request::Run(mut loaded)) => {
            let fallback = loaded.fallback.take();
            return (ruwsgi_core::run(source, loaded, log, plugins::ROUTERS), fallback);
        }
        // Whoever reads only the first lines (`| head`) has what he wants.
        Ok(Request::Help(text) | Request::Version(text)) => print(text.as_bytes()),
        Ok(Request::Print(bytes)) => print(&bytes),
        Ok(Request::Usage(text)) => {
            let _ = io::stderr().write_all(text.as_bytes());
            exit::FAILED
        }
        Ok(Request::Exit(code, lines)) => {
            lines.iter().for_each(|line| say(log, line));
            code
        }
        Ok(Request::Stop(pidfile)) => report(ruwsgi_core::stop(&pidfile), log),
        Ok(Request::Reload(pidfile)) => report(ruwsgi_core::reload(&pidfile), log),
        Ok(Request::Pause(pidfile)) => report(ruwsgi_core::pause(&pidfile), log),
        Err(error) => {
            for line in error.lines() {
                say(log, format!("error: {line}").as_bytes());
            }
            return (error.code(), error.fallback().map(ToOwned::to_owned));
        }
    };
    (code, None)
}

fn say(log: &Log, line: &[u8]) {
    log.say(&[line, b"\n"].concat());
}

fn print(bytes: &[u8]) -> u8 {
    let _ = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
    exit::DONE
}

fn report(result: Result<(), String>, log: &Log) -> u8 {
    match result {
        Ok(()) => exit::DONE,
        Err(reason) => {
            say(log, format!("error: {reason}").as_bytes());
            exit::FAILED
        }
    }
}

/// How often a start that failed may be tried with another file: files may name each other.
const MOST_FALLBACKS: u32 = 8;

/// Becomes this program again, with `fallback-config` as its only argument.
fn fall_back(file: &BStr, log: &Log) -> u8 {
    let before = std::env::var("RUWSGI_FALLBACKS").ok().and_then(|count| count.parse().ok()).unwrap_or(0);
    if before >= MOST_FALLBACKS {
        say(log, format!("error: fallback-config: {before} files failed, one after another").as_bytes());
        return exit::FAILED;
    }
    say(log, format!("the start failed: trying fallback-config {file}").as_bytes());
    let program = std::env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    let mut command = Command::new(program);
    command.arg(OsStr::from_bytes(file)).env("RUWSGI_FALLBACKS", (before + 1).to_string());
    say(log, format!("error: fallback-config {file}: {}", command.exec()).as_bytes());
    exit::FAILED
}

fn complain(reason: &str) -> u8 {
    let _ = writeln!(io::stderr(), "error: {reason}");
    exit::FAILED
}
