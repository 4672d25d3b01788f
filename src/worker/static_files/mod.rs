//! Files that are served without the application: `static-map`, `check-static` and what belongs to them.
//!
//! [`crate::turn`] asks before it runs the application. As in uWSGI: only GET and HEAD; `static-skip-ext`, then every
//! `check-static`, every `static-map`, every `static-map2`, and the first that has the file serves it; a prefix is a
//! plain one (`/foo` is one of `/foobar`); where there is no file, and for a directory without an index, the request
//! goes on to the application.
//!
//! Other than in uWSGI, what a rule covers but must not be served is not left to the application, it is a 404: see
//! [`lookup`]. Nothing here remembers a file: what was changed, made or replaced is served at once.

mod conditions;
mod expires;
mod lookup;
mod types;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use ruwsgi_options::StaticFiles as Options;
use ruwsgi_sys::file::{self, Facts};
use ruwsgi_wire::{BadResponse, Key, Vars};

use crate::now::{Moderation, imf_date};
use crate::response::Response;
use conditions::{Verdict, Version};
use expires::Expires;
use lookup::{Lookup, Place};
use types::Types;

/// What the options say about static files.
pub(crate) struct StaticFiles {
    place: Place,
    types: Types,
    expires: Expires,
    honour_range: bool,
    told: Moderation,
    stepwise_told: AtomicBool,
}

/// A file that is to be sent.
struct Hit {
    file: OwnedFd,
    facts: Facts,
    /// Its path, as the rule and the request make it.
    path: PathBuf,
}

impl StaticFiles {
    /// `None`: there are no static files.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        Some(Self {
            place: Place::new(options)?,
            types: Types::new(&options.mimefile),
            expires: Expires::new(options),
            honour_range: options.honour_range,
            told: Moderation::default(),
            stepwise_told: AtomicBool::new(false),
        })
    }

    /// Whether a file might answer this request: nothing was looked at yet.
    pub(crate) fn covers(&self, vars: &Vars) -> bool {
        matches!(vars.key(Key::RequestMethod), Some(b"GET" | b"HEAD")) && self.place.covers(vars)
    }

    /// Answers a request that is covered, unless it is for the application. `now`: in seconds since 1970.
    pub(crate) fn answer(&self, vars: &Vars, now: i64, response: &mut Response<'_>) -> bool {
        let lookup = self.place.look(vars);
        if file::is_stepwise() && !self.stepwise_told.swap(true, Ordering::Relaxed) {
            tracing::info!("this system has no openat2: the paths of static files are resolved step by step");
        }
        let answered = match lookup {
            Lookup::File(file, facts, path) => self.send(Hit { file, facts, path }, vars, now, response),
            Lookup::Nothing => return false,
            Lookup::Unreadable(path, error) => {
                self.tell(now, format_args!("{}: {error}: the application answers", path.display()));
                return false;
            }
            Lookup::Refused(why) => {
                let uri = vars.key(Key::RequestUri).unwrap_or_default().escape_ascii();
                self.tell(now, format_args!("{uri}: {why}: answered 404"));
                not_found(response)
            }
            Lookup::Failed(path, error) => {
                self.tell(now, format_args!("{}: {error}: answered 500", path.display()));
                response.fail();
                Ok(())
            }
        };
        // A media type of the user's that is no text.
        if answered.is_err() {
            response.fail();
        }
        true
    }

    /// At most one line a second: clients choose what they ask for, and the log is not theirs.
    fn tell(&self, now: i64, what: std::fmt::Arguments<'_>) {
        if let Some(before) = self.told.count(now) {
            let more = if before > 0 { format!(" ({before} more before)") } else { String::new() };
            tracing::warn!("static files: {what}{more}");
        }
    }

    fn send(&self, hit: Hit, vars: &Vars, now: i64, response: &mut Response<'_>) -> Result<(), BadResponse> {
        let head = vars.key(Key::RequestMethod) == Some(b"HEAD");
        let version = Version::of(&hit.facts, now);
        let verdict = conditions::decide(vars, &version, self.honour_range && !head);
        response.begin(verdict.status())?;
        let (first, length) = match verdict {
            Verdict::Whole => (0, version.size),
            Verdict::Part { first, last } => (first, last - first + 1),
            Verdict::NotModified => {
                // RFC 9110 15.4.5: what a 200 would say of its freshness.
                self.expires(&hit, vars, now, response)?;
                return version.validators(response);
            }
            Verdict::Unsatisfiable => {
                response.field(b"Content-Range", format!("bytes */{}", version.size).as_bytes())?;
                return response.field(b"Content-Length", b"0");
            }
            Verdict::Failed => return response.field(b"Content-Length", b"0"),
        };
        // The order is uWSGI's; what stands behind Last-Modified is ours.
        if let Some(media_type) = self.types.of(&hit.path) {
            response.field(b"Content-Type", media_type.as_bytes())?;
        }
        self.expires(&hit, vars, now, response)?;
        response.field(b"Content-Length", itoa::Buffer::new().format(length).as_bytes())?;
        if let Verdict::Part { first, last } = verdict {
            response.field(b"Content-Range", format!("bytes {first}-{last}/{}", version.size).as_bytes())?;
        }
        version.validators(response)?;
        if self.honour_range {
            response.field(b"Accept-Ranges", b"bytes")?;
        }
        if !head && length > 0 {
            // A client that is gone, or a file that shrinks: the end of the response tells.
            let _ = response.hand_over(hit.file, first, length);
        }
        Ok(())
    }

    fn expires(&self, hit: &Hit, vars: &Vars, now: i64, response: &mut Response<'_>) -> Result<(), BadResponse> {
        match self.expires.of(&hit.path, self.types.of(&hit.path), vars, (now, hit.facts.modified)) {
            Some(second) => response.field(b"Expires", &imf_date(second)),
            None => Ok(()),
        }
    }
}

/// uWSGI's words for it.
fn not_found(response: &mut Response<'_>) -> Result<(), BadResponse> {
    const BODY: &[u8] = b"Not Found";
    response.begin(b"404 Not Found")?;
    response.field(b"Content-Type", b"text/plain")?;
    response.length(BODY.len() as u64);
    // A client that is gone: the end of the response tells.
    let _ = response.write(BODY);
    Ok(())
}
