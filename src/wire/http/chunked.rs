//! Chunked bodies (RFC 9112 7.1), decoded from whatever pieces they come in.
//!
//! Called through [`crate::Decoder`]. Strict to the byte: sizes without sign, space or prefix, CRLF and nothing else.
//! Extensions and trailers are checked, bounded, and dropped: nobody here knows their names, and a trailer must not
//! become a header (RFC 9110 6.5.1).

use super::octets::{self, FIELD, TOKEN};
use crate::{Refusal, Step};

/// The most digits in a chunk size, leading zeros included, and the most that count: 2^60 bytes are no chunk.
const MOST_DIGITS: u8 = 24;
const MOST_SIZE: u64 = (1 << 60) - 1;
/// The longest extensions of one chunk, in bytes (RFC 9112 7.1.1 asks for a limit).
const MOST_EXTENSION: usize = 4096;
/// The longest trailer section, in bytes.
const MOST_TRAILERS: usize = 8192;
/// How many bytes the framing may be ahead of the data, in all. Each chunk may have 16, and another two for each byte
/// of data, so that only a body made of framing gets here: CVE-2024-21647, CVE-2023-39326.
const MOST_OVERHEAD: u64 = 16 * 1024;
const FREE_OVERHEAD: u64 = 16;

/// Decodes one chunked body.
#[derive(Debug, Default)]
pub struct Chunked {
    at: At,
    /// The bytes that the chunk still has, or the size as far as it was read.
    size: u64,
    /// The digits of the size.
    digits: u8,
    /// The bytes of the extensions of this chunk, or of the trailers.
    length: usize,
    /// The bytes of framing that the data has not paid for yet.
    overhead: u64,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    /// Before the name of an extension.
    Name0,
    Name,
    /// Whitespace behind a name: `=` or `;` follows.
    NameSpace,
    /// Before the value of an extension.
    Value0,
    Value,
    /// Whitespace behind a size or a value: `;` follows.
    ValueSpace,
    Quoted,
    Escaped,
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    Done,
    Refused(&'static str),
}

impl Chunked {
    /// Decodes from the start of `input`, and appends the bytes of the body to `out`. Takes all of the input, unless
    /// the body ends in it. After a refusal it refuses whatever comes.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Step, Refusal> {
        let mut consumed = 0;
        while consumed < input.len() && self.at != At::Done {
            if self.at == At::Data {
                let rest = &input[consumed..];
                let take = usize::try_from(self.size).map_or(rest.len(), |size| size.min(rest.len()));
                out.extend_from_slice(&rest[..take]);
                self.size -= take as u64;
                consumed += take;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
            } else {
                self.at = match self.step(input[consumed]) {
                    Ok(at) => at,
                    Err(how) => At::Refused(how),
                };
                consumed += 1;
            }
            if let At::Refused(how) = self.at {
                return Err(Refusal::Malformed(how));
            }
        }
        Ok(Step { consumed, done: self.at == At::Done })
    }

