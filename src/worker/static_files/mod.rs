//! Files that are served without the application: `static-map`, `check-static` and what belongs to them.
//!
//! [`crate::turn`] asks before it runs the application. As in uWSGI: only GET and HEAD; `static-skip-ext`, then every
//! `check-static`, every `static-map`, every `static-map2`, then `check-static-docroot`, and the first that has the file
//! serves it; a prefix is a plain one (`/foo` is one of `/foobar`); where there is no file, and for a directory without an
//! index, `static-fallback` may have a page, and otherwise the request goes on to the application.
//!
//! Other than in uWSGI, what a rule covers but must not be served is not left to the application, it is a 404: see
//! [`lookup`]. Nothing here remembers a file: what was changed, made or replaced is served at once.

mod compressed;
mod conditions;
mod expires;
mod fallback;
mod fields;
mod lookup;
mod multipart;
mod ranges;
mod send;
mod types;

use std::sync::atomic::{AtomicBool, Ordering};

use ruwsgi_options::{ServedBy, StaticFiles as Options};
use ruwsgi_sys::file;
use ruwsgi_wire::{BadResponse, Key, Vars};

use crate::now::Moderation;
use crate::response::Response;
use compressed::Compressed;
use expires::Expires;
use fallback::Fallback;
use lookup::{Hit, Lookup, Place};
use types::Types;

/// What the options say about static files.
pub(crate) struct StaticFiles {
    place: Place,
    fallback: Option<Fallback>,
    compressed: Option<Compressed>,
    served_by: ServedBy,
    types: Types,
    expires: Expires,
    honour_range: bool,
    told: Moderation,
    stepwise_told: AtomicBool,
}

impl StaticFiles {
    /// `None`: there are no static files.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        if options.disable_sendfile {
            file::always_copy();
        }
        let (place, fallback) = (Place::new(options), Fallback::new(options));
        (!place.is_empty() || fallback.is_some()).then(|| Self {
            place,
            fallback,
            // A front end does not pass on how a file of its own is encoded.
            compressed: Compressed::new(options).filter(|_| options.file_serve_mode == ServedBy::Server),
            served_by: options.file_serve_mode,
            types: Types::new(&options.mimefile),
            expires: Expires::new(options),
            honour_range: options.honour_range,
            told: Moderation::default(),
            stepwise_told: AtomicBool::new(false),
        })
    }

    /// Whether a file might answer this request: nothing was looked at yet.
    pub(crate) fn covers(&self, vars: &Vars) -> bool {
        matches!(vars.key(Key::RequestMethod), Some(b"GET" | b"HEAD"))
            && (self.place.covers(vars) || self.page(vars).is_some())
    }

    /// Answers a request that is covered, unless it is for the application. `now`: in seconds since 1970.
    pub(crate) fn answer(&self, vars: &Vars, now: i64, response: &mut Response<'_>) -> bool {
        let lookup = if self.place.covers(vars) { self.place.look(vars) } else { Lookup::Nothing };
        if file::is_stepwise() && !self.stepwise_told.swap(true, Ordering::Relaxed) {
            tracing::info!("this system has no openat2: the paths of static files are resolved step by step");
        }
        let answered = match lookup {
            Lookup::File(hit) => self.send(hit, false, (vars, now), response),
            Lookup::Nothing => return self.fall_back(vars, now, response),
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

    fn page(&self, vars: &Vars) -> Option<&std::path::Path> {
        self.fallback.as_ref()?.page(vars)
    }

    /// There is no file: a page of `static-fallback` answers, or nobody here.
    fn fall_back(&self, vars: &Vars, now: i64, response: &mut Response<'_>) -> bool {
        let Some(page) = self.page(vars) else { return false };
        let trouble = match Hit::named(page) {
            Ok(Some(hit)) => {
                if self.send(hit, true, (vars, now), response).is_err() {
                    response.fail();
                }
                return true;
            }
            Ok(None) => "no file".to_owned(),
            Err(error) => error.to_string(),
        };
        self.tell(now, format_args!("static-fallback: {}: {trouble}: the application answers", page.display()));
        false
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
