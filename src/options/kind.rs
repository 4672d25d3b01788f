//! How a value is read: each kind of option turns text into the type of its field, as uWSGI does, and remarks on text
//! that is not what the option wants. The `table` names a kind in each row; `Config::interpret` calls them.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bstr::{BStr, ByteSlice};

use crate::directive::Origin;
use crate::table::{Listener, Mount};

/// What a kind gets to read.
pub struct Said<'a> {
    /// The name, as the table spells it.
    pub name: &'static str,
    /// The value; `None` for a flag of the command line, and for bytes that are no text.
    pub value: Option<&'a str>,
    /// The value as bytes.
    pub bytes: Option<&'a BStr>,
    /// Where it was said.
    pub origin: &'a Origin,
}

/// What a kind has to say about a value that it could read.
pub enum Remark {
    /// The value is not what the option wants, and how it was understood all the same. An error under `strict`.
    Odd {
        /// `"4k" is not a number`
        problem: String,
        /// `4`
        read_as: String,
    },
    /// Worth knowing; nothing is wrong.
    Told(String),
}

/// A value was read, perhaps with a remark; or nothing sane is left of it.
pub type Reading = Result<Option<Remark>, String>;

/// Whether an option takes a value on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arg {
    /// No value.
    None,
    /// `--name` or `--name=value`
    Optional,
    /// `--name value` or `--name=value`
    Required,
}

/// A kind of value.
pub trait Kind {
    /// The type of the field.
    type Field;
    /// Whether it takes a value on the command line.
    const ARG: Arg = Arg::Required;
    /// What stands for the value in `--help`.
    const HINT: &'static str;
    /// What it takes, for those who gave it something else.
    const TAKES: Option<&'static str> = None;
    /// Whether a value may be bytes that are no text.
    const BYTES: bool = false;
    /// Reads a value into the field: a scalar is replaced, a list grows.
    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading;
}

/// On unless the value is `false`, `off`, `no` or `0`.
pub struct Flag;
/// A flag that knows whether it was said.
pub struct MaybeFlag;
/// The same, with an optional value on the command line.
pub struct OptionalFlag;
/// A number of things, at least one; nothing works with none.
pub struct Count;
/// A number of things; none is read as one, as uWSGI does for `threads`.
pub struct OneOrMore;
/// A number, at least one, that knows whether it was said.
pub struct MaybeCount;
/// A number of requests; 0 is no limit.
pub struct Requests;
/// A number of things, none unless somebody says so; not very many.
pub struct Few;
/// A number of seconds.
pub struct Seconds;
/// A number of seconds that knows whether it was said.
pub struct MaybeSeconds;
/// How long to wait for a peer, in seconds: 0 would cut everybody, so it means the default.
pub struct Patience;
/// A size in bytes.
pub struct Bytes;
/// The mode of a socket: bare or `1` is 666, otherwise exactly three octal digits.
pub struct Mode;
/// Three octal digits, or four that begin with 0.
pub struct Umask;
/// `http-keepalive`: on, off or a number of seconds.
pub struct Keepalive;
/// Text.
pub struct Text;
/// Texts, each time one more.
pub struct Texts;
/// `MOUNTPOINT=APPLICATION`, each time one more.
pub struct Mounts;
/// An address to listen on.
pub struct Address;
/// An address to listen on, in the protocol that another option may name.
pub struct Socket;
/// The name of a protocol.
pub struct Protocol;
/// `NAME=VALUE` for the environment; a bare `NAME` is removed from it.
pub struct Environ;
/// The largest `buffer-size`, in bytes: beyond it lies a typing error.
const MOST_BYTES: u64 = 1 << 30;

/// Shorter idle times of connections than this, in seconds, are told: a load balancer in front usually keeps its
/// connections for 60 s and then meets closed ones.
const USUAL_BALANCER: i128 = 60;

