//! Why a request is not served, and the status that says so.

/// A reason not to serve a request. The status codes are those of RFC 9110 15.5 and 15.6, and 431 of RFC 6585.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the head or the framing of the body breaks the protocol; the text says how.
    Malformed(&'static str),
    /// 408: the client took too long to send its request.
    Timeout,
    /// 413: the body is larger than the limit.
    BodyTooLarge,
    /// 414: the request target alone is larger than the head may be.
    TargetTooLong,
    /// 417: an expectation that is not `100-continue`.
    Expectation,
    /// 431: the head is larger than `buffer-size`.
    HeadTooLarge,
    /// 431: the head has more fields than are taken.
    TooManyFields,
    /// 500: the application failed before it said anything.
    Failed,
    /// No status, because it was not HTTP that was asked for: a uwsgi packet of a kind (`modifier1`) that is not served.
    Modifier(u8),
    /// No status: the connection does not begin with the PROXY header that it must have; the text says how.
    Proxy(&'static str),
    /// No status: the front end has given the request up (FastCGI).
    Aborted,
    /// No status, but a word of its own: FastCGI wants something else of the application than an answer.
    Role(u16),
    /// 501: a method that only proxies have: CONNECT.
    Method,
    /// 501: a transfer coding that is not built.
    TransferCoding,
    /// 503: no room for the request now.
    Busy,
    /// 503: more requests than are allowed wait for the application already.
    Crowded,
    /// 503: the request has waited for the application for too long.
    Stale,
    /// 502: what a backend has answered is none; the text says how.
    BadGateway(&'static str),
    /// 503: there is no backend for the request, or none can be reached.
    NoBackend,
    /// 504: a backend was reached and did not answer in time.
    GatewayTimeout,
    /// 505: an HTTP version that is not 1.x.
    Version,
}

impl Refusal {
    /// The status line's code and reason, `400 Bad Request`.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Aborted | Self::Proxy(_) => "400 Bad Request",
            Self::Timeout => "408 Request Timeout",
            Self::BodyTooLarge => "413 Content Too Large",
            Self::TargetTooLong => "414 URI Too Long",
            Self::Expectation => "417 Expectation Failed",
            Self::HeadTooLarge | Self::TooManyFields => "431 Request Header Fields Too Large",
            Self::Failed => "500 Internal Server Error",
            Self::Method | Self::TransferCoding | Self::Modifier(_) | Self::Role(_) => "501 Not Implemented",
            Self::BadGateway(_) => "502 Bad Gateway",
            Self::Busy | Self::Crowded | Self::Stale | Self::NoBackend => "503 Service Unavailable",
            Self::GatewayTimeout => "504 Gateway Timeout",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }

    /// After so many seconds the client may try again: the value of a `Retry-After` field (RFC 9110 10.2.3).
    #[must_use]
    pub fn retry_after(self) -> Option<&'static str> {
        matches!(self, Self::Busy | Self::Crowded | Self::Stale | Self::NoBackend).then_some("1")
    }

    /// What was wrong, for the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Malformed(how) | Self::Proxy(how) | Self::BadGateway(how) => how,
            Self::Timeout => "the request did not arrive in time",
            Self::BodyTooLarge => "the body is larger than allowed",
            Self::TargetTooLong => "the request target is longer than buffer-size",
            Self::Expectation => "an unknown expectation",
            Self::HeadTooLarge => "the request head is larger than buffer-size",
            Self::TooManyFields => "the request head has too many fields",
            Self::Failed => "the application failed",
            Self::Modifier(_) => "a kind of uwsgi packet that is not served here",
            Self::Aborted => "the front end has given the request up",
            Self::Role(_) => "a FastCGI role that is not served: responder is",
            Self::Method => "a method for proxies only",
            Self::TransferCoding => "an unknown transfer coding",
            Self::Busy => "no room for the request",
            Self::Crowded => "more requests wait than request-queue allows",
            Self::NoBackend => "no backend can be reached",
            Self::GatewayTimeout => "the backend did not answer in time",
            Self::Stale => "the request has waited longer than request-queue-timeout",
            Self::Version => "not HTTP/1.0 or HTTP/1.1",
        }
    }
}
