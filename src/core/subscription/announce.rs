//! When an instance announces itself: a pure plan. The master asks [`Rhythm::decide`] at each turn, and does what it says.
//!
//! * Nothing is announced before a worker accepts.
//! * The first announcements come a second apart, because a datagram may be lost; then each `subscribe-freq`.
//! * Who stops, pauses or blocks its subscriptions leaves at once, before anything else is done about it. Who has no
//!   worker for a moment (one has died, and its successor is on the way) only is silent; for longer, it leaves.

/// The pause between the first announcements, in milliseconds: also what makes the stamp of a signature a new one.
const EARLY_MS: u64 = 1_000;
/// How many come so close.
const EARLY: u32 = 2;
/// How long an instance may have no worker before it leaves, in milliseconds.
const ABSENT_MS: u64 = 2_000;

/// How the instance is, for its routers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Requests are answered.
    Here,
    /// No worker accepts, for now.
    Absent,
    /// Nobody should send requests.
    Off,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Announce everything.
    Announce,
    /// Tell everybody who was told that this is over.
    Leave,
}

/// What was announced, and when that is due again.
#[derive(Clone, Debug)]
pub(crate) struct Rhythm {
    period_ms: u64,
    /// Routers were told.
    on: bool,
    next_ms: u64,
    early: u32,
    absent_since_ms: Option<u64>,
}

impl Rhythm {
    /// Nothing was announced yet.
    pub(crate) fn new(period_ms: u64) -> Self {
        Self { period_ms, on: false, next_ms: 0, early: EARLY, absent_since_ms: None }
    }

    /// Something else is announced from now on: the next time is now.
    pub(crate) fn renew(&mut self, period_ms: u64) {
        (self.period_ms, self.next_ms, self.early) = (period_ms, 0, EARLY);
    }

    /// What is to be done now.
    pub(crate) fn decide(&mut self, presence: Presence, now_ms: u64) -> Option<Step> {
        self.absent_since_ms = match presence {
            Presence::Absent if self.on => self.absent_since_ms.or(Some(now_ms)),
            _ => None,
        };
        let gone = self.absent_since_ms.is_some_and(|since| now_ms >= since + ABSENT_MS);
        match presence {
            Presence::Here if !self.on => {
                (self.on, self.early) = (true, EARLY);
                Some(self.announce(now_ms))
            }
            Presence::Here if now_ms >= self.next_ms => Some(self.announce(now_ms)),
            Presence::Off if self.on => Some(self.leave()),
            Presence::Absent if gone => Some(self.leave()),
            _ => None,
        }
    }

    /// When to ask again at the latest, if nothing happens before.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        match self.absent_since_ms {
            Some(since) => Some(since + ABSENT_MS),
            None => self.on.then_some(self.next_ms),
        }
    }

    fn announce(&mut self, now_ms: u64) -> Step {
        let pause_ms = if self.early > 0 { EARLY_MS.min(self.period_ms) } else { self.period_ms };
        self.early = self.early.saturating_sub(1);
        self.next_ms = now_ms + pause_ms;
        Step::Announce
    }

    fn leave(&mut self) -> Step {
        (self.on, self.absent_since_ms) = (false, None);
        Step::Leave
    }
}

#[cfg(test)]
mod tests {
    use super::Presence::{Absent, Here, Off};
    use super::*;

    /// Plays a life at ten turns a second: from when on the instance is how. What was done, and when.
    fn play(life: &[(u64, Presence)], end_ms: u64) -> Vec<(u64, Step)> {
        let mut rhythm = Rhythm::new(10_000);
        let mut done = Vec::new();
        for now in (0..=end_ms).step_by(100) {
            let presence = life.iter().rfind(|(from, _)| *from <= now).map_or(Absent, |(_, presence)| *presence);
            while let Some(step) = rhythm.decide(presence, now) {
                done.push((now, step));
                assert!(done.len() < 1_000, "it never ends");
            }
        }
        done
    }

    #[test]
    fn nothing_is_said_before_a_worker_is_there() {
        use Step::Announce;
        assert_eq!(play(&[(0, Absent), (60_000, Off)], 90_000), []);
        let times = [5_000, 6_000, 7_000, 17_000, 27_000].map(|now| (now, Announce));
        assert_eq!(play(&[(5_000, Here)], 30_000), times);
    }

    #[test]
    fn who_stops_leaves_at_once_and_once() {
        let done = play(&[(0, Here), (3_500, Off)], 60_000);
        assert_eq!(done.last(), Some(&(3_500, Step::Leave)));
        assert_eq!(done.len(), 4);
        let back = play(&[(0, Here), (3_500, Off), (9_000, Here)], 9_500);
        assert_eq!(back.last(), Some(&(9_000, Step::Announce)));
    }

    #[test]
    fn a_moment_without_workers_is_no_farewell() {
        let short = play(&[(0, Here), (3_000, Absent), (4_900, Here)], 20_000);
        assert!(short.iter().all(|(_, step)| *step == Step::Announce), "{short:?}");
        let long = play(&[(0, Here), (3_000, Absent), (5_200, Here)], 5_200);
        assert_eq!(long[long.len() - 2..], [(5_000, Step::Leave), (5_200, Step::Announce)]);
        assert_eq!(play(&[(0, Here), (3_000, Absent), (4_000, Off)], 9_000).last(), Some(&(4_000, Step::Leave)));
    }

    #[test]
    fn time_is_asked_for_as_late_as_it_may_be() {
        let (mut rhythm, mut now, mut done) = (Rhythm::new(10_000), 0, Vec::new());
        while now < 60_000 {
            done.extend(rhythm.decide(Here, now));
            now = rhythm.wake_ms().unwrap();
        }
        assert_eq!(done.len(), 8);
        assert_eq!(rhythm.decide(Off, now), Some(Step::Leave));
        assert_eq!(rhythm.wake_ms(), None);
        rhythm.decide(Here, now);
        assert_eq!(rhythm.decide(Absent, now + 500), None);
        assert_eq!(rhythm.wake_ms(), Some(now + 2_500));
        rhythm.renew(1_000);
        assert_eq!(rhythm.decide(Here, now + 600), Some(Step::Announce));
    }

    #[test]
    fn lives_by_chance() {
        for seed in 0..500_u64 {
            let mut state = seed;
            let mut below = |bound: u64| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
                (state >> 33) % bound
            };
            let (mut rhythm, mut now, mut told, mut heard_ms) = (Rhythm::new(5_000), 0, false, 0);
            for _ in 0..60 {
                let presence = [Here, Here, Absent, Off][below(4) as usize];
                let until = now + below(15_000);
                while now < until {
                    match rhythm.decide(presence, now) {
                        Some(Step::Announce) => {
                            assert_eq!(presence, Here);
                            (told, heard_ms) = (true, now);
                        }
                        Some(Step::Leave) => {
                            assert!(told && presence != Here);
                            told = false;
                        }
                        None => {}
                    }
                    assert!(presence != Off || !told, "who is off was said to be so");
                    assert!(presence != Here || now < heard_ms + 5_000 && told, "who is here is announced in time");
                    now += 1 + below(200).min(rhythm.wake_ms().map_or(u64::MAX, |wake| wake.saturating_sub(now + 1)));
                }
            }
        }
    }
}
