//! Time-outs: a wheel of slots, one a second. A connection is in one of them and is looked at when its slot passes; a
//! deadline that has moved away meanwhile costs a move to a later slot then, and nothing while requests are served.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ruwsgi_sys::table::{Own, Owned, Token};

use crate::connection::Connection;
use crate::driver::Driver;
use crate::engine::{Engine, lock};

/// What one slot stands for, in milliseconds. Nothing is noticed later than that.
pub(crate) const SLOT_MS: u64 = 1000;
/// So many slots: a deadline beyond them is looked at in between, and what has gone meanwhile takes no room for longer.
const SLOTS: u64 = 8;

/// The slots. Times are those of `clock::coarse_ms`.
#[derive(Default)]
pub(crate) struct Wheel {
    slots: [Mutex<Vec<Token>>; SLOTS as usize],
    /// The last slot that has passed, counted from time 0.
    passed: AtomicU64,
}

impl Wheel {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self { passed: AtomicU64::new(now_ms / SLOT_MS), ..Self::default() }
    }

    /// Has a connection looked at when its deadline is over, or before that; when.
    fn put(&self, token: Token, deadline_ms: u64) -> u64 {
        loop {
            let passed = self.passed.load(Ordering::SeqCst);
            let slot = (deadline_ms / SLOT_MS).clamp(passed, passed + SLOTS - 2) + 1;
            let mut tokens = lock(&self.slots[(slot % SLOTS) as usize]);
            // Who turns the wheel says so first and takes what is in the slot then.
            if self.passed.load(Ordering::SeqCst) < slot {
                tokens.push(token);
                return slot * SLOT_MS;
            }
        }
    }

    /// What is to be looked at by now.
    fn turn(&self, now_ms: u64) -> Vec<Token> {
        let (mut all, now) = (Vec::new(), now_ms / SLOT_MS);
        let passed = self.passed.load(Ordering::SeqCst);
        // A clock that has leapt finds every slot once.
        for slot in (passed + 1..=now).take(SLOTS as usize) {
            self.passed.store(slot, Ordering::SeqCst);
            all.append(&mut std::mem::take(&mut *lock(&self.slots[(slot % SLOTS) as usize])));
        }
        self.passed.fetch_max(now, Ordering::SeqCst);
        all
    }
}

impl Engine<'_> {
    /// Gives a connection back, to wait. `Err`: something has happened to it meanwhile.
    pub(crate) fn leave_alone<'t>(&self, mut connection: Owned<'t, Connection>) -> Result<(), Owned<'t, Connection>> {
        if connection.deadline_ms < connection.looked_at_ms {
            connection.looked_at_ms = self.wheel.put(connection.token(), connection.deadline_ms);
        }
        connection.release()
    }

    /// Looks at the connections whose slot has passed.
    pub(crate) fn turn_wheel(&self, driver: &mut impl Driver, now_ms: u64) {
        for token in self.wheel.turn(now_ms) {
            match self.table.own(token) {
                Own::Mine(mut connection) => {
                    // Otherwise it was put into an earlier slot after this one, and is in a later one by now.
                    if connection.looked_at_ms <= now_ms {
                        connection.looked_at_ms = u64::MAX;
                    }
                    self.check(driver, connection, now_ms);
                }
                // Who has it may have given it back before it could know that it is in no slot any more.
                Own::Noted => _ = self.wheel.put(token, now_ms),
                Own::Gone => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: u64) -> Token {
        Token::from_number(number)
    }

    /// Connections with deadlines that move, as chance has it: each is looked at in time, and none for nothing too often.
    #[test]
    fn everything_is_looked_at_in_time() {
        for seed in 1..100_u64 {
            let mut chance = crate::chance::of(seed);
            let mut now_ms = chance(1 << 40);
            let wheel = Wheel::new(now_ms);
            // The deadline of each, and when it is looked at.
            let mut all: Vec<(u64, u64)> = (0..50).map(|_| (now_ms + chance(20_000), u64::MAX)).collect();
            for _ in 0..200 {
                for (number, (deadline, looked_at)) in all.iter_mut().enumerate() {
                    if chance(4) == 0 {
                        *deadline = now_ms + 1 + chance(20_000);
                    }
                    if *deadline < *looked_at {
                        *looked_at = wheel.put(token(number as u64), *deadline);
                        assert!(*looked_at > now_ms / SLOT_MS * SLOT_MS && *looked_at <= *deadline + SLOT_MS);
                    }
                }
                now_ms += chance(1500);
                for passed in wheel.turn(now_ms) {
                    let (deadline, looked_at) = &mut all[passed.number() as usize];
                    if *looked_at <= now_ms {
                        *looked_at = u64::MAX;
                        if *deadline <= now_ms {
                            *deadline = u64::MAX;
                        }
                    }
                }
                let late = all.iter().filter(|(deadline, _)| deadline.saturating_add(SLOT_MS) <= now_ms).count();
                assert_eq!(late, 0, "seed {seed}");
                let waiting: usize = wheel.slots.iter().map(|slot| lock(slot).len()).sum();
                assert!(waiting < 50 * SLOTS as usize, "{waiting} entries for 50 connections");
            }
        }
    }

    #[test]
    fn a_leap_of_the_clock_loses_nothing() {
        let wheel = Wheel::new(500);
        for number in 0..40 {
            wheel.put(token(number), number * 300);
        }
        let mut passed: Vec<_> = wheel.turn(1 << 50).iter().map(|token| token.number()).collect();
        passed.sort_unstable();
        assert_eq!(passed, (0..40).collect::<Vec<_>>());
        assert_eq!(wheel.put(token(1), 7), ((1 << 50) / SLOT_MS + 1) * SLOT_MS);
        assert!(wheel.turn((1 << 50) - 5000).is_empty(), "a time that is over passes nothing");
    }

    #[test]
    fn nothing_falls_between_who_puts_and_who_turns() {
        let wheel = Wheel::new(0);
        let found = std::thread::scope(|scope| {
            let putters: Vec<_> = (0..2)
                .map(|part| {
                    let wheel = &wheel;
                    scope.spawn(move || {
                        for number in 0..20_000 {
                            wheel.put(token(2 * number + part), 0);
                        }
                    })
                })
                .collect();
            let (mut found, mut now_ms) = (Vec::new(), 0);
            while !putters.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                now_ms += SLOT_MS;
                found.extend(wheel.turn(now_ms));
            }
            found.extend(wheel.turn(now_ms + SLOTS * SLOT_MS));
            found
        });
        let mut numbers: Vec<_> = found.iter().map(|token| token.number()).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..40_000).collect::<Vec<_>>());
    }
}