impl Kind for Flag {
    type Field = bool;
    const ARG: Arg = Arg::None;
    const HINT: &'static str = "";
    const TAKES: Option<&'static str> = Some("true or false");

    fn read(field: &mut bool, said: &Said<'_>) -> Reading {
        let (value, remark) = flag(said.value);
        *field = value;
        Ok(remark)
    }
}

impl Kind for MaybeFlag {
    type Field = Option<bool>;
    const ARG: Arg = Arg::None;
    const HINT: &'static str = "";
    const TAKES: Option<&'static str> = Flag::TAKES;

    fn read(field: &mut Option<bool>, said: &Said<'_>) -> Reading {
        Flag::read(field.insert(true), said)
    }
}

impl Kind for OptionalFlag {
    type Field = Option<bool>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "BOOL";
    const TAKES: Option<&'static str> = Flag::TAKES;

    fn read(field: &mut Option<bool>, said: &Said<'_>) -> Reading {
        Flag::read(field.insert(true), said)
    }
}

pub(crate) fn flag(value: Option<&str>) -> (bool, Option<Remark>) {
    let text = value.unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "" | "1" | "true" | "yes" | "on" => (true, None),
        "0" | "false" | "no" | "off" => (false, None),
        _ => {
            (true, Some(Remark::Odd { problem: format!("{text:?} is neither true nor false"), read_as: "true".into() }))
        }
    }
}

/// A number as `atoi` reads it, and what is wrong with its text.
pub(crate) struct Number {
    pub value: i128,
    pub problem: Option<String>,
}

impl Number {
    /// No value at all is 1, an empty one 0: a flag of the command line, a bare key of a file.
    pub fn read(value: Option<&str>) -> Self {
        let Some(text) = value else { return Self { value: 1, problem: None } };
        let (sign, unsigned) = match text.as_bytes() {
            [b'-', ..] => (-1, &text[1..]),
            [b'+', ..] => (1, &text[1..]),
            _ => (1, text),
        };
        let digits = unsigned.bytes().take_while(u8::is_ascii_digit);
        let value = digits.fold(0i128, |sum, digit| sum.saturating_mul(10).saturating_add(i128::from(digit - b'0')));
        let whole = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
        let problem = match (whole, text) {
            (true, _) => None,
            (false, "") => Some("no value".into()),
            (false, _) => Some(format!("{text:?} is not a number")),
        };
        Self { value: sign * value, problem }
    }

    /// The value if it is within the bounds, with the remark that its text deserves.
    pub fn within<N: TryFrom<i128>>(self, least: i128, most: i128) -> Result<(N, Option<Remark>), String> {
        let fits = (least..=most).contains(&self.value).then(|| N::try_from(self.value).ok()).flatten();
        match (fits, self.problem) {
            (Some(number), problem) => Ok((number, odd(problem, &self.value))),
            (None, Some(problem)) => Err(problem),
            (None, None) if self.value < 0 => Err(format!("{} is negative", self.value)),
            (None, None) if self.value < least => Err(format!("{} is too small: at least {least}", self.value)),
            (None, None) => Err(format!("{} is too large: at most {most}", self.value)),
        }
    }
}

fn odd(problem: Option<String>, read_as: &dyn ToString) -> Option<Remark> {
    problem.map(|problem| Remark::Odd { problem, read_as: read_as.to_string() })
}

/// The most that uWSGI's `int` options hold.
pub(crate) const INT: i128 = i32::MAX as i128;

impl Kind for Count {
    type Field = u32;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 1");

    fn read(field: &mut u32, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(1, INT)?;
        *field = value;
        Ok(remark)
    }
}

impl Kind for OneOrMore {
    type Field = u32;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 1");

    fn read(field: &mut u32, said: &Said<'_>) -> Reading {
        let mut number = Number::read(said.value);
        if number.value == 0 {
            number.value = 1;
        }
        let (value, remark) = number.within(1, INT)?;
        *field = value;
        Ok(remark)
    }
}

