//! One request, top to bottom: the only place that knows the order of things.

use std::borrow::Cow;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use ruwsgi_contract::message::Recycle;
use ruwsgi_contract::scoreboard::CoreSeat;
use ruwsgi_sys::clock;
use ruwsgi_sys::stream::Peer;
use ruwsgi_wire::proxy::Origin;
use ruwsgi_wire::{Key, Next, Refusal, Vars};

use crate::app::{App, Request};
use crate::connection::{Connection, Remote, Then};
use crate::engine::{Core, Engine, lock};
use crate::input::Input;
use crate::log::{Facts, RequestLog};
use crate::response::{End, Finished, Response, Wire};
use crate::watch::{Late, Watch, describe};
use ruwsgi_wire::trust;

/// So many names of dropped fields are told: clients choose them, and the log is not theirs.
const DROPPED_TOLD: usize = 32;

impl Engine<'_> {
    /// Serves one request. `None`: the response was cut, and the client must be able to tell.
    pub(crate) fn turn<A: App>(
        &self,
        core: &mut Core<'_, A>,
        connection: &mut Connection,
        vars: &mut Vars,
        input: Input,
    ) -> Option<Then> {
        let log = self.rules.log.as_ref();
        let measured = log.is_some() || self.seat.is_measured();
        let (from_us, began_us) =
            if measured { (clock::monotonic_us(), log.map_or(0, RequestLog::time_us)) } else { (0, 0) };
        connection.requests += 1;
        self.tell_dropped(vars);
        self.complete(vars, connection);
        core.app.mount(vars);
        let scheme = self.scheme(vars, connection);
        let close = self.wants_to_close(connection);

        if connection.output.capacity() == 0 {
            connection.output = core.pool.pop().unwrap_or_default();
        }
        let late =
            Late { right: &self.rights[core.number], socket: connection.fd.as_fd(), bytes: connection.exchange.late() };
        let (fd, tcp) = (connection.fd.as_fd(), matches!(connection.peer, Peer::Inet(_)));
        let wire = Wire { fd, exchange: connection.exchange.as_mut(), out: &mut connection.output, tcp };
        let leaves = || self.leaves();
        let mut response = Response::new(wire, core.now.date(), close, self.rules.patience);
        response.set_collect(self.rules.collect.as_ref());
        response.set_headers(self.rules.headers.as_ref());
        let mut request = Request { vars, input, scheme };
        response.set_worker(self.offload.is_there(), &leaves);
        let by_file = self.serve_file(&mut core.app, core.seat, (request.vars, core.now.second()), &mut response);
        if !by_file {
            let deadline_ms = self.announce(core, request.vars);
            response.set_watch(Watch::new(core.seat, deadline_ms, late));
            core.app.serve(&mut request, &mut response);
        }
        let Finished { end, close, sent_at, sent, file, logvars, collected } = response.finish();
        if !by_file {
            core.app.after();
        }
        let read_errors = u32::from(request.input.is_broken());
        let rest = request.input.finish();
        core.seat.leave();
        connection.output_at = sent_at;
        connection.file = file;

        let (requests, total) = self.seat.count_request(log.is_some());
        if by_file {
            self.seat.count_static();
        }
        core.seat.count_odd(by_file, sent.write_errors, read_errors);
        let micros = if measured { clock::monotonic_us().saturating_sub(from_us) } else { 0 };
        if measured {
            self.seat.count_work(micros, sent.head_bytes + sent.body_bytes);
        }
        if let Some(log) = log {
            let facts = Facts {
                vars,
                sent: &sent,
                logvars: &logvars,
                collected: &collected,
                address: self.address(log, vars, connection),
                modifiers: connection.exchange.modifiers(),
                pid: self.pid,
                slot: self.slot,
                core: core.number,
                requests: (!by_file).then(|| requests.saturating_sub(self.seat.static_requests())),
                total,
                began_us,
                micros,
                read_errors,
            };
            if log.write(&mut core.line, &facts, &mut core.times, core.now.ctime()) {
                self.requests.push(&core.line);
            }
        }
        // Its line has the time of its beginning.
        core.now.look();
        self.tell_write_errors(sent.write_errors, vars);
        self.recycle_after(requests);
        let unasked = close || rest.as_ref().is_some_and(|rest| !rest.is_empty());
        let is_read = rest.is_some();
        connection.input = rest.unwrap_or_default();
        match end {
            End::Cut => None,
            // The client is still sending a body that nobody reads, or did not ask for the end: it is read on.
            End::Next(next) if !is_read || (next == Next::Close && unasked) => Some(Then::Linger),
            End::Next(Next::Close) => Some(Then::Close),
            End::Next(Next::KeepAlive) => Some(Then::Next),
        }
    }

    /// Whether the next response is to be the last one, for reasons of the server. `http-keepalive` is about HTTP.
    fn wants_to_close(&self, connection: &Connection) -> bool {
        let one_each = self.rules.keepalive.is_none() && !connection.exchange.is_fronted();
        one_each || self.leaves()
    }

    /// The worker goes and nobody goes on with its connections, or the whole instance does soon.
    fn leaves(&self) -> bool {
        self.is_leaving() || self.seat.is_closing()
    }

    fn recycle_after(&self, requests: u64) {
        let limit = self.rules.max_requests;
        if limit > 0 && requests >= limit && clock::coarse_ms() >= self.rules.recycle_from_ms {
            self.ask_to_be_replaced(Recycle::MaxRequests);
        }
    }

    /// Answers a request with a file, if it is for one. A disk may take a while: others run meanwhile.
    fn serve_file<A: App>(
        &self,
        app: &mut A,
        seat: CoreSeat<'_>,
        (vars, now): (&Vars, i64),
        response: &mut Response<'_>,
    ) -> bool {
        let Some(files) = self.static_files.as_ref().filter(|files| files.covers(vars)) else { return false };
        if self.seat.is_measured() {
            describe(seat, vars, clock::coarse_ms(), 0);
        }
        self.read_disk(app, seat, || files.answer(vars, now, response))
    }

    /// Variables that the connection knows, and the request head does not. PEP 3333 wants a name and a port in any case;
    /// about its client, a front end has said all that there is to say.
    fn complete(&self, vars: &mut Vars, connection: &mut Connection) {
        if vars.key(Key::ServerName).is_none() {
            vars.set(Key::ServerName, self.rules.host.as_bytes());
        }
        if !connection.exchange.is_fronted()
            && let Some(Origin { server, .. }) = connection.exchange.origin()
        {
            let (name, address) = (vars.add(b"SERVER_ADDR"), vars.add(server.ip().to_string().as_bytes()));
            vars.push_cgi(name, address);
            vars.set(Key::ServerPort, itoa::Buffer::new().format(server.port()).as_bytes());
        }
        if vars.key(Key::ServerPort).is_none()
            && let Some(listener) = self.listeners.get(connection.door)
        {
            vars.set(Key::ServerPort, listener.port.as_bytes());
        }
        if connection.exchange.is_fronted() {
            return;
        }
        match connection.peer {
            Peer::Inet(address) => {
                // Most connections serve more than one request.
                let remote = connection.remote.get_or_insert_with(|| Remote::new(address));
                vars.set(Key::RemoteAddr, remote.address());
                vars.set(Key::RemotePort, remote.port());
            }
            Peer::Local => vars.set(Key::RemoteAddr, b""),
        }
    }

    /// `https` where the variables of the front end say so (no client can set them), or a proxy that is trusted does.
    fn scheme(&self, vars: &Vars, connection: &Connection) -> &'static str {
        let https = |key| vars.key(key).is_some_and(|value| first(value).eq_ignore_ascii_case(b"https"));
        let on = |key| vars.key(key).is_some_and(|value| value.eq_ignore_ascii_case(b"on") || value == b"1");
        let forwarded = vars.key(Key::ForwardedProto).is_some() || vars.key(Key::ForwardedSsl).is_some();
        let is_https = if vars.key(Key::UwsgiScheme).is_some() {
            https(Key::UwsgiScheme)
        } else if forwarded && self.trusts(&connection.peer, "X-Forwarded-Proto") {
            https(Key::ForwardedProto) || on(Key::ForwardedSsl)
        } else if let Some(forwarded) =
            vars.key(Key::Forwarded).filter(|_| self.rules.trust.names(connection.peer.ip()))
        {
            trust::forwarded_https(forwarded)
        } else {
            on(Key::Https) || https(Key::RequestScheme)
        };
        if is_https { "https" } else { "http" }
    }

    /// Whether what this peer says about its client's connection is believed; the first time that it is not, that is
    /// told.
    fn trusts(&self, peer: &Peer, field: &str) -> bool {
        let trusted = self.rules.trust.covers(peer.ip());
        if !trusted {
            self.tell_untrusted(peer, field);
        }
        trusted
    }

    /// The address of the client for the log: what a proxy says, if that is wanted and the proxy is trusted.
    fn address<'v>(&self, log: &RequestLog, vars: &'v Vars, connection: &Connection) -> Cow<'v, [u8]> {
        let said = log.forwarded(vars).filter(|_| self.trusts(&connection.peer, "X-Forwarded-For"));
        said.unwrap_or_else(|| vars.key(Key::RemoteAddr).unwrap_or_default().into())
    }

    /// Tells the scoreboard that a request goes into the application, and by when it must be out.
    fn announce<A: App>(&self, core: &Core<'_, A>, vars: &Vars) -> u64 {
        let now_ms = core.now.ms();
        let deadline_ms = if self.rules.harakiri_ms > 0 { now_ms + self.rules.harakiri_ms } else { 0 };
        // Always: a worker that dies in a request can't say any more which one it was.
        describe(core.seat, vars, now_ms, deadline_ms);
        core.seat.enter();
        deadline_ms
    }

    /// A refused request leaves a line, at most one a second: a flood of them is not to become a flood of lines.
    /// `answered`: the client was told, too.
    pub(crate) fn tell_refusal(&self, second: i64, connection: &Connection, refusal: Refusal, answered: bool) {
        let Some(before) = self.refusals.count(second) else { return };
        let hint = match refusal {
            Refusal::HeadTooLarge | Refusal::TargetTooLong => {
                format!(" (buffer-size = {})", self.rules.limits.head_bytes)
            }
            Refusal::Crowded => format!(" (request-queue = {})", self.rules.queue_limit),
            Refusal::Stale => format!(" (request-queue-timeout = {})", self.rules.queue_timeout_ms / 1000),
            Refusal::Modifier(number) => format!(" (modifier1 {number})"),
            Refusal::Role(number) => format!(" (role {number})"),
            _ => String::new(),
        };
        let fate =
            if answered { format!("answered {}", refusal.status()) } else { "closed without an answer".to_owned() };
        let more = if before > 0 { format!(" ({before} more were refused before)") } else { String::new() };
        let from = connection.peer.ip().map_or_else(|| "a local client".to_owned(), |ip| ip.to_string());
        tracing::warn!("request from {from} {fate}: {}{hint}{more}", refusal.reason());
    }

    /// The first time that a field of a name is dropped, one line says so and how to get it.
    fn tell_dropped(&self, vars: &Vars) {
        for name in vars.dropped() {
            let mut told = lock(&self.dropped_told);
            if told.len() < DROPPED_TOLD && told.insert(name.to_vec()) {
                tracing::warn!(
                    "header \"{}\" is dropped because of its underscore: underscore-headers = true lets it pass (told once)",
                    name.escape_ascii()
                );
            }
        }
    }

    /// What `ignore-write-errors = false` wants to know, with what uWSGI tells of the request.
    fn tell_write_errors(&self, errors: u32, vars: &Vars) {
        if errors == 0 || !self.rules.tells_write_errors {
            return;
        }
        let [method, uri, address] = [Key::RequestMethod, Key::RequestUri, Key::RemoteAddr]
            .map(|key| vars.key(key).unwrap_or_default().escape_ascii());
        tracing::warn!(
            "write error: the client is gone, or took nothing for too long, during {method} {uri} ({address})"
        );
    }

    fn tell_untrusted(&self, peer: &Peer, field: &str) {
        if !self.untrusted_told.swap(true, Ordering::Relaxed) {
            let from = peer.ip().map_or_else(String::new, |ip| ip.to_string());
            tracing::warn!("{field} from {from} is ignored: trusted-proxies = {from} would believe it (told once)");
        }
    }
}

/// The first of a list that proxies have made longer.
fn first(value: &[u8]) -> &[u8] {
    value.split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii()
}
