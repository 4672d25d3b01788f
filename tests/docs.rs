//! Pages that are made of the code are as the code is; `tools/docs` makes them anew. Links between pages lead somewhere.

use std::path::{Path, PathBuf};

use crate::harness::project;

#[test]
fn the_page_for_those_who_come_from_uwsgi_is_up_to_date() {
    let (path, page) = (project().join("docs/migrating.md"), ruwsgi_options::migrating());
    if std::env::var_os("RUWSGI_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = have.lines().zip(page.lines()).find(|(have, page)| have != page);
    assert!(have == page, "docs/migrating.md is stale: run tools/docs\n{stale:?}");
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
