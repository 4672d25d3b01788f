//! Lives of nodes, played by chance against what must always hold; and the single cases that are easier to read alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use ruwsgi_wire::subscription::{Command, Malformed, Packet, sign};

use super::*;

/// Whoever has the letter of the key has signed.
struct Toy {
    asked: std::rc::Rc<std::cell::Cell<usize>>,
}

impl Trust for Toy {
    fn owner(&self, key: &[u8]) -> Option<(u32, u32)> {
        (key == b"mine").then_some((33, 33))
    }

    fn verify(&mut self, key: &[u8], _: &[u8], signature: &[u8]) -> Result<(), &'static str> {
        self.asked.set(self.asked.get() + 1);
        if signature == key { Ok(()) } else { Err("the signature is wrong") }
    }
}

fn at(ms: u64) -> Moment {
    Moment { ms, unix: 1_000_000 + ms / 1_000 }
}

fn said(key: &str, address: &str) -> Packet<'static> {
    let text = |text: &str| -> &'static [u8] { text.to_owned().into_bytes().leak() };
    Packet { key: text(key), address: text(address), ..Packet::default() }
}

fn left(key: &str, address: &str) -> Packet<'static> {
    Packet { command: Command::Unsubscribe, ..said(key, address) }
}

struct Router {
    nodes: Nodes,
    now: u64,
}

impl Router {
    fn new(rules: Rules) -> Self {
        Self { nodes: Nodes::new(rules), now: 1_000 }
    }

    fn hear(&mut self, packet: &Packet<'_>) -> Result<What, Why> {
        self.hear_from(packet, Sender::default())
    }

    fn hear_from(&mut self, packet: &Packet<'_>, sender: Sender) -> Result<What, Why> {
        let heard = self.nodes.hear(&packet.write().unwrap(), sender, at(self.now));
        heard.map(|heard| heard.what).map_err(|refused| refused.why)
    }

    fn choose(&mut self, key: &str) -> Option<String> {
        self.untried(key, &[]).map(|choice| choice.address.to_string())
    }

    fn untried(&mut self, key: &str, tried: &[NodeId]) -> Option<Choice> {
        self.nodes.choose(key.as_bytes(), Client { ip: None, tried }, self.now)
    }

    fn all(&mut self, key: &str) -> BTreeSet<String> {
        (0..50).filter_map(|_| self.choose(key)).collect()
    }
}

#[test]
fn who_announces_is_asked_until_it_leaves() {
    let mut router = Router::new(Rules::default());
    assert_eq!(router.choose("k"), None);
    assert_eq!(router.hear(&said("k", "10.0.0.1:1")), Ok(What::New));
    assert_eq!(router.hear(&said("k", "10.0.0.2:1")), Ok(What::New));
    assert_eq!(router.hear(&said("k", "10.0.0.1:1")), Ok(What::Again));
    assert_eq!(router.all("k").len(), 2);
    assert_eq!(router.choose("l"), None);
    assert_eq!(router.hear(&left("k", "10.0.0.1:1")), Ok(What::Left));
    assert_eq!(router.hear(&left("k", "10.0.0.1:1")), Ok(What::Unknown));
    assert_eq!(router.all("k").into_iter().collect::<Vec<_>>(), ["10.0.0.2:1"]);
    router.hear(&left("k", "10.0.0.2:1")).unwrap();
    assert!(router.nodes.is_empty() && router.choose("k").is_none());
}

#[test]
fn the_last_word_of_each_is_kept() {
    let mut router = Router::new(Rules::default());
    let long = "x".repeat(2_000).into_bytes().leak();
    for packet in [said("k", ":1"), said("k", ":2"), Packet { sni_crt: Some(long), ..said("k", ":3") }] {
        router.hear(&packet).unwrap();
    }
    router.now += 5;
    let last = Packet { weight: 7, ..said("k", ":1") };
    router.hear(&last).unwrap();
    router.hear(&left("k", ":2")).unwrap();
    let words: Vec<(u64, Vec<u8>)> = router.nodes.words().map(|(ms, _, word)| (ms, word.to_vec())).collect();
    assert_eq!(words, [(router.now, last.write().unwrap())]);
    // What somebody else has heard before says nothing about now.
    router.nodes.hear(&last.write().unwrap(), Sender::default(), at(500)).unwrap();
    assert_eq!(router.nodes.words().next().map(|(ms, ..)| ms), Some(router.now));
}

#[test]
fn who_can_not_be_reached_is_asked_again_after_its_next_announcement() {
    let mut router = Router::new(Rules::default());
    router.hear(&said("k", ":1")).unwrap();
    let id = router.untried("k", &[]).unwrap().id;
    assert!(router.nodes.failed(id, router.now));
    assert!(!router.nodes.failed(id, router.now), "told once");
    assert_eq!(router.choose("k"), None);
    assert_eq!(router.hear(&said("k", ":1")), Ok(What::Back));
    assert_eq!(router.choose("k").as_deref(), Some("127.0.0.1:1"));
}

