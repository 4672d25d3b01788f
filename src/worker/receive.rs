//! Receiving the body of a request: in memory, into a file, or by the application itself.
//!
//! A body up to [`MEMORY_BYTES`] (or `post-buffering`, if that is more) is in memory before the application runs. A
//! larger one is written to a temporary file with `post-buffering`, and otherwise read by the application as it comes.

use std::io;

use ruwsgi_sys::clock;
use ruwsgi_wire::{Body, Refusal, Vars};

use crate::attend::{Fate, Progress, READ_BYTES, millis};
use crate::connection::{Coming, Connection, Flushed, State, Waiting};
use crate::driver::Driver;
use crate::engine::Engine;
use crate::input::{Framing, Input, MEMORY_BYTES, Stream};
use crate::spool::Spool;

/// How much one read takes at most while a larger body comes, in bytes.
const BODY_READ_BYTES: usize = 256 * 1024;

/// A request whose head is whole.
pub(crate) struct Begun {
    pub vars: Box<Vars>,
    /// The bytes of the head, at the start of the connection's input.
    pub head: usize,
    pub expects_continue: bool,
}

impl Engine<'_> {
    /// How large a body may be that is kept in memory, in bytes.
    fn memory_bytes(&self) -> usize {
        self.rules.post_buffering.unwrap_or(0).max(MEMORY_BYTES)
    }

    fn is_too_large(&self, bytes: u64) -> bool {
        self.rules.body_bytes.is_some_and(|limit| bytes > limit)
    }

    /// The head is whole: serves the request if its body is here too, and otherwise begins to receive it.
    pub(crate) fn begin_body(
        &self,
        driver: &mut impl Driver,
        connection: &mut Connection,
        begun: Begun,
        body: Body,
    ) -> Progress {
        let here = connection.input.len() - begun.head;
        let body = match body {
            Body::Empty => Coming::Length(0),
            Body::Length(length) if self.is_too_large(length) => {
                self.refuse(driver, connection, Refusal::BodyTooLarge);
                return Progress::On;
            }
            Body::Length(length) => match usize::try_from(length) {
                Ok(length) if length <= self.memory_bytes() || here >= length => Coming::Length(length),
                _ if self.rules.post_buffering.is_some() => {
                    match driver.read_disk(self, || Spool::new(Framing::Length(length), &[])) {
                        Ok(spool) => Coming::Spool(spool),
                        Err(error) => return self.cannot_spool(driver, connection, &error),
                    }
                }
                _ => return self.stream_length(driver, connection, begun, length),
            },
            Body::Framed(decoder) => Coming::Framed(decoder, Vec::new()),
        };
        if let Coming::Length(length) = body
            && here >= length
        {
            let input = Input::whole(std::mem::take(&mut connection.input), begun.head, begun.head + length);
            return driver.serve(self, connection, begun.vars, input);
        }
        if begun.expects_continue && here == 0 {
            connection.exchange.proceed(&mut connection.output);
        }
        connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
        connection.state = State::Body(Box::new(Waiting { vars: begun.vars, head: begun.head, body }));
        Progress::On
    }

    /// Looks at what has come of a body since.
    pub(crate) fn progress_body(&self, driver: &mut impl Driver, connection: &mut Connection) -> Progress {
        // A `100 Continue` that the client had no room for: the response begins behind it.
        if connection.unsent() > 0 {
            match connection.flush() {
                Flushed::All => {}
                Flushed::Gone => return Progress::Done(Fate::Close),
                Flushed::Some | Flushed::More => return Progress::Done(Fate::Wait),
            }
        }
        let State::Body(waiting) = &mut connection.state else { return Progress::On };
        let head = waiting.head;
        match &mut waiting.body {
            Coming::Length(length) => {
                let (here, length) = (connection.input.len() - head, *length);
                if here < length {
                    return Progress::More((length - here).clamp(READ_BYTES, BODY_READ_BYTES));
                }
                let input = Input::whole(std::mem::take(&mut connection.input), head, head + length);
                self.serve_waiting(driver, connection, input)
            }
            Coming::Framed(decoder, body) => {
                let step = match decoder.decode(&connection.input[head..], body) {
                    Ok(_) if self.is_too_large(body.len() as u64) => Err(Refusal::BodyTooLarge),
                    other => other,
                };
                let step = match step {
                    Ok(step) => step,
                    Err(refusal) => {
                        self.refuse(driver, connection, refusal);
                        return Progress::On;
                    }
                };
                connection.input.drain(head..head + step.consumed);
                if !step.done && body.len() <= self.memory_bytes() {
                    return Progress::More(BODY_READ_BYTES);
                }
                let body = std::mem::take(body);
                if !step.done {
                    return self.leave_memory(driver, connection, body);
                }
                // The head stays before it, and what came behind it follows.
                let mut bytes = std::mem::take(&mut connection.input);
                let end = head + body.len();
                bytes.splice(head..head, body);
                self.serve_waiting(driver, connection, Input::whole(bytes, head, end))
            }
            Coming::Spool(_) => self.progress_spool(driver, connection),
        }
    }

    /// A framed body has outgrown the memory: the rest goes to a file, or to the application as it comes.
    fn leave_memory(&self, driver: &mut impl Driver, connection: &mut Connection, bytes: Vec<u8>) -> Progress {
        let State::Body(waiting) = std::mem::replace(&mut connection.state, State::Head) else { return Progress::On };
        let Waiting { vars, head, body: Coming::Framed(decoder, _) } = *waiting else { return Progress::On };
        let framing = Framing::Framed(decoder);
        if self.rules.post_buffering.is_some() {
            return match driver.read_disk(self, || Spool::new(framing, &bytes)) {
                Ok(spool) => {
                    connection.state = State::Body(Box::new(Waiting { vars, head, body: Coming::Spool(spool) }));
                    Progress::On
                }
                Err(error) => self.cannot_spool(driver, connection, &error),
            };
        }
        connection.input.clear();
        let Some(stream) = self.stream(driver, connection, framing, bytes.len() as u64) else { return Progress::On };
        let end = bytes.len();
        driver.serve(self, connection, vars, Input::streamed(bytes, 0, end, stream))
    }

    fn progress_spool(&self, driver: &mut impl Driver, connection: &mut Connection) -> Progress {
        let State::Body(waiting) = &mut connection.state else { return Progress::On };
        let Waiting { head, body: Coming::Spool(spool), .. } = &mut **waiting else { return Progress::On };
        let came = &connection.input[*head..];
        if came.is_empty() {
            return Progress::More(BODY_READ_BYTES);
        }
        let head = *head;
        let step = match driver.read_disk(self, || spool.take(came)) {
            Ok(_) if self.is_too_large(spool.bytes()) => {
                self.refuse(driver, connection, Refusal::BodyTooLarge);
                return Progress::On;
            }
            Ok(Ok(step)) => step,
            Ok(Err(refusal)) => {
                self.refuse(driver, connection, refusal);
                return Progress::On;
            }
            Err(error) => return self.cannot_spool(driver, connection, &error),
        };
        connection.input.drain(head..head + step.consumed);
        if !step.done {
            return Progress::More(BODY_READ_BYTES);
        }
        let behind = connection.input.split_off(head);
        connection.input.clear();
        match std::mem::replace(&mut connection.state, State::Head) {
            State::Body(waiting) => match *waiting {
                Waiting { vars, body: Coming::Spool(spool), .. } => {
                    driver.serve(self, connection, vars, spool.into_input(behind))
                }
                _ => Progress::On,
            },
            _ => Progress::On,
        }
    }

    /// A body of known length above the engine's limit: the application runs now, and reads it as it comes.
    fn stream_length(
        &self,
        driver: &mut impl Driver,
        connection: &mut Connection,
        begun: Begun,
        length: u64,
    ) -> Progress {
        let Begun { vars, head, expects_continue } = begun;
        let here = connection.input.len() - head;
        let framing = Framing::Length(length - here as u64);
        let Some(mut stream) = self.stream(driver, connection, framing, here as u64) else { return Progress::On };
        if expects_continue && here == 0 {
            connection.exchange.proceed(&mut stream.proceed);
        }
        let bytes = std::mem::take(&mut connection.input);
        let end = bytes.len();
        driver.serve(self, connection, vars, Input::streamed(bytes, head, end, stream))
    }

    /// The rest of a body, `taken` bytes of which are here. `None`: refused, there is no descriptor left.
    fn stream(
        &self,
        driver: &mut impl Driver,
        connection: &mut Connection,
        framing: Framing,
        taken: u64,
    ) -> Option<Stream> {
        let Ok(fd) = connection.fd.try_clone() else {
            self.refuse(driver, connection, Refusal::Busy);
            return None;
        };
        let room = self.rules.body_bytes.map(|limit| limit.saturating_sub(taken));
        let (timeout, proceed, behind) = (self.rules.timeout, Vec::new(), Vec::new());
        Some(Stream { fd, framing, room, timeout, proceed, behind, failed: false })
    }

    fn serve_waiting(&self, driver: &mut impl Driver, connection: &mut Connection, input: Input) -> Progress {
        match std::mem::replace(&mut connection.state, State::Head) {
            State::Body(waiting) => driver.serve(self, connection, waiting.vars, input),
            _ => Progress::On,
        }
    }

    fn cannot_spool(&self, driver: &mut impl Driver, connection: &mut Connection, error: &io::Error) -> Progress {
        if self.spool_failures.count(driver.now().second()).is_some() {
            let folder = std::env::temp_dir();
            tracing::error!("post-buffering: a request body can't be written to {}: {error}", folder.display());
        }
        self.refuse(driver, connection, Refusal::Busy);
        Progress::On
    }
}
