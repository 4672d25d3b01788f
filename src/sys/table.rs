//! A table of values, each owned by at most one thread at a time: the connections of a worker.
//!
//! An event names a value by its [`Token`]. Whoever gets the event tries to own the value; if another thread owns it,
//! that thread is told to look again when it is done, so no edge is lost. Slots are never freed: an event that comes
//! late meets a newer generation and is dropped.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

const CHUNK: usize = 256;
const CHUNKS: usize = 4096;

const EMPTY: u64 = 0;
const FREE: u64 = 1;
const OWNED: u64 = 2;
const PENDING: u64 = 3;
const STATE: u64 = 3;

/// Names one value of a table for its whole life; fits the 64 bits that epoll gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(u64);

impl Token {
    /// From the number that [`Token::number`] gave.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }

    /// As a number below 2^62.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    fn index(self) -> usize {
        (self.0 & u64::from(u32::MAX)) as usize
    }

    fn generation(self) -> u64 {
        self.0 >> 32
    }
}

struct Slot<T> {
    /// generation << 2 | state
    word: AtomicU64,
    value: UnsafeCell<Option<T>>,
}

type Chunk<T> = Box<[Slot<T>]>;

/// The table.
pub struct Table<T> {
    chunks: Box<[OnceLock<Chunk<T>>]>,
    free: Mutex<Vec<u32>>,
    /// Slots ever handed out.
    used: AtomicU32,
    /// Values alive.
    count: AtomicU32,
}

// SAFETY: a value is reached only through an `Owned`, of which the owner word allows one at a time.
unsafe impl<T: Send> Sync for Table<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Table<T> {}

/// What [`Table::own`] says.
pub enum Own<'t, T> {
    /// Yours.
    Mine(Owned<'t, T>),
    /// Another thread has it and will look again.
    Noted,
    /// It is gone: the event was late.
    Gone,
}

/// The right to use one value. Give it back with [`Owned::release`] or end it with [`Owned::remove`]; a dropped one
/// (a panic) keeps its slot owned for ever, which leaks the slot and harms nobody.
pub struct Owned<'t, T> {
    table: &'t Table<T>,
    slot: &'t Slot<T>,
    token: Token,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(),
            free: Mutex::default(),
            used: AtomicU32::new(0),
            count: AtomicU32::new(0),
        }
    }
}

impl<T> Table<T> {
    /// How many values are alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed) as usize
    }

    /// No value is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a value, owned by the caller. `None`: the table is full (a million values).
    pub fn insert(&self, value: T) -> Option<Owned<'_, T>> {
        let reused = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let index = match reused {
            Some(index) => index as usize,
            None => {
                let index = self.used.fetch_add(1, Ordering::Relaxed) as usize;
                if index >= CHUNK * CHUNKS {
                    self.used.fetch_sub(1, Ordering::Relaxed);
                    return None;
                }
                index
            }
        };
        let slot = self.slot_or_new(index);
        let generation = (slot.word.load(Ordering::Relaxed) >> 2).wrapping_add(1) & 0x3fff_ffff;
        slot.word.store(generation << 2 | OWNED, Ordering::Relaxed);
        // SAFETY: the slot was free and is now owned by this call: nobody else touches the value.
        unsafe { *slot.value.get() = Some(value) };
        self.count.fetch_add(1, Ordering::Relaxed);
        Some(Owned { table: self, slot, token: Token(generation << 32 | index as u64) })
    }

    /// Tries to own the value that `token` names; if another thread owns it, leaves word that something happened.
    pub fn own(&self, token: Token) -> Own<'_, T> {
        let Some(slot) = self.slot(token.index()) else { return Own::Gone };
        let mut seen = slot.word.load(Ordering::Relaxed);
        loop {
            if seen >> 2 != token.generation() {
                return Own::Gone;
            }
            let (next, mine) = match seen & STATE {
                FREE => (OWNED, true),
                OWNED => (PENDING, false),
                PENDING => return Own::Noted,
                _ => return Own::Gone,
            };
            let next = seen & !STATE | next;
            match slot.word.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if mine => return Own::Mine(Owned { table: self, slot, token }),
                Ok(_) => return Own::Noted,
                Err(now) => seen = now,
            }
        }
    }

    /// The tokens of all values alive just now that nobody owns: for a pass over time-outs.
    pub fn tokens(&self) -> impl Iterator<Item = Token> + '_ {
        (0..self.used.load(Ordering::Relaxed) as usize).filter_map(|index| {
            let word = self.slot(index)?.word.load(Ordering::Relaxed);
            (word & STATE == FREE).then_some(Token((word >> 2) << 32 | index as u64))
        })
    }

    fn slot(&self, index: usize) -> Option<&Slot<T>> {
        self.chunks.get(index / CHUNK)?.get()?.get(index % CHUNK)
    }

    fn slot_or_new(&self, index: usize) -> &Slot<T> {
        let chunk = self.chunks[index / CHUNK].get_or_init(|| {
            (0..CHUNK).map(|_| Slot { word: AtomicU64::new(EMPTY), value: UnsafeCell::new(None) }).collect()
        });
        &chunk[index % CHUNK]
    }
}

