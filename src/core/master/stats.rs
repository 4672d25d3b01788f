//! The statistics as one JSON document: uWSGI's keys, types and order, from tables of rows. Tools such as uwsgitop read
//! it. Here nothing is looked up: `survey` has put together what is told.
//!
//! What uWSGI tells and this server does not have (signals, routes) is there and zero, because readers index it.

use ruwsgi_contract::message::AppInfo;
use ruwsgi_contract::scoreboard::{Activity, CoreCounts, Occupant};
use ruwsgi_options::CronSaid;
use serde_json::{Map, Value, json};

/// What an instance looks like at a moment.
#[derive(Debug, Default)]
pub(super) struct Picture {
    pub version: &'static str,
    pub listen_queue: u32,
    pub listen_queue_errors: u64,
    pub pid: i32,
    pub owner: (u32, u32),
    pub folder: String,
    /// Who holds the locks of the application: thread ids, or 0.
    pub locks: Vec<u32>,
    pub sockets: Vec<Socket>,
    pub workers: Vec<Worker>,
    /// The cores are left out.
    pub no_cores: bool,
    /// Command, pid, how often it was started again.
    pub daemons: Vec<(String, i32, u32)>,
    pub crons: Vec<Cron>,
}

/// A job.
#[derive(Debug)]
pub(super) struct Cron {
    pub said: CronSaid,
    /// -1: it does not run.
    pub pid: i32,
    /// In seconds since 1970.
    pub started: i64,
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub name: String,
    pub protocol: &'static str,
    pub queue: u32,
    pub most: u32,
}

/// A worker, or a slot without one.
#[derive(Debug)]
pub(super) struct Worker {
    pub is: Occupant,
    pub accepting: bool,
    /// `idle`, `busy`, `cheap` or `pause`.
    pub status: &'static str,
    pub harakiri_count: u64,
    pub resident: u64,
    pub addresses: u64,
    pub apps: Vec<App>,
    pub cores: Vec<Core>,
}

/// An application of a worker.
#[derive(Debug)]
pub(super) struct App {
    pub info: AppInfo,
    pub requests: u64,
    pub exceptions: u64,
}

/// A core of a worker.
#[derive(Debug)]
pub(super) struct Core {
    pub number: usize,
    pub counts: CoreCounts,
    /// What it is doing, and since when in seconds since 1970.
    pub request: Option<(Activity, u64)>,
}

