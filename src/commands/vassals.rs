//! `ruwsgi vassals`: what the vassals of an emperor do, and orders for one of them, over the socket of `emperor-control`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, ValueHint};
use ruwsgi_core::exit;
use ruwsgi_options::Source;

/// Where the emperor of `conf/emperor.ini` listens.
const SOCKET: &str = "/run/ruwsgi/emperor.sock";
/// The variable that names another place.
const VARIABLE: &str = "RUWSGI_VASSALS_CONTROL";

const EXAMPLES: &str = "\
The socket is that of emperor-control; RUWSGI_VASSALS_CONTROL names another default:
  ruwsgi vassals
  ruwsgi vassals reload shop.ini
  ruwsgi vassals log shop.ini
  ruwsgi vassals --control /run/emperor.sock stop shop.ini";

pub fn command() -> Command {
    let name = || {
        let name = Arg::new("name").value_name("NAME").required(true).help("the vassal, as the list calls it");
        name.value_parser(clap::value_parser!(OsString)).allow_hyphen_values(true)
    };
    let control = Arg::new("control").long("control").value_name("FILE").value_hint(ValueHint::FilePath);
    let control = control.value_parser(clap::value_parser!(PathBuf)).help(format!("the emperor's socket [{SOCKET}]"));
    let one = |verb: &'static str, about: &'static str| Command::new(verb).about(about).arg(name());
    Command::new("vassals")
        .about("Shows the vassals of an emperor, and starts, stops and reloads them")
        .after_help(EXAMPLES)
        .arg(control)
        .subcommand(Command::new("list").about("All vassals: what they do, and why they do not [without a word, this]"))
        .subcommand(one("start", "Starts a vassal that was stopped, that waits or that sleeps"))
        .subcommand(one("stop", "Stops a vassal until somebody starts it again"))
        .subcommand(one("reload", "Has a vassal read its file again"))
        .subcommand(one("log", "What a vassal has said last"))
}

pub fn run(words: &ArgMatches, source: &Source) -> io::Result<u8> {
    let said = source.env.iter().rfind(|(name, _)| name == VARIABLE).map(|(_, value)| PathBuf::from(value));
    let socket = words.get_one::<PathBuf>("control").cloned().or(said).unwrap_or_else(|| SOCKET.into());
    let (verb, name) = match words.subcommand() {
        Some((verb, more)) => (verb, more.try_get_one::<OsString>("name").ok().flatten().map(OsString::as_os_str)),
        None => ("list", None),
    };
    let name = name.map(OsStr::as_bytes).unwrap_or_default();
    let answer = ruwsgi_core::ask_emperor(&socket, verb, name).map_err(io::Error::other)?;
    super::print(&answer)?;
    Ok(exit::DONE)
}
