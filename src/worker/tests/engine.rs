//! The engine with an application in Rust behind it: real sockets, no Python, no master.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::message::{FromWorker, Message, ToWorker};
use ruwsgi_contract::scoreboard::Scoreboard;
use ruwsgi_log::Log;
use ruwsgi_options::{Config, Directive, Origin};
use ruwsgi_sys::channel::{Channel, Received};
use ruwsgi_wire::Key;
use ruwsgi_wire::proxy::Proxied;
use ruwsgi_worker::{App, Gone, Language, Listener, Request, Response, Setup, run};

/// Answers with the target and the body. `/slow...` takes 10 ms, `/second` one, `/brief` 0.05 ms, `/large` is 3 MB, `/fail` fails.
/// `/file...` comes from a file, see [`from_file`].
struct Echo;

impl Language for Echo {
    type App = Self;

    fn app(&self, _core: usize) -> Self {
        Self
    }
}

impl App for Echo {
    fn serve(&mut self, request: &mut Request<'_>, response: &mut Response<'_>) {
        let path = request.vars.key(Key::PathInfo).unwrap_or_default().to_vec();
        while !request.input.is_complete() {
            let want = request.input.buffered().len() + 1;
            if request.input.fill(want).is_err() {
                return response.fail();
            }
        }
        if path == b"/fail" {
            return response.fail();
        }
        if path.starts_with(b"/file") {
            let _ = from_file(std::str::from_utf8(&path).unwrap(), response);
            return;
        }
        let wait_us = match &path[..] {
            b"/second" => 1_000_000,
            b"/brief" => 50,
            path if path.starts_with(b"/slow") => 10_000,
            _ => 0,
        };
        if wait_us > 0 {
            let until = Instant::now() + Duration::from_micros(wait_us);
            while Instant::now() < until {
                std::thread::yield_now();
            }
        }
        let mut body = path.clone();
        body.extend_from_slice(request.input.buffered());
        if path == b"/large" {
            body.resize(3_000_000, b'x');
        }
        if response.begin(b"200 OK").is_err() {
            return response.fail();
        }
        response.length(body.len() as u64);
        let mut rest = &body[..];
        while !rest.is_empty() {
            match response.write(rest) {
                Ok(taken) => rest = &rest[taken..],
                Err(_) => return,
            }
            if !rest.is_empty() && response.wait_for_room().is_err() {
                return;
            }
        }
    }

    fn rest(&mut self) {}

    fn resume(&mut self) {}
}

/// The bytes of the file that [`from_file`] sends.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 7 % 251) as u8).collect()
}

/// `/file/HOW/SIZE`: `<`, then SIZE bytes of a file, then `>`. `chunked`: no length is told; `short`: the file is shorter
/// than said; `given`: `<`, then the file from its second byte on, handed over.
fn from_file(path: &str, response: &mut Response<'_>) -> Result<(), Gone> {
    let mut words = path.split('/').skip(2);
    let (how, size) = (words.next().unwrap(), words.next().unwrap().parse::<usize>().unwrap());
    let file = tempfile();
    (&file).write_all(&content(size)).unwrap();
    response.begin(b"200 OK").unwrap();
    match how {
        "chunked" => {}
        "given" => response.length(size as u64),
        _ => response.length(size as u64 + 2),
    }
    response.write(b"<")?;
    if how == "given" {
        return response.hand_over(file.into(), 1, size as u64 - 1);
    }
    let end = if how == "short" { size as u64 + 1 } else { size as u64 };
    let mut at = 0;
    while at < end {
        at += response.send_file(file.as_fd(), at, end - at)?;
        if at < end {
            response.wait_for_room()?;
        }
    }
    response.write(b">")?;
    Ok(())
}

fn tempfile() -> std::fs::File {
    let file = ruwsgi_sys::memory::sealed_file(b"").unwrap();
    std::fs::File::from(file)
}

