//! What the workers of one generation tell everybody without a message: shared words, one block a seat.
//!
//! A worker writes its own seat, the master reads all of them and believes nothing: every number is bounded before
//! use, every text is checked. A seat is a place of the generation, `processes` and a few more for replacements.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use ruwsgi_sys::memory::SharedWords;

const MAGIC: u64 = 0x7275_7773_6769_0004;
/// Words before the first seat: magic, seats, cores, total requests, measured, past requests, paused; one cache line.
const HEADER: usize = 8;
/// Words of a seat before its cores: a cache line that every request writes, one that few write, and the applications.
const SEAT: usize = 16 + 2 * APPS;
/// How many applications of a worker are counted one by one; uWSGI's default for `max-apps`.
pub const APPS: usize = 64;
/// Words of a core.
const CORE: usize = 32;
/// Words of a core before its text: what it does now, and its thread and counters.
const CORE_HEADER: usize = 9;
/// So much of a client's address is kept: an IPv6 address with its scope has no more. In bytes.
const ADDRESS_BYTES: usize = 56;
/// So much of a method is kept, in bytes.
const METHOD_BYTES: usize = 24;

/// The scoreboard of one generation.
pub struct Scoreboard {
    area: SharedWords,
    seats: usize,
    cores: usize,
}

/// One worker's part.
#[derive(Clone, Copy)]
pub struct Seat<'s> {
    words: &'s [AtomicU64],
    head: &'s [AtomicU64],
    cores: usize,
}

/// The words of a seat.
mod word {
    pub(super) const REQUESTS: usize = 0;
    pub(super) const EXCEPTIONS: usize = 1;
    pub(super) const RUNNING_US: usize = 2;
    pub(super) const AVERAGE_US: usize = 3;
    pub(super) const SENT_BYTES: usize = 4;
    pub(super) const SLOT: usize = 8;
    pub(super) const PID: usize = 9;
    pub(super) const STATUS: usize = 10;
    pub(super) const SPAWNED: usize = 11;
    pub(super) const RESPAWNS: usize = 12;
    pub(super) const BEFORE: usize = 13;
    pub(super) const IDLE: usize = 14;
    pub(super) const WAITING: usize = 15;
    pub(super) const APPS: usize = 16;
}

/// The words of a core that say more than what it does now.
mod core_word {
    pub(super) const THREAD: usize = 4;
    pub(super) const STATIC: usize = 5;
    pub(super) const WRITE_ERRORS: usize = 6;
    pub(super) const READ_ERRORS: usize = 7;
    pub(super) const DISK: usize = 8;
}

/// The words of the header that are more than its layout.
mod head {
    pub(super) const TOTAL: usize = 3;
    pub(super) const MEASURED: usize = 4;
    pub(super) const PAST: usize = 5;
    pub(super) const PAUSED: usize = 6;
    pub(super) const CLOSING: usize = 7;
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// There is none in this seat.
    Gone = 0,
    /// It takes no new connections and finishes what it has.
    Draining = 1,
    /// Ordered, and not yet accepting.
    Starting = 2,
    /// It accepts connections.
    Up = 3,
}

/// A worker as its seat shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupant {
    /// Its number as people see it.
    pub slot: u32,
    /// Its pid; 0 until it has one.
    pub pid: i32,
    /// How far it is.
    pub status: Status,
    /// When it was ordered, in seconds since 1970.
    pub spawned: u64,
    /// How often its slot was filled anew before.
    pub respawns: u64,
    /// Requests that earlier workers of its slot have answered.
    pub before: u64,
    /// Requests that it has answered.
    pub requests: u64,
    /// Requests in which the application failed.
    pub exceptions: u64,
    /// The time inside requests, in microseconds, since somebody measures.
    pub running_us: u64,
    /// The time of a request as a moving average, in microseconds, since somebody measures.
    pub average_us: u64,
    /// The bytes of its responses, since somebody measures.
    pub sent_bytes: u64,
}

/// The part of one core of a worker.
#[derive(Clone, Copy)]
pub struct CoreSeat<'s> {
    words: &'s [AtomicU64],
}

