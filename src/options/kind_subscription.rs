//! How the values of options about subscriptions are read: whom an instance tells where it serves, and whom a router
//! believes. Rows of the `table` name these kinds; see `kind`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::directive::Origin;
use crate::kind::{Flag, Kind, Number, Reading, Said, some};

/// `[ADDRESS=]SERVER:KEY[,MODIFIER1[,SIGN]]`, each time one more.
pub struct Subscribe;
/// `server=SERVER,key=KEY,...`, each time one more.
pub struct SubscribeByKeys;
/// The name of a balancer.
pub struct Balancer;
/// `DIGEST:FOLDER`
pub struct DigestAndFolder;
/// The number of a user, each time one more.
pub struct Uids;
/// A number of packets that somebody may have said.
pub struct MaybeModifier;
/// A flag that must have a value on the command line, as in uWSGI.
pub struct FlagWithValue;

/// How requests are shared out among nodes.
pub const BALANCERS: [&str; 5] = ["wrr", "lrc", "wlrc", "iphash", "p2c"];
/// What can be signed with.
const DIGESTS: [&str; 5] = ["SHA1", "SHA224", "SHA256", "SHA384", "SHA512"];
/// The names of `subscribe2`.
const KEYS: &str = "server, key, address, socket, weight, modifier1, modifier2, sign, check, sni_key, sni_crt, sni_ca, \
                    backup, proto and algo";

/// Where an instance announces itself, and what it says there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The router.
    pub server: Server,
    /// For which requests.
    pub key: Pool,
    /// What to announce.
    pub address: Announced,
    /// The first number of packets.
    pub modifier1: u8,
    /// The second one.
    pub modifier2: u8,
    /// Instead of that of the instance.
    pub weight: Option<u32>,
    /// How it is signed.
    pub sign: Option<DigestAndFile>,
    /// Nothing is said while this file is there.
    pub check: Option<String>,
    /// The files of a certificate: key, certificate, authority of clients.
    pub sni: [Option<String>; 3],
    /// Only for when those of lower numbers are gone.
    pub backup: u32,
    /// What is spoken there: the first letter of a protocol.
    pub proto: Option<char>,
    /// How requests for this key are shared out.
    pub algo: Option<&'static str>,
    /// As it was written.
    pub text: String,
    /// Where it was said.
    pub origin: Origin,
}

/// The datagram socket of a router.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// UDP.
    Udp(SocketAddr),
    /// A unix socket; behind `@` an abstract one.
    Unix(String),
}

/// For which requests an instance wants to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Those of this key.
    Key(String),
    /// Those of the keys that stand in this file, one in a line.
    File(String),
}

/// Where an instance says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// At the socket that fits best.
    Default,
    /// There.
    Address(String),
    /// At the socket of this number.
    Socket(usize),
    /// At the shared socket of this number.
    Shared(usize),
}

/// A digest and the file of a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestAndFile {
    /// `SHA1` and so on.
    pub digest: &'static str,
    /// The file, or the folder.
    pub path: String,
}

impl Subscription {
    fn new(server: Server, key: &str, said: &Said<'_>) -> Result<Self, String> {
        let key = match key.strip_prefix('@') {
            Some("") | None if key.is_empty() || key == "@" => return Err("no key: SERVER:KEY".to_owned()),
            Some(file) => Pool::File(file.to_owned()),
            None if key.len() > 255 => return Err(format!("a key of {} bytes: 255 at most", key.len())),
            None => Pool::Key(key.to_owned()),
        };
        Ok(Self {
            server,
            key,
            address: Announced::Default,
            modifier1: 0,
            modifier2: 0,
            weight: None,
            sign: None,
            check: None,
            sni: [None, None, None],
            backup: 0,
            proto: None,
            algo: None,
            text: said.value.unwrap_or_default().to_owned(),
            origin: said.origin.clone(),
        })
    }