/// A key and what stands behind it.
type Row<T> = (&'static str, fn(&T) -> Value);

const TOP: &[Row<Picture>] = &[
    ("version", |it| it.version.into()),
    ("listen_queue", |it| it.listen_queue.into()),
    ("listen_queue_errors", |it| it.listen_queue_errors.into()),
    ("signal_queue", |_| 0.into()),
    ("load", |it| it.listen_queue.into()),
    ("pid", |it| it.pid.into()),
    ("uid", |it| it.owner.0.into()),
    ("gid", |it| it.owner.1.into()),
    ("cwd", |it| it.folder.as_str().into()),
    ("daemons", |it| some(list(DAEMON, &it.daemons))),
    ("locks", |it| locks(&it.locks)),
    ("sockets", |it| list(SOCKET, &it.sockets)),
    ("workers", |it| it.workers.iter().map(|worker| self::worker(worker, it.no_cores)).collect()),
    ("crons", |it| some(list(CRON, &it.crons))),
];

const DAEMON: &[Row<(String, i32, u32)>] =
    &[("cmd", |it| it.0.as_str().into()), ("pid", |it| it.1.into()), ("respawns", |it| it.2.into())];

const CRON: &[Row<Cron>] = &[
    ("minute", |it| it.said.minute.into()),
    ("hour", |it| it.said.hour.into()),
    ("day", |it| it.said.day.into()),
    ("month", |it| it.said.month.into()),
    ("week", |it| it.said.weekday.into()),
    ("command", |it| it.said.command.as_str().into()),
    ("unique", |it| u8::from(it.said.unique).into()),
    ("legion", |_| "".into()),
    ("pid", |it| it.pid.into()),
    ("started_at", |it| it.started.into()),
];

const SOCKET: &[Row<Socket>] = &[
    ("name", |it| it.name.as_str().into()),
    ("proto", |it| it.protocol.into()),
    ("queue", |it| it.queue.into()),
    ("max_queue", |it| it.most.into()),
    ("shared", |_| 0.into()),
    ("can_offload", |_| 0.into()),
];

const WORKER: &[Row<Worker>] = &[
    ("id", |it| it.is.slot.into()),
    ("pid", |it| it.is.pid.into()),
    ("accepting", |it| u8::from(it.accepting).into()),
    ("requests", |it| it.is.before.wrapping_add(it.is.requests).into()),
    ("delta_requests", |it| it.is.requests.into()),
    ("exceptions", |it| it.is.exceptions.into()),
    ("harakiri_count", |it| it.harakiri_count.into()),
    ("signals", |_| 0.into()),
    ("signal_queue", |_| 0.into()),
    ("status", |it| it.status.into()),
    ("rss", |it| it.resident.into()),
    ("vsz", |it| it.addresses.into()),
    ("running_time", |it| it.is.running_us.into()),
    ("last_spawn", |it| it.is.spawned.into()),
    // uWSGI counts the first one, too.
    ("respawn_count", |it| it.is.respawns.saturating_add((it.is.spawned > 0).into()).into()),
    ("tx", |it| it.is.sent_bytes.into()),
    ("avg_rt", |it| it.is.average_us.into()),
    ("apps", |it| list(APP, &it.apps)),
    ("cores", |it| list(CORE, &it.cores)),
];

const APP: &[Row<App>] = &[
    ("id", |it| it.info.number.into()),
    ("modifier1", |_| 0.into()),
    ("mountpoint", |it| it.info.point.as_str().into()),
    ("startup_time", |it| it.info.startup_s.into()),
    ("requests", |it| it.requests.into()),
    ("exceptions", |it| it.exceptions.into()),
    ("chdir", |_| "".into()),
];

const CORE: &[Row<Core>] = &[
    ("id", |it| it.number.into()),
    ("requests", |it| it.counts.requests.into()),
    ("static_requests", |it| it.counts.static_requests.into()),
    ("routed_requests", |_| 0.into()),
    ("offloaded_requests", |_| 0.into()),
    ("write_errors", |it| it.counts.write_errors.into()),
    ("read_errors", |it| it.counts.read_errors.into()),
    ("in_request", |it| u8::from(it.counts.in_request).into()),
    ("vars", vars),
    ("req_info", |it| it.request.as_ref().map_or_else(|| json!({}), |(_, start)| json!({ "request_start": start }))),
];

/// The document; `minified`: without blanks and newlines.
pub(super) fn document(picture: &Picture, minified: bool) -> Vec<u8> {
    let mut document = object(TOP, picture);
    document.as_object_mut().into_iter().for_each(|keys| keys.retain(|_, value| !value.is_null()));
    let text = if minified { serde_json::to_vec(&document) } else { serde_json::to_vec_pretty(&document) };
    // Keys are text: a value of this kind can always be written.
    text.unwrap_or_default()
}

fn object<T>(rows: &[Row<T>], of: &T) -> Value {
    Value::Object(rows.iter().map(|(key, value)| ((*key).to_owned(), value(of))).collect())
}

/// A key that only some instances have.
fn some(list: Value) -> Value {
    if list.as_array().is_some_and(Vec::is_empty) { Value::Null } else { list }
}

fn list<T>(rows: &[Row<T>], of: &[T]) -> Value {
    of.iter().map(|one| object(rows, one)).collect()
}

fn worker(worker: &Worker, no_cores: bool) -> Value {
    let mut object = object(WORKER, worker);
    if let (true, Some(keys)) = (no_cores, object.as_object_mut()) {
        keys.shift_remove("cores");
    }
    object
}

/// Those of the application, and uWSGI's own names.
fn locks(holders: &[u32]) -> Value {
    let users = holders.iter().enumerate().map(|(number, holder)| (format!("user {number}"), *holder));
    let own = ["signal", "filemon", "timer", "rbtimer", "cron", "rpc", "snmp"].map(|name| (name.to_owned(), 0));
    users.chain(own).map(|(name, holder)| Value::Object(Map::from_iter([(name, holder.into())]))).collect()
}

/// Method, URI and address, and nothing that could be a secret: uWSGI tells cookies and passwords, too.
fn vars(core: &Core) -> Value {
    let Some((activity, _)) = &core.request else { return json!([]) };
    let Some((address, rest)) = activity.request.split_once(" - ") else { return json!([]) };
    let (method, uri) = rest.split_once(' ').unwrap_or((rest, ""));
    let named = [("REQUEST_METHOD", method), ("REQUEST_URI", uri), ("REMOTE_ADDR", address)];
    named.map(|(name, value)| format!("{name}={value}")).into_iter().chain([String::new()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_contract::scoreboard::Status;

    fn picture() -> Picture {
        let is = Occupant {
            slot: 1,
            pid: 77,
            status: Status::Up,
            spawned: 1_795_230_843,
            respawns: 2,
            before: 10,
            requests: 5,
            exceptions: 1,
            running_us: 269,
            average_us: 98,
            sent_bytes: 94,
        };
        let request = "127.0.0.1 - GET /a?b=c d".to_owned();
        let activity = Activity { since_ms: 1, deadline_ms: 0, request };
        let core = Core { number: 0, counts: CoreCounts::default(), request: Some((activity, 1_795_230_844)) };
        let app = App { info: AppInfo::default(), requests: 5, exceptions: 1 };
        let worker = Worker {
            is,
            accepting: true,
            status: "busy",
            harakiri_count: 3,
            resident: 4096,
            addresses: 8192,
            apps: vec![app],
            cores: vec![core],
        };
        let socket = Socket { name: "127.0.0.1:1".into(), protocol: "http", queue: 0, most: 100 };
        let (version, folder) = ("1", "/srv".to_owned());
        Picture { version, folder, locks: vec![9], sockets: vec![socket], workers: vec![worker], ..Picture::default() }
    }

    /// The keys in their order, with the kinds of their values, as uWSGI 2.0.31 tells them.
    const SHAPE: &str = "\
        {version:s,listen_queue:n,listen_queue_errors:n,signal_queue:n,load:n,pid:n,uid:n,gid:n,cwd:s,\
        locks:[{user 0:n}],sockets:[{name:s,proto:s,queue:n,max_queue:n,shared:n,can_offload:n}],\
        workers:[{id:n,pid:n,accepting:n,requests:n,delta_requests:n,exceptions:n,harakiri_count:n,signals:n,\
        signal_queue:n,status:s,rss:n,vsz:n,running_time:n,last_spawn:n,respawn_count:n,tx:n,avg_rt:n,\
        apps:[{id:n,modifier1:n,mountpoint:s,startup_time:n,requests:n,exceptions:n,chdir:s}],\
        cores:[{id:n,requests:n,static_requests:n,routed_requests:n,offloaded_requests:n,write_errors:n,\
        read_errors:n,in_request:n,vars:[s],req_info:{request_start:n}}]}]}";

    fn shape(value: &Value) -> String {
        match value {
            Value::Object(map) => {
                let keys: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", shape(value))).collect();
                format!("{{{}}}", keys.join(","))
            }
            Value::Array(list) => format!("[{}]", list.first().map(shape).unwrap_or_default()),
            Value::String(_) => "s".into(),
            Value::Number(_) => "n".into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_order_and_types_are_those_of_uwsgi() {
        for minified in [false, true] {
            let read: Value = serde_json::from_slice(&document(&picture(), minified)).unwrap();
            assert_eq!(shape(&read), SHAPE);
        }
        let one = &object(TOP, &picture())["workers"][0];
        assert_eq!(
            (&one["requests"], &one["delta_requests"], &one["respawn_count"]),
            (&15.into(), &5.into(), &3.into())
        );
        let vars = ["REQUEST_METHOD=GET", "REQUEST_URI=/a?b=c d", "REMOTE_ADDR=127.0.0.1", ""];
        assert_eq!(one["cores"][0]["vars"], json!(vars));
        assert!(document(&picture(), false).starts_with(b"{\n  \"version\": \"1\",\n"));
    }

    #[test]
    fn cores_can_be_left_out() {
        let read: Value = serde_json::from_slice(&document(&Picture { no_cores: true, ..picture() }, true)).unwrap();
        assert!(read["workers"][0].get("cores").is_none());
        assert!(read["workers"][0].get("apps").is_some());
    }
}
