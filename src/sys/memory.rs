//! Memory that several processes share: an anonymous file, mapped as a slice of atomic words.
//!
//! Words, because an atomic is the only value that another process may change under a shared reference; what they
//! mean is the affair of `contract::scoreboard`.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A mapping of shared words. Unmapped when dropped; the file lives as long as any descriptor or mapping of it.
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    words: usize,
    file: OwnedFd,
}

// SAFETY: the mapping is plain memory of atomics, which any thread may use.
unsafe impl Send for SharedWords {}
// SAFETY: as above: atomics are Sync.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Makes a zeroed area of `words` words (8 bytes each).
    pub fn create(words: usize) -> io::Result<Self> {
        let file = memfd_create(c"ruwsgi-shared", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
        nix::unistd::ftruncate(&file, (words * 8) as libc::off_t)?;
        // Nobody may shrink the file: reading a page behind its end would be a SIGBUS in the master.
        use nix::fcntl::{FcntlArg, SealFlag, fcntl};
        fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL))?;
        Self::map(file, words)
    }

    /// Maps an area that another process made; its size is the file's.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let bytes = nix::sys::stat::fstat(&file)?.st_size.max(0) as usize;
        Self::map(file, bytes / 8)
    }

    fn map(file: OwnedFd, words: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(words * 8).ok_or_else(|| io::Error::other("an empty shared area"))?;
        // SAFETY: a fresh mapping at an address of the kernel's choice; nothing else refers to it.
        let start =
            unsafe { mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, &file, 0)? };
        Ok(Self { start: start.cast(), words, file })
    }

    /// All words, zero until somebody writes.
    #[must_use]
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page aligned, `words` long, zeroed by the kernel, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }

    /// The descriptor to send to another process.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`, of that length; `words()` borrows end before this.
        let _ = unsafe { munmap(self.start.cast(), self.words * 8) };
    }
}

/// A file in memory for what is read and written again and again, close-on-exec.
pub fn scratch_file() -> io::Result<OwnedFd> {
    Ok(memfd_create(c"ruwsgi-scratch", MFdFlags::MFD_CLOEXEC)?)
}

/// An anonymous file that holds `bytes`, for another process to read from its start.
pub fn sealed_file(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write;
    let mut file = std::fs::File::from(memfd_create(c"ruwsgi-configuration", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// The whole content of a file made by [`sealed_file`], whatever the position of the descriptor.
pub fn read_sealed_file(file: OwnedFd) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(file);
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Gives memory back that was allocated once and is free. A process that has done a lot is small again, and what it
/// forks does not inherit what nobody needs.
pub fn let_go_of_free() {
    // SAFETY: touches nothing that is allocated.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Lets go of the pages of code and constants that this process has used so far: they belong to the files on disk, and
/// those that it still needs come back by themselves. A process that has done a lot once, and waits from now on, is small
/// again. What somebody has changed in memory stays.
pub fn let_go_of_code() -> io::Result<()> {
    let mut code = None;
    for line in std::fs::read_to_string("/proc/self/smaps")?.lines() {
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next()) {
            (Some("Anonymous:"), Some("0")) => {
                if let Some((start, end)) = code.take() {
                    // SAFETY: a mapping of a file that can't be written to and was not: what is dropped is read again
                    // from the file, the same bytes.
                    unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
                }
            }
            (Some(range), Some("r-xp" | "r--p")) => {
                let is_file = words.nth(3).is_some_and(|path| path.starts_with('/'));
                code = range.split_once('-').filter(|_| is_file).and_then(|(start, end)| {
                    Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
                });
            }
            (Some(range), Some(rights)) if range.contains('-') && rights.len() == 4 => code = None,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn two_mappings_share_their_words() {
        let one = SharedWords::create(1000).unwrap();
        let two = SharedWords::open(one.file().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(two.words().len(), 1000);
        one.words()[999].store(7, Relaxed);
        assert_eq!(two.words()[999].load(Relaxed), 7);
    }

    #[test]
    fn nobody_can_shrink_a_shared_area() {
        let area = SharedWords::create(10).unwrap();
        assert!(nix::unistd::ftruncate(area.file(), 0).is_err());
    }

    #[test]
    fn code_that_was_let_go_of_still_runs() {
        let_go_of_code().unwrap();
        let_go_of_code().unwrap();
    }

    #[test]
    fn a_sealed_file_is_read_whole() {
        let file = sealed_file(b"hello").unwrap();
        assert_eq!(read_sealed_file(file).unwrap(), b"hello");
    }
}
