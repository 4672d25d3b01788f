//! Fork and what a child does first: the double fork of a worker, the parent's death, the name in `ps`.

use std::io;
use std::os::fd::{OwnedFd, RawFd};

use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid};

/// Which side of a fork this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The caller goes on, with the child's pid.
    Parent(i32),
    /// The new process.
    Child,
}

/// fork(2). The caller must have no other thread of ours that could hold a lock (the zygote and the master have none).
pub fn fork() -> io::Result<Side> {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that forks")]
    // SAFETY: the processes that fork have no Rust threads, so no lock of ours can be held by a thread that is gone.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Side::Parent(child.as_raw())),
        ForkResult::Child => Ok(Side::Child),
    }
}

/// Ends the process at once: no destructors, no atexit handlers.
pub fn exit_now(code: u8) -> ! {
    // SAFETY: _exit touches no memory of ours.
    unsafe { libc::_exit(i32::from(code)) }
}

/// Waits for one child, whatever its end; a child that somebody else has reaped (SIGCHLD ignored) is no error.
pub fn wait_for(child: i32) {
    while waitpid(Pid::from_raw(child), None) == Err(nix::errno::Errno::EINTR) {}
}

/// Our pid.
#[must_use]
pub fn id() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The id of this thread.
#[must_use]
pub fn thread_id() -> i32 {
    nix::unistd::gettid().as_raw()
}

/// Who this process is: user and group, by their numbers.
#[must_use]
pub fn owner() -> (u32, u32) {
    (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw())
}

/// Somebody has this pid, ours to signal or not.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    #[allow(clippy::disallowed_methods, reason = "nothing is sent")]
    let asked = nix::sys::signal::kill(Pid::from_raw(pid), None);
    pid > 0 && matches!(asked, Ok(()) | Err(nix::errno::Errno::EPERM))
}

/// Our parent's pid, now.
#[must_use]
pub fn parent_id() -> i32 {
    nix::unistd::getppid().as_raw()
}

/// Asks for SIGKILL when the parent *thread* dies. Cleared by fork and by setuid to another id: set it last, then
/// compare [`parent_id`] with the parent that was meant.
pub fn die_with_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?)
}

/// Takes [`die_with_parent`] back: somebody else tells of the parent's death.
pub fn outlive_parent() -> io::Result<()> {
    Ok(nix::sys::prctl::set_pdeathsig(None)?)
}

/// A pipe, both ends close-on-exec: (read, write).
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?)
}

