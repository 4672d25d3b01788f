//! What `admin` answers: whether the master lives, and whether requests are answered. Without Python and without a
//! worker, so that a probe never waits behind requests.

/// How the instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// A worker accepts requests, or one is started as soon as somebody connects.
    Ready,
    /// No worker accepts yet.
    Starting,
    /// Requests are still answered; whoever asks should send no more.
    Stopping,
    /// Nobody accepts until `resume`.
    Paused,
}

/// The response to a request for this path.
pub(super) fn answer(path: &str, health: Health) -> Vec<u8> {
    let (status, text) = match (path, health) {
        ("/livez", _) => ("200 OK", "alive"),
        ("/readyz" | "/startupz", Health::Ready) => ("200 OK", "ready"),
        ("/startupz", Health::Stopping | Health::Paused) => ("200 OK", "started"),
        ("/readyz" | "/startupz", Health::Starting) => ("503 Service Unavailable", "starting"),
        ("/readyz", Health::Stopping) => ("503 Service Unavailable", "stopping"),
        ("/readyz", Health::Paused) => ("503 Service Unavailable", "paused"),
        _ => ("404 Not Found", "there are /livez, /readyz, /startupz and /stacks"),
    };
    over_http(status, "text/plain", format!("{text}\n").as_bytes())
}

/// A whole response; the connection is closed behind it.
pub(super) fn over_http(status: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
         Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_reads_the_status() {
        let status = |path, health| String::from_utf8(answer(path, health)).unwrap()[9..12].to_owned();
        let all = [Health::Ready, Health::Starting, Health::Stopping, Health::Paused];
        assert_eq!(all.map(|health| status("/livez", health)), ["200"; 4]);
        assert_eq!(all.map(|health| status("/readyz", health)), ["200", "503", "503", "503"]);
        assert_eq!(all.map(|health| status("/startupz", health)), ["200", "503", "200", "200"]);
        assert_eq!(status("/", Health::Ready), "404");
        assert!(answer("/readyz", Health::Ready).ends_with(b"\r\n\r\nready\n"));
    }
}
