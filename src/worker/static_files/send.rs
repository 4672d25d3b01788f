//! Answering with a file that was found: the head, and how much of the file follows. Called by `StaticFiles::answer`.

use std::os::unix::ffi::OsStrExt;

use ruwsgi_options::{Encoding, ServedBy};
use ruwsgi_wire::{BadResponse, Key, Vars};

use super::conditions::{self, Verdict, Version};
use super::lookup::Hit;
use super::multipart::Multipart;
use super::{StaticFiles, fields};
use crate::now::imf_date;
use crate::response::Response;

/// Which form of a file is sent, and what that depends on.
#[derive(Default)]
struct Chosen {
    encoding: Option<Encoding>,
    /// Fields of the request, for `Vary`.
    by: Vec<&'static str>,
}

impl StaticFiles {
    /// `in_place`: the file stands for a path that has none. `now`: in seconds since 1970.
    pub(super) fn send(
        &self,
        mut hit: Hit<'_>,
        in_place: bool,
        (vars, now): (&Vars, i64),
        response: &mut Response<'_>,
    ) -> Result<(), BadResponse> {
        if let ServedBy::FrontEnd(field) = self.served_by {
            return self.leave_to_front_end(&hit, field, (vars, now), response);
        }
        let mut chosen = self.choose(&mut hit, vars);
        if in_place {
            chosen.by.insert(0, "Accept");
        }
        let head = vars.key(Key::RequestMethod) == Some(b"HEAD");
        let version = Version::of(&hit.facts, chosen.encoding, now);
        let verdict = conditions::decide(vars, &version, self.honour_range && !head);
        response.begin(verdict.status())?;
        let own_type = self.types.of(&hit.path);
        let mut parts = None;
        let (first, length) = match &verdict {
            Verdict::Whole => (0, version.size),
            Verdict::Part(part) => (part.first, part.length()),
            Verdict::Parts(several) => {
                let multipart = Multipart::new(several, own_type, version.size);
                (0, parts.insert(multipart).length)
            }
            Verdict::NotModified => {
                // RFC 9110 15.4.5: what a 200 would say of its freshness.
                self.expires((&hit, own_type), vars, now, response)?;
                version.validators(response)?;
                return chosen.vary(response);
            }
            Verdict::Unsatisfiable => {
                response.field(b"Content-Range", format!("bytes */{}", version.size).as_bytes())?;
                return response.field(b"Content-Length", b"0");
            }
            Verdict::Failed => return response.field(b"Content-Length", b"0"),
        };
        // The order is uWSGI's; what stands behind Last-Modified is ours.
        if let Some(encoding) = chosen.encoding {
            response.field(b"Content-Encoding", encoding.name().as_bytes())?;
        }
        let media_type = parts.as_ref().map(|parts| &*parts.media_type).or(own_type);
        if let Some(media_type) = media_type {
            response.field(b"Content-Type", media_type.as_bytes())?;
        }
        self.expires((&hit, own_type), vars, now, response)?;
        response.field(b"Content-Length", itoa::Buffer::new().format(length).as_bytes())?;
        if let Verdict::Part(part) = verdict {
            let range = format!("bytes {}-{}/{}", part.first, part.last, version.size);
            response.field(b"Content-Range", range.as_bytes())?;
        }
        version.validators(response)?;
        if self.honour_range {
            response.field(b"Accept-Ranges", b"bytes")?;
        }
        chosen.vary(response)?;
        if !head && length > 0 {
            // A client that is gone, or a file that shrinks: the end of the response tells.
            let _ = match parts {
                Some(parts) => response.hand_over_slices(hit.file, parts.slices),
                None => response.hand_over(hit.file, first, length),
            };
        }
        Ok(())
    }

    /// The front end opens the file anew, and sees to conditions, ranges and `HEAD` itself.
    fn leave_to_front_end(
        &self,
        hit: &Hit<'_>,
        field: &str,
        (vars, now): (&Vars, i64),
        response: &mut Response<'_>,
    ) -> Result<(), BadResponse> {
        response.begin(b"200 OK")?;
        let own_type = self.types.of(&hit.path);
        if let Some(media_type) = own_type {
            response.field(b"Content-Type", media_type.as_bytes())?;
        }
        self.expires((hit, own_type), vars, now, response)?;
        let target = hit.target();
        let path = target.as_deref().unwrap_or(&hit.path).as_os_str().as_bytes();
        response.field(field.as_bytes(), &escaped(path))?;
        response.field(b"Last-Modified", &imf_date(hit.facts.modified))?;
        response.length(0);
        Ok(())
    }

    /// The compressed file beside this one that the client likes best, if there is one: it takes its place.
    fn choose(&self, hit: &mut Hit<'_>, vars: &Vars) -> Chosen {
        let Some(compressed) = self.compressed.as_ref().filter(|rules| rules.covers(&hit.path, || hit.target())) else {
            return Chosen::default();
        };
        let mut chosen = Chosen { encoding: None, by: vec!["Accept-Encoding"] };
        if fields::lines(vars, "Accept-Encoding").next().is_none() {
            return chosen;
        }
        for encoding in compressed.accepted(vars) {
            if let Some((file, facts)) = self.place.beside(hit, encoding.suffix()) {
                (hit.file, hit.facts) = (file, facts);
                chosen.encoding = Some(encoding);
                break;
            }
        }
        chosen
    }

    fn expires(
        &self,
        (hit, media_type): (&Hit<'_>, Option<&str>),
        vars: &Vars,
        now: i64,
        response: &mut Response<'_>,
    ) -> Result<(), BadResponse> {
        match self.expires.of(&hit.path, media_type, vars, (now, hit.facts.modified)) {
            Some(second) => response.field(b"Expires", &imf_date(second)),
            None => Ok(()),
        }
    }
}

impl Chosen {
    fn vary(&self, response: &mut Response<'_>) -> Result<(), BadResponse> {
        if self.by.is_empty() { Ok(()) } else { response.field(b"Vary", self.by.join(", ").as_bytes()) }
    }
}

/// A path as front ends read it: they resolve `%` and, in nginx, know a query.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(path.len());
    for byte in path {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' | b'+' | b',' | b'=' | b'@' => {
                escaped.push(*byte);
            }
            _ => escaped.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_for_a_front_end_has_nothing_that_it_would_read_otherwise() {
        assert_eq!(escaped(b"/srv/a-b_c.d/e"), b"/srv/a-b_c.d/e");
        assert_eq!(escaped("/a b%?#\r\nä".as_bytes()), b"/a%20b%25%3F%23%0D%0A%C3%A4");
    }
}