/// What a core is doing, as the master reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activity {
    /// When the request began, by `clock::coarse_ms`.
    pub since_ms: u64,
    /// When it must be over, by `clock::coarse_ms`; 0 for never.
    pub deadline_ms: u64,
    /// `ADDR - METHOD URI`, control characters replaced.
    pub request: String,
}

/// What a core has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreCounts {
    /// Requests that it has answered.
    pub requests: u64,
    /// Those of them that were for static files.
    pub static_requests: u64,
    /// Responses whose client was gone or took nothing.
    pub write_errors: u64,
    /// Bodies that could not be read to their end.
    pub read_errors: u64,
    /// It is inside the application just now.
    pub in_request: bool,
}

impl Scoreboard {
    /// A new one, for so many seats with so many cores each.
    pub fn create(seats: usize, cores: usize) -> io::Result<Self> {
        let area = SharedWords::create(HEADER + seats * (SEAT + cores * CORE))?;
        for (word, value) in [MAGIC, seats as u64, cores as u64].into_iter().enumerate() {
            area.words()[word].store(value, Relaxed);
        }
        Ok(Self { area, seats, cores })
    }

    /// The one that the master sent. Its numbers are the master's, which this side trusts.
    pub fn open(file: OwnedFd) -> io::Result<Self> {
        let area = SharedWords::open(file)?;
        let header = |word: usize| area.words().get(word).map_or(0, |value| value.load(Relaxed)) as usize;
        let (seats, cores) = (header(1), header(2));
        if header(0) != MAGIC as usize || area.words().len() < HEADER + seats * (SEAT + cores * CORE) {
            return Err(io::Error::other("this is no scoreboard of ours"));
        }
        Ok(Self { area, seats, cores })
    }

    /// The descriptor to send.
    #[must_use]
    pub fn file(&self) -> BorrowedFd<'_> {
        self.area.file()
    }

    /// How many seats there are.
    #[must_use]
    pub fn seats(&self) -> usize {
        self.seats
    }

    /// How many cores each worker has.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// One seat.
    ///
    /// # Panics
    /// If there is no such seat.
    #[must_use]
    pub fn seat(&self, seat: usize) -> Seat<'_> {
        assert!(seat < self.seats, "seat {seat} of {}", self.seats);
        let size = SEAT + self.cores * CORE;
        let start = HEADER + seat * size;
        let words = self.area.words();
        Seat { words: &words[start..start + size], head: &words[..HEADER], cores: self.cores }
    }

    /// Requests answered by all workers of this generation, where they count (`log` needs it).
    #[must_use]
    pub fn total_requests(&self) -> u64 {
        self.area.words()[head::TOTAL].load(Relaxed)
    }

    /// Requests answered by all workers of this generation, those that are gone included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let past = self.area.words()[head::PAST].load(Relaxed);
        (0..self.seats).fold(past, |sum, seat| sum.wrapping_add(self.seat(seat).requests()))
    }

    /// Says whether workers may accept (the master). Who is up already must be told besides.
    pub fn set_paused(&self, paused: bool) {
        self.area.words()[head::PAUSED].store(paused.into(), Relaxed);
    }

    /// The instance stops soon (the master): whoever is answered should go elsewhere next.
    pub fn set_closing(&self) {
        self.area.words()[head::CLOSING].store(1, Relaxed);
    }

    /// From here on each request is measured: somebody wants to know times and sizes.
    pub fn measure(&self) {
        self.area.words()[head::MEASURED].store(1, Relaxed);
    }

    /// A core of some worker has nothing to do, and will take what comes.
    #[must_use]
    pub fn has_idle(&self) -> bool {
        (0..self.seats).any(|seat| self.seat(seat).words[word::IDLE].load(Relaxed) != 0)
    }

    /// How many requests are ready and wait for a core, in all workers of this generation.
    #[must_use]
    pub fn waiting(&self) -> usize {
        (0..self.seats).fold(0, |sum: usize, seat| sum.saturating_add(self.seat(seat).waiting()))
    }

    /// How many workers accept connections.
    #[must_use]
    pub fn up(&self) -> usize {
        let up = |seat: &usize| self.seat(*seat).words[word::STATUS].load(Relaxed) == Status::Up as u64;
        (0..self.seats).filter(up).count()
    }

    /// Who serves a slot: the one that is furthest, and of two the one that came later.
    #[must_use]
    pub fn occupant(&self, slot: u32) -> Option<(Seat<'_>, Occupant)> {
        let seats = (0..self.seats).map(|seat| (self.seat(seat), self.seat(seat).occupant()));
        let of_slot = seats.filter(|(_, it)| it.slot == slot && it.status != Status::Gone);
        of_slot.max_by_key(|(_, it)| (it.status, it.respawns))
    }
}

