//! What a router makes of an announcement: whether it is believed, and what changes.

use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use ruwsgi_wire::subscription::{Command, Malformed, Packet};

use super::Moment;
use super::node::Node;
use super::nodes::Nodes;
use super::place::Place;
use super::rules::{MOST_OF_A_KEY, algorithm};
use super::trust::Credentials;

/// Who has sent a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sender {
    /// Its address, over UDP.
    pub ip: Option<IpAddr>,
    /// Who it is, over a unix socket that asks.
    pub credentials: Option<Credentials>,
}

/// An announcement that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What has changed.
    pub what: What,
    /// For which requests.
    pub key: Rc<[u8]>,
    /// Where.
    pub place: Rc<Place>,
    /// What the instance likes to hear, and where.
    pub ack: Option<Ack>,
}

/// What an announcement changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The node is new.
    New,
    /// It is still there.
    Again,
    /// It could not be reached, and is there again.
    Back,
    /// It has left.
    Left,
    /// It leaves, and was not known.
    Unknown,
}

/// An acknowledgement: a datagram for a unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The socket.
    pub path: Vec<u8>,
    /// What is sent, in the words of uWSGI.
    pub text: Vec<u8>,
}

/// An announcement that was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who has sent it.
    pub sender: Sender,
    /// For which requests, as far as it could be read.
    pub key: Vec<u8>,
    /// Where.
    pub address: Vec<u8>,
    /// Why.
    pub why: Why,
}

/// Why an announcement is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is none.
    Malformed(Malformed),
    /// The address is none.
    Address(&'static str),
    /// It has no signature, or does not say when it was signed.
    Unsigned,
    /// It was signed too long ago, or in the future: so many seconds.
    Stale(i64),
    /// One that was signed later, or this one, was heard before.
    Replayed,
    /// This is wrong with the signature.
    Signature(&'static str),
    /// The key belongs to somebody else, or to nobody.
    Owner,
    /// There are as many nodes as there may be.
    Full,
}

impl fmt::Display for Refused {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an announcement is not believed")?;
        if !self.key.is_empty() {
            write!(to, ", {} => {}", self.key.escape_ascii(), self.address.escape_ascii())?;
        }
        match (self.sender.ip, self.sender.credentials) {
            (Some(ip), _) => write!(to, ", from {ip}")?,
            (None, Some(Credentials { pid, uid, .. })) => write!(to, ", from pid {pid} of user {uid}")?,
            (None, None) => {}
        }
        write!(to, ": {}", self.why)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(how) => how.fmt(to),
            Self::Address(how) => write!(to, "the address {how}"),
            Self::Unsigned => to.write_str("it is not signed (subscriptions-sign-check)"),
            Self::Stale(age) if *age < 0 => write!(to, "it was signed {} s in the future", age.unsigned_abs()),
            Self::Stale(age) => write!(to, "it was signed {age} s ago (subscriptions-sign-check-tolerance)"),
            Self::Replayed => to.write_str("it was heard before, or a later one was"),
            Self::Signature(how) => to.write_str(how),
            Self::Owner => to.write_str("the key is not the sender's (subscriptions-credentials-check)"),
            Self::Full => to.write_str("there are as many nodes as there may be"),
        }
    }
}

impl fmt::Display for Heard {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::New => "new node",
            What::Again => "still there",
            What::Back => "back",
            What::Left => "has left",
            What::Unknown => "leaves, and was not known",
        };
        write!(to, "{} => {}: {what}", self.key.escape_ascii(), self.place)
    }
}

impl Heard {
    /// Worth a line: what is so anyway is not.
    #[must_use]
    pub fn is_news(&self) -> bool {
        !matches!(self.what, What::Again | What::Unknown)
    }
}

/// An announcement, as it was read and as it was sent.
type Said<'s> = (&'s Packet<'s>, &'s [u8]);

impl Nodes {
    /// Takes a datagram.
    pub fn hear(&mut self, datagram: &[u8], sender: Sender, now: Moment) -> Result<Heard, Refused> {
        let refused =
            |key: &[u8], address: &[u8], why| Refused { sender, key: key.into(), address: address.into(), why };
        let packet = Packet::parse(datagram).map_err(|how| refused(b"", b"", Why::Malformed(how)))?;
        let heard = self.take((&packet, datagram), sender, now);
        heard.map_err(|why| refused(packet.key, packet.address, why))
    }

    /// The line to tell about an announcement that was not believed; few of very many.
    pub fn complaint(&mut self, refused: &Refused, now_ms: u64) -> Option<String> {
        self.complaints.line(refused, now_ms)
    }