#[test]
fn who_is_silent_for_too_long_is_forgotten() {
    let mut router = Router::new(Rules::default());
    router.hear(&said("k", ":1")).unwrap();
    let id = router.untried("k", &[]).unwrap().id;
    router.nodes.began(id);
    router.now += 17_000;
    assert!(router.nodes.tick(router.now).is_empty() && router.choose("k").is_some());
    router.now += 1;
    assert_eq!(router.choose("k"), None, "even before anybody looks");
    let notes = router.nodes.tick(router.now);
    assert!(notes[0].to_string().contains("has announced nothing for 17 s"), "{}", notes[0]);
    assert!(router.nodes.is_empty() && router.nodes.count() == 1, "its last request goes on");
    router.nodes.ended(id);
    assert_eq!(router.nodes.count(), 0);
    router.hear(&said("k", ":1")).unwrap();
    router.nodes.ended(id);
    router.nodes.failed(id, router.now);
    assert!(router.choose("k").is_some(), "the id of another one means nothing");
}

#[test]
fn a_node_that_was_tried_is_not_tried_again() {
    let mut router = Router::new(Rules::default());
    router.hear(&said("k", ":1")).unwrap();
    router.hear(&said("k", ":2")).unwrap();
    let one = router.untried("k", &[]).unwrap().id;
    let two = router.untried("k", &[one]).unwrap().id;
    assert_ne!(one, two);
    assert_eq!(router.untried("k", &[one, two]), None);
}

#[test]
fn backups_are_for_when_all_others_are_gone() {
    let mut router = Router::new(Rules::default());
    for (address, backup) in [(":1", 0), (":2", 1), (":3", 1), (":4", 2)] {
        router.hear(&Packet { backup, ..said("k", address) }).unwrap();
    }
    assert_eq!(router.all("k").len(), 1);
    let id = router.untried("k", &[]).unwrap().id;
    assert!(router.untried("k", &[id]).is_some());
    router.nodes.failed(id, router.now);
    assert_eq!(router.all("k").len(), 2);
    router.hear(&said("k", ":1")).unwrap();
    assert_eq!(router.all("k").len(), 1);
}

#[test]
fn weights_modifiers_and_algorithms_are_those_of_the_announcement() {
    let mut router = Router::new(Rules::default());
    let heavy = Packet { weight: 3, modifier1: 5, modifier2: 6, proto: Some(b'h'), ..said("k", ":1") };
    router.hear(&heavy).unwrap();
    router.hear(&said("k", ":2")).unwrap();
    let chosen: Vec<_> = (0..40).filter_map(|_| router.choose("k")).collect();
    assert_eq!(chosen.iter().filter(|it| *it == "127.0.0.1:1").count(), 30);
    let choice = (0..4).filter_map(|_| router.untried("k", &[])).find(|it| it.modifier1 == 5).unwrap();
    assert_eq!((choice.modifier2, choice.protocol), (6, Some(ruwsgi_wire::client::Dialect::Http)));
    router.hear(&Packet { algo: Some(b"lrc"), weight: u64::MAX, ..said("k", ":1") }).unwrap();
    assert_eq!(router.nodes.picture()[0].algorithm, "lrc");
    router.hear(&Packet { algo: Some(b"best"), ..said("k", ":1") }).unwrap();
    assert_eq!(router.nodes.picture()[0].algorithm, "lrc", "an unknown one is no reason to lose a node");
}

#[test]
fn labels_are_taken_off_where_that_was_asked_for() {
    let mut router = Router::new(Rules { dotsplit: true, ..Rules::default() });
    router.hear(&said(".example.com", ":1")).unwrap();
    router.hear(&said(".com", ":2")).unwrap();
    router.hear(&said("www.example.com", ":3")).unwrap();
    let mut chosen = |key| router.choose(key).map(|it| it.rsplit_once(':').unwrap().1.to_owned());
    assert_eq!(chosen("www.example.com").as_deref(), Some("3"));
    assert_eq!(chosen("a.b.example.com").as_deref(), Some("1"));
    assert_eq!(chosen("example.com").as_deref(), Some("2"));
    assert_eq!([chosen("example.org"), chosen("a.b.c.d.e.f.example.com"), chosen("")], [None, None, None]);
    assert_eq!(Router::new(Rules::default()).choose("a.example.com"), None);
}

