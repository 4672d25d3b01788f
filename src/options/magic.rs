//! uWSGI's magic variables: `%d`, `%n` and their kin, replaced over the whole text of a file before it is parsed,
//! comments and section names included. Never in values of the command line or the environment.
//!
//! `gather` fills [`Magic`] for each file that it reads. Small letters are the file that is being read, capitals the
//! first one.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The largest text after the replacement, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// The name of this machine.
pub fn host() -> &'static [u8] {
    &STARTUP.host
}

/// What does not depend on a file: known at the first reading and the same at each reload, whoever the process has
/// become, so that the names made from it stay.
struct Startup {
    since_epoch: Duration,
    host: Vec<u8>,
    binary: Vec<u8>,
    cpus: usize,
    uid: String,
    user: String,
    gid: String,
    group: String,
}

static STARTUP: LazyLock<Startup> = LazyLock::new(|| {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let (uid, gid) = (id(&status, "Uid:"), id(&status, "Gid:"));
    let mut host = std::fs::read("/proc/sys/kernel/hostname").unwrap_or_default();
    host.truncate(host.trim_ascii_end().len());
    let binary = std::env::current_exe().unwrap_or_default();
    Startup {
        since_epoch: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
        host,
        binary: binary.as_os_str().as_bytes().to_vec(),
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        user: account("/etc/passwd", &uid),
        group: account("/etc/group", &gid),
        uid,
        gid,
    }
});

/// The real id on such a line: `Uid:  1000  1000  1000  1000`.
fn id(status: &str, label: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|ids| ids.split_whitespace().next()).unwrap_or_default().to_owned()
}

/// The name of an id; the id itself where the file has none.
fn account(file: &str, id: &str) -> String {
    let text = std::fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| id.to_owned())
}

/// What depends on a file.
#[derive(Clone, Debug, Default)]
struct Names {
    /// `o`: as it was named.
    given: Vec<u8>,
    /// `p`: the absolute path.
    path: Vec<u8>,
    /// `x`: the section.
    section: Vec<u8>,
    /// `i`: the inode.
    inode: String,
}

/// The magic variables at one moment of the reading.
#[derive(Clone, Debug, Default)]
pub struct Magic {
    cwd: Vec<u8>,
    now: Names,
    first: Option<Names>,
}

impl Magic {
    /// No file yet.
    pub fn new(cwd: &Path) -> Self {
        Self { cwd: cwd.as_os_str().as_bytes().to_vec(), ..Self::default() }
    }

    /// A file of the command line that no option named: uWSGI leaves the capitals empty from then on.
    pub fn keep_capitals_empty(&mut self) {
        self.first.get_or_insert_default();
    }

    /// A file is read. `given` is its name as it was written; `path` is `None` for what is no file (`-`) and
    /// for the same file again, which leave all but the name and the section as they are.
    pub fn file(&mut self, given: &[u8], path: Option<&Path>, section: &[u8]) {
        self.now.given = given.into();
        self.now.section = section.into();
        if let Some(path) = path {
            let path = resolve(path);
            self.now.inode = path.metadata().map(|known| known.ino().to_string()).unwrap_or_default();
            self.now.path = path.as_os_str().as_bytes().to_vec();
        }
        self.first.get_or_insert_with(|| self.now.clone());
    }

    /// The text with all `%x` replaced, and for each of its lines the number of the line where it began. `None`: it would
    /// be larger than anybody's configuration.
    pub fn apply(&self, text: &[u8]) -> Option<(Vec<u8>, Vec<u32>)> {
        let mut out = Vec::with_capacity(text.len());
        let (mut starts, mut line) = (vec![1], 1);
        let mut rest = text;
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match (byte, tail.split_first()) {
                (b'%', Some((&letter, after))) => {
                    let value = self.value(letter);
                    // A directory may have a line break in its name; `%` before a line break joins two lines.
                    starts.extend(value.iter().filter(|byte| **byte == b'\n').map(|_| line));
                    line += u32::from(letter == b'\n');
                    out.extend_from_slice(&value);
                    rest = after;
                    if out.len() > MOST_BYTES {
                        return None;
                    }
                }
                // The last byte of a file: uWSGI finds nothing behind it, and nothing stands for nothing.
                (b'%', None) => {}
                (b'\n', _) => {
                    line += 1;
                    starts.push(line);
                    out.push(byte);
                }
                _ => out.push(byte),
            }
        }
        Some((out, starts))
    }

    /// What stands for `%` and this byte: nothing where nothing is known.
    fn value(&self, letter: u8) -> Cow<'_, [u8]> {
        let startup = &*STARTUP;
        match letter {
            b'%' => Cow::Borrowed(b"%"),
            b'(' => Cow::Borrowed(b"%("),
            b'[' => Cow::Borrowed(b"\x1b"),
            b'v' => Cow::Borrowed(&self.cwd),
            b'V' => Cow::Borrowed(env!("CARGO_PKG_VERSION").as_bytes()),
            b'h' => Cow::Borrowed(&startup.host),
            b'b' => Cow::Borrowed(&startup.binary),
            b'k' => Cow::Owned(startup.cpus.to_string().into()),
            b't' => Cow::Owned(startup.since_epoch.as_secs().to_string().into()),
            b'T' => Cow::Owned(startup.since_epoch.as_micros().to_string().into()),
            b'u' => Cow::Borrowed(startup.uid.as_bytes()),
            b'U' => Cow::Borrowed(startup.user.as_bytes()),
            b'g' => Cow::Borrowed(startup.gid.as_bytes()),
            b'G' => Cow::Borrowed(startup.group.as_bytes()),
            b'a'..=b'z' | b'0'..=b'9' => self.now.value(letter),
            b'A'..=b'Z' => {
                self.first.as_ref().map_or(Cow::Borrowed(b""), |first| first.value(letter.to_ascii_lowercase()))
            }
            _ => Cow::Borrowed(b""),
        }
    }
}

