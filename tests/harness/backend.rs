//! Backends that a test plays itself: each connection is given to a function, on a thread of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::PATIENCE;

/// A backend on a port of its own.
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Answers each connection with `play`, which gets its number, from 0. It ends with the test.
    pub fn new(play: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (count, play) = (connections.clone(), Arc::new(play));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), play) = (stream, play.clone()) else { return };
                let number = count.fetch_add(1, Ordering::SeqCst);
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                std::thread::spawn(move || play(number, &mut stream));
            }
        });
        Self { address, connections }
    }

    /// That says this to whatever comes, and closes.
    pub fn saying(answer: &'static [u8]) -> Self {
        Self::new(move |_, stream| {
            read_head(stream);
            let _ = stream.write_all(answer);
            // A close with something unread would be a reset, and take the answer with it.
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        })
    }

    /// So many connections came so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An address where nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Reads the head of an HTTP request, and what came behind it; what is no HTTP, up to the first pause.
pub fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut some) = (Vec::new(), [0; 4096]);
    while !all.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut some) {
            Ok(0) | Err(_) => break,
            Ok(got) => all.extend_from_slice(&some[..got]),
        }
        if all.first() == Some(&0) {
            // A packet of uwsgi comes at once.
            break;
        }
    }
    all
}
