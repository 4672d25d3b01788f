//! What `ruwsgi vassals` and the emperor say to each other, over the unix socket of `emperor-control`: one order, which
//! ends with a NUL byte since a name may hold anything else, and one answer, whose first line is `ok` or `error: REASON`.
//!
//! The kernel says who asks. Root and the user of the emperor may do everything; where vassals run as the owners of their
//! files, a user may do everything with his own vassals.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use ruwsgi_sys::process;

use super::name::{Name, shown};
use super::plan::{Command, Plan, Vassal};

/// How long the emperor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    List,
    Log(Name),
    Do(Command, Name),
}

impl Errand {
    /// Reads an order, without the byte that ends it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut parts = bytes.splitn(2, |byte| *byte == b' ');
        let (verb, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let name = || match rest {
            b"" => Err("the name of a vassal is missing".to_owned()),
            rest => Ok(Name::from(OsString::from_vec(rest.to_vec()))),
        };
        match verb {
            b"list" => Ok(Self::List),
            b"log" => Ok(Self::Log(name()?)),
            b"start" => Ok(Self::Do(Command::Start, name()?)),
            b"stop" => Ok(Self::Do(Command::Stop, name()?)),
            b"reload" => Ok(Self::Do(Command::Reload, name()?)),
            other => Err(format!("{} is no order", shown(other))),
        }
    }
}

/// Who may do what.
pub(super) fn may(user: u32, vassal: Option<&Vassal>) -> bool {
    let owns = || vassal.and_then(Vassal::terms).and_then(|terms| terms.owner).is_some_and(|(owner, _)| owner == user);
    user == 0 || user == process::owner().0 || owns()
}

/// An answer that says no.
pub(super) fn refusal(reason: &str) -> Vec<u8> {
    format!("error: {reason}\n").into_bytes()
}

/// An answer with what was asked for behind it.
pub(super) fn granted(text: &[u8]) -> Vec<u8> {
    [b"ok\n", text].concat()
}

/// The vassals that a user may see, one a line: name, state, pid, how often it was started, why it does not run.
pub(super) fn list(plan: &Plan, user: u32) -> Vec<u8> {
    let mut rows = vec![["VASSAL", "STATE", "PID", "STARTS", "REASON"].map(str::to_owned)];
    for (name, vassal) in plan.vassals().filter(|(_, vassal)| may(user, Some(vassal))) {
        let pid = vassal.process().map_or_else(|| "-".to_owned(), |up| up.pid.to_string());
        let reason = vassal.reason.as_deref().map_or_else(|| "-".to_owned(), |text| shown(text.as_bytes()));
        rows.push([name.to_string(), vassal.state().to_owned(), pid, vassal.starts.to_string(), reason]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let line = |row: &[String; 5]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).chain([row[4].clone()]).collect();
        format!("{}\n", cells.join("  "))
    };
    rows.iter().map(line).collect::<String>().into_bytes()
}

/// Asks the emperor at this socket; what it has to say, or why not.
pub fn ask(socket: &Path, verb: &str, name: &[u8]) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("no emperor listens at {}", socket.display()),
        io::ErrorKind::WouldBlock => "the emperor does not answer".to_owned(),
        _ => format!("{}: {}", socket.display(), crate::why(&error)),
    };
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(&[verb.as_bytes(), b" ", name, b"\0"].concat()).map_err(failed)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed)?;
    if let Some(text) = answer.strip_prefix(b"ok\n") {
        return Ok(text.to_vec());
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    Err(text.trim_start_matches("error: ").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_with_names_of_any_kind() {
        assert_eq!(Errand::read(b"list "), Ok(Errand::List));
        assert_eq!(Errand::read(b"log a b.ini"), Ok(Errand::Log(Name::from("a b.ini"))));
        let name = Name::from(OsString::from_vec(b"a\n\xff.ini".to_vec()));
        assert_eq!(Errand::read(b"stop a\n\xff.ini"), Ok(Errand::Do(Command::Stop, name)));
        assert_eq!(Errand::read(b"start"), Err("the name of a vassal is missing".into()));
        assert_eq!(Errand::read(b"dance x"), Err("dance is no order".into()));
    }
}
