//! What each action of a hook does. Nothing here waits without a bound or without listening for a stop, except for a
//! command that takes its time: then it says so.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ruwsgi_options::{Action, Awaited};
use ruwsgi_sys::exec::{self, Ending, Own, Program};
use ruwsgi_sys::mount::{self, Mount};
use ruwsgi_sys::reap::End;
use ruwsgi_sys::{clock, file, privilege, process, signal};

use crate::hooks::Scene;

/// How often somebody looks for what is awaited.
const LOOK: Duration = Duration::from_millis(200);
/// How often a command that does not end is told.
const TELL: Duration = Duration::from_secs(10);
/// The sticky bit, inode(7).
const STICKY: u32 = 0o1000;

/// What came of an action.
pub(crate) enum Done {
    Yes,
    No(String),
    /// The process is to end.
    Exit(u8),
}

pub(crate) fn act(option: &str, action: &Action, scene: &mut Scene) -> io::Result<Done> {
    match action {
        Action::Enter(path) => std::env::set_current_dir(path)?,
        Action::MakeFolder(path) => std::fs::create_dir(path)?,
        Action::Variable(name, value) => {
            scene.env.retain(|(known, _)| known != name.as_str());
            scene.env.push((name.into(), value.into()));
            scene.variables.push((name.clone(), value.clone()));
        }
        Action::Mode(path, mode) => std::fs::set_permissions(path, Permissions::from_mode(*mode))?,
        Action::Owner(path, user, group) => return give(path, user, group),
        Action::Sticky(path) => {
            let mode = std::fs::metadata(path)?.permissions().mode();
            std::fs::set_permissions(path, Permissions::from_mode(mode | STICKY))?;
        }
        Action::Run { command, may_fail } => return run(option, command, *may_fail, scene),
        Action::Create(path) => drop(File::create(path)?),
        Action::Write { path, text, append } => {
            let mut options = OpenOptions::new();
            options.create(true).append(*append).write(true).truncate(!*append);
            options.open(path)?.write_all(text.as_bytes())?;
        }
        Action::Fifo { path, text, patient } => return tell(path, text, *patient && !scene.hurried),
        Action::Remove(path) => std::fs::remove_file(path)?,
        Action::Mount { kind, source, target, flags, data } => {
            mount::mount(&Mount { kind, source, target, flags, data: data.as_deref() })?;
        }
        Action::Umount { target, flags } => mount::umount(target, flags)?,
        Action::Hostname(name) => process::set_hostname(name)?,
        Action::Await(what, place) => return wait(*what, place, scene),
        Action::Signal(number, meaning) => scene.meanings.push((*number, *meaning)),
        Action::Exit(code) => return Ok(Done::Exit(*code)),
        Action::Print(text) => tracing::info!("{text}"),
    }
    Ok(Done::Yes)
}

fn give(path: &Path, user: &str, group: &str) -> io::Result<Done> {
    let Some(account) = privilege::user(user)? else { return Ok(Done::No(format!("there is no user {user:?}"))) };
    let Some(group) = privilege::group(group)? else { return Ok(Done::No(format!("there is no group {group:?}"))) };
    chown(path, Some(account.uid), Some(group))?;
    Ok(Done::Yes)
}

/// A command of the shell in this process's folder, with the environment of the scene.
fn run(option: &str, command: &str, may_fail: bool, scene: &mut Scene) -> io::Result<Done> {
    let args: [OsString; 2] = ["-c".into(), command.into()];
    let program = Program {
        program: "/bin/sh".as_ref(),
        args: &args,
        env: &scene.env,
        umask: None,
        input: false,
        keep: &[],
        own: Own { interruptible: true, session: scene.grouped, ..Own::default() },
    };
    let pid = exec::start(&program)?;
    if scene.hurried {
        scene.started.push((pid, format!("{option}: {command}")));
        return Ok(Done::Yes);
    }
    match outcome(option, pid, scene)? {
        None => Ok(Done::No("was killed, since the server is to stop".to_owned())),
        Some(End::Exited(0)) => Ok(Done::Yes),
        Some(end) if may_fail => {
            tracing::warn!("{option}: {command} {end}");
            Ok(Done::Yes)
        }
        Some(end) => Ok(Done::No(end.to_string())),
    }
}

/// How a command ended; `None`: somebody wants the server to stop.
fn outcome(option: &str, pid: i32, scene: &mut Scene) -> io::Result<Option<End>> {
    let (ending, began, mut told) = (Ending::of(pid)?, Instant::now(), TELL);
    loop {
        if let Some(end) = ending.wait(LOOK)? {
            return Ok(Some(end));
        }
        scene.meanwhile.iter_mut().for_each(|act| act());
        if signal::end_is_pending() {
            if scene.grouped {
                signal::kill_group(pid)?;
            } else {
                signal::kill(pid)?;
            }
            return ending.wait(Duration::MAX).map(|_| None);
        }
        if began.elapsed() >= told {
            tracing::warn!("{option}: the command (pid {pid}) has not ended for {} s", began.elapsed().as_secs());
            told *= 3;
        }
    }
}

/// Writes into a FIFO that somebody reads. Nobody does: as in uWSGI, that is no failure.
fn tell(path: &Path, text: &str, patient: bool) -> io::Result<Done> {
    loop {
        match OpenOptions::new().write(true).custom_flags(file::NONBLOCK).open(path) {
            Ok(mut fifo) => return fifo.write_all(text.as_bytes()).map(|()| Done::Yes),
            Err(error) if nobody_reads(&error) && !patient => return Ok(Done::Yes),
            Err(error) if patient && (nobody_reads(&error) || error.kind() == io::ErrorKind::NotFound) => {
                if signal::end_is_pending() {
                    return Ok(Done::No("given up, since the server is to stop".to_owned()));
                }
                clock::pause(LOOK);
            }
            Err(error) => return Err(error),
        }
    }
}

/// open(2), fifo(7): ENXIO and ENODEV.
fn nobody_reads(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(6 | 19))
}

fn wait(what: Awaited, place: &str, scene: &Scene) -> io::Result<Done> {
    let seconds = if what == Awaited::Socket { scene.patience_s.1 } else { scene.patience_s.0 };
    let until = Instant::now() + Duration::from_secs(seconds.into());
    loop {
        if is_there(what, place) {
            return Ok(Done::Yes);
        }
        if scene.hurried || Instant::now() >= until {
            return Ok(Done::No(format!("not there after {} s", if scene.hurried { 0 } else { seconds })));
        }
        if signal::end_is_pending() {
            return Ok(Done::No("given up, since the server is to stop".to_owned()));
        }
        clock::pause(LOOK);
    }
}

fn is_there(what: Awaited, place: &str) -> bool {
    let metadata = || std::fs::metadata(place);
    match what {
        Awaited::Path => metadata().is_ok(),
        Awaited::File => metadata().is_ok_and(|found| found.is_file()),
        Awaited::Folder => metadata().is_ok_and(|found| found.is_dir()),
        Awaited::Socket => connects(place),
    }
}

fn connects(place: &str) -> bool {
    if let Some(name) = place.strip_prefix('@') {
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name);
        return address.and_then(|address| UnixStream::connect_addr(&address)).is_ok();
    }
    if !place.contains(':') || place.contains('/') {
        return UnixStream::connect(place).is_ok();
    }
    let host = if place.starts_with(':') { format!("127.0.0.1{place}") } else { place.to_owned() };
    let addresses: Vec<SocketAddr> = host.to_socket_addrs().into_iter().flatten().collect();
    addresses.iter().any(|address| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok())
}