/// The most of what there are few of.
const FEW: i128 = 10_000;

impl Kind for Few {
    type Field = u32;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 0 to 10000");

    fn read(field: &mut u32, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(0, FEW)?;
        *field = value;
        Ok(remark)
    }
}

impl Kind for MaybeCount {
    type Field = Option<u32>;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 1");

    /// 0, and what is read as 0, is what uWSGI takes for a text that it does not fill in: nothing was said.
    fn read(field: &mut Option<u32>, said: &Said<'_>) -> Reading {
        let number = Number::read(said.value);
        if number.value != 0 {
            return Count::read(field.insert(0), said);
        }
        *field = None;
        Ok(odd(number.problem.or(Some("0 is too small".into())), &"the default"))
    }
}

impl Kind for Requests {
    type Field = u64;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 0");

    /// uWSGI reads this with `strtoul`, for which -1 is the largest number: no limit either.
    fn read(field: &mut u64, said: &Said<'_>) -> Reading {
        let mut number = Number::read(said.value);
        if number.value < 0 {
            number.problem = Some(format!("{} is negative", number.value));
            number.value = 0;
        }
        let (value, remark) = number.within(0, u64::MAX.into())?;
        *field = value;
        Ok(remark)
    }
}

impl Kind for Seconds {
    type Field = u32;
    const HINT: &'static str = "SECONDS";
    const TAKES: Option<&'static str> = Some("a number of seconds");

    fn read(field: &mut u32, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(0, INT)?;
        *field = value;
        Ok(remark)
    }
}

impl Kind for MaybeSeconds {
    type Field = Option<u32>;
    const HINT: &'static str = "SECONDS";
    const TAKES: Option<&'static str> = Some("a number of seconds");

    fn read(field: &mut Option<u32>, said: &Said<'_>) -> Reading {
        Seconds::read(field.insert(0), said)
    }
}

impl Kind for Patience {
    type Field = Option<u32>;
    const HINT: &'static str = "SECONDS";
    const TAKES: Option<&'static str> = Some("a number of seconds");

    fn read(field: &mut Option<u32>, said: &Said<'_>) -> Reading {
        let number = Number::read(said.value);
        if number.value != 0 {
            return Seconds::read(field.insert(0), said);
        }
        *field = None;
        let told = || Remark::Told("0 s would cut every connection: the default is used".into());
        Ok(odd(number.problem, &"the default").or_else(|| Some(told())))
    }
}

impl Kind for Bytes {
    type Field = usize;
    const HINT: &'static str = "BYTES";
    const TAKES: Option<&'static str> = Some("a number of bytes");

    fn read(field: &mut usize, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(1, MOST_BYTES.into())?;
        *field = value;
        Ok(remark)
    }
}

impl Kind for Mode {
    type Field = Option<u32>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "MODE";
    const TAKES: Option<&'static str> = Some("three octal digits, such as 660");

    fn read(field: &mut Option<u32>, said: &Said<'_>) -> Reading {
        let text = match said.value {
            None | Some("1") => "666",
            Some(text) => text,
        };
        *field =
            Some(octal(text, 3).ok_or_else(|| format!("{text:?} is not a mode of three octal digits, such as 660"))?);
        Ok(None)
    }
}

impl Kind for Umask {
    type Field = Option<u32>;
    const HINT: &'static str = "MODE";
    const TAKES: Option<&'static str> = Some("three octal digits, such as 022");

    fn read(field: &mut Option<u32>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        let digits = if text.len() == 4 { text.strip_prefix('0').unwrap_or_default() } else { text };
        *field =
            Some(octal(digits, 3).ok_or_else(|| format!("{text:?} is not a mask of three octal digits, such as 022"))?);
        Ok(None)
    }
}

pub(crate) fn octal(text: &str, length: usize) -> Option<u32> {
    let plain = text.len() == length && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    plain.then(|| u32::from_str_radix(text, 8).ok()).flatten()
}

