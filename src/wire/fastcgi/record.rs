//! The records of FastCGI, their bytes and nothing else (the specification 1.0, sections 3.3, 3.4 and 8).

use std::ops::Range;

/// `FCGI_VERSION_1`
pub(crate) const VERSION: u8 = 1;
/// The length of a record's header.
pub(crate) const HEADER: usize = 8;
/// The most that a record can hold, in bytes.
pub(crate) const MOST: usize = 65_535;
/// `FCGI_RESPONDER`: the role that calls an application.
pub(crate) const RESPONDER: u16 = 1;
/// `FCGI_KEEP_CONN` in the flags of `BEGIN_REQUEST`.
pub(crate) const KEEP_CONN: u8 = 1;

/// The types of records (section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BeginRequest,
    AbortRequest,
    EndRequest,
    Params,
    Stdin,
    Stdout,
    GetValues,
    /// Also those that a responder has no use for: `DATA`, `STDERR`.
    Other(u8),
}

impl Kind {
    fn of(number: u8) -> Self {
        match number {
            1 => Self::BeginRequest,
            2 => Self::AbortRequest,
            3 => Self::EndRequest,
            4 => Self::Params,
            5 => Self::Stdin,
            6 => Self::Stdout,
            9 => Self::GetValues,
            other => Self::Other(other),
        }
    }
}

/// The number of `FCGI_GET_VALUES_RESULT`.
pub(crate) const GET_VALUES_RESULT: u8 = 10;
/// The number of `FCGI_UNKNOWN_TYPE`.
pub(crate) const UNKNOWN_TYPE: u8 = 11;
/// The number of `FCGI_END_REQUEST`.
pub(crate) const END_REQUEST: u8 = 3;
/// The number of `FCGI_BEGIN_REQUEST`.
pub(crate) const BEGIN_REQUEST: u8 = 1;
/// The number of `FCGI_PARAMS`.
pub(crate) const PARAMS: u8 = 4;
/// The number of `FCGI_STDERR`.
pub(crate) const STDERR: u8 = 7;
/// The number of `FCGI_STDIN`.
pub(crate) const STDIN: u8 = 5;
/// The number of `FCGI_STDOUT`.
pub(crate) const STDOUT: u8 = 6;

/// How a request ended, for `END_REQUEST`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Complete = 0,
    /// `FCGI_CANT_MPX_CONN`: one request at a time on a connection.
    CantMultiplex = 1,
    UnknownRole = 3,
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub id: u16,
    pub length: u16,
    pub padding: u8,
}

impl Header {
    /// Reads it; an error where the version is not 1, which is all that can be wrong with it.
    pub(crate) fn read(bytes: [u8; HEADER]) -> Result<Self, ()> {
        let [version, kind, id1, id0, length1, length0, padding, _] = bytes;
        if version != VERSION {
            return Err(());
        }
        let (id, length) = (u16::from_be_bytes([id1, id0]), u16::from_be_bytes([length1, length0]));
        Ok(Self { kind: Kind::of(kind), id, length, padding })
    }

    /// What lies between this header and the next one, in bytes.
    pub(crate) fn rest(self) -> usize {
        usize::from(self.length) + usize::from(self.padding)
    }
}

/// The bytes of a header without padding.
pub(crate) fn header(kind: u8, id: u16, length: u16) -> [u8; HEADER] {
    let ([id1, id0], [length1, length0]) = (id.to_be_bytes(), length.to_be_bytes());
    [VERSION, kind, id1, id0, length1, length0, 0, 0]
}

/// Appends `END_REQUEST`.
pub(crate) fn push_end(id: u16, ended: Ended, out: &mut Vec<u8>) {
    out.extend_from_slice(&header(END_REQUEST, id, 8));
    out.extend_from_slice(&[0, 0, 0, 0, ended as u8, 0, 0, 0]);
}

/// The next name and value of a block (section 3.4): where they are, if they end in it.
pub(crate) fn pair(block: &[u8], at: &mut usize) -> Option<(Range<usize>, Range<usize>)> {
    let (name, value) = (length(block, at)?, length(block, at)?);
    let between = at.checked_add(name)?;
    let end = between.checked_add(value)?;
    let start = std::mem::replace(at, end);
    (end <= block.len()).then_some((start..between, between..end))
}

/// One byte, or four of which the first has its highest bit set.
fn length(block: &[u8], at: &mut usize) -> Option<usize> {
    let rest = block.get(*at..)?;
    let (&first, _) = rest.split_first()?;
    if first < 0x80 {
        *at += 1;
        return Some(usize::from(first));
    }
    let (&four, _) = rest.split_first_chunk::<4>()?;
    *at += 4;
    Some((u32::from_be_bytes(four) & 0x7fff_ffff) as usize)
}

/// Appends a name and its value.
pub(crate) fn push_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for text in [name, value] {
        match text.len() {
            short @ ..0x80 => out.push(short as u8),
            long => out.extend_from_slice(&(long as u32 | 0x8000_0000).to_be_bytes()),
        }
    }
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}