#[test]
fn signed_announcements_are_believed_once() {
    let asked = std::rc::Rc::default();
    let trust = Box::new(Toy { asked: std::rc::Rc::clone(&asked) });
    let rules = Rules { signed_within: Some(60), unsigned_uids: vec![7], trust, ..Rules::default() };
    let mut router = Router::new(rules);
    let signed = |packet: Packet<'static>, unix: u64, by: &str| {
        let mut bytes = Packet { unix: Some(unix), ..packet }.write().unwrap();
        sign(&mut bytes, |_| Ok::<_, Malformed>(by.as_bytes().to_vec())).unwrap();
        bytes
    };
    let mut hear = |bytes: &[u8], sender: Sender, unix: u64| {
        let heard = router.nodes.hear(bytes, sender, Moment { ms: 0, unix });
        heard.map(|heard| heard.what).map_err(|refused| refused.why)
    };
    let (nobody, t) = (Sender::default(), 1_000_000);
    assert_eq!(hear(&said("k", ":1").write().unwrap(), nobody, t), Err(Why::Unsigned));
    assert_eq!(hear(&signed(said("k", ":1"), t - 61, "k"), nobody, t), Err(Why::Stale(61)));
    assert_eq!(hear(&signed(said("k", ":1"), t + 61, "k"), nobody, t), Err(Why::Stale(-61)));
    assert_eq!(hear(&signed(said("k", ":1"), u64::MAX, "k"), nobody, t), Err(Why::Stale(i64::MIN)));
    assert_eq!(asked.get(), 0, "no signature was looked at for that");
    assert_eq!(hear(&signed(said("k", ":1"), t, "l"), nobody, t), Err(Why::Signature("the signature is wrong")));
    let first = signed(said("k", ":1"), t, "k");
    assert_eq!(hear(&first, nobody, t), Ok(What::New));
    assert_eq!(hear(&first, nobody, t), Err(Why::Replayed));
    assert_eq!(hear(&signed(said("k", ":1"), t - 1, "k"), nobody, t), Err(Why::Replayed));
    assert_eq!(hear(&signed(said("k", ":1"), t + 10, "k"), nobody, t + 10), Ok(What::Again));
    let leaves = signed(left("k", ":1"), t + 11, "k");
    assert_eq!(
        hear(&signed(left("k", ":1"), t + 11, "x"), nobody, t + 10),
        Err(Why::Signature("the signature is wrong"))
    );
    assert_eq!(hear(&left("k", ":1").write().unwrap(), nobody, t + 10), Err(Why::Unsigned));
    assert_eq!(hear(&leaves, nobody, t + 10), Ok(What::Left));
    assert_eq!(hear(&signed(said("k", ":1"), t + 10, "k"), nobody, t + 12), Err(Why::Replayed), "it has left");
    assert_eq!(hear(&signed(said("k", ":1"), t + 12, "k"), nobody, t + 12), Ok(What::New));
    let user = |uid| Sender { ip: None, credentials: Some(Credentials { pid: 1, uid, gid: 0 }) };
    assert_eq!(hear(&said("k", ":2").write().unwrap(), user(8), t), Err(Why::Unsigned));
    assert_eq!(hear(&said("k", ":2").write().unwrap(), user(7), t), Ok(What::New));
}

#[test]
fn a_key_belongs_to_its_owner() {
    let trust = Box::new(Toy { asked: std::rc::Rc::default() });
    let mut router = Router::new(Rules { owned: true, trust, ..Rules::default() });
    let user = |uid, gid| Sender { ip: None, credentials: Some(Credentials { pid: 1, uid, gid }) };
    assert_eq!(router.hear(&said("mine", ":1")), Err(Why::Owner));
    assert_eq!(router.hear_from(&said("mine", ":1"), user(33, 34)), Err(Why::Owner));
    assert_eq!(router.hear_from(&said("other", ":1"), user(33, 33)), Err(Why::Owner));
    assert_eq!(router.hear_from(&said("mine", ":1"), user(33, 33)), Ok(What::New));
    assert_eq!(router.hear_from(&left("mine", ":1"), user(1, 1)), Err(Why::Owner));
    assert_eq!(router.nodes.picture()[0].nodes[0].numbers()[4], ("uid", 33));
}

#[test]
fn there_is_an_end_to_nodes_and_to_lines_about_them() {
    let mut router = Router::new(Rules { most_nodes: 100, ..Rules::default() });
    let mut lines = 0;
    for number in 0..1_000 {
        let bytes = said(&format!("k{number}"), ":1").write().unwrap();
        if let Err(refused) = router.nodes.hear(&bytes, Sender::default(), at(router.now)) {
            assert_eq!(refused.why, Why::Full);
            lines += usize::from(router.nodes.complaint(&refused, router.now).is_some());
        }
    }
    assert_eq!((router.nodes.count(), lines), (100, 5));
    let notes = router.nodes.tick(router.now + 17_001);
    assert_eq!((notes.len(), &notes[20]), (21, &Note::Others(80)));
    let mut crowd = Router::new(Rules::default());
    let believed = (1..2_000).filter(|port| crowd.hear(&said("k", &format!(":{port}"))).is_ok()).count();
    assert_eq!(believed, 1_024);
    let refused = router.nodes.hear(b"GET / HTTP/1.1\r\n", Sender::default(), at(router.now)).unwrap_err();
    let line = router.nodes.complaint(&refused, router.now + 1_000).unwrap();
    assert!(line.contains("it is a packet of kind 71") && line.contains("(895 more since"), "{line}");
    let sender = Sender { ip: Some(IpAddr::from([10, 0, 0, 7])), credentials: None };
    let odd = router.nodes.hear(&said("a\nb", "host:1").write().unwrap(), sender, at(0)).unwrap_err().to_string();
    assert!(odd.contains("a\\nb => host:1, from 10.0.0.7: the address is neither"), "{odd}");
}

