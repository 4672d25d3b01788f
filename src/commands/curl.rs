//! `ruwsgi curl`: one request to a server in the protocol that it speaks, as a front end would send it, and the answer.
//! For people who want to know whether it is the application server, the front end or the way between them.

mod target;

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ruwsgi_core::exit;
use ruwsgi_options::Source;
use ruwsgi_wire::client::{Client, Dialect, Heard, Var};
use ruwsgi_wire::http;

use self::target::Target;

const EXAMPLES: &str = "\
A URL is PROTOCOL://ADDRESS/PATH, with uwsgi, fastcgi, scgi or http:
  ruwsgi curl uwsgi://127.0.0.1:3031/
  ruwsgi curl -v fastcgi://unix:/run/app.sock:/login?next=/
  ruwsgi curl -d name=value scgi://[::1]:4000/form
  ruwsgi curl --unix-socket /run/app.sock http://example.com/";

pub fn command() -> Command {
    let flag = |name, letter, help| Arg::new(name).short(letter).long(name).action(ArgAction::SetTrue).help(help);
    let value = |name, hint, help| Arg::new(name).long(name).value_name(hint).help(help);
    let many = |name, hint, help| value(name, hint, help).action(ArgAction::Append);
    Command::new("curl")
        .about("Asks a server in the protocol that it speaks: uwsgi, FastCGI, SCGI or HTTP")
        .after_help(EXAMPLES)
        .arg(Arg::new("url").value_name("URL").required(true).help("where to ask"))
        .arg(value("request", "METHOD", "the method [GET, or POST where there is a body]").short('X'))
        .arg(value("data", "TEXT", "send this body; @FILE is what is in a file, @- standard input").short('d'))
        .arg(many("header", "NAME: VALUE", "send this header field").short('H'))
        .arg(many("var", "NAME=VALUE", "send this variable (not over HTTP, which has none)"))
        .arg(value("unix-socket", "PATH", "connect to this socket, whatever the URL names"))
        .arg(value("modifier1", "NUM", "the kind of uwsgi packet [0]").value_parser(clap::value_parser!(u8)))
        .arg(value("modifier2", "NUM", "more about it [0]").value_parser(clap::value_parser!(u8)))
        .arg(
            value("max-time", "SEC", "wait so long for each step [60]")
                .short('m')
                .value_parser(clap::value_parser!(u32)),
        )
        .arg(flag("include", 'i', "show the head of the answer, too"))
        .arg(flag("head", 'I', "ask with HEAD, and show the head"))
        .arg(flag("fail", 'f', "exit with 1 where the status is 400 or above"))
        .arg(flag("verbose", 'v', "show what is sent, the head of the answer, and how long it took"))
}

pub fn run(words: &ArgMatches, _: &Source) -> io::Result<u8> {
    let text = |name: &str| words.get_one::<String>(name).map(String::as_str);
    let target = Target::parse(text("url").unwrap_or_default(), text("unix-socket")).map_err(io::Error::other)?;
    let call = Call::of(words, &target)?;
    let verbose = words.get_flag("verbose");
    let mut request = Vec::new();
    let mut client = Client::new(target.dialect);
    let vars: Vec<Var<'_>> = call.vars.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
    client.ask(&vars, Some(call.body.len() as u64), &mut request).map_err(io::Error::other)?;
    if target.dialect == Dialect::Uwsgi {
        request[0] = words.get_one("modifier1").copied().unwrap_or(0);
        request[3] = words.get_one("modifier2").copied().unwrap_or(0);
    }
    if verbose {
        io::stderr().write_all(describe(target.dialect, &request, &call).as_bytes())?;
    }
    client.body(&call.body, &mut request);
    client.body_end(&mut request);

    let began = Instant::now();
    let seconds: u32 = words.get_one("max-time").copied().unwrap_or(60).max(1);
    let mut stream = target.connect(Duration::from_secs(u64::from(seconds)))?;
    let connected = began.elapsed();
    // A server that has refused the start may have closed: its answer says why.
    let sent = stream.write_all(&request).and_then(|()| stream.flush());
    let show_head = words.get_flag("include") || words.get_flag("head");
    let mut hearing = Hearing { verbose, show_head, status: 0, bytes: 0, first: None };
    let heard = hearing.all(&mut client, &mut *stream);
    if let (Err(_), Err(error)) = (&heard, sent) {
        return Err(io::Error::other(format!("{}: the request can't be sent: {error}", target.shown)));
    }
    heard.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => error,
        io::ErrorKind::WouldBlock => io::Error::other(format!("{}: no answer within {seconds} s", target.shown)),
        _ => io::Error::other(format!("{}: {error}", target.shown)),
    })?;
    if verbose {
        let first = hearing.first.map_or(began.elapsed(), |at| at - began);
        let line = format!(
            "* connected after {}, first byte after {}, all after {}; {} bytes of body\n",
            millis(connected),
            millis(first),
            millis(began.elapsed()),
            hearing.bytes
        );
        io::stderr().write_all(line.as_bytes())?;
    }
    Ok(if words.get_flag("fail") && hearing.status >= 400 { exit::FAILED } else { exit::DONE })
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// What is asked.
struct Call {
    vars: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
}