impl Names {
    fn value(&self, letter: u8) -> Cow<'_, [u8]> {
        let (dir, file) = split_after(&self.path, b'/');
        let parents = || dir.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let dot = file.iter().rposition(|byte| *byte == b'.');
        Cow::Borrowed(match letter {
            b'o' => &self.given,
            b'p' => &self.path,
            b's' => file,
            b'd' => dir,
            b'c' => parents().next_back().unwrap_or_default(),
            b'e' => dot.map_or(b"", |dot| &file[dot + 1..]),
            b'n' => dot.map_or(b"", |dot| &file[..dot]),
            b'x' => &self.section,
            b'i' => self.inode.as_bytes(),
            b'j' if !self.path.is_empty() => return Cow::Owned(djb33x(&self.path).into()),
            b'0'..=b'9' => parents().nth(usize::from(letter - b'0')).unwrap_or_default(),
            _ => b"",
        })
    }
}

/// The part up to the last `mark`, with it, and the rest.
fn split_after(text: &[u8], mark: u8) -> (&[u8], &[u8]) {
    text.split_at(text.iter().rposition(|byte| *byte == mark).map_or(0, |at| at + 1))
}

/// A link keeps its own name and place; other files are told by where they really are.
fn resolve(path: &Path) -> PathBuf {
    if path.is_symlink() { path.to_owned() } else { path.canonicalize().unwrap_or_else(|_| path.to_owned()) }
}

/// The hash of uWSGI's `%j`: in hexadecimal, byte by byte as it lies in memory, the lowest first.
fn djb33x(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(*byte));
    format!("{:08X}", hash.swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(magic: &Magic, text: &str) -> String {
        String::from_utf8(magic.apply(text.as_bytes()).expect("small").0).expect("UTF-8")
    }

    fn magic() -> Magic {
        let mut magic = Magic::new(Path::new("/srv/here"));
        magic.file(b"conf/app.ini", Some(Path::new("/nowhere/conf/app.web.ini")), b"web");
        magic
    }

    #[test]
    fn a_file_has_its_letters() {
        let text = apply(&magic(), "%o|%p|%s|%d|%c|%e|%n|%x|%0|%1|%2|%v");
        let path = "/nowhere/conf/app.web.ini|app.web.ini|/nowhere/conf/|conf|ini|app.web|web|nowhere|conf|";
        assert_eq!(text, format!("conf/app.ini|{path}|/srv/here"));
    }

    #[test]
    fn capitals_are_the_first_file() {
        let mut magic = magic();
        magic.file(b"other.ini", Some(Path::new("/other/other.ini")), b"");
        assert_eq!(apply(&magic, "%n %N %x|%X %s %S"), "other app.web |web other.ini app.web.ini");
        let mut positional = Magic::new(Path::new("/"));
        positional.keep_capitals_empty();
        positional.file(b"a.ini", Some(Path::new("/nowhere/a.ini")), b"");
        assert_eq!(apply(&positional, "%n|%N|%P|%D"), "a|||");
    }

    #[test]
    fn what_is_no_file_has_only_a_name() {
        let mut magic = Magic::new(Path::new("/"));
        magic.file(b"-", None, b"");
        assert_eq!(apply(&magic, "%o|%p|%n|%j|%i|%O"), "-|||||-");
    }

    #[test]
    fn any_other_byte_is_nothing_and_so_is_a_last_percent() {
        assert_eq!(apply(&magic(), "a%%b%(c)d%z%*e%"), "a%b%(c)de");
        assert_eq!(magic().apply(b"a%\xffb").expect("small").0, b"ab");
        assert_eq!(apply(&magic(), "%[x"), "\x1bx");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let (text, starts) = magic().apply(b"a\nb = 50%\nc\nd\n").expect("small");
        assert_eq!((text.as_slice(), starts), (&b"a\nb = 50c\nd\n"[..], vec![1, 2, 4, 5]));
        let odd = Magic::new(Path::new("/a\nb"));
        assert_eq!(odd.apply(b"x=%v\ny").expect("small"), (b"x=/a\nb\ny".to_vec(), vec![1, 1, 2]));
    }

    /// uWSGI 2.0.31 says so.
    #[test]
    fn the_hash_is_the_one_of_uwsgi() {
        assert_eq!(djb33x(b"/tmp/opt-oracle/m.ini"), "1E45E945");
    }

    #[test]
    fn the_caller_and_the_machine_have_letters() {
        let text = apply(&magic(), "%u|%U|%g|%G|%k|%t|%T|%h|%b|%V");
        assert!(text.split('|').all(|part| !part.is_empty()), "{text}");
    }
}
