//! What a process gives up for good besides its user: the rest of the file system, the powers of root that it does not
//! need, and privileges that programs it starts could give it.

use std::io;
use std::path::Path;

use nix::libc;

/// _LINUX_CAPABILITY_VERSION_3, capget(2): two words of 32 bits each.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Words {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Makes a folder all that there is, and the current one.
pub fn enter_root(folder: &Path) -> io::Result<()> {
    nix::unistd::chdir(folder)?;
    nix::unistd::chroot(".")?;
    Ok(nix::unistd::chdir("/")?)
}

/// From here on no program that this process and its children start has more privileges than they have.
pub fn refuse_new_privileges() -> io::Result<()> {
    nix::sys::prctl::set_no_new_privs()?;
    if nix::sys::prctl::get_no_new_privs()? { Ok(()) } else { Err(io::Error::other("it was set, and is not")) }
}

/// Whoever becomes another user keeps what it may do, until [`keep_only`] says what.
pub(crate) fn keep_over_user(on: bool) -> io::Result<()> {
    // SAFETY: two numbers, no memory.
    check(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, libc::c_ulong::from(on), 0, 0, 0) })
}

/// Programs that are started, whatever their files say, never have other capabilities than these.
pub(crate) fn bound(set: u64) -> io::Result<()> {
    for number in (0..64u32).filter(|number| set & (1 << number) == 0) {
        // SAFETY: as above.
        match check(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(number), 0, 0, 0) }) {
            // A number that this kernel does not have.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            done => done?,
        }
    }
    Ok(())
}

/// Keeps these capabilities and no others, over an exec too; then looks whether it is so.
pub(crate) fn keep_only(set: u64) -> io::Result<()> {
    let word = |shift: u32| {
        let bits = (set >> shift) as u32;
        Words { effective: bits, permitted: bits, inheritable: bits }
    };
    let words = [word(0), word(32)];
    let mut header = Header { version: VERSION, pid: 0 };
    // SAFETY: header and words are alive, and as long as this version of the call has them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) } as i32)?;
    for number in (0..64u32).filter(|number| set & (1 << number) != 0) {
        let (raise, number) = (libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(number));
        // SAFETY: numbers, no memory.
        check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0, 0) })?;
    }
    let mut now = [Words::default(); 2];
    // SAFETY: as above; it writes both words.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, now.as_mut_ptr()) } as i32)?;
    if now == words { Ok(()) } else { Err(io::Error::other("the capabilities are not those that were set")) }
}

/// The capabilities that this process can use, as a set of bits.
#[must_use]
pub fn held() -> u64 {
    let (mut header, mut now) = (Header { version: VERSION, pid: 0 }, [Words::default(); 2]);
    // SAFETY: header and words are alive, and as long as this version of the call has them.
    unsafe { libc::syscall(libc::SYS_capget, &raw mut header, now.as_mut_ptr()) };
    u64::from(now[1].effective) << 32 | u64::from(now[0].effective)
}

/// Programs that are started from here on get none of our capabilities.
pub fn keep_from_programs() {
    let clear = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    // SAFETY: numbers, no memory. A kernel without ambient capabilities has none to clear.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, clear, 0, 0, 0) };
}

/// A process that has become another user can be looked at by that user again, and leaves a core where that is wanted.
pub fn allow_inspection() {
    // Nothing depends on it.
    let _ = nix::sys::prctl::set_dumpable(true);
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
