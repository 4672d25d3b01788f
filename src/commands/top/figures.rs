//! What people look at: made of what an instance tells now, and of what it told before, for the rates.

use std::time::Instant;

use super::model::{Core, Document, Worker};

/// A document and when it was read.
#[derive(Clone, Debug)]
pub struct Seen {
    pub document: Document,
    pub at: Instant,
    /// Seconds since 1970.
    pub now_s: u64,
}

/// An instance.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub version: String,
    pub pid: i64,
    pub requests: u64,
    /// Requests a second.
    pub rate: f64,
    /// Bytes a second.
    pub sent_rate: f64,
    pub exceptions: u64,
    pub harakiris: u64,
    pub queue: u64,
    pub queue_errors: u64,
    pub busy: usize,
    pub cores: usize,
    pub rss: u64,
    pub sockets: Vec<Socket>,
    pub workers: Vec<Line>,
    pub vassals: Vec<Vassal>,
}

/// A listening socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Socket {
    pub name: String,
    pub protocol: String,
    pub queue: u64,
    pub most: u64,
}

/// An instance below an emperor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vassal {
    pub id: String,
    pub pid: i64,
    pub ready: bool,
    pub respawns: u64,
}

/// A worker.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    pub id: u64,
    pub pid: i64,
    pub status: String,
    pub busy: usize,
    pub cores: usize,
    pub requests: u64,
    pub rate: f64,
    /// How much of its cores' time was inside requests, from 0 to 1.
    pub load: f64,
    pub average_ms: f64,
    pub exceptions: u64,
    pub harakiris: u64,
    pub respawns: u64,
    pub age_s: u64,
    pub rss: u64,
    pub vsz: u64,
    pub sent: u64,
    pub sent_rate: f64,
    pub running: Vec<Running>,
}

/// A request that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    pub core: u64,
    pub method: String,
    pub uri: String,
    pub client: String,
    /// `None`: nobody says when it began.
    pub age_s: Option<u64>,
}

impl Figures {
    /// Those of now; rates where there is a document of before.
    pub fn between(before: Option<&Seen>, now: &Seen) -> Self {
        let passed_s = before.map_or(0.0, |before| now.at.duration_since(before.at).as_secs_f64());
        let known = before.and_then(|before| before.document.workers.as_deref()).unwrap_or_default();
        let line = |worker: &Worker| {
            let former = known.iter().find(|former| former.id == worker.id);
            Line::of(worker, former.map(|former| (former, passed_s)), now.now_s)
        };
        let document = &now.document;
        let workers: Vec<Line> = document.workers.iter().flatten().map(line).collect();
        let sum = |of: fn(&Line) -> u64| workers.iter().fold(0_u64, |sum, line| sum.saturating_add(of(line)));
        Self {
            version: plain(&document.version),
            pid: document.pid,
            requests: sum(|line| line.requests),
            rate: workers.iter().map(|line| line.rate).sum(),
            sent_rate: workers.iter().map(|line| line.sent_rate).sum(),
            exceptions: sum(|line| line.exceptions),
            harakiris: sum(|line| line.harakiris),
            queue: document.listen_queue,
            queue_errors: document.listen_queue_errors,
            busy: workers.iter().map(|line| line.busy).sum(),
            cores: workers.iter().map(|line| line.cores).sum(),
            rss: sum(|line| line.rss),
            sockets: document.sockets.iter().map(socket).collect(),
            vassals: document.vassals.iter().flatten().map(vassal).collect(),
            workers,
        }
    }

    /// How many workers have this status.
    pub fn count(&self, status: &str) -> usize {
        self.workers.iter().filter(|line| line.status == status).count()
    }
}