    /// One of the keys of `subscribe2`.
    fn take(&mut self, name: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match name {
            "server" | "key" => {}
            "addr" | "address" => self.address = Announced::Address(announced(value)?),
            "socket" => self.address = Announced::Socket(number(name, value)?),
            "weight" => self.weight = Some(number(name, value)?),
            "modifier1" => self.modifier1 = number(name, value)?,
            "modifier2" => self.modifier2 = number(name, value)?,
            "sign" => self.sign = Some(digest_and_file(value)?),
            "check" => self.check = text(),
            "sni_key" => self.sni[0] = text(),
            "sni_crt" => self.sni[1] = text(),
            "sni_ca" => self.sni[2] = text(),
            "backup" => self.backup = number(name, value)?,
            "proto" => self.proto = Some(protocol(value)?),
            "algo" => self.algo = Some(balancer(value)?),
            other => return Err(format!("{other:?} is none of {KEYS}")),
        }
        Ok(())
    }
}

impl Kind for Subscribe {
    type Field = Vec<Subscription>;
    const HINT: &'static str = "ROUTER:KEY";
    const TAKES: Option<&'static str> =
        Some("ROUTER:KEY, such as 127.0.0.1:4000:example.com or /run/router.sock:example.com");

    /// As in uWSGI, the first `=` ends an address, and the second colon of what follows (the first one behind a path)
    /// begins the key, which may have colons itself.
    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (address, rest) = own_address(&text)?;
        let colon = match rest.as_bytes().first() {
            Some(b'/' | b'@') => rest.find(':'),
            Some(b'[') => behind(rest, ']').and_then(|at| rest[at + 1..].find(':').map(|more| at + 1 + more)),
            _ => behind(rest, ':'),
        };
        let colon = colon.ok_or_else(|| format!("{rest:?} is not ROUTER:KEY, such as 127.0.0.1:4000:example.com"))?;
        let (server, rest) = (server(&rest[..colon])?, &rest[colon + 1..]);
        // The keys of a file have their own modifiers.
        let (key, more) = rest.split_once(',').filter(|_| !rest.starts_with('@')).unwrap_or((rest, ""));
        let mut parts = more.splitn(2, ',');
        let mut subscription = Subscription::new(server, key, said)?;
        subscription.address = address;
        if let Some(modifier1) = parts.next().filter(|text| !text.is_empty()) {
            subscription.modifier1 = number("modifier1", modifier1)?;
        }
        subscription.sign = parts.next().map(digest_and_file).transpose()?;
        field.push(subscription);
        Ok(None)
    }
}

/// Where the colon behind the first `mark` is.
fn behind(text: &str, mark: char) -> Option<usize> {
    let from = text.find(mark)? + 1;
    text[from..].find(':').map(|at| from + at)
}

/// What stands before the first `=`: an address, or `=N` for a shared socket.
fn own_address(text: &str) -> Result<(Announced, &str), String> {
    if let Some(rest) = text.strip_prefix('=') {
        let (shared, rest) = rest.split_once('=').ok_or("a second = is missing: =NUM=ROUTER:KEY")?;
        return Ok((Announced::Shared(number("the shared socket", shared)?), rest));
    }
    match text.split_once('=') {
        Some((address, rest)) => Ok((Announced::Address(announced(address)?), rest)),
        None => Ok((Announced::Default, text)),
    }
}

impl Kind for SubscribeByKeys {
    type Field = Vec<Subscription>;
    const HINT: &'static str = "KEY=VALUE,...";
    const TAKES: Option<&'static str> = Some("server=ROUTER,key=KEY and more, with commas between them");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let pair = |part: &'_ str| match part.split_once('=') {
            Some((name, value)) if !value.is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
            _ => Err(format!("{part:?} is not NAME=VALUE: the names are {KEYS}")),
        };
        let pairs: Vec<(String, String)> = text.split(',').map(pair).collect::<Result<_, _>>()?;
        let of = |wanted: &str| pairs.iter().rfind(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let router = server(of("server").ok_or("no server: where to announce")?)?;
        let mut subscription = Subscription::new(router, of("key").ok_or("no key: for which requests")?, said)?;
        for (name, value) in &pairs {
            subscription.take(name, value)?;
        }
        field.push(subscription);
        Ok(None)
    }
}

impl Kind for Balancer {
    type Field = &'static str;
    const HINT: &'static str = "NAME";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        *field = balancer(&some(said.value)?)?;
        Ok(None)
    }
}

