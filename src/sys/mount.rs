//! File systems: mounted and unmounted.

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags};

/// What is mounted where.
pub struct Mount<'m> {
    /// The type of the file system; empty: none, as for `bind`.
    pub kind: &'m str,
    /// What.
    pub source: &'m str,
    /// Where.
    pub target: &'m Path,
    /// By their names in mount(8); unknown ones do nothing.
    pub flags: &'m [&'static str],
    /// For the file system.
    pub data: Option<&'m str>,
}

/// Mounts.
pub fn mount(what: &Mount<'_>) -> io::Result<()> {
    let flags = what.flags.iter().fold(MsFlags::empty(), |flags, name| flags | flag(name));
    let kind = Some(what.kind).filter(|kind| !kind.is_empty());
    Ok(nix::mount::mount(Some(what.source), what.target, kind, flags, what.data)?)
}

fn flag(name: &str) -> MsFlags {
    match name {
        "bind" => MsFlags::MS_BIND,
        "dirsync" => MsFlags::MS_DIRSYNC,
        "mandlock" => MsFlags::MS_MANDLOCK,
        "move" => MsFlags::MS_MOVE,
        "noatime" => MsFlags::MS_NOATIME,
        "nodev" => MsFlags::MS_NODEV,
        "noexec" => MsFlags::MS_NOEXEC,
        "nosuid" => MsFlags::MS_NOSUID,
        "private" => MsFlags::MS_PRIVATE,
        "rdonly" | "readonly" | "ro" => MsFlags::MS_RDONLY,
        "rec" | "recursive" => MsFlags::MS_REC,
        "remount" => MsFlags::MS_REMOUNT,
        "shared" => MsFlags::MS_SHARED,
        "slave" => MsFlags::MS_SLAVE,
        "sync" => MsFlags::MS_SYNCHRONOUS,
        "unbindable" => MsFlags::MS_UNBINDABLE,
        _ => MsFlags::empty(),
    }
}

/// Unmounts; with `recursive`, what is mounted below goes first.
pub fn umount(target: &Path, flags: &[&'static str]) -> io::Result<()> {
    let bits = flags.iter().fold(MntFlags::empty(), |bits, name| match *name {
        "detach" => bits | MntFlags::MNT_DETACH,
        "expire" => bits | MntFlags::MNT_EXPIRE,
        "force" => bits | MntFlags::MNT_FORCE,
        _ => bits,
    });
    if flags.iter().any(|name| matches!(*name, "rec" | "recursive")) {
        // proc_pid_mounts(5): the second field; the last one mounted is the first one to go.
        let mounts = std::fs::read_to_string("/proc/self/mounts")?;
        let below = mounts.lines().rev().filter_map(|line| line.split(' ').nth(1)).map(Path::new);
        for inner in below.filter(|inner| *inner != target && inner.starts_with(target)) {
            nix::mount::umount2(inner, bits)?;
        }
    }
    Ok(nix::mount::umount2(target, bits)?)
}