impl Line {
    fn of(worker: &Worker, former: Option<(&Worker, f64)>, now_s: u64) -> Self {
        let per_s = |of: fn(&Worker) -> u64| match former {
            // A counter that went back belongs to another life.
            Some((former, passed_s)) if passed_s > 0.0 => of(worker).saturating_sub(of(former)) as f64 / passed_s,
            _ => 0.0,
        };
        let in_request = |core: &&Core| core.in_request > 0;
        let (busy, cores) = (worker.cores.iter().filter(in_request).count(), worker.cores.len());
        // Without cores (stats-no-cores), the status says as much as there is to know.
        let busy = if cores == 0 { usize::from(worker.status == "busy") } else { busy };
        Self {
            id: worker.id,
            pid: worker.pid,
            status: plain(&worker.status),
            busy,
            cores: cores.max(1),
            requests: worker.requests,
            rate: per_s(|worker| worker.requests),
            load: (per_s(|worker| worker.running_time) / 1e6 / cores.max(1) as f64).min(1.0),
            average_ms: worker.avg_rt as f64 / 1000.0,
            exceptions: worker.exceptions,
            harakiris: worker.harakiri_count,
            respawns: worker.respawn_count,
            age_s: if worker.last_spawn > 0 && worker.pid > 0 { now_s.saturating_sub(worker.last_spawn) } else { 0 },
            rss: worker.rss,
            vsz: worker.vsz,
            sent: worker.tx,
            sent_rate: per_s(|worker| worker.tx),
            running: worker.cores.iter().filter(in_request).map(|core| Running::of(core, now_s)).collect(),
        }
    }
}

impl Running {
    fn of(core: &Core, now_s: u64) -> Self {
        let var = |name: &str| {
            let value = |var: &String| var.strip_prefix(name)?.strip_prefix('=').map(plain);
            core.vars.iter().find_map(value).unwrap_or_default()
        };
        let start_s = core.req_info.request_start;
        let age_s = (start_s > 0).then(|| now_s.saturating_sub(start_s));
        Self {
            core: core.id,
            method: var("REQUEST_METHOD"),
            uri: var("REQUEST_URI"),
            client: var("REMOTE_ADDR"),
            age_s,
        }
    }
}

fn socket(socket: &super::model::Socket) -> Socket {
    let (name, protocol) = (plain(&socket.name), plain(&socket.proto));
    Socket { name, protocol, queue: socket.queue, most: socket.max_queue }
}

fn vassal(vassal: &super::model::Vassal) -> Vassal {
    Vassal { id: plain(&vassal.id), pid: vassal.pid, ready: vassal.ready > 0, respawns: vassal.respawns }
}

/// A text of others without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seen(text: &str, at: Instant) -> Seen {
        Seen { document: Document::parse(text.as_bytes()).unwrap(), at, now_s: 1_000 }
    }

    #[test]
    fn rates_are_between_two_looks() {
        let began = Instant::now();
        let of = |requests: u64, running: u64| {
            format!(
                r#"{{"workers": [{{"id": 1, "pid": 7, "requests": {requests}, "running_time": {running}, "tx": {requests},
                 "rss": 5, "last_spawn": 900, "cores": [{{"id": 0, "in_request": 1, "vars": ["REQUEST_METHOD=GET",
                 "REQUEST_URI=/a\u001b[2J", "REMOTE_ADDR=::1"], "req_info": {{"request_start": 997}}}}, {{"id": 1}}]}},
                 {{"id": 2}}]}}"#
            )
        };
        let first = seen(&of(100, 0), began);
        let alone = Figures::between(None, &first);
        assert_eq!((alone.rate, alone.requests, alone.workers.len()), (0.0, 100, 2));
        let second = Figures::between(Some(&first), &seen(&of(150, 1_000_000), began + Duration::from_secs(2)));
        let one = &second.workers[0];
        assert_eq!((one.rate, one.load, one.busy, one.cores, one.age_s), (25.0, 0.25, 1, 2, 100));
        assert_eq!((second.rate, second.sent_rate, second.rss, second.busy), (25.0, 25.0, 5, 1));
        let running =
            Running { core: 0, method: "GET".into(), uri: "/a?[2J".into(), client: "::1".into(), age_s: Some(3) };
        assert_eq!(one.running, [running]);
        let restarted = Figures::between(Some(&first), &seen(&of(3, 0), began + Duration::from_secs(1)));
        assert_eq!(restarted.rate, 0.0, "a counter that begins anew");
    }
}
