//! Hosts that come, go, die and lose each other: a router and instances in network namespaces of their own. Needs root,
//! `ip` and `nft`, and says so where they are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use crate::harness::network::{Host, Network};
use crate::harness::packet::program;
use crate::harness::{PATIENCE, Server, Site, eventually, within};

/// Where the router serves, and where it hears.
const FRONT: u16 = 8000;
const EAR: u16 = 4000;
/// Where instances serve.
const BACK: u16 = 3031;

/// A router and the instances behind it, each on a host; host 0 is that of the router, the last one that of clients.
struct Cluster {
    // These end before their network does.
    nodes: BTreeMap<usize, Server>,
    router: Option<Server>,
    network: Network,
    clients: usize,
    /// The router is that of uWSGI.
    theirs: bool,
}

impl Cluster {
    /// With so many instances, all of them known to the router.
    fn of(nodes: u8) -> Option<Self> {
        Self::behind(false, nodes)
    }

    /// The same, behind the router of uWSGI if that is what is wanted.
    fn behind(theirs: bool, nodes: u8) -> Option<Self> {
        let network = Network::of(nodes + 2)?;
        let clients = usize::from(nodes) + 1;
        let mut cluster = Self { nodes: BTreeMap::new(), router: None, network, clients, theirs };
        cluster.start_router();
        for number in 1..=usize::from(nodes) {
            cluster.start_node(number, "");
        }
        let all = (1..=usize::from(nodes)).collect();
        cluster.wait_for(&all);
        Some(cluster)
    }

    fn host(&self, number: usize) -> &Host {
        self.network.host(number)
    }

    fn front(&self) -> SocketAddr {
        self.host(0).at(FRONT)
    }

    fn start_router(&mut self) {
        let host = self.host(0);
        let (front, ear) = (host.at(FRONT), host.at(EAR));
        let said = ["http", "http-subscription-server", "subscription-tolerance", "http-connect-timeout"];
        let said = said.into_iter().zip([front.to_string(), ear.to_string(), "4".to_owned(), "1".to_owned()]);
        let router = match program("uwsgi").filter(|_| self.theirs) {
            Some(uwsgi) => {
                let mut arguments: Vec<String> = said.map(|(name, value)| format!("--{name}={value}")).collect();
                arguments.extend(["--master".to_owned(), "--die-on-term".to_owned()]);
                host.start(&uwsgi.display().to_string(), &arguments, Site::empty())
            }
            None => {
                let lines: Vec<String> = said.map(|(name, value)| format!("{name} = {value}")).collect();
                host.serve(Site::empty().ini(&lines.join("\n")))
            }
        };
        eventually("the router listens", || self.host(0).within(|| TcpStream::connect(front).ok()));
        self.router = Some(router);
    }

    /// An instance that says its number, and announces itself each second.
    fn start_node(&mut self, number: usize, more: &str) {
        let (host, ear) = (self.host(number), self.host(0).at(EAR));
        let code = "
            import os, time
            def application(environ, start_response):
                if environ['PATH_INFO'] == '/slow':
                    time.sleep(0.5)
                body = os.environ['NODE'].encode()
                start_response('200 OK', [('Content-Length', str(len(body)))])
                return [body]
        ";
        let site = Site::empty().ini(&format!(
            "socket = :{BACK}\nwsgi-file = app.py\nsubscribe-to = {ear}:cluster\nsubscribe-freq = 1\nprocesses = 2\n\
             disable-logging = true\nenv = NODE={number}\n{more}"
        ));
        site.write("app.py", &crate::harness::dedent(code));
        self.nodes.insert(number, host.serve(site));
    }

    fn stop_node(&mut self, number: usize) {
        let node = self.nodes.remove(&number).unwrap();
        node.signal(Signal::SIGTERM);
        assert_eq!(node.wait().code, 0);
    }

    fn kill_node(&mut self, number: usize) {
        let mut node = self.nodes.remove(&number).unwrap();
        node.signal(Signal::SIGKILL);
        node.wait_here();
    }

    /// Who answers a request; `None`: nobody.
    fn ask(&self, path: &str) -> Option<usize> {
        self.host(self.clients).within(|| ask(self.front(), path))
    }

    /// Who answers forty requests; each of them is answered.
    fn all(&self) -> BTreeSet<usize> {
        self.host(self.clients).within(|| {
            (0..40).map(|number| ask(self.front(), "/").unwrap_or_else(|| panic!("request {number} is lost"))).collect()
        })
    }

    /// Waits until just these answer.
    fn wait_for(&self, nodes: &BTreeSet<usize>) {
        let found = within(PATIENCE, || {
            let answers: BTreeSet<usize> = self
                .host(self.clients)
                .within(|| (0..20).map(|_| ask(self.front(), "/")).map(|who| who.unwrap_or(0)).collect());
            (answers == *nodes).then_some(())
        });
        let log = self.router.as_ref().map(|router| router.log.text()).unwrap_or_default();
        assert!(found.is_some(), "waited for {nodes:?} to answer, just these\n{log}");
    }

