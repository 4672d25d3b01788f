//! Locks that processes share and a dead holder loses.
//!
//! They are what uWSGI's are: robust, error-checking mutexes of pthread(7) in shared memory. When a thread ends with a
//! lock, however it ends (SIGKILL, a crash), the kernel hands it to the next in line; a file lock would pass to the
//! children that a holder forks. A thread that asks for what it has is told instead of stopped for ever. An
//! uncontended lock is no system call.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use crate::memory::SharedWords;

/// Words of one lock: a cache line.
const WORDS: usize = 8;

const _: () = assert!(size_of::<libc::pthread_mutex_t>() <= WORDS * 8 && align_of::<libc::pthread_mutex_t>() <= 8);

/// Locks, numbered from 0, in memory that processes share.
pub struct Locks {
    area: SharedWords,
    count: usize,
}

/// How an attempt to lock went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// This thread holds it now.
    Now,
    /// This thread held it already.
    Already,
}

impl Locks {
    /// Makes `count` of them, all free. One process does, before any other knows of them.
    pub fn create(count: usize) -> io::Result<Self> {
        // The first line holds the count.
        let area = SharedWords::create((1 + count) * WORDS)?;
        area.words()[0].store(count as u64, Relaxed);
        let locks = Self { area, count };
        for number in 0..count {
            locks.initialise(number)?;
        }
        Ok(locks)
    }

    /// Those that another process made.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let area = SharedWords::open(file)?;
        let count = area.words().first().map_or(0, |count| count.load(Relaxed)) as usize;
        if count.checked_add(1).and_then(|lines| lines.checked_mul(WORDS)) != Some(area.words().len()) {
            return Err(io::Error::other("these are no locks of ours"));
        }
        Ok(Self { area, count })
    }

    /// The descriptor to send to another process.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.area.file()
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits for a lock, and takes it.
    ///
    /// # Panics
    /// If there is no such lock, as all of these.
    pub fn lock(&self, number: usize) -> io::Result<Locked> {
        // SAFETY: `create` made a mutex of this address, which stays one as long as the mapping.
        match unsafe { libc::pthread_mutex_lock(self.mutex(number)) } {
            libc::EDEADLK => Ok(Locked::Already),
            code => self.taken(number, code).map(|()| Locked::Now),
        }
    }

    /// Frees a lock. `false`: this thread does not hold it.
    pub fn unlock(&self, number: usize) -> io::Result<bool> {
        // SAFETY: as in `lock`.
        match unsafe { libc::pthread_mutex_unlock(self.mutex(number)) } {
            0 => Ok(true),
            libc::EPERM => Ok(false),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// The thread that holds it, or 0, without touching the mutex: for who may not believe what is in the area. In a
    /// robust mutex of glibc, the first word is the futex, whose lower bits are the holder.
    #[must_use]
    pub fn holder(&self, number: usize) -> u32 {
        self.area.words()[(1 + number) * WORDS].load(Relaxed) as u32 & 0x3fff_ffff
    }

    /// Somebody holds it.
    pub fn is_locked(&self, number: usize) -> io::Result<bool> {
        // SAFETY: as in `lock`.
        match unsafe { libc::pthread_mutex_trylock(self.mutex(number)) } {
            // This thread itself does, in the second case.
            libc::EBUSY | libc::EDEADLK => Ok(true),
            code => {
                self.taken(number, code)?;
                self.unlock(number).map(|_| false)
            }
        }
    }

    /// A mutex whose holder died is taken, and is to be made whole: what it guards is the application's affair.
    fn taken(&self, number: usize, code: libc::c_int) -> io::Result<()> {
        let code = if code == libc::EOWNERDEAD {
            // SAFETY: as in `lock`; this thread holds the mutex.
            unsafe { libc::pthread_mutex_consistent(self.mutex(number)) }
        } else {
            code
        };
        if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
    }

    fn mutex(&self, number: usize) -> *mut libc::pthread_mutex_t {
        assert!(number < self.count, "lock {number} of {}", self.count);
        // Atomics may be changed behind a shared reference, by others too.
        self.area.words()[(1 + number) * WORDS..].as_ptr().cast_mut().cast()
    }

    fn initialise(&self, number: usize) -> io::Result<()> {
        let mutex = self.mutex(number);
        let ok = |code: libc::c_int| if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) };
        // SAFETY: the attributes live on this stack, initialised before their use and destroyed after it; the mutex is
        // memory of ours, large and aligned enough, that nobody else knows yet.
        unsafe {
            let mut attributes: libc::pthread_mutexattr_t = std::mem::zeroed();
            ok(libc::pthread_mutexattr_init(&raw mut attributes))?;
            let made = ok(libc::pthread_mutexattr_setpshared(&raw mut attributes, libc::PTHREAD_PROCESS_SHARED))
                .and_then(|()| ok(libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST)))
                .and_then(|()| ok(libc::pthread_mutexattr_settype(&raw mut attributes, libc::PTHREAD_MUTEX_ERRORCHECK)))
                .and_then(|()| ok(libc::pthread_mutex_init(mutex, &raw const attributes)));
            libc::pthread_mutexattr_destroy(&raw mut attributes);
            made
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_has_one_holder() {
        let locks = Locks::create(2).unwrap();
        assert_eq!(locks.lock(0).unwrap(), Locked::Now);
        assert_eq!(locks.lock(0).unwrap(), Locked::Already);
        let other = Locks::open(locks.file().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(other.count(), 2);
        assert!(other.is_locked(0).unwrap() && !other.is_locked(1).unwrap());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!other.unlock(0).unwrap(), "another thread frees it"));
        });
        assert!(locks.unlock(0).unwrap());
        assert!(!other.is_locked(0).unwrap());
        assert!(!locks.unlock(0).unwrap());
    }

    #[test]
    fn a_holder_that_ends_loses_its_lock() {
        let locks = Locks::create(1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| locks.lock(0).unwrap());
        });
        assert_eq!(locks.lock(0).unwrap(), Locked::Now);
        assert!(locks.unlock(0).unwrap());
        assert_eq!(locks.lock(0).unwrap(), Locked::Now);
    }

    #[test]
    fn what_is_no_set_of_locks_is_refused() {
        let words = SharedWords::create(24).unwrap();
        words.words()[0].store(u64::MAX, Relaxed);
        assert!(Locks::open(words.file().try_clone_to_owned().unwrap()).is_err());
    }
}