impl Kind for Keepalive {
    type Field = Option<String>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "SECONDS";
    const TAKES: Option<&'static str> = Some("true, false or a number of seconds");

    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        *field = Some(text.to_owned());
        if keepalive_flag(text).is_some() {
            return Ok(None);
        }
        let (seconds, remark) = Number::read(Some(text)).within::<i128>(1, INT)?;
        let short = (2..USUAL_BALANCER).contains(&seconds).then(|| {
            Remark::Told(format!(
                "{seconds} s: a load balancer that keeps its connections longer (60 s is usual) meets closed ones"
            ))
        });
        Ok(remark.or(short))
    }
}

/// How long an idle connection stays open, in seconds, for a value that [`Keepalive`] accepted. `None`: not at all.
/// `otherwise` is for on without a number: absent, empty, `1`, `true`.
pub fn keepalive(raw: Option<&str>, otherwise: u32) -> Option<u32> {
    let text = raw.unwrap_or_default();
    match keepalive_flag(text) {
        Some(on) => on.then_some(otherwise),
        None => match u32::try_from(Number::read(Some(text)).value).unwrap_or(0) {
            0 => None,
            1 => Some(otherwise),
            seconds => Some(seconds),
        },
    }
}

fn keepalive_flag(text: &str) -> Option<bool> {
    match flag(Some(text)) {
        (on, None) => Some(on),
        (_, Some(_)) => None,
    }
}

impl Kind for Text {
    type Field = Option<String>;
    const HINT: &'static str = "TEXT";

    /// An empty text is an error: nothing that is asked for by such an option has an empty name, and a `uid =` that is
    /// left out would leave the server running as root.
    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        *field = Some(some(said.value)?);
        Ok(None)
    }
}

pub(crate) fn some(value: Option<&str>) -> Result<String, String> {
    let text = value.unwrap_or_default();
    if text.is_empty() { Err("no value".into()) } else { Ok(text.to_owned()) }
}

impl Kind for Texts {
    type Field = Vec<String>;
    const HINT: &'static str = "TEXT";

    fn read(field: &mut Vec<String>, said: &Said<'_>) -> Reading {
        field.push(said.value.unwrap_or_default().to_owned());
        Ok(None)
    }
}

impl Kind for Mounts {
    type Field = Vec<Mount>;
    const HINT: &'static str = "/PATH=APP";
    const TAKES: Option<&'static str> = Some("MOUNTPOINT=APPLICATION, such as /blog=blog.wsgi:application");

    /// uWSGI passes over an application that is neither a file of Python nor `module:callable`, and loads Paste files,
    /// which are not built yet.
    fn read(field: &mut Vec<Mount>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let Some((point, app)) = text.split_once('=') else {
            return Err(format!("{text:?} is not MOUNTPOINT=APPLICATION, such as /blog=blog.wsgi:application"));
        };
        if !point.is_empty() && !point.starts_with('/') {
            let host = if point.contains('|') { ": mounts of a host are not built yet" } else { "" };
            return Err(format!("{point:?} is no path that begins with /{host}"));
        }
        let is_file = [".py", ".wsgi"].iter().any(|end| app.ends_with(end));
        if !is_file && !app.contains(':') {
            return Err(format!("{app:?} is neither a file (.py, .wsgi) nor module:callable"));
        }
        field.push(Mount { point: point.to_owned(), app: app.to_owned(), is_file, origin: said.origin.clone() });
        Ok(None)
    }
}

impl Kind for Address {
    type Field = Vec<Listener>;
    const HINT: &'static str = "ADDRESS";

    fn read(field: &mut Vec<Listener>, said: &Said<'_>) -> Reading {
        let option = if said.name == "httprouter" { "http" } else { said.name };
        field.push(listener(said, option, Some("http"))?);
        Ok(None)
    }
}

