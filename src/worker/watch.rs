//! The deadline of a request, as the application may set it for itself: on the scoreboard, where the master looks.

use ruwsgi_contract::scoreboard::CoreSeat;
use ruwsgi_sys::clock;
use ruwsgi_wire::{Key, Vars};

/// What a request needs to be watched.
pub(crate) struct Watch<'r> {
    pub seat: CoreSeat<'r>,
    pub vars: &'r Vars,
    /// When it must be over in any case, by `clock::coarse_ms`; 0: nobody says so.
    pub deadline_ms: u64,
}

impl Watch<'_> {
    /// Lets the request go on for `wait_ms` and no longer; `None`: as long as any other.
    pub(crate) fn set(&self, wait_ms: Option<u64>) {
        let now_ms = clock::coarse_ms();
        let deadline_ms = match (wait_ms.map(|wait_ms| now_ms + wait_ms), self.deadline_ms) {
            (None, general) => general,
            (Some(own), 0) => own,
            (Some(own), general) => own.min(general),
        };
        if self.deadline_ms == 0 && deadline_ms != 0 {
            // Nobody has said yet what it is.
            describe(self.seat, self.vars, now_ms, deadline_ms);
        } else {
            self.seat.set_deadline(deadline_ms);
        }
    }
}

/// Says on the scoreboard what a request is.
pub(crate) fn describe(seat: CoreSeat<'_>, vars: &Vars, now_ms: u64, deadline_ms: u64) {
    let part = |key| vars.key(key).unwrap_or_default();
    let (address, method, uri) = (part(Key::RemoteAddr), part(Key::RequestMethod), part(Key::RequestUri));
    seat.describe(now_ms, deadline_ms, &[address, b" - ", method, b" ", uri]);
}
