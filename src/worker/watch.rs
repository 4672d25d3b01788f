//! The deadline of a request, as the application may set it for itself: on the scoreboard, where the master looks.

use std::cell::Cell;
use std::os::fd::BorrowedFd;

use ruwsgi_contract::scoreboard::CoreSeat;
use ruwsgi_sys::clock;
use ruwsgi_wire::{Key, Vars};

use crate::harakiri::Right;

/// What a request needs to be watched.
pub(crate) struct Watch<'r> {
    seat: CoreSeat<'r>,
    /// When it must be over in any case, by `clock::coarse_ms`; 0: nobody says so.
    deadline_ms: u64,
    late: Late<'r>,
    /// Somebody else may answer, until the application does.
    shared: Cell<bool>,
    /// Whether the response was begun here; `None`: nobody has begun it yet.
    ours: Cell<Option<bool>>,
}

/// What the client gets when the deadline is past, where, and who may give it.
pub(crate) struct Late<'r> {
    pub right: &'r Right,
    pub socket: BorrowedFd<'r>,
    pub bytes: &'static [u8],
}

impl<'r> Watch<'r> {
    pub(crate) fn new(seat: CoreSeat<'r>, deadline_ms: u64, late: Late<'r>) -> Self {
        let watch = Self { seat, deadline_ms, late, shared: Cell::new(false), ours: Cell::new(None) };
        if deadline_ms != 0 {
            watch.share();
        }
        watch
    }

    fn share(&self) {
        if self.ours.get().is_none() && !self.shared.replace(true) {
            self.late.right.give(self.late.socket, self.late.bytes);
        }
    }

    /// The response begins; `false`: the client has got a 504 meanwhile, and nothing may follow.
    pub(crate) fn claim(&self) -> bool {
        self.ours.get().unwrap_or_else(|| {
            let ours = !self.shared.get() || self.late.right.take();
            self.ours.set(Some(ours));
            ours
        })
    }

    /// Lets the request go on for `wait_ms` and no longer; `None`: as long as any other.
    pub(crate) fn set(&self, wait_ms: Option<u64>) {
        let now_ms = clock::coarse_ms();
        let deadline_ms = match (wait_ms.map(|wait_ms| now_ms + wait_ms), self.deadline_ms) {
            (None, general) => general,
            (Some(own), 0) => own,
            (Some(own), general) => own.min(general),
        };
        if deadline_ms != 0 {
            self.share();
        }
        self.seat.set_deadline(deadline_ms);
    }
}

/// Says on the scoreboard what a request is.
pub(crate) fn describe(seat: CoreSeat<'_>, vars: &Vars, now_ms: u64, deadline_ms: u64) {
    let part = |key| vars.key(key).unwrap_or_default();
    let (address, method, uri) = (part(Key::RemoteAddr), part(Key::RequestMethod), part(Key::RequestUri));
    seat.describe(now_ms, deadline_ms, [address, method, uri]);
}
