//! Lines that pass through the master: whose they are, which of them are kept, which loggers get them, in which shape.
//!
//! With `logger`, `log-route` and their kin, everything that is logged comes through a pipe (`pipe.rs`), and what the master
//! says itself comes directly; here it is dealt out. Without them nothing of this is there, and workers write to the log
//! themselves. Nobody waits here, and nobody here may log: troubles are kept until the master asks for them.

mod datagram;
mod encode;
mod file;
mod list;
mod pipe;
mod route;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruwsgi_log::Taker;
use ruwsgi_options::{EncoderSaid, LoggerSaid, Origin, RouteSaid, is_address};

use self::encode::Encoder;
use self::list::Logger;
pub(crate) use self::list::Place;
pub(crate) use self::pipe::Pipes;
use self::route::Pattern;
use crate::upgrade::Waiting;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// About a request, where those are kept apart.
    Request,
    /// Anything else.
    Other,
}

/// All loggers of the instance, shared by the master's log and by whoever reads the pipes.
#[derive(Clone)]
pub(crate) struct Loggers(Arc<Mutex<Board>>);

struct Board {
    targets: Vec<Target>,
    requests: Side,
    others: Side,
    /// What nobody was told yet.
    troubles: Vec<String>,
}

/// A logger, and by what a reload knows it again.
struct Target {
    said: LoggerSaid,
    logger: Box<dyn Logger>,
}

/// What becomes of lines of a sort.
#[derive(Default)]
struct Side {
    /// Lines that match one of these are dropped.
    drains: Vec<Pattern>,
    /// If there are any, lines must match one of them.
    filters: Vec<Pattern>,
    /// Lines that match go to these loggers alone.
    routes: Vec<(Pattern, usize)>,
    /// All others go to these.
    open: Vec<usize>,
    encoders: Vec<Encoder>,
}

impl Loggers {
    /// What the options ask for.
    pub(crate) fn open(place: Place<'_>) -> Result<Self, String> {
        Ok(Self(Arc::new(Mutex::new(Board::open(place, Vec::new())?))))
    }

    /// The same at a reload: loggers that are still wanted go on with what waits in them. An error leaves all as it was.
    pub(crate) fn renew(&self, place: Place<'_>) -> Result<(), String> {
        // What could fail is tried first, with loggers of its own.
        Board::open(place, Vec::new())?;
        let mut board = self.lock();
        let former = std::mem::take(&mut board.targets);
        *board = Board::open(place, former)?;
        Ok(())
    }

    /// Deals a line out; without its newline.
    pub(crate) fn take(&self, sort: Sort, line: &[u8]) {
        self.lock().take(sort, line);
    }

    /// Writes what waits. What went wrong since is told by somebody who may log.
    pub(crate) fn flush(&self) -> Vec<String> {
        let mut board = self.lock();
        let mut troubles = std::mem::take(&mut board.troubles);
        troubles.extend(board.targets.iter_mut().filter_map(|target| target.logger.flush()));
        troubles
    }

    /// Writes what waits; what went wrong is kept for who asks.
    pub(crate) fn hurry(&self) {
        self.lock().targets.iter_mut().for_each(|target| target.logger.hurry());
    }