    /// Asks without a pause while something happens: all that came of it.
    fn under_load(&mut self, during: impl FnOnce(&mut Self)) -> Load {
        let (front, clients) = (self.front(), self.host(self.clients).clone());
        let over = AtomicBool::new(false);
        let answers = std::thread::scope(|scope| {
            let askers: Vec<_> = (0..4)
                .map(|_| {
                    let (clients, over) = (&clients, &over);
                    scope.spawn(move || {
                        clients.within(|| {
                            let mut answers = Vec::new();
                            while !over.load(Ordering::Relaxed) {
                                let began = Instant::now();
                                answers.push((ask(front, "/"), began.elapsed()));
                            }
                            answers
                        })
                    })
                })
                .collect();
            let ends = Ends(&over);
            during(self);
            drop(ends);
            askers.into_iter().flat_map(|asker| asker.join().unwrap()).collect::<Vec<_>>()
        });
        Load { answers }
    }
}

/// Ends the load in any case: a test that fails is not to wait for it for ever.
struct Ends<'o>(&'o AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Who answered, and how long that took.
struct Load {
    answers: Vec<(Option<usize>, Duration)>,
}

impl Load {
    /// No request was lost.
    fn is_whole(&self) {
        let lost = self.answers.iter().filter(|(who, _)| who.is_none()).count();
        let longest = self.answers.iter().map(|(_, took)| *took).max().unwrap_or_default();
        println!("{} requests, {lost} lost, the longest took {longest:?}", self.answers.len());
        assert!(self.answers.len() > 50 && lost == 0, "{lost} of {} requests were lost", self.answers.len());
    }
}

/// A request on a connection of its own; `None` where it is not answered with 200.
fn ask(front: SocketAddr, path: &str) -> Option<usize> {
    let mut stream = TcpStream::connect(front).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: cluster\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200 ").then(|| body.trim().parse().ok())?
}

#[test]
fn instances_join_and_leave() {
    let Some(mut cluster) = Cluster::of(3) else { return };
    let load = cluster.under_load(|cluster| {
        cluster.stop_node(2);
        assert_eq!(cluster.all(), BTreeSet::from([1, 3]));
        cluster.start_node(2, "");
        cluster.wait_for(&BTreeSet::from([1, 2, 3]));
    });
    load.is_whole();
}

#[test]
fn a_rolling_restart_of_eight_loses_nothing() {
    let Some(mut cluster) = Cluster::of(8) else { return };
    let all: BTreeSet<usize> = (1..=8).collect();
    let load = cluster.under_load(|cluster| {
        for number in 1..=8 {
            cluster.stop_node(number);
            cluster.start_node(number, "");
            cluster.wait_for(&all);
        }
        for number in 1..=8 {
            let node = &cluster.nodes[&number];
            node.signal(Signal::SIGHUP);
            node.wait_for("generation 2 is complete");
        }
    });
    load.is_whole();
}