#[test]
fn an_instance_hears_that_it_is_known() {
    let mut router = Router::new(Rules::default());
    let packet = Packet { notify: Some(b"/run/n.sock"), ..said("k", ":1") };
    let heard = router.nodes.hear(&packet.write().unwrap(), Sender::default(), at(0)).unwrap();
    let ack = heard.ack.unwrap();
    assert_eq!((&*ack.path, &*ack.text), (&b"/run/n.sock"[..], &b"[subscription ack] k => new node: :1"[..]));
    assert_eq!(heard.what, What::New);
    assert_eq!(router.nodes.hear(&packet.write().unwrap(), Sender::default(), at(0)).unwrap().ack, None);
}

/// A number by chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % bound
    }
}

/// What a node must be like, told by what was done to it.
#[derive(Default)]
struct Model {
    heard_ms: BTreeMap<(u64, u64), u64>,
    dead: BTreeSet<(u64, u64)>,
    flying: Vec<((u64, u64), NodeId)>,
}

#[test]
fn whatever_happens_requests_go_to_those_that_are_there() {
    for seed in 0..60 {
        let mut chance = Chance(seed);
        let algorithm = seed as usize % 5;
        let mut router = Router::new(Rules { algorithm, seed, ..Rules::default() });
        let mut model = Model::default();
        let mut ids: HashMap<NodeId, (u64, u64)> = HashMap::new();
        for _ in 0..1_500 {
            router.now += chance.below(400);
            let node = (chance.below(4), 1 + chance.below(5));
            let (key, address) = (format!("k{}", node.0), format!(":{}", node.1));
            match chance.below(12) {
                0..=3 => {
                    router.hear(&Packet { weight: chance.below(9), ..said(&key, &address) }).unwrap();
                    model.heard_ms.insert(node, router.now);
                    model.dead.remove(&node);
                }
                4 => {
                    let was = model.heard_ms.remove(&node).is_some();
                    let what = router.hear(&left(&key, &address)).unwrap();
                    assert!(was || what == What::Unknown);
                }
                5 => {
                    for (_, id) in model.flying.drain(..) {
                        router.nodes.ended(id);
                    }
                }
                6 => {
                    router.nodes.tick(router.now);
                    model.heard_ms.retain(|_, heard_ms| router.now <= *heard_ms + 17_000);
                }
                _ => play_request(&mut router, &mut model, &mut ids, (node.0, chance.below(6) == 0)),
            }
        }
        for (_, id) in model.flying {
            router.nodes.ended(id);
        }
        router.nodes.tick(router.now + 18_000);
        assert_eq!(router.nodes.count(), 0, "seed {seed}: nothing stays behind");
    }
}

/// A request for a key, of which the connection may fail.
fn play_request(router: &mut Router, model: &mut Model, ids: &mut HashMap<NodeId, (u64, u64)>, request: (u64, bool)) {
    let (key, fails) = request;
    let there = |node: &(u64, u64), model: &Model| {
        node.0 == key
            && model.heard_ms.get(node).is_some_and(|heard| router.now <= *heard + 17_000)
            && !model.dead.contains(node)
    };
    let expected = model.heard_ms.keys().filter(|node| there(node, model)).count();
    let Some(choice) = router.untried(&format!("k{key}"), &[]) else {
        assert_eq!(expected, 0, "somebody is there and is not asked");
        return;
    };
    let Place::Inet(address) = &*choice.address else { panic!("{:?}", choice.address) };
    let node = (key, u64::from(address.port()));
    let heard = model.heard_ms.get(&node).copied().unwrap_or_default();
    assert!(router.now <= heard + 17_000 && !model.dead.contains(&node), "{node:?} is asked");
    assert!(ids.insert(choice.id, node).is_none_or(|before| before == node), "an id is that of one node");
    if fails {
        router.nodes.failed(choice.id, router.now);
        model.dead.insert(node);
    } else {
        router.nodes.began(choice.id);
        model.flying.push((node, choice.id));
    }
}