/// Workers of one instance in this process, until they are dropped.
struct Worker {
    address: SocketAddr,
    masters: Vec<Channel>,
    scoreboard: Arc<Scoreboard>,
    handover: Arc<Handover>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Worker {
    fn start(options: &[(&str, &str)]) -> Self {
        Self::start_several(1, options)
    }

    fn start_several(count: usize, options: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let directives: Vec<_> = options
            .iter()
            .chain(&[("disable-logging", "true")])
            .map(|(name, value)| Directive { name: (*name).into(), value: Some((*value).into()), origin: Origin::Argv })
            .collect();
        let config = Arc::new(Config::interpret(directives).unwrap().0);
        let scoreboard = Arc::new(Scoreboard::create(count, config.workers.threads as usize).unwrap());
        let handover = Arc::new(Handover::create().unwrap());
        let (mut masters, mut threads) = (Vec::new(), Vec::new());
        for seat in 0..count {
            let (master, channel) = Channel::pair().unwrap();
            let (config, scoreboard, handover) = (config.clone(), scoreboard.clone(), handover.clone());
            let listeners = vec![Listener {
                proxied: Proxied::Never,
                is_mapped: false,
                identity: ruwsgi_sys::listen::identity(listener.as_fd()).unwrap(),
                fd: OwnedFd::from(listener.try_clone().unwrap()),
                exchange: ruwsgi_wire::http::exchange,
                port: address.port().to_string(),
            }];
            threads.push(std::thread::spawn(move || {
                let (config, handover, scoreboard) = (&*config, &*handover, &*scoreboard);
                let (slot, log) = (seat as u32 + 1, Log::stderr().unwrap());
                let (requests, stacks) = (log.clone(), &drop);
                let setup =
                    Setup { config, listeners, channel, handover, scoreboard, seat, slot, requests, log, stacks };
                run(setup, &Echo).unwrap();
            }));
            let Received::Message(up) = master.receive(true).unwrap() else { panic!("the worker said nothing") };
            assert_eq!(FromWorker::decode(&up.bytes), Some(FromWorker::Up));
            masters.push(master);
        }
        Self { address, masters, scoreboard, handover, threads }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn drain(&self) {
        for master in &self.masters {
            let order = ToWorker::Drain { mercy_ms: 60_000, last: false, heirs: false };
            master.send(&order.encode(), &[]).unwrap();
        }
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.drain();
            self.join();
        }
    }
}

/// Reads one response; its status line and its body.
fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (String, Vec<u8>) {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
            let length: usize = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned))
                .map_or(0, |length| length.parse().unwrap());
            while buffer.len() < end + 4 + length {
                assert!(read(stream, buffer) > 0, "the body was cut");
            }
            let body = buffer[end + 4..end + 4 + length].to_vec();
            buffer.drain(..end + 4 + length);
            return (head.lines().next().unwrap().to_owned(), body);
        }
        assert!(read(stream, buffer) > 0, "no answer: {:?}", String::from_utf8_lossy(buffer));
    }
}

fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> usize {
    let mut part = vec![0; 65_536];
    let got = stream.read(&mut part).unwrap();
    buffer.extend_from_slice(&part[..got]);
    got
}

const GET: &[u8] = b"GET /hi HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn a_request_is_answered_however_it_is_cut() {
    let worker = Worker::start(&[]);
    let mut stream = worker.connect();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    let post = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    for cut in 1..post.len() {
        stream.write_all(&post[..cut]).unwrap();
        stream.write_all(&post[cut..]).unwrap();
        assert_eq!(answer(&mut stream, &mut buffer), ("HTTP/1.1 200 OK".into(), b"/bhello".to_vec()));
    }
}

