//! The way of a connection from one worker to another: a pair of message sockets that all workers of an instance share.
//!
//! Whoever is idle receives; when nobody is, what is under way is the one queue of the instance, into which every worker
//! looks first. The master holds both ends, so that nothing under way is lost with a worker, and reads nothing. A pair
//! belongs to one set of listening sockets: a generation that has others gets a pair of its own.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use ruwsgi_sys::channel::{Channel, MESSAGE_BYTES};
use ruwsgi_sys::memory::{self, SharedWords};
use ruwsgi_sys::stream::Peer;

/// Room for messages under way, in bytes, as far as the kernel gives it.
const ROOM_BYTES: usize = 1024 * 1024;
/// The bytes of a [`Parcel`] before those of the connection.
const HEADER: usize = 68;
/// The first byte of all parcels.
const MARK: u8 = b'P';

/// The pair, and how many parcels are in it.
pub struct Handover {
    give: Channel,
    take: Channel,
    /// The first word: how many parcels are under way. A hint: who dies at the wrong time falsifies it.
    words: SharedWords,
}

/// Where the body of a request begins and ends in the bytes of its connection.
pub type Bounds = (u64, u64);

/// What a connection is besides its descriptor and the bytes that were read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// The listening socket that it came through, by `listen::identity`.
    pub door: u64,
    /// Who is at the other end.
    pub peer: Peer,
    /// Requests served on it.
    pub requests: u32,
    /// Part of a request head is here.
    pub begun: bool,
    /// When something must have happened, by `clock::coarse_ms`.
    pub deadline_ms: u64,
    /// A request is ready since then, by `clock::coarse_ms`; 0: none is.
    pub since_ms: u64,
    /// Where its body is in the bytes, decoded already. `None`: nothing of the bytes is understood yet.
    pub body: Option<Bounds>,
}

/// A connection that has arrived.
#[derive(Debug)]
pub struct Arrival {
    /// What is known of it.
    pub parcel: Parcel,
    /// Its socket.
    pub fd: OwnedFd,
    /// What was read from it.
    pub bytes: Vec<u8>,
}

impl Handover {
    /// A new pair.
    pub fn create() -> io::Result<Self> {
        let (give, take) = Channel::pair()?;
        give.enlarge(ROOM_BYTES);
        Ok(Self { give, take, words: SharedWords::create(8)? })
    }

    /// The one that the master sent: the descriptors of [`files`](Self::files).
    pub fn open([give, take, words]: [OwnedFd; 3]) -> io::Result<Self> {
        Ok(Self { give: Channel::from_fd(give), take: Channel::from_fd(take), words: SharedWords::open(words)? })
    }

    /// The descriptors to send.
    #[must_use]
    pub fn files(&self) -> [BorrowedFd<'_>; 3] {
        [self.give.as_fd(), self.take.as_fd(), self.words.file()]
    }

    /// The end that becomes readable.
    #[must_use]
    pub fn end(&self) -> BorrowedFd<'_> {
        self.take.as_fd()
    }

    fn count(&self) -> &AtomicU64 {
        &self.words.words()[0]
    }

    /// How many parcels are under way, as far as anybody knows.
    #[must_use]
    pub fn under_way(&self) -> usize {
        // Below zero is a drift, too: one who has received before the other one counted.
        usize::try_from(self.count().load(Relaxed) as i64).unwrap_or(0)
    }

    /// One is under way no more.
    fn lose(&self) {
        self.count().fetch_sub(1, Relaxed);
    }

    /// Sends a connection off; it may be closed here then. `WouldBlock`: no room now.
    pub fn give(&self, parcel: &Parcel, bytes: &[u8], socket: BorrowedFd<'_>) -> io::Result<()> {
        if HEADER + bytes.len() <= MESSAGE_BYTES {
            self.give.send_parts(&[IoSlice::new(&parcel.encode(0)), IoSlice::new(bytes)], &[socket])?;
        } else {
            let file = memory::sealed_file(bytes)?;
            self.give.send_parts(&[IoSlice::new(&parcel.encode(1))], &[socket, file.as_fd()])?;
        }
        self.count().fetch_add(1, Relaxed);
        Ok(())
    }

    /// Receives a connection; `None`: none is under way. `room` is memory for the caller's next call, too. `EMFILE`: there is
    /// no descriptor left for one, which sees the end.
    pub fn take(&self, room: &mut Vec<u8>) -> io::Result<Option<Arrival>> {
        room.resize(MESSAGE_BYTES, 0);
        let before = self.count().load(Relaxed);
        let came = self.take.receive_into(room).inspect_err(|_| self.lose())?;
        let Some((length, fds)) = came else {
            // Whatever the hint says. If it has changed meanwhile, somebody else knows better.
            let _ = self.count().compare_exchange(before, 0, Relaxed, Relaxed);
            return Ok(None);
        };
        self.lose();
        Arrival::read(&room[..length], fds).map(Some)
    }

    /// Sends up to `count` of those that are under way once more, the longest first: one who was woken for them may be
    /// dead or have other things to do, and each that is sent wakes one who waits. One that finds no room any more is the
    /// caller's.
    pub fn stir(&self, count: usize, room: &mut Vec<u8>) -> io::Result<Option<Arrival>> {
        room.resize(MESSAGE_BYTES, 0);
        for _ in 0..count {
            let came = self.take.receive_into(room).inspect_err(|_| self.lose())?;
            let Some((length, [socket, file])) = came else { break };
            let fds: Vec<_> = [&socket, &file].into_iter().flatten().map(AsFd::as_fd).collect();
            if self.give.send_parts(&[IoSlice::new(&room[..length])], &fds).is_err() {
                self.lose();
                return Arrival::read(&room[..length], [socket, file]).map(Some);
            }
        }
        Ok(None)
    }

    /// Since when the request that is under way for the longest time is ready; `None`: there is none.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        let mut header = [0; HEADER];
        let length = self.take.peek(&mut header).ok()??;
        let (parcel, _) = Parcel::decode(&header[..length])?;
        Some(parcel.since_ms).filter(|since| *since > 0)
    }
}

