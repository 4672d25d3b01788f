//! `ruwsgi stacks`: where the threads of each worker of a running instance are, without stopping them.

use std::io;
use std::path::Path;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command};
use ruwsgi_core::exit;
use ruwsgi_options::Source;
use serde_json::Value;

use super::place::Place;
use super::print;

/// How long an address may take to answer: the master gives its workers three seconds.
const PATIENCE: Duration = Duration::from_secs(8);

const EXAMPLES: &str = "\
Each thread that is inside Python is shown with its frames, and each core with its request. A worker whose interpreter
does not answer is asked by signals.
  ruwsgi stacks /run/app.pid
  ruwsgi stacks 4711
  ruwsgi stacks 127.0.0.1:9191   (the address of stats or admin)";

pub fn command() -> Command {
    Command::new("stacks")
        .about("Shows where the threads of all workers are")
        .after_help(EXAMPLES)
        .arg(Arg::new("target").value_name("PIDFILE|PID|ADDRESS").required(true).help("the instance"))
}

pub fn run(words: &ArgMatches, _: &Source) -> io::Result<u8> {
    let target = words.get_one::<String>("target").map(String::as_str).unwrap_or_default();
    let text = match Target::parse(target).map_err(io::Error::other)? {
        Target::Master(pid) => ruwsgi_core::stacks(pid).map_err(io::Error::other)?,
        Target::Address(place) => ask(place)?,
    };
    print(text.as_bytes())?;
    Ok(exit::DONE)
}

enum Target {
    Master(i32),
    Address(Place),
}

impl Target {
    fn parse(said: &str) -> Result<Self, String> {
        if let Ok(pid) = said.parse() {
            return Ok(Self::Master(pid));
        }
        if !Path::new(said).is_file() {
            return Place::parse(said).map(Self::Address).map_err(|error| match Path::new(said).exists() {
                true => error,
                false => format!("{error}; and there is no pidfile of this name"),
            });
        }
        let text = std::fs::read_to_string(said).map_err(|error| format!("{said} can't be read: {error}"))?;
        let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
        let first = text.lines().next().unwrap_or_default();
        pid.map(Self::Master).ok_or_else(|| format!("{said} holds no pid: {first:?}"))
    }
}

/// Asks at an address: `admin` has the stacks, `stats` says who the master is.
fn ask(place: Place) -> io::Result<String> {
    let shown = place.shown.clone();
    let near = place.is_near();
    let answer = place.asked_for("/stacks").read(PATIENCE)?;
    let Ok(document) = serde_json::from_slice::<Value>(&answer) else {
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    };
    let pid = document["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let pid = pid.ok_or_else(|| io::Error::other(format!("{shown} does not say which process it is")))?;
    if !near {
        return Err(io::Error::other(format!("{shown} is another machine: ask there, with stacks {pid}")));
    }
    ruwsgi_core::stacks(pid).map_err(io::Error::other)
}
