//! What the log leaves to another executable of this process: its file, the pipes that lines come through, and what could
//! not be written yet. Loggers are opened anew, as at a reload.

use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex};

use ruwsgi_log::Log;
use ruwsgi_options::{Config, Source};
use ruwsgi_sys::{exec, stdio};

use super::{Opened, Outlet, Routed};
use crate::log::{Loggers, Pipes, Place};
use crate::upgrade::{Dealt, Kept, State, Waiting};
use crate::why;

impl Outlet {
    /// The log of a process whose output goes where it is to go already.
    pub(crate) fn inherited(log: &Log, from: (&Config, &Source), state: &State) -> Result<Self, String> {
        let opened = |kept: &Kept| {
            let file = exec::inherited(kept.fd).map_err(|error| format!("the log: {}", why(&error)))?;
            Ok::<_, String>(Opened { path: kept.path.clone(), file: file.into() })
        };
        let mut outlet = Self { file: state.log.as_ref().map(opened).transpose()?, ..Self::of(log) };
        if let Some(dealt) = &state.dealt {
            outlet.deal_on(from, dealt)?;
        }
        outlet.restore(&state.waiting);
        Ok(outlet)
    }

    fn deal_on(&mut self, (config, source): (&Config, &Source), dealt: &Dealt) -> Result<(), String> {
        let failed = |error| format!("the log: {}", why(&error));
        let raw = exec::inherited(dealt.raw).and_then(Log::received).map_err(failed)?;
        let output = exec::inherited(dealt.output).map_err(failed)?;
        let pipes = Pipes::inherited(&dealt.pipes).map_err(failed)?;
        let loggers = Loggers::open(Place { config, source, raw: &raw, output: &output })?;
        self.log.hand_to(loggers.taker());
        self.raw = raw;
        self.routed = Some(Routed { loggers, pipes: Arc::new(Mutex::new(pipes)), output });
        Ok(())
    }

    fn restore(&self, waiting: &[Waiting]) {
        for piece in waiting {
            match &self.routed {
                Some(routed) if !piece.option.is_empty() => routed.loggers.restore(piece),
                _ => self.raw.push(&piece.bytes),
            }
        }
    }

    /// Whether an executable that reads this configuration could go on with what is left.
    pub(crate) fn could_go_on(config: &Config, source: &Source, state: &State) -> Result<(), String> {
        let requests = state.dealt.as_ref().is_some_and(|dealt| dealt.pipes.len() > 1);
        if config.routes_log() != state.dealt.is_some() || config.routes_requests() != requests {
            return Err(super::ALL_AT_ONCE.to_owned());
        }
        if state.dealt.is_none() {
            return Ok(());
        }
        let failed = |error| format!("the log: {}", why(&error));
        let output = stdio::output().try_clone_to_owned().map_err(failed)?;
        let raw = Log::to(output.as_fd()).map_err(failed)?;
        Loggers::open(Place { config, source, raw: &raw, output: &output }).map(drop)
    }

    /// The file, for another executable.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let opened = self.file.as_ref()?;
        Some(Kept { fd: opened.file.as_raw_fd(), path: opened.path.clone() })
    }

    /// What deals out lines, for another executable.
    pub(crate) fn dealt(&self) -> Option<Dealt> {
        let routed = self.routed.as_ref()?;
        Some(Dealt { raw: self.raw.number(), output: routed.output.as_raw_fd(), pipes: routed.pipes().left() })
    }

    /// What could not be written yet, for another executable.
    pub(crate) fn waiting(&self) -> Vec<Waiting> {
        let mut waiting = self.routed.as_ref().map_or_else(Vec::new, |routed| routed.loggers.left());
        let [option, name, argument] = [const { String::new() }; 3];
        let bytes = self.raw.left();
        waiting.extend((!bytes.is_empty()).then_some(Waiting { option, name, argument, bytes }));
        waiting
    }
}