#[test]
fn who_dies_takes_its_own_requests_along_and_no_others() {
    let Some(mut cluster) = Cluster::of(3) else { return };
    // Of twelve that wait for half a second, those of the dead one may be lost.
    let (front, clients) = (cluster.front(), cluster.host(cluster.clients).clone());
    let answers: Vec<Option<usize>> = std::thread::scope(|scope| {
        let asks: Vec<_> = (0..12).map(|_| scope.spawn(|| clients.within(|| ask(front, "/slow")))).collect();
        eventually("requests run", || clients.within(|| ask(front, "/")));
        cluster.kill_node(2);
        asks.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    let lost = answers.iter().filter(|who| who.is_none()).count();
    println!("{lost} of 12 requests in flight were lost with their instance");
    assert!(lost <= 6, "{answers:?}");
    // From the first refused connection on, nobody asks there.
    assert_eq!(cluster.all(), BTreeSet::from([1, 3]));
    cluster.start_node(2, "");
    cluster.wait_for(&BTreeSet::from([1, 2, 3]));
    // Four ask all the time: no more than those can be there when it dies.
    let load = cluster.under_load(|cluster| {
        cluster.kill_node(3);
        assert_eq!(cluster.all(), BTreeSet::from([1, 2]));
    });
    let lost = load.answers.iter().filter(|(who, _)| who.is_none()).count();
    println!("{lost} of {} requests under load were lost with their instance", load.answers.len());
    assert!(lost <= 4, "{lost} were lost");
}

#[test]
fn a_partition_heals_within_one_announcement() {
    let Some(cluster) = Cluster::of(2) else { return };
    let (router, node) = (cluster.host(0), cluster.host(2));
    router.is_deaf_to(node, "");
    node.is_deaf_to(router, "");
    // Connections go nowhere, and others take the requests.
    assert_eq!(cluster.all(), BTreeSet::from([1]));
    let log = &cluster.router.as_ref().unwrap().log;
    log.wait_for("has announced nothing for 4 s");
    let known = log.text().matches("new node").count();
    node.hears_all();
    router.hears_all();
    let healed = Instant::now();
    log.wait_for_nth("new node", known + 1);
    // It announces itself each second; the rest is for a machine that is busy.
    let heard = healed.elapsed();
    assert!(heard < Duration::from_secs(3), "{heard:?}");
    cluster.wait_for(&BTreeSet::from([1, 2]));
    println!("heard {heard:?} after the partition healed, and used again after {:?}", healed.elapsed());
}

#[test]
fn who_is_not_heard_is_forgotten_and_who_does_not_hear_is_not_waited_for() {
    let Some(cluster) = Cluster::of(2) else { return };
    let (router, node) = (cluster.host(0), cluster.host(2));
    let log = &cluster.router.as_ref().unwrap().log;
    // Announcements are lost, connections are not.
    router.is_deaf_to(node, "udp");
    log.wait_for("has announced nothing for 4 s");
    assert_eq!(cluster.all(), BTreeSet::from([1]));
    router.hears_all();
    cluster.wait_for(&BTreeSet::from([1, 2]));
    // The other way: it announces itself again and again, and can't be reached.
    node.is_deaf_to(router, "tcp");
    let began = Instant::now();
    for number in 0..20 {
        assert_eq!(cluster.ask("/"), Some(1), "request {number}");
    }
    println!("20 requests took {:?} beside one that can't be reached", began.elapsed());
    node.hears_all();
    cluster.wait_for(&BTreeSet::from([1, 2]));
}

#[test]
fn loss_and_delay_lose_no_request() {
    let Some(mut cluster) = Cluster::of(2) else { return };
    cluster.host(0).loses(30);
    // A third one is behind a line that holds everything for 30 ms.
    let (slow, behind) = (cluster.host(2).at(BACK + 1), cluster.host(2).at(BACK));
    let ear = cluster.host(0).at(EAR);
    let over = AtomicBool::new(false);
    let host = cluster.host(2).clone();
    let listener = host.within(|| TcpListener::bind(slow).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| host.within(|| delay(&listener, behind, &over)));
        let ends = Ends(&over);
        let packet = ruwsgi_wire::subscription::Packet {
            key: b"cluster",
            address: &slow.to_string().into_bytes(),
            ..Default::default()
        };
        let packet = packet.write().unwrap();
        let mouth = host.within(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        let load = cluster.under_load(|cluster| {
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(6) {
                mouth.send_to(&packet, ear).unwrap();
                assert!(cluster.ask("/").is_some());
            }
        });
        load.is_whole();
        let who: BTreeSet<usize> = load.answers.iter().filter_map(|(who, _)| *who).collect();
        assert_eq!(who, BTreeSet::from([1, 2]), "nobody was forgotten");
        assert!(load.answers.iter().any(|(_, took)| *took >= Duration::from_millis(60)), "the slow line was used");
        drop(ends);
    });
}

/// Passes connections on, and holds what comes for 30 ms, in both directions.
#[expect(clippy::disallowed_methods, reason = "it is there to wait")]
fn delay(listener: &TcpListener, to: SocketAddr, over: &AtomicBool) {
    const HOLD: Duration = Duration::from_millis(30);
    fn pass(mut from: TcpStream, mut to: TcpStream) {
        let mut room = [0; 16_384];
        while let Ok(count @ 1..) = from.read(&mut room) {
            std::thread::sleep(HOLD);
            if to.write_all(&room[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
    listener.set_nonblocking(true).unwrap();
    while !over.load(Ordering::Relaxed) {
        // Somebody connects, or it is time to look whether it is over.
        let mut waited = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut waited, 100_u8).unwrap();
        let Ok((front, _)) = listener.accept() else { continue };
        front.set_nonblocking(false).unwrap();
        let Ok(back) = TcpStream::connect(to) else { continue };
        let (front2, back2) = (front.try_clone().unwrap(), back.try_clone().unwrap());
        std::thread::spawn(move || pass(front, back));
        std::thread::spawn(move || pass(back2, front2));
    }
}

#[test]
fn a_router_that_comes_back_knows_everybody_within_one_announcement() {
    let Some(mut cluster) = Cluster::of(3) else { return };
    let mut router = cluster.router.take().unwrap();
    router.signal(Signal::SIGKILL);
    router.wait_here();
    assert_eq!(cluster.ask("/"), None);
    cluster.start_router();
    let began = Instant::now();
    cluster.wait_for(&BTreeSet::from([1, 2, 3]));
    println!("all are known again after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_router_of_uwsgi_finds_instances_on_other_hosts() {
    if program("uwsgi").is_none() {
        return;
    }
    // What it loses when the machine is slow is its own business.
    let Some(mut cluster) = Cluster::behind(true, 2) else { return };
    cluster.stop_node(1);
    cluster.wait_for(&BTreeSet::from([2]));
    cluster.start_node(1, "");
    cluster.wait_for(&BTreeSet::from([1, 2]));
}