impl<'s> Seat<'s> {
    /// Makes the seat ready for its next worker (the master, before the fork).
    pub fn clear(&self) {
        self.head[head::PAST].fetch_add(self.requests(), Relaxed);
        for word in self.words {
            word.store(0, Relaxed);
        }
    }

    /// Says whose seat this is (the master, before the fork): slot, time in seconds since 1970, how often the slot was
    /// filled before.
    pub fn assign(&self, slot: u32, spawned: u64, respawns: u64) {
        self.words[word::SLOT].store(slot.into(), Relaxed);
        self.words[word::SPAWNED].store(spawned, Relaxed);
        self.words[word::RESPAWNS].store(respawns, Relaxed);
        self.set_status(Status::Starting);
    }

    /// Says how many requests earlier workers of the slot have answered (the master).
    pub fn set_before(&self, requests: u64) {
        self.words[word::BEFORE].store(requests, Relaxed);
    }

    /// Says how far the worker is: the worker itself, and the master when it is gone.
    pub fn set_status(&self, status: Status) {
        self.words[word::STATUS].store(status as u64, Relaxed);
    }

    /// The worker is gone, whatever it was doing (the master).
    pub fn vacate(&self) {
        self.set_idle(false);
        self.set_waiting(0);
        self.set_status(Status::Gone);
    }

    /// Says whether a core of the worker has nothing to do.
    pub fn set_idle(&self, idle: bool) {
        self.words[word::IDLE].store(idle.into(), Relaxed);
    }

    /// Says how many requests are ready in the worker and wait for a core.
    pub fn set_waiting(&self, count: usize) {
        self.words[word::WAITING].store(count as u64, Relaxed);
    }

