//! What a process may do and see: capabilities, namespaces, mounts.
//!
//! The child of the emperor that becomes a vassal calls it between fork and exec, and the emperor for its own mounts.

use std::io;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// The version of capset(2) that has 64 bits.
const VERSION_3: u32 = 0x2008_0522;
/// The last capability that a kernel can have here: a mask holds 64.
const LAST: u32 = 63;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes all capabilities but these from this process and its children, for good. What is kept survives a change of the
/// user that follows, until [`raise`] is called.
pub fn limit(mask: u64) -> io::Result<()> {
    for number in (0..=LAST).filter(|number| mask & (1 << number) == 0) {
        // SAFETY: prctl reads two integers; a number that this kernel does not know is EINVAL.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) };
        if dropped != 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() == Some(libc::EINVAL) {
                break;
            }
            return Err(error);
        }
    }
    // SAFETY: prctl reads an integer.
    if unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has exactly these capabilities, and so have the programs that this process becomes.
pub fn raise(mask: u64) -> io::Result<()> {
    let halves = [mask as u32, (mask >> 32) as u32];
    let data = halves.map(|half| Data { effective: half, permitted: half, inheritable: half });
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: capset reads a header and, in this version, two data structures; all of them are alive.
    if unsafe { libc::syscall(libc::SYS_capset, &raw const header, data.as_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    for number in (0..=LAST).filter(|number| mask & (1 << number) != 0) {
        let (raise, number) = (libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(number));
        // SAFETY: prctl reads integers.
        if unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The flags of clone(2) for namespaces by uWSGI's names: `fs`, `net` ...; a name that is none is no flag.
#[must_use]
pub fn namespaces(names: &[&str]) -> i32 {
    names.iter().fold(0, |flags, name| {
        flags
            | match *name {
                "cgroup" => libc::CLONE_NEWCGROUP,
                "fs" => libc::CLONE_NEWNS,
                "ipc" => libc::CLONE_NEWIPC,
                "net" => libc::CLONE_NEWNET,
                "pid" => libc::CLONE_NEWPID,
                "user" => libc::CLONE_NEWUSER,
                "uts" => libc::CLONE_NEWUTS,
                _ => 0,
            }
    })
}

/// The flags of a mount by their names, with commas between; an error is the name that is none.
fn mount_flags(text: &str) -> Result<MsFlags, String> {
    let mut flags = MsFlags::empty();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        flags |= match name {
            "bind" => MsFlags::MS_BIND,
            "rec" | "recursive" => MsFlags::MS_REC,
            "readonly" | "rdonly" | "ro" => MsFlags::MS_RDONLY,
            "nosuid" => MsFlags::MS_NOSUID,
            "nodev" => MsFlags::MS_NODEV,
            "noexec" => MsFlags::MS_NOEXEC,
            "remount" => MsFlags::MS_REMOUNT,
            "private" => MsFlags::MS_PRIVATE,
            "slave" => MsFlags::MS_SLAVE,
            "shared" => MsFlags::MS_SHARED,
            "noatime" => MsFlags::MS_NOATIME,
            "move" => MsFlags::MS_MOVE,
            other => return Err(format!("{other:?} is no flag of a mount")),
        };
    }
    Ok(flags)
}

/// Mounts what `TYPE SOURCE DIRECTORY [FLAGS]` says; an error is a reason in words.
pub fn mount_as_said(said: &str) -> Result<(), String> {
    let words: Vec<&str> = said.split_ascii_whitespace().collect();
    let (kind, source, place, flags) = match words[..] {
        [kind, source, place] => (kind, source, place, ""),
        [kind, source, place, flags] => (kind, source, place, flags),
        // A bind mount has no type.
        _ => return Err(format!("{said:?} is not TYPE SOURCE DIRECTORY and, perhaps, FLAGS")),
    };
    let flags = mount_flags(flags)?;
    let none = |text| Some(text).filter(|text: &&str| *text != "none");
    mount(none(source), Path::new(place), none(kind), flags, None::<&str>).map_err(|error| error.desc().to_owned())
}

/// Unmounts what `DIRECTORY [FLAGS]` says.
pub fn unmount_as_said(said: &str) -> Result<(), String> {
    let mut words = said.split_ascii_whitespace();
    let place = words.next().ok_or("a directory is missing")?;
    let mut flags = MntFlags::empty();
    for name in words.flat_map(|word| word.split(',')).filter(|name| !name.is_empty()) {
        flags |= match name {
            "detach" => MntFlags::MNT_DETACH,
            "force" => MntFlags::MNT_FORCE,
            "expire" => MntFlags::MNT_EXPIRE,
            "nofollow" => MntFlags::UMOUNT_NOFOLLOW,
            other => return Err(format!("{other:?} is no flag of an unmount")),
        };
    }
    umount2(Path::new(place), flags).map_err(|error| error.desc().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_wrongly_is_no_mount() {
        assert!(mount_as_said("proc proc").is_err_and(|why| why.contains("TYPE SOURCE DIRECTORY")));
        assert!(mount_as_said("proc proc /x fast").is_err_and(|why| why.contains("\"fast\"")));
        assert!(mount_as_said("nope none /nonexistent").is_err());
        assert!(unmount_as_said("/x away").is_err_and(|why| why.contains("\"away\"")));
        assert!(unmount_as_said("").is_err());
        assert_eq!(namespaces(&["fs", "nope", "pid"]), libc::CLONE_NEWNS | libc::CLONE_NEWPID);
    }
}