impl Kind for DigestAndFolder {
    type Field = Option<DigestAndFile>;
    const HINT: &'static str = "DIGEST:DIR";
    const TAKES: Option<&'static str> = Some("a digest and a folder, such as SHA256:/etc/uwsgi/keys");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        *field = Some(digest_and_file(&some(said.value)?)?);
        Ok(None)
    }
}

impl Kind for Uids {
    type Field = Vec<u32>;
    const HINT: &'static str = "UID";
    const TAKES: Option<&'static str> = Some("the number of a user");

    /// Whoever it is gets in without a signature: what is no number is nobody.
    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        field.push(number("uid", &some(said.value)?)?);
        Ok(None)
    }
}

impl Kind for FlagWithValue {
    type Field = bool;
    const HINT: &'static str = "BOOL";
    const TAKES: Option<&'static str> = Flag::TAKES;

    fn read(field: &mut bool, said: &Said<'_>) -> Reading {
        Flag::read(field, said)
    }
}

impl Kind for MaybeModifier {
    type Field = Option<u8>;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 0 to 255");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(0, u8::MAX.into())?;
        *field = Some(value);
        Ok(remark)
    }
}

/// A name is not looked up: the master would wait for it.
fn server(text: &str) -> Result<Server, String> {
    let wrong = || format!("{text:?} is no address of a router: say IP:PORT, [IPV6]:PORT, /path or @name");
    if text.starts_with(['/', '@']) && text.len() > 1 {
        return Ok(Server::Unix(text.to_owned()));
    }
    let address = match text.strip_prefix(':') {
        Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().map_err(|_| wrong())?),
        None => text.parse().map_err(|_| wrong())?,
    };
    if address.port() == 0 { Err(wrong()) } else { Ok(Server::Udp(address)) }
}

fn announced(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("no address to announce".to_owned()),
        1..=255 => Ok(text.to_owned()),
        length => Err(format!("an address of {length} bytes: 255 at most")),
    }
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{name}: {text:?} is no number that fits"))
}

fn digest_and_file(text: &str) -> Result<DigestAndFile, String> {
    let wrong = || format!("{text:?} is not DIGEST:PATH, such as SHA256:/etc/uwsgi/key.pem");
    let (name, path) = text.split_once(':').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
    let digest = DIGESTS.iter().find(|known| known.eq_ignore_ascii_case(name));
    let digest = digest.ok_or_else(|| format!("{name:?} is no digest: {} are", DIGESTS.join(", ")))?;
    Ok(DigestAndFile { digest, path: path.to_owned() })
}

fn balancer(name: &str) -> Result<&'static str, String> {
    let known = BALANCERS.iter().find(|known| **known == name);
    known.copied().ok_or_else(|| format!("{name:?} is no algorithm: {} are", BALANCERS.join(", ")))
}

