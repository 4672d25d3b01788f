//! Pages that are made of the code are as the code is; `tools/docs` makes them anew. Links between pages lead somewhere.

use std::path::{Path, PathBuf};

use crate::harness::project;

/// Compares a file with what it is made of, or makes it anew.
fn is_up_to_date(name: &str, page: &str) {
    let path = project().join(name);
    if std::env::var_os("RUWSGI_WRITE_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = have.lines().zip(page.lines()).find(|(have, page)| have != page);
    assert!(have == page, "{name} is stale: run tools/docs\n{stale:?}");
}

#[test]
fn the_page_for_those_who_come_from_uwsgi_is_up_to_date() {
    is_up_to_date("docs/migrating.md", &ruwsgi_options::migrating());
}

#[test]
fn the_page_of_all_options_is_up_to_date() {
    is_up_to_date("docs/options.md", &ruwsgi_options::options());
}

#[test]
fn the_manual_page_is_up_to_date() {
    is_up_to_date("docs/ruwsgi.1", &ruwsgi_options::manual());
}

#[test]
fn the_readme_counts_the_options_right() {
    let readme = std::fs::read_to_string(project().join("README.md")).unwrap();
    let (begin, end) = ("<!-- tools/docs -->\n", "\n<!-- end -->");
    let (before, rest) = readme.split_once(begin).unwrap();
    let (_, behind) = rest.split_once(end).unwrap();
    is_up_to_date("README.md", &[before, begin, &ruwsgi_options::summary(), end, behind].concat());
}

/// All Markdown files of the project.
fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            if name != "target" && !name.as_encoded_bytes().starts_with(b".") {
                pages(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let (mut found, mut links) = (Vec::new(), 0);
    pages(project(), &mut found);
    for page in &found {
        let text = std::fs::read_to_string(page).unwrap();
        for rest in text.split("](").skip(1) {
            let target = rest.split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            assert!(page.parent().unwrap().join(target).exists(), "{}: no {target}", page.display());
        }
    }
    assert!(links > 10, "{links} links");
}