    /// So many bytes wait somewhere.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().targets.iter().map(|target| target.logger.waiting()).sum()
    }

    /// What waits, for another executable.
    pub(crate) fn left(&self) -> Vec<Waiting> {
        let mut all = Vec::new();
        // What goes where the log goes is the log's own.
        for Target { said, logger } in self.lock().targets.iter().filter(|target| !target.said.option.is_empty()) {
            let (option, name, argument) = (said.option.to_owned(), said.name.to_owned(), said.argument.clone());
            let whose = Waiting { option, name, argument, bytes: Vec::new() };
            all.extend(logger.left().into_iter().map(|bytes| Waiting { bytes, ..whose.clone() }));
        }
        all
    }

    /// What has waited in another executable; for nobody, if that one is not wanted any more.
    pub(crate) fn restore(&self, piece: &Waiting) {
        let is_it = |said: &LoggerSaid| {
            (said.option, said.name, &*said.argument) == (&*piece.option, &*piece.name, &*piece.argument)
        };
        if let Some(target) = self.lock().targets.iter_mut().find(|target| is_it(&target.said)) {
            target.logger.restore(&piece.bytes);
        }
    }

    /// Opens files anew that were moved; `aside`: they are put aside first, under a name with this time.
    pub(crate) fn reopen(&self, aside: Option<i64>) -> Vec<String> {
        let mut board = self.lock();
        board.targets.iter_mut().filter_map(|target| target.logger.reopen(aside).err()).collect()
    }

    /// A clone that takes what the master says.
    pub(crate) fn taker(&self) -> Box<dyn Taker> {
        Box::new(Mouth(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the master says.
struct Mouth(Loggers);

impl Taker for Mouth {
    fn take(&mut self, lines: &[u8]) {
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.0.take(Sort::Other, line.strip_suffix(b"\n").unwrap_or(line));
        }
        let mut board = self.0.lock();
        // Troubles stay until somebody asks: they are not told in the middle of this.
        board.targets.iter_mut().for_each(|target| target.logger.hurry());
    }
}

impl Board {
    fn open(place: Place<'_>, mut former: Vec<Target>) -> Result<Self, String> {
        let (config, logging) = (place.config, &place.config.logging);
        let mut board =
            Self { targets: Vec::new(), requests: Side::default(), others: Side::default(), troubles: Vec::new() };
        let udp = logging.logto.as_ref().filter(|to| is_address(to)).map(|to| LoggerSaid {
            id: None,
            name: "socket",
            argument: to.clone(),
            option: "logto",
            origin: config.origin("logto").cloned().unwrap_or(Origin::Default),
        });
        let others = logging.logger.iter().chain(&logging.log_syslog).chain(&logging.log_socket).chain(&udp);
        for said in others {
            let number = board.add(said, place, &mut former)?;
            board.others.open.extend(said.id.is_none().then_some(number));
        }
        for said in &logging.req_logger {
            let number = board.add(said, place, &mut former)?;
            board.requests.open.extend(said.id.is_none().then_some(number));
        }
        board.others.routes = board.routes(&logging.log_route)?;
        board.requests.routes = board.routes(&logging.log_req_route)?;
        board.others.drains = patterns(&logging.log_drain)?;
        board.others.filters = patterns(&logging.log_filter)?;
        board.others.encoders = encoders(&logging.log_encoder);
        board.requests.encoders = encoders(&logging.log_req_encoder);
        // Where nobody takes what no route takes, it goes where the log goes.
        let rest = board.targets.len();
        board.targets.push(Target { said: list::raw_said(), logger: list::raw(place.raw) });
        for side in [&mut board.others, &mut board.requests] {
            if side.open.is_empty() {
                side.open.push(rest);
            }
        }
        Ok(board)
    }

    /// Adds a logger, or takes over the one that was there.
    fn add(&mut self, said: &LoggerSaid, place: Place<'_>, former: &mut Vec<Target>) -> Result<usize, String> {
        let same = |one: &Target| one.said.name == said.name && one.said.argument == said.argument;
        let logger = match former.iter().position(|one| same(one) && one.said.option == said.option) {
            Some(at) => {
                let mut logger = former.swap_remove(at).logger;
                // Where that can't be, it goes on where it is.
                self.troubles.extend(logger.reopen(None).err());
                logger
            }
            None => list::open(said, place)?,
        };
        self.targets.push(Target { said: said.clone(), logger });
        Ok(self.targets.len() - 1)
    }

    fn routes(&self, said: &[RouteSaid]) -> Result<Vec<(Pattern, usize)>, String> {
        let route = |said: &RouteSaid| {
            let target = self.targets.iter().position(|target| target.said.id.as_deref() == Some(&said.id));
            let unknown = || format!("{}: there is no logger with the id {:?} ({})", said.option, said.id, said.origin);
            Ok((Pattern::of(said)?, target.ok_or_else(unknown)?))
        };
        said.iter().map(route).collect()
    }

    fn take(&mut self, sort: Sort, line: &[u8]) {
        let side = if sort == Sort::Request { &self.requests } else { &self.others };
        if side.drains.iter().any(|pattern| pattern.matches(line)) {
            return;
        }
        if !side.filters.is_empty() && !side.filters.iter().any(|pattern| pattern.matches(line)) {
            return;
        }
        let mut found: Vec<usize> =
            side.routes.iter().filter(|(pattern, _)| pattern.matches(line)).map(|(_, target)| *target).collect();
        if found.is_empty() {
            found.clone_from(&side.open);
        }
        for number in found {
            let target = &mut self.targets[number];
            let id = target.said.id.as_deref();
            let mine = || side.encoders.iter().filter(|encoder| encoder.is_for(id));
            let mut shaped = [line, b"\n"].concat();
            for encoder in mine() {
                shaped = encoder.encode(&shaped);
            }
            target.logger.take(&shaped);
        }
    }
}

fn patterns(said: &[RouteSaid]) -> Result<Vec<Pattern>, String> {
    said.iter().map(Pattern::of).collect()
}

fn encoders(said: &[EncoderSaid]) -> Vec<Encoder> {
    said.iter().map(Encoder::of).collect()
}

#[cfg(test)]
mod tests;
