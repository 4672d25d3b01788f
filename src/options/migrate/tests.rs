//! A migrated file means the same, whatever stands in it.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::directive::Origin;
use crate::load::survey;
use crate::random::Random;
use crate::source::Source;

/// A folder of a test, which goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ruwsgi-migrate-{test}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).expect("a folder");
        Self(folder)
    }

    /// The records of `app.ini` with this text.
    fn read(&self, text: &[u8]) -> Vec<Record> {
        fs::write(self.0.join("app.ini"), text).expect("a file");
        let argv = ["ruwsgi", "--ini", "app.ini"].map(Into::into).to_vec();
        survey(&Source { argv, cwd: self.0.clone(), ..Source::default() }, false).records
    }

    /// The new text, and whether it means the same as the old one.
    fn migrate(&self, text: &[u8]) -> (BString, bool) {
        let old = self.read(text);
        let new = migrate(Path::new("app.ini"), text, &old).text;
        let same = meant(&old) == meant(&self.read(&new));
        (new, same)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What options mean that work, and the lines of all others that would be missed.
fn meant(records: &[Record]) -> (Config, Vec<Directive>) {
    let sure = records.iter().filter(|record| !record.unsure).map(|record| &record.directive);
    let needed = |said: &&Directive| match known(&said.name) {
        Some(Known::Works) => false,
        Some(Known::Absent(topic)) => topic.class != Class::Harmless,
        None => true,
    };
    let nowhere = |said: &Directive| Directive { origin: Origin::Default, ..said.clone() };
    (without_plugins(meaning(sure.clone())), sure.filter(needed).map(nowhere).collect())
}

#[test]
fn what_is_not_needed_goes_and_the_rest_is_cleaned() {
    let folder = Folder::new("clean");
    let old =
        b"[uwsgi]\r\n\r\n\r\n# many\nworkers=2\nprocesses = 4\nmaster = 1\nharakiri = 30 ; seconds\n\n\nhttp=:80\n\n";
    let (new, same) = folder.migrate(old);
    let head = new.split_str("\n; ").next().unwrap_or_default();
    assert_eq!(head.as_bstr(), "[uwsgi]\n\n# many\nprocesses = 4");
    assert!(same && new.contains_str("; seconds\nharakiri = 30\n\nhttp = :80\n"), "{new}");
    assert!(new.contains_str(";   harakiri = 30 ; seconds was read as harakiri = 30\n"), "{new}");
}

#[test]
fn what_others_need_stays() {
    let folder = Folder::new("needed");
    let text = "\
[uwsgi]
threads = 1
harakiri = %(threads)0
if-exists = /
processes = 1
endif =
for = a b
pythonpath = %(_)
endfor =
uid = true
procname = %n
";
    let (new, same) = folder.migrate(text.as_bytes());
    assert!(same && new.starts_with(text.as_bytes()), "{new}");
}

#[test]
fn a_wrong_line_stays_wrong() {
    let folder = Folder::new("wrong");
    let (new, _) = folder.migrate(b"[uwsgi]\nprocesses = none\nchmod-socket = true\nmaster = true\n");
    assert!(new.starts_with(b"[uwsgi]\nprocesses = none\nchmod-socket = true\n"), "{new}");
}

/// The configurations of other people, where they are.
#[test]
fn real_files_mean_the_same_afterwards() {
    let Ok(corpus) = fs::read_dir("../../../shared/corpus") else { return };
    let folder = Folder::new("corpus");
    let (mut count, mut wrong) = (0, Vec::new());
    for file in
        corpus.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "ini"))
    {
        let (new, same) = folder.migrate(&fs::read(&file).expect("a file"));
        count += 1;
        if !same {
            wrong.push(format!("{}:\n{new}", file.display()));
        }
        let (again, _) = folder.migrate(&new);
        let body = |text: &BString| text.split_str(notes::BEGIN).next().unwrap_or_default().trim_ascii_end().to_vec();
        if body(&again) != body(&new) {
            wrong.push(format!("{}: not the same a second time\n{again}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{} of {count}\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 100, "{count}");
}

#[test]
fn whatever_stands_in_a_file_means_the_same() {
    let folder = Folder::new("random");
    let mut random = Random::new(11);
    let lines = [
        "master = true",
        "processes = 4",
        "workers = 2 ; two",
        "pp = a",
        "pythonpath = b",
        "http = :80",
        "socket = /s",
        "protocol = http",
        "x = %(processes)",
        "set = threads=2",
        "set-ph = y=1",
        "ini = :b",
        "vacuum = off",
        "[b]",
        "[uwsgi]",
        "vacuum",
        "if-exists = /",
        "endif",
        "log-date = %%Y",
        "chmod = 1",
        "# 50%",
        "strict",
        "env = A=%(x)",
        "threads = %(y)1",
        "reaper = 1",
        "stats = :1",
        "nope = a",
        "lazy-apps = True",
        "plugins = python3,http",
        "",
    ];
    for _ in 0..400 {
        let text: String = (0..random.below(14)).map(|_| format!("{}\n", random.pick(&lines))).collect();
        let text = format!("[uwsgi]\n{text}");
        let (new, same) = folder.migrate(text.as_bytes());
        assert!(same, "{text}\n{new}");
    }
}
