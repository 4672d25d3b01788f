//! What the master says when somebody asks: puts together for `stats` and `health` what the scoreboards, the plan and
//! the kernel know. Every number of a scoreboard is a worker's claim, and nothing is decided by it here.

use ruwsgi_contract::VERSION;
use ruwsgi_contract::scoreboard::{Occupant, Seat, Status};
use ruwsgi_options::CronSaid;
use ruwsgi_sys::{clock, process};

use super::desk::Question;
use super::health;
use super::host::Hosted;
use super::run::Master;
use super::stats::{App, Core, Cron, Picture, Socket, Worker, document};

fn cron((said, pid, started): (&CronSaid, i32, i64)) -> Cron {
    Cron { said: said.clone(), pid, started }
}

impl Master {
    /// The whole answer to a question.
    pub(super) fn answer(&self, question: Question<'_>) -> Vec<u8> {
        match question {
            Question::Health { path } => health::answer(path, self.plan.health()),
            Question::Stats { http } => {
                let hosted = self.plan.generation().and_then(|id| self.generations.get(&id));
                let minified = hosted.is_some_and(|hosted| hosted.config.stats.stats_minified);
                let text = document(&self.picture(hosted), minified);
                if http { health::over_http("200 OK", "application/json", &text) } else { text }
            }
        }
    }

    /// What the instance looks like now.
    pub(super) fn survey(&self) -> Picture {
        self.picture(self.plan.generation().and_then(|id| self.generations.get(&id)))
    }

    fn picture(&self, hosted: Option<&Hosted>) -> Picture {
        let sockets: Vec<Socket> = hosted.map_or_else(Vec::new, |hosted| hosted.listeners.iter().map(socket).collect());
        let slots = hosted.map_or(0, |hosted| hosted.config.workers.processes.max(1));
        Picture {
            version: VERSION,
            listen_queue: sockets.iter().map(|socket| socket.queue).max().unwrap_or(0),
            listen_queue_errors: self.queues.times_full(),
            pid: process::id(),
            owner: process::owner(),
            folder: std::env::current_dir().map_or_else(|_| String::new(), |path| path.to_string_lossy().into_owned()),
            locks: (0..self.ground.locks.count()).map(|number| self.ground.locks.holder(number)).collect(),
            sockets,
            workers: (1..=slots).map(|slot| self.worker_of(slot)).collect(),
            no_cores: hosted.is_some_and(|hosted| hosted.config.stats.stats_no_cores),
            daemons: self
                .beside
                .daemons
                .list()
                .into_iter()
                .map(|(name, pid, again)| (name.to_owned(), pid, again))
                .collect(),
            crons: self.beside.crons.list().into_iter().map(cron).collect(),
        }
    }

    /// Who serves a slot: the one that is furthest, and of two the one that came later; during a reload, of whichever
    /// generation.
    fn worker_of(&self, slot: u32) -> Worker {
        let seats = self.workers.iter().filter(|(_, line)| line.slot == slot).filter_map(|(id, line)| {
            let hosted = self.generations.get(&line.generation)?;
            let seat = hosted.scoreboard.seat(line.seat as usize);
            Some((seat.occupant().status, *id, hosted, seat))
        });
        match seats.max_by_key(|(status, id, ..)| (*status, *id)) {
            Some((.., hosted, seat)) => self.worker(hosted, seat),
            None => self.nobody(slot),
        }
    }

    fn worker(&self, hosted: &Hosted, seat: Seat<'_>) -> Worker {
        let is = seat.occupant();
        let (resident, addresses) = process::memory_of(is.pid).filter(|_| is.pid > 0).unwrap_or_default();
        let alone = hosted.apps.len() == 1;
        let app = |(number, info): (&u32, &_)| {
            // Several are counted one by one.
            let (requests, exceptions) = if alone { (is.requests, is.exceptions) } else { seat.app(*number as usize) };
            App { info: Clone::clone(info), requests, exceptions }
        };
        let (now_ms, now) = (clock::coarse_ms(), clock::unix_seconds().unsigned_abs());
        let core = |number| {
            let core = seat.core(number);
            let began = |since_ms: u64| now.saturating_sub(now_ms.saturating_sub(since_ms) / 1000);
            let request = core.activity().filter(|it| it.since_ms > 0).map(|it| (it.clone(), began(it.since_ms)));
            Core { number, counts: core.counts(), request }
        };
        let status = match () {
            () if self.plan.is_paused() => "pause",
            () if seat.in_flight() > 0 => "busy",
            () => "idle",
        };
        Worker {
            accepting: is.status == Status::Up && !self.plan.is_paused(),
            status,
            harakiri_count: hosted.harakiris(is.slot),
            resident,
            addresses,
            apps: hosted.apps.iter().map(app).collect(),
            cores: (0..hosted.scoreboard.cores()).map(core).collect(),
            is,
        }
    }

    /// A slot that nobody serves.
    fn nobody(&self, slot: u32) -> Worker {
        let hosted = self.plan.generation().and_then(|id| self.generations.get(&id));
        let (before, spawns) = hosted.map_or((0, 0), |hosted| hosted.past(slot));
        let is = Occupant {
            slot,
            pid: 0,
            status: Status::Gone,
            spawned: 0,
            respawns: spawns,
            before,
            requests: 0,
            exceptions: 0,
            running_us: 0,
            average_us: 0,
            sent_bytes: 0,
        };
        Worker {
            is,
            accepting: false,
            status: "cheap",
            harakiri_count: hosted.map_or(0, |hosted| hosted.harakiris(slot)),
            resident: 0,
            addresses: 0,
            apps: Vec::new(),
            cores: Vec::new(),
        }
    }
}

fn socket(bound: &std::rc::Rc<crate::listeners::Bound>) -> Socket {
    let (protocol, name) = bound.name();
    let (queue, most) = bound.queue();
    Socket { name: name.to_owned(), protocol, queue, most }
}