    fn take(&mut self, said: Said<'_>, sender: Sender, now: Moment) -> Result<Heard, Why> {
        let (packet, _) = said;
        let place = Place::parse(packet.address, sender.ip).map_err(Why::Address)?;
        let key = self.pools.get_key_value(packet.key).map_or_else(|| packet.key.into(), |(key, _)| key.clone());
        let slot = self.find(&key, &place);
        // What would change nothing is not worth a look at its signature.
        if packet.command == Command::Unsubscribe && slot.is_none() {
            return Ok(Heard { what: What::Unknown, key, place: Rc::new(place), ack: None });
        }
        let of_key = self.pools.get(&key).map_or(0, |pool| pool.nodes.len());
        if slot.is_none() && (self.count() >= self.rules.most_nodes || of_key >= MOST_OF_A_KEY) {
            return Err(Why::Full);
        }
        self.check(packet, (&key, &place), sender, now)?;
        let heard = match (packet.command, slot) {
            (Command::Unsubscribe, _) => self.part(key, place, slot),
            (Command::Subscribe, slot) => match slot.and_then(|slot| self.at_mut(slot)) {
                Some(node) => renew(node, said, sender, now),
                None => self.meet(said, (key, place), sender, now),
            },
        };
        // One that nobody knows is no reason to lose a node.
        if let Some(index) = packet.algo.and_then(|name| algorithm(std::str::from_utf8(name).ok()?))
            && let Some(pool) = self.pools.get_mut(&heard.key)
        {
            pool.algorithm = index;
        }
        Ok(heard)
    }

    /// Whether the sender may say that.
    fn check(
        &mut self,
        packet: &Packet<'_>,
        (key, place): (&Rc<[u8]>, &Place),
        sender: Sender,
        now: Moment,
    ) -> Result<(), Why> {
        if self.rules.owned {
            let owner = self.rules.trust.owner(key).ok_or(Why::Owner)?;
            let is_owner = sender.credentials.is_some_and(|who| (who.uid, who.gid) == owner);
            is_owner.then_some(()).ok_or(Why::Owner)?;
        }
        let Some(within) = self.rules.signed_within else { return Ok(()) };
        if sender.credentials.is_some_and(|who| self.rules.unsigned_uids.contains(&who.uid)) {
            return Ok(());
        }
        let (Some(stamp), Some(signed)) = (packet.unix, packet.signed) else { return Err(Why::Unsigned) };
        let age = now.unix.cast_signed().saturating_sub_unsigned(stamp);
        if age.unsigned_abs() > within {
            return Err(Why::Stale(age));
        }
        if self.stamps.newest(key, place).is_some_and(|newest| stamp <= newest) {
            return Err(Why::Replayed);
        }
        // Last, because it is the dearest.
        self.rules.trust.verify(key, signed.base, signed.signature).map_err(Why::Signature)?;
        let oldest = now.unix.saturating_sub(within);
        self.stamps.note(key, place, stamp, oldest).then_some(()).ok_or(Why::Full)
    }

    fn meet(&mut self, said: Said<'_>, (key, place): (Rc<[u8]>, Place), sender: Sender, now: Moment) -> Heard {
        let (packet, datagram) = said;
        let mut node = Node::new(key.clone(), place);
        (node.heard_ms, node.heard_unix) = (now.ms, now.unix);
        node.learn(packet, datagram, sender);
        let place = node.place.clone();
        self.add(node);
        let ack = packet.notify.filter(|path| path.starts_with(b"/")).map(|path| {
            let text = [b"[subscription ack] ", packet.key, b" => new node: ", packet.address].concat();
            Ack { path: path.to_vec(), text }
        });
        Heard { what: What::New, key, place, ack }
    }

    fn part(&mut self, key: Rc<[u8]>, place: Place, slot: Option<u32>) -> Heard {
        slot.into_iter().for_each(|slot| self.remove(slot));
        let what = if slot.is_some() { What::Left } else { What::Unknown };
        Heard { what, key, place: Rc::new(place), ack: None }
    }
}

fn renew(node: &mut Node, (packet, datagram): Said<'_>, sender: Sender, now: Moment) -> Heard {
    let what = if node.failed_ms.is_some() { What::Back } else { What::Again };
    node.learn(packet, datagram, sender);
    // What another process has told may be older.
    (node.heard_ms, node.heard_unix) = (now.ms.max(node.heard_ms), now.unix);
    Heard { what, key: node.key.clone(), place: node.place.clone(), ack: None }
}