fn protocol(name: &str) -> Result<char, String> {
    let known = ["uwsgi", "http", "fastcgi", "scgi"].iter().find(|known| **known == name || known[..1] == *name);
    let letter = known.and_then(|known| known.chars().next());
    letter.ok_or_else(|| format!("proto: {name:?} is none of uwsgi, http, fastcgi and scgi"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    fn one<K: Kind<Field = Vec<Subscription>>>(text: &str) -> Subscription {
        let (mut field, said) = read::<K>(Some(text));
        assert_eq!(said, Ok(None), "{text}");
        field.pop().unwrap()
    }

    fn why<K: Kind<Field = Vec<Subscription>>>(text: &str) -> String {
        read::<K>(Some(text)).1.expect_err(text)
    }

    fn udp(text: &str) -> Server {
        Server::Udp(text.parse().unwrap())
    }

    #[test]
    fn subscriptions_are_read_as_uwsgi_reads_them() {
        let plain = one::<Subscribe>("127.0.0.1:4000:example.com:8080");
        assert_eq!((plain.server, plain.key), (udp("127.0.0.1:4000"), Pool::Key("example.com:8080".into())));
        assert_eq!((plain.address, plain.modifier1, plain.sign), (Announced::Default, 0, None));
        let full = one::<Subscribe>("10.0.0.1:3031=/run/router:shop,5,sha256:/etc/key.pem");
        assert_eq!((full.server, full.key), (Server::Unix("/run/router".into()), Pool::Key("shop".into())));
        assert_eq!((full.address, full.modifier1), (Announced::Address("10.0.0.1:3031".into()), 5));
        assert_eq!(full.sign, Some(DigestAndFile { digest: "SHA256", path: "/etc/key.pem".into() }));
        let shared = one::<Subscribe>("=1=[::1]:4000:@keys,of,it");
        assert_eq!((shared.address, shared.server), (Announced::Shared(1), udp("[::1]:4000")));
        assert_eq!(shared.key, Pool::File("keys,of,it".into()));
        assert_eq!(one::<Subscribe>(":4000:k,,SHA1:/x").modifier1, 0);
        assert_eq!(one::<Subscribe>("@router:k").server, Server::Unix("@router".into()));
    }

    #[test]
    fn what_is_no_subscription_is_told() {
        for (text, said) in [
            ("", "no value"),
            ("127.0.0.1:4000", "is not ROUTER:KEY"),
            ("127.0.0.1:4000:", "no key"),
            ("127.0.0.1:4000:@", "no key"),
            ("router:4000:k", "is no address of a router"),
            ("127.0.0.1:0:k", "is no address of a router"),
            ("127.0.0.1:4000:k,x", "modifier1: \"x\" is no number"),
            ("127.0.0.1:4000:k,256", "modifier1: \"256\" is no number"),
            ("127.0.0.1:4000:k,0,MD4:/x", "\"MD4\" is no digest"),
            ("127.0.0.1:4000:k,0,key.pem", "is not DIGEST:PATH"),
            ("=0:k", "a second = is missing"),
            ("=127.0.0.1:4000:k", "a second = is missing"),
        ] {
            assert!(why::<Subscribe>(text).contains(said), "{text}: {}", why::<Subscribe>(text));
        }
        assert!(why::<Subscribe>(&format!(":1:{}", "k".repeat(256))).contains("256 bytes"));
        for (text, said) in [
            ("key=k", "no server"),
            ("server=:1", "no key"),
            ("server=:1,key=k,wait=1", "\"wait\" is none of server"),
            ("server=:1,key=k,x", "is not NAME=VALUE"),
            ("server=:1,key=k,algo=best", "is no algorithm"),
            ("server=:1,key=k,proto=ajp", "proto: "),
            ("server=:1,key=k,weight=heavy", "weight: "),
        ] {
            assert!(why::<SubscribeByKeys>(text).contains(said), "{text}: {}", why::<SubscribeByKeys>(text));
        }
    }

    #[test]
    fn subscribe2_has_all_keys() {
        let full = one::<SubscribeByKeys>(
            "server=/run/r,key=k,addr=1.2.3.4:5,weight=6,modifier1=7,modifier2=8,sign=SHA1:/k.pem,check=/run/off,\
             sni_key=/a,sni_crt=/b,sni_ca=/c,backup=1,proto=http,algo=lrc",
        );
        assert_eq!((full.server, full.key), (Server::Unix("/run/r".into()), Pool::Key("k".into())));
        assert_eq!((full.address, full.weight), (Announced::Address("1.2.3.4:5".into()), Some(6)));
        assert_eq!((full.modifier1, full.modifier2, full.backup), (7, 8, 1));
        assert_eq!((full.check.as_deref(), full.proto, full.algo), (Some("/run/off"), Some('h'), Some("lrc")));
        assert_eq!(full.sni, ["/a", "/b", "/c"].map(|path| Some(path.to_owned())));
        assert_eq!(one::<SubscribeByKeys>("server=:1,key=@/keys,socket=2").address, Announced::Socket(2));
    }

    #[test]
    fn what_routers_believe() {
        assert_eq!(read::<Balancer>(Some("p2c")), ("p2c", Ok(None)));
        assert!(read::<Balancer>(Some("best")).1.is_err_and(|why| why.contains("iphash")));
        let checked = DigestAndFile { digest: "SHA1", path: "/keys".into() };
        assert_eq!(read::<DigestAndFolder>(Some("SHA1:/keys")), (Some(checked), Ok(None)));
        assert_eq!(read::<Uids>(Some("33")), (vec![33], Ok(None)));
        assert!(read::<Uids>(Some("www-data")).1.is_err());
    }
}