    /// How many requests are ready in the worker and wait for a core.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.words[word::WAITING].load(Relaxed) as usize
    }

    /// Says which process the worker is.
    pub fn set_pid(&self, pid: i32) {
        self.words[word::PID].store(pid as u64, Relaxed);
    }

    /// All that the seat says about its worker.
    #[must_use]
    pub fn occupant(&self) -> Occupant {
        let value = |word: usize| self.words[word].load(Relaxed);
        Occupant {
            slot: u32::try_from(value(word::SLOT)).unwrap_or(0),
            pid: i32::try_from(value(word::PID)).unwrap_or(0),
            status: match value(word::STATUS) {
                1 => Status::Draining,
                2 => Status::Starting,
                3 => Status::Up,
                _ => Status::Gone,
            },
            spawned: value(word::SPAWNED),
            respawns: value(word::RESPAWNS),
            before: value(word::BEFORE),
            requests: value(word::REQUESTS),
            exceptions: value(word::EXCEPTIONS),
            running_us: value(word::RUNNING_US),
            average_us: value(word::AVERAGE_US),
            sent_bytes: value(word::SENT_BYTES),
        }
    }

    /// No worker may accept just now.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.head[head::PAUSED].load(Relaxed) != 0
    }

    /// The instance stops soon.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.head[head::CLOSING].load(Relaxed) != 0
    }

    /// Some request is past its deadline.
    #[must_use]
    pub fn is_late(&self, now_ms: u64) -> bool {
        (0..self.cores).any(|core| self.core(core).is_late(now_ms))
    }

    /// Somebody wants to know times and sizes.
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.head[head::MEASURED].load(Relaxed) != 0
    }

    /// Counts the time of a request, in microseconds, and the bytes of its response.
    pub fn count_work(&self, micros: u64, bytes: u64) {
        self.words[word::RUNNING_US].fetch_add(micros, Relaxed);
        self.words[word::SENT_BYTES].fetch_add(bytes, Relaxed);
        // uWSGI's average: half of it is the last request. Two cores at once may lose one of their requests.
        let average = self.words[word::AVERAGE_US].load(Relaxed);
        self.words[word::AVERAGE_US].store(average.saturating_add(micros) / 2, Relaxed);
    }

    /// Counts a request in which the application failed.
    pub fn count_exception(&self) {
        self.words[word::EXCEPTIONS].fetch_add(1, Relaxed);
    }

    /// Counts a request of one of several applications; of the first [`APPS`] only.
    pub fn count_app(&self, app: usize, failed: bool) {
        if app < APPS {
            self.words[word::APPS + 2 * app].fetch_add(1, Relaxed);
            self.words[word::APPS + 2 * app + 1].fetch_add(failed.into(), Relaxed);
        }
    }

    /// The requests of an application, and those in which it failed.
    #[must_use]
    pub fn app(&self, app: usize) -> (u64, u64) {
        if app >= APPS {
            return (0, 0);
        }
        let count = |kind: usize| self.words[word::APPS + 2 * app + kind].load(Relaxed);
        (count(0), count(1))
    }

    /// Counts one answered request: this worker's number of it. `instance`: count it for the generation too and give
    /// that number back as well.
    pub fn count_request(&self, instance: bool) -> (u64, u64) {
        let own = self.words[word::REQUESTS].fetch_add(1, Relaxed) + 1;
        (own, if instance { self.head[head::TOTAL].fetch_add(1, Relaxed) + 1 } else { 0 })
    }

    /// Requests answered by this worker.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.words[word::REQUESTS].load(Relaxed)
    }

    /// Counts one request that was answered with a static file, besides [`count_request`](Self::count_request).
    pub fn count_static(&self) {
        self.words[7].fetch_add(1, Relaxed);
    }

    /// Requests of this worker that were answered with static files.
    #[must_use]
    pub fn static_requests(&self) -> u64 {
        self.words[7].load(Relaxed)
    }

    /// How many cores the worker has.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.cores
    }

    /// One core.
    ///
    /// # Panics
    /// If there is no such core.
    #[must_use]
    pub fn core(&self, core: usize) -> CoreSeat<'s> {
        assert!(core < self.cores, "core {core} of {}", self.cores);
        let start = SEAT + core * CORE;
        CoreSeat { words: &self.words[start..start + CORE] }
    }

    /// How many requests are inside the application.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        (0..self.cores).filter(|core| self.core(*core).words[0].load(Relaxed) % 2 == 1).count()
    }

    /// Requests that are past their deadline.
    #[must_use]
    pub fn overdue(&self, now_ms: u64) -> Vec<(usize, Activity)> {
        let overdue = |activity: &Activity| activity.deadline_ms != 0 && activity.deadline_ms <= now_ms;
        (0..self.cores).filter_map(|core| Some((core, self.core(core).activity().filter(overdue)?))).collect()
    }
}