impl Arrival {
    fn read(message: &[u8], [socket, file]: [Option<OwnedFd>; 2]) -> io::Result<Self> {
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a connection was handed over and did not arrive");
        let (parcel, bytes) = Parcel::decode(message).ok_or_else(broken)?;
        let bytes = match file {
            Some(file) => memory::read_sealed_file(file)?,
            None => bytes.to_vec(),
        };
        Ok(Self { parcel, fd: socket.ok_or_else(broken)?, bytes })
    }
}

impl Parcel {
    fn encode(&self, kind: u8) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            header[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(&[MARK, kind, u8::from(self.begun), u8::from(self.body.is_some())]);
        put(&self.requests.to_le_bytes());
        let (start, end) = self.body.unwrap_or_default();
        for number in [self.door, self.deadline_ms, self.since_ms, start, end] {
            put(&number.to_le_bytes());
        }
        match self.peer {
            Peer::Local => {}
            Peer::Inet(address) => {
                put(&address.port().to_le_bytes());
                match address.ip() {
                    IpAddr::V4(ip) => {
                        put(&[4, 0]);
                        put(&ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        put(&[6, 0]);
                        put(&ip.octets());
                    }
                }
            }
        }
        header
    }

    /// From a message; what follows are the bytes of the connection.
    fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let (header, bytes) = message.split_first_chunk::<HEADER>()?;
        let number = |at: usize| Some(u64::from_le_bytes(*header[at..].first_chunk()?));
        let [mark, _, begun, has_body, ..] = *header;
        let port = u16::from_le_bytes(*header[48..].first_chunk()?);
        let peer = match header[50] {
            4 => Peer::Inet(SocketAddr::new(IpAddr::from(*header[52..].first_chunk::<4>()?), port)),
            6 => Peer::Inet(SocketAddr::new(IpAddr::from(*header[52..].first_chunk::<16>()?), port)),
            _ => Peer::Local,
        };
        let parcel = Self {
            door: number(8)?,
            peer,
            requests: u32::from_le_bytes(*header[4..].first_chunk()?),
            begun: begun != 0,
            deadline_ms: number(16)?,
            since_ms: number(24)?,
            body: if has_body == 0 { None } else { Some((number(32)?, number(40)?)) },
        };
        (mark == MARK).then_some((parcel, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parcel(peer: &str) -> Parcel {
        Parcel {
            door: u64::MAX - 1,
            peer: peer.parse().map_or(Peer::Local, Peer::Inet),
            requests: 7,
            begun: true,
            deadline_ms: 123_456,
            since_ms: 99,
            body: Some((40, 45)),
        }
    }

    #[test]
    fn a_connection_arrives_as_it_was_sent() {
        let here = Handover::create().unwrap();
        let there = Handover::open(here.files().map(|file| file.try_clone_to_owned().unwrap())).unwrap();
        let mut room = Vec::new();
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        for (peer, size) in [("", 0), ("127.0.0.1:80", 5), ("[2001:db8::7]:8080", 32_000), ("[::1]:1", 900_000)] {
            let (sent, bytes) = (parcel(peer), vec![b'x'; size]);
            here.give(&sent, &bytes, server.as_fd()).unwrap();
            assert_eq!((there.under_way(), there.oldest_ms()), (1, Some(99)));
            let arrival = there.take(&mut room).unwrap().unwrap();
            assert_eq!((arrival.parcel, arrival.bytes == bytes), (sent, true));
            assert_eq!(here.under_way(), 0);
        }
        drop(server);
        // All that was made for the way is closed: the client sees the end.
        assert_eq!(io::Read::read(&mut &client, &mut [0]).unwrap(), 0);
    }

    #[test]
    fn what_is_stirred_is_still_there_and_whole() {
        let pair = Handover::create().unwrap();
        let (_client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        for size in [1, 100_000] {
            pair.give(&parcel("127.0.0.1:80"), &vec![b'x'; size], server.as_fd()).unwrap();
        }
        let mut room = Vec::new();
        pair.stir(3, &mut room).unwrap();
        pair.stir(1, &mut room).unwrap();
        let mut sizes = [(); 2].map(|()| pair.take(&mut room).unwrap().unwrap().bytes.len());
        sizes.sort_unstable();
        assert_eq!((sizes, pair.under_way()), ([1, 100_000], 0));
    }

    #[test]
    fn a_hint_that_has_drifted_is_set_right() {
        let pair = Handover::create().unwrap();
        for drift in [3, u64::MAX] {
            pair.count().store(drift, Relaxed);
            assert!(pair.take(&mut Vec::new()).unwrap().is_none());
            assert_eq!((pair.under_way(), pair.oldest_ms()), (0, None));
        }
    }

    #[test]
    fn what_is_under_way_is_bounded_by_the_kernel() {
        let pair = Handover::create().unwrap();
        let (_client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        let full = (0..100_000).find_map(|_| pair.give(&parcel(""), b"GET", server.as_fd()).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
    }
}
