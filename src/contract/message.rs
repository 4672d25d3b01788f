//! The messages between the master, the zygote and the workers. One message is one packet; see
//! `ruwsgi_sys::channel`. A number is little-endian, a text is the rest of the packet.
//!
//! Who sends what:
//!
//! * master → zygote: [`ToZygote::Hello`], then [`ToZygote::Spawn`] for each worker. Closing the channel ends the zygote.
//! * zygote → master: [`FromZygote::Asked`], then [`FromZygote::Ready`], or [`FromZygote::Failed`] and it exits. The boot script, which is Python,
//!   sends [`FromZygote::Refused`] where the module can't be loaded at all.
//! * master → worker, on a channel of its own: [`ToWorker::Drain`]. Closing the channel means "drain" too.
//! * worker → master, on that channel: [`FromWorker`].

/// A message that can be sent.
pub trait Message: Sized {
    /// As bytes; never empty.
    fn encode(&self) -> Vec<u8>;
    /// From bytes; `None` for what is no such message.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

/// What the master tells a zygote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToZygote {
    /// The first message. Descriptors, in this order: the sink of the log, the sink of the lines of requests, the configuration (a sealed file of encoded
    /// directives), the scoreboard, the locks, the three of `Handover::files()`, then the listeners in the order of `Config::listeners()`.
    Hello {
        /// The master's pid, for the check after `die_with_parent`.
        master: i32,
        /// Which generation this zygote begins.
        generation: u32,
        /// Somebody asked for a reload since the instance was started.
        reloaded: bool,
    },
    /// Fork a worker. One descriptor: its channel.
    Spawn {
        /// Names the worker for the whole life of the instance.
        worker: u64,
        /// Its number as people see it, from 1.
        slot: u32,
        /// Its seat on the scoreboard, from 0.
        seat: u32,
    },
    /// Log there from now on, and so do the workers to come. One descriptor: the sink of the log.
    Log,
}

/// An application that is loaded, as statistics show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppInfo {
    /// Its number, from 0.
    pub number: u32,
    /// How long loading took, in seconds.
    pub startup_s: u32,
    /// Where it is mounted; empty for the one of the root.
    pub point: String,
}

/// What a zygote tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromZygote {
    /// One of the applications that it has loaded; before [`Ready`](Self::Ready).
    App(AppInfo),
    /// The interpreter can't be used; a sentence that says why.
    Refused(String),
    /// Loading is over, well or not, and these names were read from `uwsgi.opt`, with line breaks between them.
    Asked(String),
    /// The application is loaded (or, with `lazy-apps`, the interpreter is ready).
    Ready {
        /// How long loading took, in milliseconds.
        load_ms: u32,
        /// `CPython 3.11.7, /srv/venv/bin/python`
        python: String,
    },
    /// Loading failed; the log has the traceback.
    Failed {
        /// The exit code this asks for.
        code: u8,
        /// One sentence.
        reason: String,
    },
}

/// What the master tells a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToWorker {
    /// Take no new connection, finish what is there, then exit.
    Drain {
        /// How long that may take, in milliseconds; then the master kills.
        mercy_ms: u32,
        /// Nobody will accept after this worker: take what waits in the listen queues first.
        last: bool,
        /// Others go on with the same sockets: connections that are kept can be handed over.
        heirs: bool,
    },
    /// Take no new connection until [`Resume`](Self::Resume) comes; requests in flight go on.
    Pause,
    /// Take new connections again.
    Resume,
    /// Log there from now on. One descriptor: the sink of the log.
    Log,
    /// Requests are past their deadline: say where they are, and tell their clients.
    Expire,
}

/// Why a worker asks to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Recycle {
    /// It has answered `max-requests`.
    MaxRequests = 1,
    /// Somebody sent it a SIGTERM or SIGHUP.
    Signal = 2,
    /// Its application or engine can't go on.
    Broken = 3,
}

/// What an application asks of its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wish {
    /// What a SIGHUP to the master does.
    Reload = 1,
    /// What a SIGQUIT to the master does.
    Stop = 2,
}

