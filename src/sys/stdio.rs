//! Standard input, output and error of this process and of the children that inherit them.

use std::fs::File;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use nix::libc::{STDERR_FILENO, STDOUT_FILENO};

/// Standard output.
#[must_use]
pub fn output() -> BorrowedFd<'static> {
    // SAFETY: the runtime opens the three standard descriptors where they are missing, and nobody here closes them.
    unsafe { BorrowedFd::borrow_raw(STDOUT_FILENO) }
}

/// Standard error.
#[must_use]
pub fn error() -> BorrowedFd<'static> {
    // SAFETY: as above.
    unsafe { BorrowedFd::borrow_raw(STDERR_FILENO) }
}

/// A descriptor that whoever started this process has opened, under a number of its own.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(nix::errno::Errno::EBADF.into());
    }
    // SAFETY: it is only looked at and duplicated, which is an error where there is none of this number.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    fd.try_clone_to_owned()
}

/// Standard output and standard error go there from here on.
pub fn redirect_output(to: BorrowedFd<'_>) -> io::Result<()> {
    nix::unistd::dup2_stdout(to)?;
    Ok(nix::unistd::dup2_stderr(to)?)
}

/// Standard input has nothing to read from here on.
pub fn close_input() -> io::Result<()> {
    Ok(nix::unistd::dup2_stdin(File::open("/dev/null")?)?)
}
