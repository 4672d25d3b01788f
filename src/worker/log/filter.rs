//! Which requests have a line: all, or with `disable-logging` those that `log-4xx` and its kin name all the same.

use ruwsgi_options::Logging;

use crate::response::Sent;

/// What the options ask for.
#[derive(Debug)]
pub(super) struct Filter {
    all: bool,
    client_errors: bool,
    server_errors: bool,
    empty: bool,
    from_file: bool,
    broken: bool,
    /// Milliseconds.
    slow: Option<u64>,
    /// Bytes of the body.
    big: Option<u64>,
}

impl Filter {
    /// From the options; `None`: no request will ever be wanted.
    pub(super) fn of(logging: &Logging) -> Option<Self> {
        let filter = Self {
            all: !logging.disable_logging,
            client_errors: logging.log_4xx,
            server_errors: logging.log_5xx,
            empty: logging.log_zero,
            from_file: logging.log_sendfile,
            broken: logging.log_ioerror,
            slow: logging.log_slow,
            big: logging.log_big,
        };
        let Self { all, client_errors, server_errors, empty, from_file, broken, slow, big } = &filter;
        let flags = [all, client_errors, server_errors, empty, from_file, broken];
        (flags.into_iter().any(|on| *on) || slow.is_some() || big.is_some()).then_some(filter)
    }

    /// Has this request a line?
    pub(super) fn wants(&self, sent: &Sent, micros: u64, read_errors: u32) -> bool {
        self.all
            || self.client_errors && (400..500).contains(&sent.status)
            || self.server_errors && (500..600).contains(&sent.status)
            || self.empty && sent.body_bytes == 0
            || self.from_file && sent.from_file
            || self.broken && sent.write_errors + read_errors > 0
            || self.slow.is_some_and(|slow| micros / 1000 >= slow)
            || self.big.is_some_and(|big| sent.body_bytes >= big)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::config;

    #[test]
    fn disable_logging_leaves_what_is_named() {
        let wants = |options: &[(&str, &str)], status, body_bytes, micros| {
            let options = [&[("disable-logging", "true")], options].concat();
            let filter = Filter::of(&config(&options).logging).unwrap();
            filter.wants(&Sent { status, body_bytes, ..Sent::default() }, micros, 0)
        };
        let client = [("log-4xx", "true")];
        assert!(wants(&client, 404, 1, 0) && wants(&client, 499, 1, 0));
        assert!(!wants(&client, 200, 1, 0) && !wants(&client, 500, 1, 0));
        let server = [("log-5xx", "true")];
        assert!(wants(&server, 500, 1, 0) && wants(&server, 599, 1, 0) && !wants(&server, 404, 1, 0));
        let slow = [("log-slow", "200")];
        assert!(wants(&slow, 200, 1, 200_000) && !wants(&slow, 200, 1, 199_999));
        assert!(wants(&[("log-zero", "1")], 200, 0, 0) && !wants(&[("log-zero", "1")], 200, 1, 0));
        assert!(wants(&[("log-big", "10")], 200, 10, 0) && !wants(&[("log-big", "10")], 200, 9, 0));
        let both = [("log-4xx", "true"), ("log-slow", "200")];
        assert!(wants(&both, 404, 1, 0) && wants(&both, 200, 1, 300_000) && !wants(&both, 200, 1, 0));
    }

    #[test]
    fn everything_is_logged_unless_somebody_says_otherwise() {
        let filter = |options: &[(&str, &str)]| Filter::of(&config(options).logging);
        assert!(filter(&[]).unwrap().wants(&Sent::default(), 0, 0));
        assert!(filter(&[("log-4xx", "true")]).unwrap().wants(&Sent { status: 200, ..Sent::default() }, 0, 0));
        assert!(filter(&[("disable-logging", "true")]).is_none());
        assert!(filter(&[("disable-logging", "true"), ("log-slow", "0")]).is_none());
    }

    #[test]
    fn files_and_clients_that_are_gone_can_be_named() {
        let wants = |option: &str, sent: Sent, read_errors| {
            let options = [("disable-logging", "true"), (option, "true")];
            Filter::of(&config(&options).logging).unwrap().wants(&sent, 0, read_errors)
        };
        assert!(wants("log-sendfile", Sent { from_file: true, ..Sent::default() }, 0));
        assert!(!wants("log-sendfile", Sent { write_errors: 1, ..Sent::default() }, 1));
        assert!(wants("log-ioerror", Sent { write_errors: 1, ..Sent::default() }, 0));
        assert!(wants("log-ioerror", Sent::default(), 1));
        assert!(!wants("log-ioerror", Sent { from_file: true, ..Sent::default() }, 0));
    }
}