#[test]
fn a_request_before_a_half_close_is_answered() {
    let worker = Worker::start(&[]);
    for _ in 0..50 {
        let mut stream = worker.connect();
        stream.write_all(&GET.repeat(2)).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut buffer = Vec::new();
        for _ in 0..2 {
            assert_eq!(answer(&mut stream, &mut buffer).1, b"/hi");
        }
        assert_eq!(read(&mut stream, &mut buffer), 0);
    }
}

#[test]
fn a_hundred_pipelined_requests_are_answered_in_order() {
    let worker = Worker::start(&[]);
    let mut stream = worker.connect();
    let mut all = Vec::new();
    for number in 0..100 {
        write!(all, "GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    stream.write_all(&all).unwrap();
    let mut buffer = Vec::new();
    for number in 0..100 {
        assert_eq!(answer(&mut stream, &mut buffer).1, format!("/{number}").into_bytes());
    }
}

#[test]
fn a_slow_reader_gets_all_of_a_large_response_and_holds_up_nobody() {
    let worker = Worker::start(&[]);
    let mut slow = worker.connect();
    slow.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut fast = worker.connect();
    fast.write_all(GET).unwrap();
    assert_eq!(answer(&mut fast, &mut Vec::new()).1, b"/hi");
    assert_eq!(answer(&mut slow, &mut Vec::new()).1.len(), 3_000_000);
}

#[test]
fn chunked_and_large_bodies_arrive_whole() {
    let worker = Worker::start(&[]);
    let mut stream = worker.connect();
    let mut buffer = Vec::new();
    stream.write_all(b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap();
    stream.write_all(b"2\r\nde\r\n0\r\n\r\n").unwrap();
    stream.write_all(GET).unwrap();
    assert_eq!(answer(&mut stream, &mut buffer).1, b"/cabcde");
    assert_eq!(answer(&mut stream, &mut buffer).1, b"/hi");
    let answers = post_twice(&worker, &vec![b'y'; 5_000_000]);
    assert_eq!((answers[0].len(), answers[1].len()), (5_000_002, 5_000_002));
    assert_eq!(answers[2], b"/hi");
}

/// Sends `body` with a length and in chunks, then one more request; the answers.
fn post_twice(worker: &Worker, body: &[u8]) -> [Vec<u8>; 3] {
    let mut stream = worker.connect();
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            write!(writer, "POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            writer.write_all(body).unwrap();
            writer.write_all(b"POST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            for chunk in body.chunks(100_000) {
                write!(writer, "{:x}\r\n", chunk.len()).unwrap();
                writer.write_all(chunk).unwrap();
                writer.write_all(b"\r\n").unwrap();
            }
            writer.write_all(b"0\r\n\r\n").unwrap();
            writer.write_all(GET).unwrap();
        });
        let mut buffer = Vec::new();
        [(); 3].map(|()| answer(&mut stream, &mut buffer).1)
    })
}

#[test]
fn with_post_buffering_a_large_body_waits_in_a_file() {
    let worker = Worker::start(&[("post-buffering", "8192")]);
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let answers = post_twice(&worker, &body);
    assert!(answers[0] == [b"/c", &body[..]].concat() && answers[1] == [b"/d", &body[..]].concat());
    assert_eq!(answers[2], b"/hi");
}

#[test]
fn with_post_buffering_a_slow_upload_costs_no_core() {
    let worker = Worker::start(&[("post-buffering", "1")]);
    let mut slow = worker.connect();
    slow.write_all(b"POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\nabc").unwrap();
    let mut fast = worker.connect();
    fast.write_all(GET).unwrap();
    assert_eq!(answer(&mut fast, &mut Vec::new()).1, b"/hi");
}

