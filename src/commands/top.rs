//! `ruwsgi top`: what an instance does, as a view in a terminal, or once as text or JSON. It reads the statistics that the
//! instance tells at its `stats` address; those of real uWSGI will do.
//!
//! `model` reads a document, `figures` makes of two of them what people look at, `state` knows what keys ask for: these are
//! pure. `view` draws, `screen` has the terminal.

mod figures;
mod model;
mod screen;
mod state;
mod view;

use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ruwsgi_core::exit;
use ruwsgi_options::Source;
use serde_json::{Value, json};

use self::figures::{Figures, Seen};
use self::model::Document;
use self::state::Order;
use super::place::Place;
use super::print;

/// How long an address may take to tell everything.
const PATIENCE: Duration = Duration::from_secs(5);
/// The number of the form that `--json` writes.
const FORM: u32 = 1;

const EXAMPLES: &str = "\
ADDRESS is what `stats` says: HOST:PORT, /PATH, @NAME, or http://HOST:PORT/ with stats-http. In the view, h shows the keys.
  ruwsgi top 127.0.0.1:1717
  ruwsgi top --once --json /run/app/stats.sock";

pub fn command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("top")
        .about("Shows what the workers of an instance do: requests, rates, memory, queues")
        .after_help(EXAMPLES)
        .arg(Arg::new("address").value_name("ADDRESS").required(true).help("where its statistics are"))
        .arg(flag("once", "write it once and end, with rates over one interval"))
        .arg(flag("json", "with --once: write JSON (docs/OPERATIONS.md has its form)").requires("once"))
        .arg(
            Arg::new("interval")
                .long("interval")
                .short('i')
                .value_name("SEC")
                .default_value("1")
                .value_parser(seconds)
                .help("look so often"),
        )
        .arg(
            Arg::new("sort")
                .long("sort")
                .short('s')
                .value_name("COLUMN")
                .default_value("id")
                .value_parser(Order::parse)
                .help(format!("the first order of the workers: {}", Order::NAMES.join(", "))),
        )
        .arg(flag("cores", "show the cores, too").short('c'))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds from 0.1 to 3600".to_owned())
}

pub fn run(words: &ArgMatches, _: &Source) -> io::Result<u8> {
    let address = words.get_one::<String>("address").map(String::as_str).unwrap_or_default();
    let place = Place::parse(address).map_err(io::Error::other)?;
    let interval = words.get_one("interval").copied().unwrap_or(Duration::from_secs(1));
    let order = words.get_one("sort").copied().unwrap_or(Order::Id);
    if !words.get_flag("once") {
        return screen::run(place, interval, state::State::new(order, words.get_flag("cores")));
    }
    let first = look(&place)?;
    std::thread::park_timeout(interval);
    let mut figures = Figures::between(Some(&first), &look(&place)?);
    order.sort(&mut figures.workers, false);
    let text = match words.get_flag("json") {
        true => format!("{:#}\n", in_json(&place, &figures)),
        false => in_text(&place, &figures),
    };
    print(text.as_bytes())?;
    Ok(exit::DONE)
}

/// Reads the statistics of now.
fn look(place: &Place) -> io::Result<Seen> {
    let bytes = place.read(PATIENCE)?;
    let document = Document::parse(&bytes).map_err(|error| io::Error::other(format!("{}: {error}", place.shown)))?;
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Ok(Seen { document, at: Instant::now(), now_s })
}

fn in_json(place: &Place, figures: &Figures) -> Value {
    let workers: Vec<Value> = figures.workers.iter().map(|worker| {
        let requests: Vec<Value> = worker.running.iter().map(|it| {
            json!({ "core": it.core, "method": it.method, "uri": it.uri, "client": it.client, "age_s": it.age_s })
        }).collect();
        json!({
            "id": worker.id, "pid": worker.pid, "status": worker.status, "busy_cores": worker.busy, "cores": worker.cores,
            "requests": worker.requests, "requests_per_second": rounded(worker.rate), "load": rounded(worker.load),
            "average_ms": worker.average_ms, "exceptions": worker.exceptions, "harakiris": worker.harakiris,
            "respawns": worker.respawns, "age_s": worker.age_s, "rss_bytes": worker.rss, "vsz_bytes": worker.vsz,
            "sent_bytes": worker.sent, "current": requests,
        })
    }).collect();
    let sockets = figures
        .sockets
        .iter()
        .map(|it| json!({ "name": it.name, "protocol": it.protocol, "queue": it.queue, "max_queue": it.most }));
    let vassals = figures
        .vassals
        .iter()
        .map(|it| json!({ "id": it.id, "pid": it.pid, "ready": it.ready, "respawns": it.respawns }));
    json!({
        "form": FORM, "address": place.shown, "version": figures.version, "pid": figures.pid,
        "requests": figures.requests, "requests_per_second": rounded(figures.rate),
        "sent_bytes_per_second": rounded(figures.sent_rate), "exceptions": figures.exceptions,
        "harakiris": figures.harakiris, "listen_queue": figures.queue, "listen_queue_errors": figures.queue_errors,
        "busy_cores": figures.busy, "cores": figures.cores, "rss_bytes": figures.rss,
        "sockets": sockets.collect::<Vec<_>>(), "workers": workers, "vassals": vassals.collect::<Vec<_>>(),
    })
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn in_text(place: &Place, figures: &Figures) -> String {
    let mut text = String::new();
    for line in view::summary(&place.shown, figures) {
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text);
    let rows = view::rows(figures, true);
    let widths: Vec<usize> = (0..view::COLUMNS.len())
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.cells.get(column)).map(|cell| cell.chars().count());
            cells.max().unwrap_or(0).max(view::COLUMNS[column].len())
        })
        .collect();
    let line = |cells: &[String]| -> String {
        let padded: Vec<String> =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}", width = *width)).collect();
        padded.join(" ")
    };
    if !figures.workers.is_empty() {
        let _ = writeln!(text, "{}", line(&view::COLUMNS.map(str::to_owned)));
    }
    for row in &rows {
        let _ = match &row.request {
            Some(request) => writeln!(text, "{request}"),
            None => writeln!(text, "{}", line(&row.cells)),
        };
    }
    text
}