/// What a worker tells the master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromWorker {
    /// One of the applications that it has loaded itself (`lazy-apps`); before [`Up`](Self::Up).
    App(AppInfo),
    /// Sent on the worker's behalf by the process between it and the zygote, before it is adopted.
    Born {
        /// The worker's pid.
        pid: i32,
    },
    /// It accepts connections.
    Up,
    /// It would like to be replaced, and serves until it is told to drain.
    Recycle(Recycle),
    /// Its application asks for something.
    Asks(Wish),
    /// Its application sets deadlines of its own: somebody must watch them.
    Deadlines,
    /// It can't start (`lazy-apps`: the application does not load); it exits.
    Failed {
        /// The exit code this asks for.
        code: u8,
        /// One sentence.
        reason: String,
    },
}

impl Message for ToZygote {
    fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Hello { master, generation, reloaded } => {
                Out::new(b'H').u32(master as u32).u32(generation).u8(u8::from(reloaded)).done()
            }
            Self::Log => Out::new(b'L').done(),
            Self::Spawn { worker, slot, seat } => Out::new(b'S').u64(worker).u32(slot).u32(seat).done(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, mut rest) = In::new(bytes)?;
        let message = match tag {
            b'H' => Self::Hello { master: rest.u32()? as i32, generation: rest.u32()?, reloaded: rest.u8()? != 0 },
            b'L' => Self::Log,
            b'S' => Self::Spawn { worker: rest.u64()?, slot: rest.u32()?, seat: rest.u32()? },
            _ => return None,
        };
        rest.end(message)
    }
}

impl Message for FromZygote {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::App(app) => app.encode(),
            Self::Refused(reason) => Out::new(b'R').text(reason),
            Self::Asked(names) => Out::new(b'A').text(names),
            Self::Ready { load_ms, python } => Out::new(b'Y').u32(*load_ms).text(python),
            Self::Failed { code, reason } => Out::new(b'F').u8(*code).text(reason),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, mut rest) = In::new(bytes)?;
        match tag {
            b'a' => AppInfo::decode(rest).map(Self::App),
            b'R' => Some(Self::Refused(rest.text())),
            b'A' => Some(Self::Asked(rest.text())),
            b'Y' => Some(Self::Ready { load_ms: rest.u32()?, python: rest.text() }),
            b'F' => Some(Self::Failed { code: rest.u8()?, reason: rest.text() }),
            _ => None,
        }
    }
}

impl Message for ToWorker {
    fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Drain { mercy_ms, last, heirs } => {
                Out::new(b'D').u32(mercy_ms).u8(u8::from(last)).u8(u8::from(heirs)).done()
            }
            Self::Pause => Out::new(b'P').done(),
            Self::Resume => Out::new(b'R').done(),
            Self::Log => Out::new(b'L').done(),
            Self::Expire => Out::new(b'X').done(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, mut rest) = In::new(bytes)?;
        let message = match tag {
            b'D' => Self::Drain { mercy_ms: rest.u32()?, last: rest.u8()? != 0, heirs: rest.u8()? != 0 },
            b'P' => Self::Pause,
            b'R' => Self::Resume,
            b'L' => Self::Log,
            b'X' => Self::Expire,
            _ => return None,
        };
        rest.end(message)
    }
}