    /// A byte that is not data.
    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        match (self.at, byte) {
            (At::Size, _) => self.size(byte),
            (At::SizeLf, b'\n') => self.size_end(),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => {
                (self.size, self.digits, self.length) = (0, 0, 0);
                Ok(At::Size)
            }
            (At::SizeLf, _) => Err("a bare CR behind a chunk size"),
            (At::DataCr | At::DataLf, _) => Err("a chunk is not followed by CRLF"),
            (At::Trailer | At::TrailerName | At::TrailerValue | At::TrailerLf | At::EndLf, _) => self.trailer(byte),
            (At::Refused(how), _) => Err(how),
            // Done and Data don't come here.
            (at @ (At::Done | At::Data), _) => Ok(at),
            _ => self.extension(byte),
        }
    }

    fn size(&mut self, byte: u8) -> Result<At, &'static str> {
        let Some(digit) = char::from(byte).to_digit(16) else {
            return match byte {
                _ if self.digits == 0 => Err("a chunk size is not a hexadecimal number"),
                b'\r' => Ok(At::SizeLf),
                b';' => Ok(At::Name0),
                b' ' | b'\t' => Ok(At::ValueSpace),
                _ => Err("a chunk size is not a hexadecimal number"),
            };
        };
        self.digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        if self.digits > MOST_DIGITS || self.size > MOST_SIZE {
            return Err("a chunk size is too large");
        }
        Ok(At::Size)
    }

    /// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )`, RFC 9112 7.1.1
    fn extension(&mut self, byte: u8) -> Result<At, &'static str> {
        self.length += 1;
        if self.length > MOST_EXTENSION {
            return Err("the extensions of a chunk are too long");
        }
        match (self.at, byte) {
            (At::Quoted, b'"') => Ok(At::QuotedEnd),
            (At::Quoted, b'\\') => Ok(At::Escaped),
            (At::Quoted | At::Escaped, _) if octets::is(byte, FIELD) => Ok(At::Quoted),
            (At::Name0 | At::NameSpace | At::Value0 | At::ValueSpace, b' ' | b'\t') => Ok(self.at),
            (At::Name0 | At::Name, _) if octets::is(byte, TOKEN) => Ok(At::Name),
            (At::Value0 | At::Value, _) if octets::is(byte, TOKEN) => Ok(At::Value),
            (At::Value0, b'"') => Ok(At::Quoted),
            (At::Name | At::NameSpace, b'=') => Ok(At::Value0),
            (At::Name | At::NameSpace | At::Value | At::ValueSpace | At::QuotedEnd, b';') => Ok(At::Name0),
            (At::Name, b' ' | b'\t') => Ok(At::NameSpace),
            (At::Value | At::QuotedEnd, b' ' | b'\t') => Ok(At::ValueSpace),
            (At::Name | At::Value | At::QuotedEnd, b'\r') => Ok(At::SizeLf),
            _ => Err("a chunk extension is malformed"),
        }
    }

    fn size_end(&mut self) -> Result<At, &'static str> {
        let spent = u64::from(self.digits) + self.length as u64 + 2;
        let earned = FREE_OVERHEAD + self.size.saturating_mul(2);
        self.overhead = (self.overhead + spent).saturating_sub(earned);
        if self.overhead > MOST_OVERHEAD {
            return Err("the body has more chunk extensions than data");
        }
        self.length = 0;
        Ok(if self.size == 0 { At::Trailer } else { At::Data })
    }

    /// Field lines as in a head (RFC 9112 7.1.2), and the blank line at their end.
    fn trailer(&mut self, byte: u8) -> Result<At, &'static str> {
        self.length += 1;
        if self.length > MOST_TRAILERS {
            return Err("the trailers are too long");
        }
        match (self.at, byte) {
            (At::Trailer, b'\r') => Ok(At::EndLf),
            (At::Trailer | At::TrailerName, _) if octets::is(byte, TOKEN) => Ok(At::TrailerName),
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if octets::is(byte, FIELD) => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::Trailer),
            (At::EndLf, b'\n') => Ok(At::Done),
            _ => Err("a trailer is malformed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a body is, whole and in pieces of one byte: its data, and how long it was on the wire.
    fn decode(input: &[u8]) -> Result<(String, Option<usize>), Refusal> {
        let run = |piece: usize| {
            let (mut chunked, mut out, mut total) = (Chunked::default(), Vec::new(), 0);
            for part in input.chunks(piece) {
                let step = chunked.decode(part, &mut out)?;
                total += step.consumed;
                if step.done {
                    assert_eq!(chunked.decode(b"more", &mut out), Ok(Step { consumed: 0, done: true }));
                    return Ok((String::from_utf8_lossy(&out).into_owned(), Some(total)));
                }
                assert_eq!(step.consumed, part.len());
            }
            Ok((String::from_utf8_lossy(&out).into_owned(), None))
        };
        let whole = run(input.len().max(1));
        for piece in [1, 2, 3, 7] {
            assert_eq!(whole, run(piece), "{:?} by {piece}", String::from_utf8_lossy(input));
        }
        whole
    }

    #[test]
    fn bodies_are_decoded() {
        for (input, body) in [
            ("0\r\n\r\n", ""),
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("0005\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", "hello!"),
            ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
            ("5;a\r\nhello\r\n0;b=c;d\r\n\r\n", "hello"),
            ("5 ; a = b\t;c=\"d \\\" ; \u{e9}\" ; e\r\nhello\r\n0\r\n\r\n", "hello"),
            ("0\r\nX: y\r\nZ:\r\n\r\n", ""),
        ] {
            let rest = format!("{input}GET");
            assert_eq!(decode(rest.as_bytes()), Ok((body.into(), Some(input.len()))), "{input:?}");
        }
        assert_eq!(decode(b"5\r\nhel"), Ok(("hel".into(), None)));
        assert_eq!(decode(b"5\r\nhello\r\n0\r\n\r"), Ok(("hello".into(), None)));
    }

    #[test]
    fn framing_is_strict() {
        for input in [
            "\r\n",
            " 5\r\n",
            "5 \r\n",
            "5\t\r\n",
            "+5\r\n",
            "-0\r\n",
            "0x5\r\n",
            "5h\r\n",
            "5_0\r\n",
            "g\r\n",
            "5\n",
            "5\rh",
            "5\r\r\n",
            "5;\r\n",
            "5;a\n",
            "5;a\0\r\n",
            "5;a=\r\n",
            "5;a =\r\n",
            "5;a b\r\n",
            "5;a=b c\r\n",
            "5;a \r\n",
            ";a\r\n",
            "5;=b\r\n",
            "5;a=\"\r\n",
            "5;a=\"b\"c\r\n",
            "5;\u{e9}\r\n",
            "5\r\nhello0\r\n",
            "5\r\nhello\n",
            "5\r\nhello\r0",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\nA\r\n",
            "0\r\nA : b\r\n",
            "0\r\n A: b\r\n",
            "0\r\nA: b\n",
            "0\r\nA: b\r\n c\r\n",
            "0\r\nA: b\0\r\n",
            "0\r\n: b\r\n",
            "1000000000000000\r\n",
            "ffffffffffffffffffff\r\n",
            "0000000000000000000000001\r\n",
        ] {
            assert!(decode(input.as_bytes()).is_err(), "{input:?}");
        }
    }

    #[test]
    fn everything_that_is_dropped_is_bounded() {
        let extension = |length: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(length));
        assert!(decode(extension(MOST_EXTENSION - 1).as_bytes()).is_ok());
        assert!(decode(extension(MOST_EXTENSION).as_bytes()).is_err());
        let trailer = |length: usize| format!("0\r\nA: {}\r\n\r\n", "b".repeat(length));
        assert!(decode(trailer(MOST_TRAILERS - 7).as_bytes()).is_ok());
        assert!(decode(trailer(MOST_TRAILERS - 6).as_bytes()).is_err());
        let framing = |chunks: usize| format!("1;{}\r\nx\r\n", "a".repeat(1000)).repeat(chunks) + "0\r\n\r\n";
        assert!(decode(framing(16).as_bytes()).is_ok());
        assert!(decode(framing(17).as_bytes()).is_err());
        let paid = format!("200;{}\r\n{}\r\n", "a".repeat(1000), "x".repeat(512)).repeat(100) + "0\r\n\r\n";
        assert!(decode(paid.as_bytes()).is_ok());
    }
}