impl<'t, T> Owned<'t, T> {
    /// The value's name.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// Gives the value back. `Err`: something happened meanwhile, look at it again.
    pub fn release(self) -> Result<(), Self> {
        let owned = self.token.generation() << 2 | OWNED;
        let free = self.token.generation() << 2 | FREE;
        if self.slot.word.compare_exchange(owned, free, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            return Ok(());
        }
        self.slot.word.store(owned, Ordering::Release);
        Err(self)
    }

    /// Takes the value out of the table; its token is dead from here on.
    #[must_use]
    pub fn remove(self) -> T {
        // SAFETY: this is the owner.
        let value = unsafe { (*self.slot.value.get()).take() };
        self.slot.word.store(self.token.generation() << 2 | EMPTY, Ordering::Release);
        self.table.count.fetch_sub(1, Ordering::Relaxed);
        self.table.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.token.index() as u32);
        value.expect("an owned slot holds its value until remove()")
    }
}

impl<T> Deref for Owned<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this is the owner, and the value is there until `remove` consumes the owner.
        unsafe { (*self.slot.value.get()).as_ref() }.expect("an owned slot holds its value until remove()")
    }
}

impl<T> DerefMut for Owned<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `&mut self` is the only path.
        unsafe { (*self.slot.value.get()).as_mut() }.expect("an owned slot holds its value until remove()")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn a_late_token_is_gone() {
        let table = Table::default();
        let first = table.insert(1).unwrap();
        let token = first.token();
        assert_eq!(first.remove(), 1);
        let second = table.insert(2).unwrap();
        assert_eq!(second.token().index(), token.index());
        assert!(second.release().is_ok());
        assert!(matches!(table.own(token), Own::Gone));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_event_for_an_owned_value_is_noted_once() {
        let table = Table::default();
        let owned = table.insert(1).unwrap();
        let token = owned.token();
        assert!(matches!(table.own(token), Own::Noted));
        assert!(matches!(table.own(token), Own::Noted));
        let Err(owned) = owned.release() else { panic!("the event was lost") };
        assert!(owned.release().is_ok());
    }

    #[test]
    fn no_event_is_lost_and_no_value_has_two_owners() {
        let table = Table::default();
        let tokens: Vec<_> = (0..8)
            .map(|_| {
                let owned = table.insert((0_usize, false)).unwrap();
                let token = owned.token();
                assert!(owned.release().is_ok());
                token
            })
            .collect();
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (table, tokens, sent) = (&table, &tokens, &sent);
                scope.spawn(move || {
                    for turn in 0..20_000_usize {
                        let token = tokens[(turn * 7 + thread * 3) % tokens.len()];
                        let Own::Mine(mut owned) = table.own(token) else { continue };
                        loop {
                            assert!(!owned.1, "two owners");
                            owned.1 = true;
                            owned.0 += 1;
                            owned.1 = false;
                            sent.fetch_add(1, Ordering::Relaxed);
                            match owned.release() {
                                Ok(()) => break,
                                Err(again) => owned = again,
                            }
                        }
                    }
                });
            }
        });
        let mut counted = 0;
        for token in tokens {
            let Own::Mine(owned) = table.own(token) else { panic!("not given back") };
            counted += owned.0;
        }
        assert_eq!(counted, sent.load(Ordering::Relaxed));
    }
}