/// Reads what is in a pipe by now, at most so many bytes, and waits for nobody.
pub fn read_now(read: &OwnedFd, most: usize) -> io::Result<Vec<u8>> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    fcntl(read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut bytes = vec![0; most];
    let mut got = 0;
    while got < most {
        match nix::unistd::read(read, &mut bytes[got..]) {
            Ok(0) | Err(nix::errno::Errno::EAGAIN) => break,
            Ok(more) => got += more,
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(got);
    Ok(bytes)
}

/// A pipe for lines of many writers: it holds a megabyte where that is allowed, and its read end never blocks.
pub fn wide_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe()?;
    nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    // As much as an ordinary user may have, pipe(7); less does, too.
    let _ = nix::fcntl::fcntl(&read, nix::fcntl::FcntlArg::F_SETPIPE_SZ(1 << 20));
    Ok((read, write))
}

/// Reads until nobody holds the write end any more.
pub fn wait_for_eof(read: &OwnedFd) -> io::Result<()> {
    let mut byte = [0; 16];
    loop {
        match nix::unistd::read(read, &mut byte) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The name that `top` and `/proc/PID/comm` show, cut to 15 bytes.
pub fn set_name(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}

/// The memory of a process in bytes, resident and of its addresses; `None`: there is no such process.
#[must_use]
pub fn memory_of(pid: i32) -> Option<(u64, u64)> {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = pages.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (size, resident) = (pages.next()??, pages.next()??);
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??.unsigned_abs();
    Some((resident * page, size * page))
}

/// The memory of a process that is its own alone, and its own with its part of what is shared, in bytes (USS and PSS);
/// `None`: there is no such process, or the kernel does not tell us.
#[must_use]
pub fn own_memory_of(pid: i32) -> Option<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kib = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    Some(((kib("Private_Clean")? + kib("Private_Dirty")?) * 1024, kib("Pss")? * 1024))
}

/// How many threads this process has, ours and everybody's.
#[must_use]
pub fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

/// Where memory is short, this process goes before its parent: anybody may say so of himself. Nothing depends on it.
pub fn go_before_parent() {
    const PATH: &str = "/proc/self/oom_score_adj";
    let now: i32 = std::fs::read_to_string(PATH).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    // proc_pid_oom_score_adj(5): 1000 is the most.
    let _ = std::fs::write(PATH, now.saturating_add(100).min(1000).to_string());
}

/// Names the machine.
pub fn set_hostname(name: &str) -> io::Result<()> {
    Ok(nix::unistd::sethostname(name)?)
}

/// Closes every descriptor but these, standard input, output and error. For a child that goes on with next to nothing of
/// what its parent has: it must touch no other descriptor from here on, and leave by [`exit_now`].
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|number| u32::try_from(*number).ok()).collect();
    kept.extend([0, 1, 2]);
    kept.sort_unstable();
    let mut next = 0;
    for number in kept.into_iter().chain([u32::MAX]) {
        if next < number {
            close_range(next, if number == u32::MAX { u32::MAX } else { number - 1 })?;
        }
        next = number.saturating_add(1);
    }
    Ok(())
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: the call closes descriptors, which the caller of `close_all_but` has given up.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Begins a session of its own: no terminal, nobody else's group.
pub fn new_session() -> io::Result<()> {
    nix::unistd::setsid()?;
    Ok(())
}

/// What this process has: the size of its address space and its resident memory, in bytes; 0 where /proc is missing.
#[must_use]
pub fn memory() -> (u64, u64) {
    // proc_pid_statm(5): pages; the first two are size and resident.
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = text.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0));
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096) as u64;
    let mut next = || pages.next().unwrap_or(0_u64) * page;
    (next(), next())
}

/// The processors on which this process may run.
pub fn processors() -> io::Result<Vec<usize>> {
    let set = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..nix::sched::CpuSet::count()).filter(|number| set.is_set(*number).unwrap_or(false)).collect())
}

/// This process runs on these processors from here on.
pub fn run_on(processors: &[usize]) -> io::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    processors.iter().try_for_each(|number| set.set(*number))?;
    Ok(nix::sched::sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The current folder, to come back to: it need not be readable.
pub fn folder() -> io::Result<OwnedFd> {
    use nix::fcntl::OFlag;
    Ok(nix::fcntl::open(".", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?)
}

/// Makes an open folder the current one.
pub fn enter_folder(folder: &impl std::os::fd::AsFd) -> io::Result<()> {
    Ok(nix::unistd::fchdir(folder)?)
}

/// Sets how many files this process and its children may have open. Above the hard limit only root gets; for others the
/// hard limit is what they get, and what is said back.
pub fn limit_files(count: u64) -> io::Result<u64> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if count > hard && setrlimit(Resource::RLIMIT_NOFILE, count, count).is_ok() {
        return Ok(count);
    }
    let count = count.min(hard);
    setrlimit(Resource::RLIMIT_NOFILE, count, hard)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_shared_is_not_ones_own() {
        let pid = super::id();
        let ((resident, _), (own, part)) = (super::memory_of(pid).unwrap(), super::own_memory_of(pid).unwrap());
        assert!(own > 0 && own <= part && part <= resident + (1 << 20), "{own} {part} {resident}");
    }

    #[test]
    fn memory_is_in_bytes() {
        let (size, resident) = super::memory();
        assert!(size >= resident && resident > 100_000, "{size} {resident}");
    }
}