impl CoreSeat<'_> {
    /// Says which thread the core is (the thread itself).
    pub fn set_thread(&self, tid: i32) {
        self.words[core_word::THREAD].store(tid as u64, Relaxed);
    }

    /// The thread that the core says it is; `None` before it does.
    #[must_use]
    pub fn thread(&self) -> Option<i32> {
        i32::try_from(self.words[core_word::THREAD].load(Relaxed)).ok().filter(|tid| *tid > 1)
    }

    /// Counts what was special about a request that is over.
    pub fn count_odd(&self, by_file: bool, write_errors: u32, read_errors: u32) {
        let more = [
            (core_word::STATIC, u64::from(by_file)),
            (core_word::WRITE_ERRORS, u64::from(write_errors)),
            (core_word::READ_ERRORS, u64::from(read_errors)),
        ];
        for (word, more) in more.into_iter().filter(|(_, more)| *more > 0) {
            self.words[word].fetch_add(more, Relaxed);
        }
    }

    /// What the core has done.
    #[must_use]
    pub fn counts(&self) -> CoreCounts {
        let value = |word: usize| self.words[word].load(Relaxed);
        CoreCounts {
            requests: (value(0) / 2).saturating_sub(value(core_word::DISK)),
            static_requests: value(core_word::STATIC),
            write_errors: value(core_word::WRITE_ERRORS),
            read_errors: value(core_word::READ_ERRORS),
            in_request: value(0) % 2 == 1,
        }
    }

    /// A request goes into the application. The counter is odd while it is there.
    pub fn enter(&self) {
        self.words[0].store(self.words[0].load(Relaxed) | 1, Release);
    }

    /// The request is out again.
    pub fn leave(&self) {
        let epoch = self.words[0].load(Relaxed);
        self.words[2].store(0, Relaxed);
        self.words[0].store((epoch | 1).wrapping_add(1), Release);
    }

    /// What was no request, but may have taken as long as one, is over: a read from a disk.
    pub fn leave_disk(&self) {
        self.words[core_word::DISK].fetch_add(1, Relaxed);
        self.leave();
    }

    /// Odd while a request is inside the application, and another number for each.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.words[0].load(Relaxed)
    }

    /// Says what the request is, before [`enter`](Self::enter). Every request pays for this: each text begins at a word
    /// of its own, and nothing is put together before somebody wants to read it.
    pub fn describe(&self, since_ms: u64, deadline_ms: u64, [address, method, uri]: [&[u8]; 3]) {
        self.words[1].store(since_ms, Relaxed);
        let mut text = self.words[CORE_HEADER..].iter();
        let mut lengths = 0;
        for (place, part) in
            [&address[..address.len().min(ADDRESS_BYTES)], &method[..method.len().min(METHOD_BYTES)], uri]
                .into_iter()
                .enumerate()
        {
            let (whole, rest) = part.as_chunks::<8>();
            let mut written = 0;
            for (bytes, word) in whole.iter().zip(text.by_ref()) {
                word.store(u64::from_le_bytes(*bytes), Relaxed);
                written += 8;
            }
            if !rest.is_empty()
                && let Some(word) = text.next()
            {
                word.store(rest.iter().rfold(0, |eight, byte| eight << 8 | u64::from(*byte)), Relaxed);
                written += rest.len();
            }
            lengths |= (written as u64) << (place * 16);
        }
        self.words[3].store(lengths, Relaxed);
        self.set_deadline(deadline_ms);
    }

    /// `ADDR - METHOD URI`, of what [`describe`](Self::describe) was told.
    fn text(&self) -> Vec<u8> {
        let lengths = self.words[3].load(Relaxed);
        let bytes: Vec<u8> =
            self.words[CORE_HEADER..].iter().flat_map(|word| word.load(Relaxed).to_le_bytes()).collect();
        let (mut text, mut rest) = (Vec::new(), &bytes[..]);
        for (place, before) in [&b""[..], b" - ", b" "].into_iter().enumerate() {
            let length = usize::from((lengths >> (place * 16)) as u16).min(rest.len());
            text.extend_from_slice(before);
            text.extend_from_slice(&rest[..length]);
            rest = &rest[length.next_multiple_of(8).min(rest.len())..];
        }
        text
    }

    fn is_late(&self, now_ms: u64) -> bool {
        let deadline_ms = self.words[2].load(Relaxed);
        self.epoch() % 2 == 1 && deadline_ms != 0 && deadline_ms <= now_ms
    }

    /// Says when the request must be over, by `clock::coarse_ms`; 0 for never.
    pub fn set_deadline(&self, deadline_ms: u64) {
        self.words[2].store(deadline_ms, Relaxed);
    }

    /// What the core does now; `None` when it is idle.
    #[must_use]
    pub fn activity(&self) -> Option<Activity> {
        let epoch = self.words[0].load(Acquire);
        if epoch.is_multiple_of(2) {
            return None;
        }
        let text = self.text();
        let text = String::from_utf8_lossy(&text);
        let activity = Activity {
            since_ms: self.words[1].load(Relaxed),
            deadline_ms: self.words[2].load(Relaxed),
            request: text.chars().map(|c| if c.is_control() { '?' } else { c }).collect(),
        };
        // A request that ended meanwhile may have left half of another's text: it is no longer that request.
        (self.words[0].load(Acquire) == epoch).then_some(activity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_died_is_neither_idle_nor_has_it_work() {
        let board = Scoreboard::create(2, 1).unwrap();
        board.seat(1).assign(1, 0, 0);
        assert_eq!((board.has_idle(), board.waiting(), board.up()), (false, 0, 0));
        board.seat(1).set_status(Status::Up);
        board.seat(1).set_idle(true);
        board.seat(1).set_waiting(3);
        board.seat(0).set_waiting(2);
        assert_eq!((board.has_idle(), board.waiting(), board.up()), (true, 5, 1));
        board.seat(1).vacate();
        assert_eq!((board.has_idle(), board.waiting(), board.up()), (false, 2, 0));
    }

    #[test]
    fn a_seat_tells_what_its_cores_do() {
        let here = Scoreboard::create(3, 2).unwrap();
        let there = Scoreboard::open(here.file().try_clone_to_owned().unwrap()).unwrap();
        let core = here.seat(2).core(1);
        assert_eq!(there.seat(2).core(1).activity(), None);
        core.describe(5, 100, [b"127.0.0.1", b"GET", b"/\x1b[2J"]);
        core.enter();
        assert_eq!(there.seat(2).in_flight(), 1);
        assert_eq!(there.seat(2).overdue(99), vec![]);
        let overdue = there.seat(2).overdue(100);
        assert_eq!(overdue.len(), 1);
        assert_eq!((overdue[0].0, overdue[0].1.request.as_str()), (1, "127.0.0.1 - GET /?[2J"));
        core.leave();
        core.count_odd(true, 0, 1);
        let counts = CoreCounts { requests: 1, static_requests: 1, read_errors: 1, ..CoreCounts::default() };
        assert_eq!(there.seat(2).core(1).counts(), counts);
        assert_eq!(there.seat(2).core(1).thread(), None);
        core.set_thread(77);
        assert_eq!(there.seat(2).core(1).thread(), Some(77));
        assert_eq!((there.seat(2).in_flight(), there.seat(2).overdue(100).len()), (0, 0));
        assert_eq!(here.seat(0).count_request(true), (1, 1));
        assert_eq!(there.seat(1).count_request(true), (1, 2));
        assert_eq!(here.total_requests(), 2);
        here.seat(1).count_static();
        assert_eq!((there.seat(1).static_requests(), there.seat(0).static_requests()), (1, 0));
        assert_eq!(there.seat(1).requests(), 1);
    }

    #[test]
    fn a_slot_is_served_by_whoever_is_furthest() {
        let board = Scoreboard::create(3, 1).unwrap();
        assert!(board.occupant(1).is_none());
        for (seat, respawns) in [(0, 0), (1, 1)] {
            board.seat(seat).assign(1, 100 + respawns, respawns);
        }
        let serving = |board: &Scoreboard| board.occupant(1).map(|(_, it)| (it.respawns, it.status));
        assert_eq!(serving(&board), Some((1, Status::Starting)));
        board.seat(0).set_status(Status::Up);
        assert_eq!(serving(&board), Some((0, Status::Up)));
        board.seat(1).set_status(Status::Up);
        board.seat(0).set_status(Status::Draining);
        assert_eq!(serving(&board), Some((1, Status::Up)));
        board.seat(0).count_request(false);
        board.seat(1).count_request(false);
        board.seat(0).clear();
        assert_eq!((board.requests(), board.seat(0).requests()), (2, 0));
        board.seat(1).set_status(Status::Gone);
        assert!(board.occupant(1).is_none());
    }

    #[test]
    fn applications_are_counted_up_to_a_bound() {
        let board = Scoreboard::create(1, 1).unwrap();
        for app in [0, APPS - 1, APPS, usize::MAX] {
            board.seat(0).count_app(app, true);
            board.seat(0).count_app(app, false);
        }
        assert_eq!((board.seat(0).app(0), board.seat(0).app(APPS - 1)), ((2, 1), (2, 1)));
        assert_eq!((board.seat(0).app(APPS), board.seat(0).in_flight()), ((0, 0), 0));
    }

    #[test]
    fn whatever_a_worker_writes_the_master_can_read() {
        let board = Scoreboard::create(1, 1).unwrap();
        for seed in 0..1000_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for word in board.seat(0).words {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.store(state, Relaxed);
            }
            let _ = board.seat(0).overdue(u64::MAX);
            assert!(board.seat(0).in_flight() <= 1);
            let _ = board.seat(0).occupant();
            let _ = board.requests();
            let _ = (board.seat(0).core(0).counts(), board.seat(0).core(0).thread());
        }
    }
}
