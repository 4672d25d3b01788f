//! The statistics as an instance tells them: the part of uWSGI's document that is shown. What is not there is zero, since
//! releases differ in what they tell.

use serde::Deserialize;

/// All of it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Document {
    pub version: String,
    pub listen_queue: u64,
    pub listen_queue_errors: u64,
    pub pid: i64,
    pub sockets: Vec<Socket>,
    pub workers: Option<Vec<Worker>>,
    pub vassals: Option<Vec<Vassal>>,
}

/// A listening socket.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Socket {
    pub name: String,
    pub proto: String,
    pub queue: u64,
    pub max_queue: u64,
}

/// A worker. Times are microseconds, sizes bytes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Worker {
    pub id: u64,
    pub pid: i64,
    pub requests: u64,
    pub exceptions: u64,
    pub harakiri_count: u64,
    pub status: String,
    pub rss: u64,
    pub vsz: u64,
    pub running_time: u64,
    pub last_spawn: u64,
    pub respawn_count: u64,
    pub tx: u64,
    pub avg_rt: u64,
    pub cores: Vec<Core>,
}

/// A core.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Core {
    pub id: u64,
    pub requests: u64,
    pub in_request: u64,
    pub vars: Vec<String>,
    pub req_info: Request,
}

/// What is told of the request of a core.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Request {
    pub request_start: u64,
}

/// An instance below an emperor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Vassal {
    pub id: String,
    pub pid: i64,
    pub ready: u64,
    pub respawns: u64,
}

impl Document {
    /// Reads it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("nothing is told there: is it the address of stats?".to_owned());
        }
        // Request variables may be any bytes: uWSGI writes them as they came.
        let text = String::from_utf8_lossy(bytes);
        let document: Self = serde_json::from_str(&text).map_err(|error| format!("no statistics: {error}"))?;
        if document.workers.is_none() && document.vassals.is_none() {
            return Err("no statistics of an instance: it has no workers and no vassals".to_owned());
        }
        Ok(document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_zero_and_what_is_more_is_nothing() {
        let text =
            br#"{"new": [1], "workers": [{"id": 1, "status": "idle", "cores": [{"id": 0, "vars": ["A=\u00e9"]}]}]}"#;
        let document = Document::parse(text).unwrap();
        let workers = document.workers.unwrap();
        assert_eq!((workers[0].id, workers[0].requests, workers[0].status.as_str()), (1, 0, "idle"));
        assert_eq!(workers[0].cores[0].vars, ["A=é"]);
    }

    #[test]
    fn what_are_no_statistics_is_told() {
        let why = |bytes: &[u8]| Document::parse(bytes).unwrap_err();
        assert!(why(b"").contains("nothing is told there"));
        assert!(why(b"alive\n").contains("no statistics: expected"));
        assert!(why(b"{}").contains("no workers and no vassals"));
        assert!(why(br#"{"workers": [{"id": "x"}]}"#).contains("no statistics"));
        // A byte that is no text does not hide the rest.
        assert!(Document::parse(b"{\"workers\": [], \"cwd\": \"\xff\"}").is_ok());
    }
}
