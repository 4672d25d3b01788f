//! The master as a vassal: what its emperor wants becomes an input of the plan, and what the emperor wants to know is told.
//! And the master of an emperor, which is started again when it dies. `run` calls both at each wake.

use ruwsgi_options::Config;
use ruwsgi_sys::clock;

use super::order::{Command, Input, Signal};
use super::run::Master;
use crate::emperor::Child;
use crate::vassal::{Allegiance, Will};

impl Master {
    /// Does what the emperor wants, and lets the heart beat.
    pub(super) fn hear_emperor(&mut self) {
        let Some(mut emperor) = self.emperor.take() else { return };
        let wills = emperor.hear();
        for will in &wills {
            emperor.obey(*will, &self.config());
        }
        emperor.beat();
        if !emperor.has_said_loyal() && self.generations.values().any(|hosted| hosted.scoreboard.requests() > 0) {
            emperor.is_loyal();
        }
        self.emperor = Some(emperor);
        for will in wills {
            let in_flight = self.in_flight();
            self.feed(match will {
                // The second one is meant.
                Will::Stop => Input::Signal { signal: Signal::Int, in_flight },
                Will::Reload => Input::Signal { signal: Signal::Hup, in_flight },
                Will::StopGracefully | Will::Lost => Input::Command { command: Command::Stop, in_flight },
            });
        }
    }

    /// Tells the emperor something, if there is one.
    pub(super) fn tell_emperor(&self, tell: impl FnOnce(&Allegiance)) {
        if let Some(emperor) = &self.emperor {
            tell(emperor);
        }
    }

    /// When the heart beats next, and until somebody has asked for something, when to look whether somebody has.
    pub(super) fn fealty_wake_ms(&self) -> Option<u64> {
        let court = self.court.as_ref().and_then(Child::wake_ms);
        let Some(emperor) = &self.emperor else { return court };
        let look = (!emperor.has_said_loyal()).then(|| clock::coarse_ms() + 500);
        emperor.wake_ms().into_iter().chain(look).chain(court).min()
    }

    /// The emperor of this master: another one in the place of one that died; nobody after one that was to end.
    pub(super) fn attend_court(&mut self) {
        if let Some(court) = &mut self.court {
            court.look(&self.source);
        }
        self.court.take_if(|court| court.is_gone());
    }

    /// Another configuration serves: the emperor of this instance is told, as by a process that was started anew, and the
    /// one that this master has started reads it too, if it is about emperors; one comes or goes with it.
    pub(super) fn renew_fealty(&mut self, config: &Config) {
        self.emperor.iter_mut().for_each(|emperor| emperor.renew(config));
        self.tell_emperor(Allegiance::is_ready);
        self.tell_emperor(Allegiance::accepts);
        match (&mut self.court, config.emperor.provinces.is_empty()) {
            (None, false) => match Child::of(config, &self.source) {
                Ok(court) => self.court = court,
                Err(reason) => tracing::error!("{reason}"),
            },
            (Some(court), true) => court.let_go(),
            (Some(court), false) => court.renew(config),
            (None, true) => {}
        }
    }
}
