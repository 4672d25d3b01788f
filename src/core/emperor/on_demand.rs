//! Vassals that sleep: where their socket is, and the socket itself, which the emperor opens and holds. The vassal gets
//! it as standard input when the first connection is there.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use ruwsgi_options::Config;
use ruwsgi_sys::listen::{self, Owner};
use ruwsgi_sys::stream;

use super::monitor::Place;
use super::name::shown;
use super::plan::Terms;
use crate::listeners::{Address, backlog, bind_plain, in_words, owner};
use crate::why;

/// The mode of a socket where nobody says another: who is allowed in is in its group.
const MODE: u32 = 0o660;
/// The longest text of an address.
const MOST_BYTES: u64 = 4096;
/// How long a command may take to print an address.
const PATIENCE: Duration = Duration::from_secs(10);

/// A socket that is held for a vassal. Dropped, its file goes with it.
pub(super) struct Held {
    fd: OwnedFd,
    file: Option<(PathBuf, (u64, u64))>,
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((path, identity)) = self.file.take()
            && listen::file_identity(&path) == Some(identity)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Where a vassal listens while it sleeps; `None`: it does not sleep. What a command has said is asked once for each
/// version of the file.
pub(super) fn address(
    place: &Place,
    config: &Config,
    said: &mut Option<Option<String>>,
) -> Result<Option<String>, String> {
    let options = &config.emperor;
    if let Some(extension) = &options.on_demand_extension {
        let mut path = place.path.clone().into_os_string();
        path.push(extension);
        match std::fs::File::open(&path) {
            Ok(file) => return read(file, "emperor-on-demand-extension", place).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {}", path.display(), why(&error))),
        }
    }
    if let Some(folder) = &options.on_demand_directory {
        let stem = place.path.file_stem().unwrap_or_default();
        let mut name = stem.to_owned();
        name.push(".socket");
        let path = std::path::absolute(folder.join(name)).map_err(|error| why(&error))?;
        let text = path.into_os_string().into_string();
        return text.map(Some).map_err(|_| "emperor-on-demand-directory: its name is no UTF-8 text".to_owned());
    }
    let Some(command) = &options.on_demand_exec else { return Ok(None) };
    if let Some(known) = said {
        return Ok(known.clone());
    }
    let address = ask(command, place)?;
    *said = Some(address.clone());
    Ok(address)
}

/// The address that a text holds: its first line. A file is relative to where the vassal starts.
fn read(from: impl Read, option: &str, place: &Place) -> Result<String, String> {
    let mut text = Vec::new();
    from.take(MOST_BYTES).read_to_end(&mut text).map_err(|error| format!("{option}: {}", why(&error)))?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(line).map_err(|_| format!("{option}: {} is no address", shown(line)))?;
    let address = Address::parse(text).map_err(|why| format!("{option}: {text:?} {why}"))?;
    match address {
        Address::Given(_) => Err(format!("{option}: {text:?} is nobody's to give")),
        Address::Unix(path) => Ok(place.folder.join(path).to_string_lossy().into_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// What a command prints for this vassal; nothing: it does not sleep.
fn ask(command: &str, place: &Place) -> Result<Option<String>, String> {
    const OPTION: &str = "emperor-on-demand-exec";
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{command} \"$1\"")).arg("sh").arg(&place.argument).current_dir(&place.folder);
    let started = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| format!("{OPTION}: {}", why(&error)))?;
    let Some(out) = child.stdout.take() else { return Ok(None) };
    let answered = stream::wait(out.as_fd(), stream::Until::Readable, PATIENCE);
    if !answered.is_ok_and(|answered| answered) {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("{OPTION}: {command:?} says nothing for {} s", PATIENCE.as_secs()));
    }
    let mut text = String::new();
    let read_text = out.take(MOST_BYTES).read_to_string(&mut text);
    let status = child.wait().map_err(|error| format!("{OPTION}: {}", why(&error)))?;
    match read_text {
        Err(error) => Err(format!("{OPTION}: {}", why(&error))),
        Ok(_) if !status.success() => Err(format!("{OPTION}: {command:?} failed ({status})")),
        Ok(_) if text.trim().is_empty() => Ok(None),
        Ok(_) => read(text.as_bytes(), OPTION, place).map(Some),
    }
}

/// Opens the socket of a vassal.
pub(super) fn hold(terms: &Terms, config: &Config) -> Result<Held, String> {
    let said = terms.address.as_deref().unwrap_or_default();
    let address = Address::parse(said)?;
    let mode = match (config.sockets.chmod_socket, config.process.umask) {
        (Some(mode), _) => mode,
        (None, Some(umask)) => 0o777 & !umask,
        (None, None) => MODE,
    };
    let (fd, _, file) = bind_plain(&address, said, mode)?;
    let held = Held { fd, file };
    let own = terms.owner.map(|(user, group)| Owner { user: Some(user), group: Some(group) });
    if let (Some((path, _)), Some(to)) = (&held.file, owner(config)?.or(own)) {
        listen::give(path, to).map_err(|error| format!("can't be given away: {}", why(&error)))?;
    }
    listen::listen(held.fd.as_fd(), backlog(config)).map_err(|error| in_words(&error))?;
    Ok(held)
}