impl Message for FromWorker {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::App(app) => app.encode(),
            Self::Born { pid } => Out::new(b'B').u32(*pid as u32).done(),
            Self::Up => Out::new(b'U').done(),
            Self::Recycle(why) => Out::new(b'C').u8(*why as u8).done(),
            Self::Asks(wish) => Out::new(b'A').u8(*wish as u8).done(),
            Self::Deadlines => Out::new(b'D').done(),
            Self::Failed { code, reason } => Out::new(b'F').u8(*code).text(reason),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, mut rest) = In::new(bytes)?;
        let message = match tag {
            b'a' => return AppInfo::decode(rest).map(Self::App),
            b'B' => Self::Born { pid: rest.u32()? as i32 },
            b'U' => Self::Up,
            b'C' => Self::Recycle(match rest.u8()? {
                1 => Recycle::MaxRequests,
                2 => Recycle::Signal,
                3 => Recycle::Broken,
                _ => return None,
            }),
            b'A' => Self::Asks(match rest.u8()? {
                1 => Wish::Reload,
                2 => Wish::Stop,
                _ => return None,
            }),
            b'D' => Self::Deadlines,
            b'F' => return Some(Self::Failed { code: rest.u8()?, reason: rest.text() }),
            _ => return None,
        };
        rest.end(message)
    }
}

impl AppInfo {
    fn encode(&self) -> Vec<u8> {
        Out::new(b'a').u32(self.number).u32(self.startup_s).text(&self.point)
    }

    fn decode(mut rest: In<'_>) -> Option<Self> {
        Some(Self { number: rest.u32()?, startup_s: rest.u32()?, point: rest.text() })
    }
}

/// The most bytes of text that a message carries; a longer text is cut.
const TEXT_BYTES: usize = 16 * 1024;

struct Out(Vec<u8>);

impl Out {
    fn new(tag: u8) -> Self {
        Self(vec![tag])
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(mut self, text: &str) -> Vec<u8> {
        self.0.extend(&text.as_bytes()[..text.len().min(TEXT_BYTES)]);
        self.0
    }

    fn done(self) -> Vec<u8> {
        self.0
    }
}

struct In<'b>(&'b [u8]);

impl<'b> In<'b> {
    fn new(bytes: &'b [u8]) -> Option<(u8, Self)> {
        bytes.split_first().map(|(tag, rest)| (*tag, Self(rest)))
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take::<1>().map(|bytes| bytes[0])
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(self) -> String {
        String::from_utf8_lossy(self.0).into_owned()
    }

    fn end<M>(self, message: M) -> Option<M> {
        self.0.is_empty().then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back<M: Message + PartialEq + std::fmt::Debug>(messages: &[M]) {
        for message in messages {
            let bytes = message.encode();
            assert_eq!(M::decode(&bytes).as_ref(), Some(message));
            assert_eq!(M::decode(&[]), None);
            assert_eq!(M::decode(&[0]), None);
        }
    }

    #[test]
    fn messages_survive_the_way() {
        there_and_back(&[
            ToZygote::Hello { master: 12, generation: 3, reloaded: true },
            ToZygote::Log,
            ToZygote::Spawn { worker: u64::MAX, slot: 1, seat: 2 },
        ]);
        let app = AppInfo { number: 3, startup_s: 2, point: "/blog".into() };
        there_and_back(&[
            FromZygote::App(app.clone()),
            FromZygote::Refused("no".into()),
            FromZygote::Asked("a\nb".into()),
            FromZygote::Ready { load_ms: 5, python: "CPython".into() },
            FromZygote::Failed { code: 22, reason: String::new() },
        ]);
        there_and_back(&[
            ToWorker::Drain { mercy_ms: 60_000, last: true, heirs: true },
            ToWorker::Pause,
            ToWorker::Resume,
            ToWorker::Log,
            ToWorker::Expire,
        ]);
        there_and_back(&[
            FromWorker::App(app),
            FromWorker::Born { pid: 7 },
            FromWorker::Up,
            FromWorker::Recycle(Recycle::MaxRequests),
            FromWorker::Asks(Wish::Reload),
            FromWorker::Asks(Wish::Stop),
            FromWorker::Deadlines,
            FromWorker::Failed { code: 22, reason: "é".into() },
        ]);
    }

    #[test]
    fn a_cut_or_a_longer_message_is_none() {
        let whole = ToZygote::Spawn { worker: 1, slot: 2, seat: 3 }.encode();
        for end in 0..whole.len() {
            assert_eq!(ToZygote::decode(&whole[..end]), None);
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(ToZygote::decode(&longer), None);
    }
}