fn listener(said: &Said<'_>, option: &'static str, protocol: Option<&'static str>) -> Result<Listener, String> {
    let address = some(said.value)?;
    let by_default = protocol.is_none();
    Ok(Listener { address, option, protocol: protocol.unwrap_or("uwsgi"), by_default, origin: said.origin.clone() })
}

impl Kind for Socket {
    type Field = Vec<Listener>;
    const HINT: &'static str = "ADDRESS";

    fn read(field: &mut Vec<Listener>, said: &Said<'_>) -> Reading {
        field.push(listener(said, said.name, said.name.strip_suffix("-socket"))?);
        Ok(None)
    }
}

impl Kind for Protocol {
    type Field = &'static str;
    const HINT: &'static str = "NAME";
    const TAKES: Option<&'static str> = Some(PROTOCOLS);

    /// By another protocol than the one that was asked for, a socket would serve nobody.
    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let name = some(said.value)?;
        *field = match name.as_str() {
            "uwsgi" => "uwsgi",
            // Connections are kept in both, as `http-keepalive` says.
            "http" | "http11" => "http",
            "puwsgi" => "puwsgi",
            "fastcgi" => "fastcgi",
            "fastcgi-nph" => "fastcgi-nph",
            "scgi" => "scgi",
            "scgi-nph" => "scgi-nph",
            "suwsgi" | "https" | "raw" => return Err(format!("{name} is not built yet: say {PROTOCOLS}")),
            _ => return Err(format!("{name:?} is no protocol: say {PROTOCOLS}")),
        };
        Ok(None)
    }
}

/// Those that `protocol` knows, in words.
const PROTOCOLS: &str = "uwsgi, puwsgi, http, fastcgi, fastcgi-nph, scgi or scgi-nph";

impl Kind for Environ {
    type Field = Vec<(OsString, Option<OsString>)>;
    const HINT: &'static str = "NAME=VALUE";
    const TAKES: Option<&'static str> = Some("NAME=VALUE or NAME");
    const BYTES: bool = true;

    /// As `putenv` does: without `=` the variable is removed.
    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = said.bytes.unwrap_or_default();
        let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let (name, value) = match text.split_once_str("=") {
            Some((name, value)) => (name, Some(owned(value))),
            None => (text.as_bytes(), None),
        };
        if name.is_empty() {
            return Ok(odd(Some(format!("{text:?} names no variable")), &"nothing"));
        }
        field.push((owned(name), value));
        Ok(None)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The field and what was remarked: `Ok(None)`, `Ok(Some("problem -> reading"))`, or the error.
    pub fn read<K: Kind>(value: Option<&str>) -> (K::Field, Result<Option<String>, String>)
    where
        K::Field: Default,
    {
        let mut field = K::Field::default();
        let reading =
            K::read(&mut field, &Said { name: "x", value, bytes: value.map(BStr::new), origin: &Origin::Argv });
        let said = reading.map(|remark| {
            remark.map(|remark| match remark {
                Remark::Odd { problem, read_as } => format!("{problem} -> {read_as}"),
                Remark::Told(text) => text,
            })
        });
        (field, said)
    }

    #[test]
    fn only_four_words_turn_a_flag_off() {
        for off in ["false", "FALSE", "off", "Off", "no", "0"] {
            assert_eq!(read::<Flag>(Some(off)), (false, Ok(None)), "{off}");
        }
        for on in [None, Some(""), Some("1"), Some("true"), Some("True"), Some("on"), Some("yes")] {
            assert_eq!(read::<Flag>(on), (true, Ok(None)), "{on:?}");
        }
        for odd in ["00", "maybe", "2", "false ; note", "n", "f"] {
            assert_eq!(read::<Flag>(Some(odd)), (true, Ok(Some(format!("{odd:?} is neither true nor false -> true")))));
        }
    }

