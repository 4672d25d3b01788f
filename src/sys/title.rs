//! What `ps` shows: a process may write its title over the arguments it was started with.

use std::ffi::CString;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// The environment is elsewhere: what lies behind the arguments is free.
static ENVIRONMENT_MOVED: AtomicBool = AtomicBool::new(false);
/// The last title went beyond the arguments.
static ROOM_TAKEN: AtomicBool = AtomicBool::new(false);

/// Shows `title` instead of the command line, cut to the room that the arguments had, or to more after
/// [`take_room_of_environment`]. Whoever calls this must not
/// need its arguments from the kernel any more; an interpreter has copied them before any module runs.
pub fn set_command_line(title: &str) -> io::Result<()> {
    let Places { arguments, environment } = Places::read()?;
    let start = arguments.start;
    let shown = std::fs::read("/proc/self/cmdline")?;
    let ours = shown.len() == arguments.len() || ROOM_TAKEN.load(Ordering::Relaxed);
    if arguments.is_empty() || !ours {
        // valgrind runs a program inside itself: it shows the program's arguments, and its own are there.
        return Ok(());
    }
    let behind = ENVIRONMENT_MOVED.load(Ordering::Relaxed) && environment.start == arguments.end;
    let room = if behind { environment.end - start } else { arguments.len() };
    let length = title.len().min(room - 1);
    // The kernel shows what lies behind the arguments too where their last byte is not 0, proc_pid_cmdline(5).
    ROOM_TAKEN.store(length >= arguments.len(), Ordering::Relaxed);
    // SAFETY: the kernel laid the arguments and the environment of this process there, in its own stack, readable and
    // writable until it ends; `Places` has just read the bounds. Nothing holds a reference to the arguments, which came
    // before any code ran, nor to the environment, if it was moved.
    unsafe {
        let area = start as *mut u8;
        std::ptr::write_bytes(area, 0, room);
        std::ptr::copy_nonoverlapping(title.as_ptr(), area, length);
    }
    Ok(())
}

/// Gives [`set_command_line`] the room behind the arguments too, where the kernel has put the environment: that is
/// copied to the heap, where the C library finds it from then on. For a process that was started with few arguments.
/// Call it while there is one thread, before anything keeps a pointer into the environment.
pub fn take_room_of_environment() {
    if ENVIRONMENT_MOVED.swap(true, Ordering::Relaxed) {
        return;
    }
    unsafe extern "C" {
        static mut environ: *mut *mut libc::c_char;
    }
    let copies = std::env::vars_os().filter_map(|(name, value)| {
        let pair = [name.as_bytes(), b"=", value.as_bytes()].concat();
        Some(CString::new(pair).ok()?.into_raw())
    });
    let list: Vec<*mut libc::c_char> = copies.chain([std::ptr::null_mut()]).collect();
    // SAFETY: one thread, so nobody reads `environ` meanwhile. The list ends with a null, its strings are C strings, and
    // all of it is leaked: it lives as long as the process, as an environment must.
    unsafe { environ = list.leak().as_mut_ptr() };
}

/// Where the kernel has put the arguments and the environment.
struct Places {
    arguments: Range<usize>,
    environment: Range<usize>,
}

impl Places {
    /// Fields 48 to 51 of /proc/self/stat, proc_pid_stat(5).
    fn read() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // The second field is the name in parentheses, which may hold anything.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace().skip(45);
        let fields: Vec<usize> = fields.map_while(|field| field.parse().ok()).collect();
        match fields[..] {
            [from, to, env_from, env_to, ..] if from <= to && env_from <= env_to => {
                Ok(Self { arguments: from..to, environment: env_from..env_to })
            }
            _ => Err(io::Error::other("/proc/self/stat does not say where the arguments are")),
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_title_stands_in_the_command_line() {
        // A copy of this test binary's own arguments is not needed any more.
        super::set_command_line("ruwsgi: a title").unwrap();
        let shown = std::fs::read("/proc/self/cmdline").unwrap();
        assert!(shown.starts_with(b"ruwsgi: a title\0"), "{}", shown.escape_ascii());
        // What is too long for the arguments is cut: the environment is still in its place.
        super::set_command_line(&"long ".repeat(10_000)).unwrap();
        assert_eq!(std::fs::read("/proc/self/cmdline").unwrap().len(), shown.len());
    }
}
