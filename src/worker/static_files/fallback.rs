//! `static-fallback`: a page for paths that have no file, where an application in the browser knows them by their path.
//! Only decides which page it is, and whether the request is one for a page.

use std::path::{Path, PathBuf};

use ruwsgi_options::{StaticFiles as Options, StaticMap};
use ruwsgi_wire::{Key, Vars};

use super::fields::weighted;
use super::lookup::absolute;

/// What the options say.
pub(super) struct Fallback {
    /// The longest prefix first.
    pages: Vec<(String, PathBuf)>,
    except: Vec<String>,
}

impl Fallback {
    /// `None`: there are no such pages.
    pub(super) fn new(options: &Options) -> Option<Self> {
        let page = |map: &StaticMap| (map.prefix.clone(), absolute(&map.path));
        let mut pages: Vec<_> = options.static_fallback.iter().map(page).collect();
        pages.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        (!pages.is_empty()).then(|| Self { pages, except: options.static_fallback_except.clone() })
    }

    /// The page for a request, if it is one for a page: a browser that goes somewhere asks for `text/html` by name; a
    /// script that wants data, or a tag that wants a script or an image, does not.
    pub(super) fn page(&self, vars: &Vars) -> Option<&Path> {
        let path = vars.key(Key::PathInfo).unwrap_or_default();
        if self.except.iter().any(|prefix| is_under(path, prefix)) {
            return None;
        }
        let (_, page) = self.pages.iter().find(|(prefix, _)| is_under(path, prefix))?;
        let html = |(named, weight): (&[u8], u16)| {
            let types: [&[u8]; 2] = [b"text/html", b"application/xhtml+xml"];
            weight > 0 && types.iter().any(|html| named.eq_ignore_ascii_case(html))
        };
        weighted(vars, "Accept").any(html).then_some(page)
    }
}

/// By whole names: `/app` is over `/app` and `/app/x`, not over `/apple`.
fn is_under(path: &[u8], prefix: &str) -> bool {
    let rest = path.strip_prefix(prefix.trim_end_matches('/').as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_for_those_who_ask_for_one() {
        let page = |prefix: &str, path: &str| StaticMap { prefix: prefix.into(), path: path.into() };
        let options = Options {
            static_fallback: vec![page("/", "/top.html"), page("/app/", "/app.html")],
            static_fallback_except: vec!["/api".into(), "/app/raw".into()],
            ..Options::default()
        };
        let fallback = Fallback::new(&options).unwrap();
        let html = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (path, accept, expected) in [
            ("/", html, Some("/top.html")),
            ("/a/b.c", html, Some("/top.html")),
            ("/app", html, Some("/app.html")),
            ("/app/", html, Some("/app.html")),
            ("/app/x", "TEXT/HTML", Some("/app.html")),
            ("/apple", html, Some("/top.html")),
            ("/app/x", "*/*", None),
            ("/app/x", "text/html;q=0", None),
            ("/app/x", "application/json", None),
            ("/app/x", "", None),
            ("/api", html, None),
            ("/api/x", html, None),
            ("/apis", html, Some("/top.html")),
            ("/app/raw/x", html, None),
        ] {
            let mut vars = Vars::default();
            vars.set(Key::PathInfo, path.as_bytes());
            let (name, value) = (vars.add(b"Accept"), vars.add(accept.as_bytes()));
            vars.push_field(name, value);
            assert_eq!(fallback.page(&vars), expected.map(Path::new), "{path} {accept}");
        }
        assert!(Fallback::new(&Options::default()).is_none());
    }
}
