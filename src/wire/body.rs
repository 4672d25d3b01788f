//! Request bodies: how one is framed, and the decoder that finds its bytes.

use crate::Refusal;

/// How a body is framed.
#[derive(Debug)]
pub enum Body {
    /// None.
    Empty,
    /// So many bytes, as they are.
    Length(u64),
    /// Framed piece by piece; the size is known at the end.
    Framed(Decoder),
}

/// One step of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// How many bytes of the input are done with.
    pub consumed: usize,
    /// The body is over: what follows belongs to the next request.
    pub done: bool,
}

/// Decodes a framed body, however the input is cut.
#[derive(Debug)]
pub enum Decoder {
    /// HTTP/1.1 chunks, RFC 9112 7.1.
    Chunked(crate::http::Chunked),
    /// The `STDIN` stream of FastCGI.
    Stdin(crate::fastcgi::Stdin),
}

impl Decoder {
    /// Decodes from the start of `input`, and appends the bytes of the body to `out`. Takes all of the input, unless
    /// the body ends in it.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Step, Refusal> {
        match self {
            Self::Chunked(chunked) => chunked.decode(input, out),
            Self::Stdin(stdin) => stdin.decode(input, out),
        }
    }
}
