//! What the kernel tells of a unix socket over netlink (sock_diag(7)): the length of its listen queue. Nothing else does.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

/// `SOCK_DIAG_BY_FAMILY`, the kind of request and of answer.
const BY_FAMILY: u16 = 20;
/// `UDIAG_SHOW_RQLEN`, and `UNIX_DIAG_RQLEN`, the attribute that comes of it.
const SHOW_QUEUE: u32 = 0x10;
const QUEUE: u16 = 4;
/// The sizes of `nlmsghdr` and of `unix_diag_msg`.
const HEADER: usize = 16;
const BODY: usize = 16;

/// How many connections wait at a unix socket that listens, and how many may. A kernel without `unix_diag` says nothing.
pub fn queue(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let inode = nix::sys::stat::fstat(listener)?.st_ino as u32;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let channel = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkSockDiag)?;
    send(channel.as_raw_fd(), &request(inode), MsgFlags::empty())?;
    // The answer is there when the request has been taken.
    let mut room = [0; 512];
    let length = recv(channel.as_raw_fd(), &mut room, MsgFlags::MSG_DONTWAIT)?;
    answer(&room[..length]).ok_or_else(|| io::Error::other("the kernel does not tell the queue"))
}

/// `nlmsghdr` and `unix_diag_req`: of one socket, whatever its cookie.
fn request(inode: u32) -> Vec<u8> {
    // States, the socket, what to show, its cookie.
    let words = [u32::MAX, inode, SHOW_QUEUE, u32::MAX, u32::MAX];
    let length = (HEADER + 4 + 4 * words.len()) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(BY_FAMILY.to_ne_bytes());
    // NLM_F_REQUEST; then a number and a port of ours, which nobody asks for.
    bytes.extend(1_u16.to_ne_bytes());
    bytes.extend([0; 8]);
    // The family, no protocol, and a gap.
    bytes.extend([libc::AF_UNIX as u8, 0, 0, 0]);
    words.iter().for_each(|word| bytes.extend(word.to_ne_bytes()));
    bytes
}

/// The two words of the attribute in an answer.
fn answer(bytes: &[u8]) -> Option<(u32, u32)> {
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let mut rest = bytes.get(HEADER + BODY..).filter(|_| kind == BY_FAMILY)?;
    let number = |bytes: &[u8]| Some(u32::from_ne_bytes(bytes.try_into().ok()?));
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let value = rest.get(4..length)?;
        if u16::from_ne_bytes([rest[2], rest[3]]) == QUEUE {
            return Some((number(value.get(..4)?)?, number(value.get(4..8)?)?));
        }
        // Attributes begin at multiples of four.
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    #[test]
    fn connections_that_wait_are_counted() {
        let path = std::env::temp_dir().join(format!("ruwsgi-diag-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        crate::listen::listen(listener.as_fd(), 7).unwrap();
        let clients: Vec<_> = (0..3).map(|_| UnixStream::connect(&path).unwrap()).collect();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(queue(listener.as_fd()).unwrap(), (3, 7));
        listener.accept().unwrap();
        assert_eq!(queue(listener.as_fd()).unwrap(), (2, 7));
        drop(clients);
        // What is no unix socket has none.
        assert!(queue(std::net::TcpListener::bind("127.0.0.1:0").unwrap().as_fd()).is_err());
    }

    #[test]
    fn an_answer_that_is_cut_is_none() {
        let mut whole = vec![0; HEADER + BODY];
        whole[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        whole.extend([6_u16, 9].map(u16::to_ne_bytes).concat());
        whole.extend([1, 1, 0, 0]);
        whole.extend([12_u16, QUEUE].map(u16::to_ne_bytes).concat());
        whole.extend([5_u32, 9].map(u32::to_ne_bytes).concat());
        assert_eq!(answer(&whole), Some((5, 9)));
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end]), None, "{end}");
        }
        let mut endless = whole.clone();
        endless[HEADER + BODY..HEADER + BODY + 2].copy_from_slice(&0_u16.to_ne_bytes());
        assert_eq!(answer(&endless), None);
    }
}