    #[test]
    fn a_number_is_read_as_atoi_does() {
        assert_eq!(read::<Seconds>(Some("30")), (30, Ok(None)));
        assert_eq!(read::<Seconds>(None), (1, Ok(None)));
        assert_eq!(read::<Seconds>(Some("")), (0, Ok(Some("no value -> 0".into()))));
        assert_eq!(read::<Seconds>(Some("4k")), (4, Ok(Some("\"4k\" is not a number -> 4".into()))));
        assert_eq!(read::<Seconds>(Some("true")), (0, Ok(Some("\"true\" is not a number -> 0".into()))));
        assert_eq!(read::<Seconds>(Some("-1")).1, Err("-1 is negative".into()));
        assert!(read::<Seconds>(Some("99999999999999999999999999999999999999999999")).1.is_err());
        assert_eq!(read::<Requests>(Some("1000 ; note")).0, 1000);
        assert_eq!(read::<Requests>(Some("-1")), (0, Ok(Some("-1 is negative -> 0".into()))));
        assert_eq!(read::<Requests>(Some("18446744073709551615")), (u64::MAX, Ok(None)));
        assert!(read::<Requests>(Some("18446744073709551616")).1.is_err());
    }

    #[test]
    fn where_nothing_sane_is_left_it_is_an_error() {
        assert_eq!(read::<Count>(Some("true")).1, Err("\"true\" is not a number".into()));
        assert_eq!(read::<Count>(Some("")).1, Err("no value".into()));
        assert_eq!(read::<Count>(Some("0")).1, Err("0 is too small: at least 1".into()));
        assert_eq!(read::<Count>(Some("4 # note")), (4, Ok(Some("\"4 # note\" is not a number -> 4".into()))));
        assert_eq!(read::<Bytes>(Some("true")).1, Err("\"true\" is not a number".into()));
        assert_eq!(read::<Bytes>(Some("65536")), (65536, Ok(None)));
        assert_eq!(read::<Bytes>(Some("99999999999")).1, Err("99999999999 is too large: at most 1073741824".into()));
    }

    #[test]
    fn a_queue_of_nothing_is_the_default() {
        assert_eq!(read::<MaybeCount>(Some("128")), (Some(128), Ok(None)));
        assert_eq!(read::<MaybeCount>(Some("0")), (None, Ok(Some("0 is too small -> the default".into()))));
        let text = "@(/proc/sys/net/core/somaxconn)";
        assert_eq!(read::<MaybeCount>(Some(text)).0, None);
        assert_eq!(read::<MaybeCount>(Some("-1")).1, Err("-1 is negative".into()));
    }

    #[test]
    fn no_threads_are_one_thread() {
        assert_eq!(read::<OneOrMore>(Some("0")), (1, Ok(None)));
        assert_eq!(read::<OneOrMore>(Some("true")), (1, Ok(Some("\"true\" is not a number -> 1".into()))));
        assert_eq!(read::<OneOrMore>(Some("8")), (8, Ok(None)));
    }

    #[test]
    fn a_patience_of_nothing_is_the_default() {
        assert_eq!(read::<Patience>(Some("30")), (Some(30), Ok(None)));
        assert_eq!(read::<Patience>(Some("true")), (None, Ok(Some("\"true\" is not a number -> the default".into()))));
        let (field, said) = read::<Patience>(Some("0"));
        assert_eq!(field, None);
        assert!(said.is_ok_and(|said| said.is_some()));
    }