#[test]
fn a_body_above_the_limit_is_refused() {
    let worker = Worker::start(&[("limit-post", "10")]);
    let heads: [&[u8]; 2] = [
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n",
    ];
    for head in heads {
        let mut stream = worker.connect();
        stream.write_all(head).unwrap();
        let mut buffer = Vec::new();
        assert_eq!(answer(&mut stream, &mut buffer).0, "HTTP/1.1 413 Content Too Large");
        assert_eq!(read(&mut stream, &mut buffer), 0);
    }
    let mut stream = worker.connect();
    stream.write_all(b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n1234567890").unwrap();
    assert_eq!(answer(&mut stream, &mut Vec::new()).1, b"/b1234567890");
}

#[test]
fn slow_heads_and_bodies_cost_no_core() {
    let worker = Worker::start(&[]);
    let halves: Vec<_> = (0..50)
        .map(|index| {
            let mut stream = worker.connect();
            let half: &[u8] = if index % 2 == 0 {
                b"GET / HTTP/1.1\r\nHo"
            } else {
                b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
            };
            stream.write_all(half).unwrap();
            stream
        })
        .collect();
    let mut stream = worker.connect();
    let mut buffer = Vec::new();
    for _ in 0..100 {
        stream.write_all(GET).unwrap();
        assert_eq!(answer(&mut stream, &mut buffer).1, b"/hi");
    }
    drop(halves);
}

#[test]
fn a_head_that_takes_too_long_is_answered_408() {
    let worker = Worker::start(&[("socket-timeout", "1")]);
    let mut stream = worker.connect();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
    let mut buffer = Vec::new();
    assert_eq!(answer(&mut stream, &mut buffer).0, "HTTP/1.1 408 Request Timeout");
    assert_eq!(read(&mut stream, &mut buffer), 0);
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_tells_idle_clients() {
    let mut worker = Worker::start(&[]);
    let mut idle = worker.connect();
    idle.write_all(GET).unwrap();
    let mut buffer = Vec::new();
    assert_eq!(answer(&mut idle, &mut buffer).1, b"/hi");
    let mut half = worker.connect();
    half.write_all(b"GET /half HTTP/1.1\r\nHo").unwrap();
    // The half head must be there before the order: an answered request behind it says so.
    idle.write_all(GET).unwrap();
    assert_eq!(answer(&mut idle, &mut buffer).1, b"/hi");
    worker.drain();
    assert_eq!(read(&mut idle, &mut buffer), 0);
    drop(idle);
    half.write_all(b"st: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut half, &mut buffer).1, b"/half");
    assert_eq!(read(&mut half, &mut buffer), 0);
    drop(half);
    worker.join();
}

#[test]
fn a_failed_request_is_a_500_and_harms_no_other() {
    let worker = Worker::start(&[]);
    let mut stream = worker.connect();
    stream.write_all(b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(answer(&mut stream, &mut Vec::new()).0, "HTTP/1.1 500 Internal Server Error");
    let mut stream = worker.connect();
    stream.write_all(GET).unwrap();
    assert_eq!(answer(&mut stream, &mut Vec::new()).1, b"/hi");
}

/// Clients that pipeline, cut and half-close as chance has it; every request gets its own answer.
#[test]
fn nothing_is_lost_or_mixed_up_under_stress() {
    for (workers, threads) in [(1, "1"), (1, "4"), (4, "1"), (3, "4")] {
        let worker = Worker::start_several(workers, &[("threads", threads)]);
        std::thread::scope(|scope| {
            for client in 0..24_u64 {
                let worker = &worker;
                scope.spawn(move || stress(worker, client));
            }
        });
        let mut worker = worker;
        worker.drain();
        worker.join();
        assert_eq!((worker.handover.under_way(), worker.handover.oldest_ms()), (0, None));
    }
}

fn stress(worker: &Worker, client: u64) {
    let mut state = (client + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut chance = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    for round in 0..25 {
        let mut stream = worker.connect();
        stream.set_nodelay(true).unwrap();
        let mut buffer = Vec::new();
        for turn in 0..chance(6) + 1 {
            let count = chance(4) + 1;
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for number in 0..count {
                let slow = if chance(20) == 0 { "slow" } else { "" };
                let path = format!("/{slow}{client}-{round}-{turn}-{number}");
                let body = "b".repeat(chance(3) as usize * 700);
                write!(bytes, "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len())
                    .unwrap();
                expected.push(path + &body);
            }
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let part = (chance(900) as usize + 1).min(rest.len());
                stream.write_all(&rest[..part]).unwrap();
                rest = &rest[part..];
            }
            let last = chance(8) == 0;
            if last {
                stream.shutdown(Shutdown::Write).unwrap();
            }
            for body in expected {
                assert_eq!(answer(&mut stream, &mut buffer), ("HTTP/1.1 200 OK".into(), body.into_bytes()));
            }
            if last {
                assert_eq!(read(&mut stream, &mut buffer), 0);
                break;
            }
        }
    }
}

#[test]
fn a_busy_worker_gives_its_requests_away() {
    let worker = Worker::start_several(2, &[]);
    let mut streams: Vec<_> = (0..12).map(|_| worker.connect()).collect();
    for stream in &mut streams {
        stream.write_all(GET).unwrap();
        assert_eq!(answer(stream, &mut Vec::new()).1, b"/hi");
    }
    let mut busy = worker.connect();
    busy.write_all(b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let began = Instant::now();
    for stream in &mut streams {
        stream.write_all(GET).unwrap();
        assert_eq!(answer(stream, &mut Vec::new()).1, b"/hi");
    }
    assert!(began.elapsed() < Duration::from_millis(700), "{:?}", began.elapsed());
    assert_eq!(answer(&mut busy, &mut Vec::new()).1, b"/second");
}

#[test]
fn clients_that_reset_while_they_wait_harm_nobody() {
    for workers in [1, 2] {
        let worker = Worker::start_several(workers, &[]);
        let mut busy: Vec<_> = (0..workers).map(|_| worker.connect()).collect();
        for stream in &mut busy {
            stream.write_all(b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        }
        for number in 0..30 {
            let mut stream = worker.connect();
            stream.write_all(if number % 3 == 0 { &GET[..20] } else { GET }).unwrap();
            // Dropped with an answer or an end unread, or reset at once.
            ruwsgi_sys::stream::reset_on_close(stream.as_fd());
        }
        let mut patient = worker.connect();
        patient.write_all(GET).unwrap();
        assert_eq!(answer(&mut patient, &mut Vec::new()).1, b"/hi");
        for stream in &mut busy {
            assert_eq!(answer(stream, &mut Vec::new()).1, b"/second");
        }
    }
}

#[test]
fn a_client_that_only_sends_and_never_reads_is_given_up() {
    let worker = Worker::start(&[("socket-timeout", "1")]);
    let mut greedy = worker.connect();
    greedy.write_all(b"GET /file/given/30000000 HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (began, mut next) = (Instant::now(), Instant::now());
    loop {
        assert!(began.elapsed() < Duration::from_secs(8), "it is still connected");
        if Instant::now() < next {
            std::thread::yield_now();
            continue;
        }
        next += Duration::from_millis(50);
        if greedy.write_all(b"G").is_err() {
            break;
        }
    }
    assert!(began.elapsed() > Duration::from_millis(900), "it was closed after {:?}", began.elapsed());
}

/// Raises it whether the test fails or not.
struct Ends<'e>(&'e AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks and reads without a pause until the worker closes, or it is over.
fn flood(stream: &TcpStream, over: &AtomicBool) {
    let requests = b"GET /brief HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    std::thread::scope(|scope| {
        scope.spawn(|| while (&*stream).write_all(&requests).is_ok() {});
        let mut part = vec![0; 1 << 20];
        while !over.load(Ordering::Relaxed) && matches!((&*stream).read(&mut part), Ok(1..)) {}
        let _ = stream.shutdown(Shutdown::Both);
    });
}

#[test]
fn a_flood_of_pipelined_requests_holds_up_nobody() {
    let mut worker = Worker::start(&[]);
    let (stream, over) = (worker.connect(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let ends = Ends(&over);
        let flood = scope.spawn(|| flood(&stream, &over));
        let (mut quick, served) = (worker.connect(), || worker.scoreboard.seat(0).requests());
        while served() < 1000 {
            std::thread::yield_now();
        }
        let before = served();
        for _ in 0..50 {
            quick.write_all(GET).unwrap();
            assert_eq!(answer(&mut quick, &mut Vec::new()).1, b"/hi");
        }
        // It has 16 turns, and the same again where epoll tells of it; the rest is time that the quick one needs to ask.
        let meanwhile = served() - before;
        assert!(meanwhile < 50 * 50, "{meanwhile} requests for 50 of another client");
        worker.drain();
        // It is the worker that ends it.
        flood.join().unwrap();
        drop(ends);
    });
    worker.join();
}

#[test]
fn a_piece_of_a_file_stands_between_pieces_of_memory() {
    let worker = Worker::start(&[]);
    for size in [1, 100, 40_000, 5_000_000] {
        let expected = [b"<", &content(size)[..], b">"].concat();
        let mut stream = worker.connect();
        // Twice on one connection: the framing is right.
        for _ in 0..2 {
            write!(stream, "GET /file/lent/{size} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            assert!(answer(&mut stream, &mut Vec::new()).1 == expected, "{size}");
        }
        write!(stream, "GET /file/chunked/{size} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(unchunked(&all) == expected, "{size} in chunks");
        let mut stream = worker.connect();
        write!(stream, "HEAD /file/lent/{size} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.write_all(GET).unwrap();
        let mut buffer = Vec::new();
        while !buffer.ends_with(b"/hi") {
            assert!(read(&mut stream, &mut buffer) > 0);
        }
        let text = String::from_utf8(buffer).unwrap();
        assert!(text.contains(&format!("Content-Length: {}\r\n", size + 2)) && !text.contains('<'), "{text}");
    }
}

/// The body of a response in chunks.
fn unchunked(all: &[u8]) -> Vec<u8> {
    let line = |from: usize| from + all[from..].windows(2).position(|two| two == b"\r\n").unwrap();
    let mut at = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let mut body = Vec::new();
    loop {
        let end = line(at);
        let size = usize::from_str_radix(std::str::from_utf8(&all[at..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&all[end + 2..end + 2 + size]);
        at = end + 2 + size + 2;
    }
}

#[test]
fn a_file_that_is_shorter_than_said_cuts_the_response() {
    let worker = Worker::start(&[]);
    for size in [100, 100_000] {
        let mut stream = worker.connect();
        write!(stream, "GET /file/short/{size} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(!all.ends_with(b">"), "{size}");
    }
    let mut stream = worker.connect();
    stream.write_all(GET).unwrap();
    assert_eq!(answer(&mut stream, &mut Vec::new()).1, b"/hi");
}

#[test]
fn a_file_that_is_handed_over_takes_no_core() {
    let worker = Worker::start(&[]);
    let size = 30_000_000;
    let expected = [b"<", &content(size)[1..]].concat();
    let mut slow: Vec<_> = (0..5).map(|_| worker.connect()).collect();
    for stream in &mut slow {
        write!(stream, "GET /file/given/{size} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    }
    // Each of them has begun, so the only core has been in their requests and is out again.
    for stream in &mut slow {
        stream.peek(&mut [0]).unwrap();
    }
    let mut quick = worker.connect();
    for _ in 0..100 {
        quick.write_all(GET).unwrap();
        assert_eq!(answer(&mut quick, &mut Vec::new()).1, b"/hi");
    }
    for mut stream in slow {
        stream.write_all(GET).unwrap();
        let mut buffer = Vec::new();
        assert!(answer(&mut stream, &mut buffer).1 == expected);
        assert_eq!(answer(&mut stream, &mut buffer).1, b"/hi");
    }
}
