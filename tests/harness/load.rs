//! Clients that ask without a pause and accept no loss.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Client, Server};

/// Requests without a pause on kept and on new connections while `during` runs. None may be lost.
pub fn under_load(server: &Server, during: impl FnOnce()) -> usize {
    let (address, over, answered) = (server.address(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (over, answered) = (&over, &answered);
            scope.spawn(move || {
                let mut client = None;
                while !over.load(Ordering::Relaxed) {
                    let fresh = client.is_none();
                    let mut connection = client.take().unwrap_or_else(|| Client::tcp(address));
                    let keep = number % 2 == 0;
                    let last = if keep { "" } else { "Connection: close\r\n" };
                    let sent = connection.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\n{last}\r\n").as_bytes());
                    // A kept connection may end cleanly before a byte of the answer: RFC 9112 9.3.1 has a client retry.
                    if !fresh && (sent.is_err() || connection.has_ended_cleanly()) {
                        continue;
                    }
                    let answer = connection.answer();
                    assert_eq!(answer.status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                    if keep && answer.field("connection") != Some("close") {
                        client = Some(connection);
                    }
                }
            });
        }
        let _ends = Ends(&over);
        during();
    });
    answered.load(Ordering::Relaxed)
}

/// Ends a load when it is dropped, in any case: a test that fails is not to wait for its own threads for ever.
pub struct Ends<'o>(pub &'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