impl Call {
    fn of(words: &ArgMatches, target: &Target) -> io::Result<Self> {
        let text = |name: &str| words.get_one::<String>(name).map(String::as_str);
        let data = text("data").map(body).transpose()?;
        let usual = if words.get_flag("head") { "HEAD" } else { "GET" };
        let method = text("request").unwrap_or(if data.is_some() { "POST" } else { usual });
        let mut vars = target.vars(method);
        let mut set = |name: &str, value: &str| {
            vars.retain(|(known, _)| known != name.as_bytes());
            vars.push((name.into(), value.into()));
        };
        if data.is_some() {
            set("CONTENT_TYPE", "application/x-www-form-urlencoded");
        }
        for field in words.get_many::<String>("header").into_iter().flatten() {
            let Some((name, value)) = field.split_once(':') else {
                return Err(io::Error::other(format!("-H {field:?} is no header field: NAME: VALUE")));
            };
            let name = name.trim().to_ascii_uppercase().replace('-', "_");
            let name = if name == "CONTENT_TYPE" { name } else { format!("HTTP_{name}") };
            set(&name, value.trim());
        }
        for var in words.get_many::<String>("var").into_iter().flatten() {
            let Some((name, value)) = var.split_once('=') else {
                return Err(io::Error::other(format!("--var {var:?} is no variable: NAME=VALUE")));
            };
            set(name, value);
        }
        Ok(Self { vars, body: data.unwrap_or_default() })
    }
}

/// The bytes of `-d`.
fn body(text: &str) -> io::Result<Vec<u8>> {
    let Some(path) = text.strip_prefix('@') else { return Ok(text.into()) };
    let mut bytes = Vec::new();
    let read = match path {
        "-" => io::stdin().read_to_end(&mut bytes),
        path => File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)),
    };
    read.map_err(|error| io::Error::other(format!("-d {text}: {error}")))?;
    Ok(bytes)
}

/// What is sent, for people: the head of an HTTP request as it is, otherwise what carries the variables, and these.
fn describe(dialect: Dialect, request: &[u8], call: &Call) -> String {
    let what = match dialect {
        Dialect::Http => {
            let lines = String::from_utf8_lossy(request);
            return lines.lines().map(|line| format!("> {line}\n")).collect();
        }
        Dialect::Uwsgi | Dialect::PersistentUwsgi => {
            format!("uwsgi packet, modifier1 {}, modifier2 {}, {} bytes", request[0], request[3], request.len() - 4)
        }
        Dialect::FastCgi => format!("FastCGI request 1, responder, keep-alive, {} bytes of records", request.len()),
        Dialect::Scgi => format!("SCGI netstring, {} bytes", request.len()),
    };
    let mut text = format!("> {what}, then {} bytes of body\n", call.body.len());
    for (name, value) in &call.vars {
        text.push_str(&format!("> {} = {}\n", name.escape_ascii(), value.escape_ascii()));
    }
    text
}

/// What is done with an answer.
struct Hearing {
    verbose: bool,
    show_head: bool,
    status: u16,
    bytes: u64,
    first: Option<Instant>,
}

impl Hearing {
    /// Reads to the end of the answer, and writes it to standard output as it comes.
    fn all(&mut self, client: &mut Client, stream: &mut dyn Read) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let got = match stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let mut heard = Vec::new();
            let told = match got {
                0 => client.hear_end(&mut heard),
                _ => client.hear(&buffer[..got], &mut heard),
            };
            if got > 0 {
                self.first.get_or_insert_with(Instant::now);
            }
            let ended = self.show(&heard)?;
            told.map_err(io::Error::other)?;
            if ended || got == 0 {
                return io::stdout().flush();
            }
        }
    }

    /// Writes what was heard; whether that was the end.
    fn show(&mut self, heard: &[Heard]) -> io::Result<bool> {
        for one in heard {
            match one {
                Heard::Head { status, raw } => {
                    self.status = *status;
                    if self.verbose {
                        let text = String::from_utf8_lossy(raw);
                        let text: String = text.lines().map(|line| format!("< {line}\n")).collect();
                        io::stderr().write_all(text.as_bytes())?;
                    }
                    if self.show_head {
                        io::stdout().write_all(raw)?;
                    }
                }
                Heard::Data(data) => {
                    self.bytes += data.len() as u64;
                    io::stdout().write_all(data)?;
                }
                Heard::Log(text) => io::stderr().write_all(text)?,
                Heard::End { .. } => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// The path of a target as an application sees it.
fn decoded(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    http::decode(path.as_bytes(), &mut out);
    out
}