    #[test]
    fn a_mode_is_three_octal_digits() {
        assert_eq!(read::<Mode>(None).0, Some(0o666));
        assert_eq!(read::<Mode>(Some("1")).0, Some(0o666));
        assert_eq!(read::<Mode>(Some("660")).0, Some(0o660));
        for bad in ["", "true", "0660", "66", "888", "-66", "+66", " 66"] {
            assert!(read::<Mode>(Some(bad)).1.is_err(), "{bad:?}");
        }
        assert_eq!(read::<Umask>(Some("022")).0, Some(0o022));
        assert_eq!(read::<Umask>(Some("0027")).0, Some(0o027));
        for bad in ["", "true", "22", "1022", "888", "00022"] {
            assert!(read::<Umask>(Some(bad)).1.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn protocols_that_are_not_built_are_errors() {
        for (name, read_as) in [("uwsgi", "uwsgi"), ("http", "http"), ("http11", "http"), ("scgi-nph", "scgi-nph")] {
            assert_eq!(read::<Protocol>(Some(name)), (read_as, Ok(None)));
        }
        let error = |name| read::<Protocol>(Some(name)).1.expect_err("an error");
        let built = "say uwsgi, puwsgi, http, fastcgi, fastcgi-nph, scgi or scgi-nph";
        assert_eq!(error("raw"), format!("raw is not built yet: {built}"));
        assert_eq!(error("HTTP"), format!("\"HTTP\" is no protocol: {built}"));
        assert_eq!(error(""), "no value");
    }

    #[test]
    fn keepalive_is_on_unless_it_is_off() {
        let seconds = |text| keepalive(text, 75);
        for on in [None, Some(""), Some("1"), Some("true"), Some("on")] {
            assert_eq!(seconds(on), Some(75), "{on:?}");
        }
        for off in [Some("0"), Some("false"), Some("off")] {
            assert_eq!(seconds(off), None, "{off:?}");
        }
        assert_eq!(seconds(Some("20")), Some(20));
        assert_eq!(seconds(Some("90")), Some(90));
        assert_eq!(read::<Keepalive>(Some("90")).1, Ok(None));
        assert_eq!(read::<Keepalive>(Some("true")).1, Ok(None));
        assert!(read::<Keepalive>(Some("20")).1.is_ok_and(|told| told.is_some_and(|told| told.starts_with("20 s: "))));
        assert_eq!(read::<Keepalive>(Some("90 ; s")).1, Ok(Some("\"90 ; s\" is not a number -> 90".into())));
        assert_eq!(seconds(Some("90 ; s")), Some(90));
        assert_eq!(read::<Keepalive>(Some("soon")).1, Err("\"soon\" is not a number".into()));
    }

    #[test]
    fn texts_addresses_and_variables() {
        assert_eq!(read::<Text>(Some("app:app")).0.as_deref(), Some("app:app"));
        assert_eq!(read::<Text>(Some("")).1, Err("no value".into()));
        assert_eq!(read::<Texts>(Some("")).0, [""]);
        assert_eq!(read::<Address>(Some(":8080")).0[0].address, ":8080");
        assert_eq!(read::<Address>(None).1, Err("no value".into()));
        assert_eq!(read::<Socket>(Some("/s")).0[0].protocol, "uwsgi");
        assert_eq!(read::<Socket>(Some("")).1, Err("no value".into()));
        let mount = |text| read::<Mounts>(Some(text)).0.pop().map(|one| (one.point, one.app, one.is_file));
        assert_eq!(mount("/a=app.py"), Some(("/a".into(), "app.py".into(), true)));
        assert_eq!(mount("=a.b:make()"), Some((String::new(), "a.b:make()".into(), false)));
        for bad in ["", "app.py", "a=app.py", "/a=", "/a=module", "/a=site.ini"] {
            assert!(read::<Mounts>(Some(bad)).1.is_err(), "{bad:?}");
        }
        assert!(read::<Mounts>(Some("example.com|/a=a:b")).1.is_err_and(|why| why.contains("not built yet")));
        assert_eq!(read::<Environ>(Some("A=b=c")).0, [("A".into(), Some("b=c".into()))]);
        assert_eq!(read::<Environ>(Some("A=")).0, [("A".into(), Some("".into()))]);
        assert_eq!(read::<Environ>(Some("A")).0, [("A".into(), None)]);
        assert_eq!(read::<Environ>(Some("=b")).0, []);
        assert!(read::<Environ>(Some("=b")).1.is_ok_and(|said| said.is_some()));
    }
}
