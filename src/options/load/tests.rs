//! The whole way from files, words and variables to a configuration, and what real configurations make of it.

use super::*;
use crate::random::Random;
use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, gone at the end of the test.
pub(super) struct Room(PathBuf);

impl Room {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let room = std::env::temp_dir().join(format!("ruwsgi-options-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&room).expect("a directory");
        let room = Self(room.canonicalize().expect("a path"));
        files.iter().for_each(|(name, text)| room.write(name, text.as_bytes()));
        room
    }

    pub(super) fn write(&self, name: &str, text: &[u8]) {
        std::fs::write(self.0.join(name), text).expect("a file");
    }

    pub(super) fn source(&self, line: &str, env: &[(&str, &str)]) -> Source {
        Source {
            argv: ["ruwsgi"].into_iter().chain(line.split_whitespace()).map(OsString::from).collect(),
            env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: self.0.clone(),
            reloading: false,
        }
    }

    pub(super) fn load(&self, line: &str) -> Result<Request, Error> {
        load(&self.source(line, &[]))
    }

    pub(super) fn run(&self, line: &str) -> Loaded {
        run(self.load(line))
    }

    pub(super) fn error(&self, line: &str) -> String {
        self.load(line).expect_err("an error").to_string()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run(request: Result<Request, Error>) -> Loaded {
    match request {
        Ok(Request::Run(loaded)) => loaded,
        other => panic!("{other:?}"),
    }
}

/// `name=value` of each directive.
pub(super) fn said(loaded: &Loaded) -> Vec<String> {
    let show = |directive: &Directive| match &directive.value {
        Some(value) => format!("{}={value}", directive.name),
        None => directive.name.clone(),
    };
    loaded.config.directives.iter().map(show).collect()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

fn uwsgi(lines: &str) -> Room {
    Room::new(&[("app.ini", &format!("[uwsgi]\n{lines}"))])
}

#[test]
fn an_ini_file_is_read_with_its_places() {
    let room = uwsgi("http-socket = :8080\nmodule = app:application\nprocesses = 4\n");
    for line in ["--ini app.ini", "--ini=app.ini", "app.ini"] {
        let Loaded { config, warnings, files, .. } = room.run(line);
        assert_eq!(warnings, [], "{line}");
        assert_eq!(config.workers.processes, 4);
        assert_eq!(config.python.module.as_deref(), Some("app:application"));
        assert_eq!(config.listeners()[0].origin.to_string(), "app.ini:2");
        assert_eq!(config.origin("workers").map(ToString::to_string).as_deref(), Some("app.ini:4"));
        assert_eq!(files, [room.0.join("app.ini")]);
    }
}

#[test]
fn the_environment_is_first_and_files_without_an_option_are_last() {
    let room = Room::new(&[("a.ini", "[uwsgi]\npp = a\nprocesses = 3"), ("b.ini", "[uwsgi]\npp = b\n")]);
    let env = [
        ("RUWSGI_PYTHONPATH", "ours"),
        ("UWSGI_PYTHONPATH", "env"),
        ("UWSGI_PROCESSES", "9"),
        ("UWSGI_RELOADS", "3"),
        ("UWSGI_", "x"),
        ("PATH", "/bin"),
    ];
    let loaded = run(load(&room.source("b.ini --pp one --ini a.ini --pp two", &env)));
    assert_eq!(loaded.config.python.pythonpath, ["env", "ours", "one", "a", "two", "b"].map(PathBuf::from));
    assert_eq!(loaded.config.workers.processes, 3, "a file is said after the environment");
    assert_eq!(loaded.config.directives[0].origin, Origin::Env);
    let loaded = run(load(&room.source("-p 2", &env)));
    assert_eq!(loaded.config.workers.processes, 2);
    let loaded = run(load(&room.source("", &env)));
    assert_eq!(loaded.config.workers.processes, 9, "the environment alone is enough");
}

#[test]
fn help_version_and_nothing_at_all() {
    let room = uwsgi("");
    for line in ["--help", "-h", "--usage", "--ini app.ini --help", "--help --nonsense-is-not-read=1"] {
        match room.load(line) {
            Ok(Request::Help(text)) => assert!(text.contains("--processes"), "{text}"),
            Err(error) => assert!(line.contains("nonsense"), "{error}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    assert!(matches!(room.load("--version"), Ok(Request::Version(text)) if text == "ruwsgi 0.1.0\n"));
    for env in [&[][..], &[("UWSGI_IMAGE_TAG", "3")]] {
        match load(&room.source("", env)) {
            Ok(Request::Usage(text)) => assert_eq!(text.lines().count(), 4),
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(uwsgi("version = true").load("app.ini"), Ok(Request::Version(_))));
}

#[test]
fn a_section_can_be_asked_for() {
    let text = "[uwsgi]\nx=1\nini = :web\n[web]\nx=2\n[other]\nx=3\n";
    let room = Room::new(&[("app.ini", text)]);
    assert_eq!(said(&room.run("--ini app.ini:web")), ["ini=app.ini:web", "x=2"]);
    assert_eq!(said(&room.run("--ini app.ini")), ["ini=app.ini", "x=1", "ini=:web", "x=2"]);
    assert_eq!(said(&room.run("--ini app.ini:")), ["ini=app.ini:", "x=1", "ini=:web", "x=2"]);
    let loaded = room.run("--ini app.ini:nope -p 1");
    assert_eq!(warnings(&loaded), ["there is no section [nope], only [uwsgi] [web] [other] (app.ini:1)"]);
    let error = room.error("app.ini:web");
    assert_eq!(error, "unable to load configuration from app.ini:web: say --ini app.ini:web (command line)");
}

#[test]
fn the_last_file_that_was_read_is_the_one_that_a_bare_section_means() {
    let room = Room::new(&[
        ("a.ini", "[uwsgi]\nini = b.ini\nini = :two\n[two]\nx = a\n"),
        ("b.ini", "[uwsgi]\n[two]\nx = b\n"),
    ]);
    assert_eq!(said(&room.run("--ini a.ini")), ["ini=a.ini", "ini=b.ini", "ini=:two", "x=b"]);
    assert!(room.error("--ini :two").contains("no file was read before"));
}

#[test]
fn files_that_include_each_other_end() {
    let room = Room::new(&[
        ("a.ini", "[uwsgi]\nini = b.ini\n"),
        ("b.ini", "[uwsgi]\ninclude = a.ini\n"),
        ("c.ini", "[uwsgi]\nini = :%xa\n[%x]\nini = :%xa\n"),
        ("d.ini", "[uwsgi]\ninherit = d.ini\n"),
    ]);
    assert_eq!(room.error("--ini a.ini"), "cannot read a.ini: it includes itself (b.ini:2)");
    assert!(room.error("--ini c.ini:a").contains("it includes itself"));
    assert!(room.error("--ini d.ini").contains("it includes itself"));
}

#[test]
fn an_application_alone_is_served_on_the_usual_port_unless_somebody_says_where() {
    let room = uwsgi("http-socket = :1\n");
    assert_eq!(said(&room.run("app:application")), ["module=app:application", "http-socket=127.0.0.1:8000"]);
    assert_eq!(
        said(&room.run("app.py:site -p 2")),
        ["processes=2", "wsgi-file=app.py", "callable=site", "http-socket=127.0.0.1:8000"]
    );
    assert_eq!(said(&room.run("app:application app.ini")), ["module=app:application", "http-socket=:1"]);
    assert_eq!(said(&room.run("--bind :2 app:application")), ["http-socket=:2", "module=app:application"]);
}

#[test]
fn files_that_can_not_be_read_are_named_with_the_place() {
    let room = uwsgi("\nini = nope.ini\n");
    assert_eq!(room.error("--ini nope.ini"), "cannot read nope.ini: no such file or directory (command line)");
    assert_eq!(room.error("nope.ini"), "cannot read nope.ini: no such file or directory (command line)");
    assert_eq!(room.error("app.ini"), "cannot read nope.ini: no such file or directory (app.ini:3)");
    assert_eq!(room.error("--ini ."), "cannot read .: is a directory (command line)");
    for (word, part) in [
        ("app.yaml", "no such file"),
        ("app.xml", "no such file"),
        ("app.conf", "say --ini app.conf if it is an INI file"),
    ] {
        assert!(room.error(word).contains(part), "{}", room.error(word));
    }
    assert!(room.error("--ini http://localhost/app.ini").contains("nothing is read over the network"));
}

#[test]
fn magic_letters_work_in_the_whole_file_and_nowhere_else() {
    let room = uwsgi("; %%( \nchdir = %d\npidfile = %n-%x.pid\nenv = A=%%d\n[%n]\nz = 1\n[uwsgi]\nenv = S=%S\n");
    let loaded = room.run("--ini app.ini --env B=%d");
    let here = room.0.display();
    assert_eq!(
        said(&loaded),
        [
            "ini=app.ini".to_owned(),
            format!("chdir={here}/"),
            "pidfile=app-.pid".into(),
            "env=A=%d".into(),
            "env=S=app.ini".into(),
            "env=B=%d".into()
        ]
    );
    assert_eq!(said(&room.run("--ini app.ini:app")), ["ini=app.ini:app", "z=1"]);
    assert!(said(&room.run("app.ini")).contains(&"env=S=".to_owned()), "as in uWSGI");
}

#[test]
fn a_file_that_is_a_link_keeps_its_own_name() {
    let room = uwsgi("env = A=%p\n");
    std::os::unix::fs::symlink("app.ini", room.0.join("link.ini")).expect("a link");
    std::os::unix::fs::symlink(".", room.0.join("dir")).expect("a link");
    let here = room.0.display();
    assert_eq!(said(&room.run("--ini link.ini"))[1], format!("env=A={here}/link.ini"));
    assert_eq!(said(&room.run("--ini dir/app.ini"))[1], format!("env=A={here}/app.ini"));
}

#[test]
fn placeholders_are_filled_in() {
    let room = uwsgi("base = /srv\nhttp-socket = :$(PORT)\nchdir = %(base)/app\nthreads = %(n * 2)\nn = 4\n");
    let loaded = run(load(&room.source("app.ini", &[("PORT", "8080")])));
    assert_eq!(loaded.config.listeners()[0].address, ":8080");
    assert_eq!(loaded.config.process.chdir.as_deref(), Some(Path::new("/srv/app")));
    assert_eq!(loaded.config.workers.threads, 8);
    assert_eq!(warnings(&loaded), [""; 0], "names that are used need not be options");
    let loaded = room.run("app.ini");
    assert_eq!(warnings(&loaded), ["http-socket: $(PORT) is unknown and stays as it is (app.ini:3)"]);
}

#[test]
fn what_acts_at_once_is_read_as_it_is_written() {
    let room = Room::new(&[
        ("app.ini", "[uwsgi]\nname = inc\nset = a=%(name)\ninclude = %(name).ini\n"),
        ("%(name).ini", "[uwsgi]\nprocesses = 2\n"),
    ]);
    let loaded = room.run("app.ini");
    assert_eq!(said(&loaded), ["name=inc", "set=a=%(name)", "a=inc", "include=%(name).ini", "processes=2"]);
}

#[test]
fn what_is_inherited_comes_last_and_keeps_its_placeholders() {
    let room = Room::new(&[
        ("p.ini", "[uwsgi]\nx = 5\ninherit = %(name).ini\nname = base\nprocesses = 3\n"),
        ("base.ini", "[uwsgi]\nprocesses = 7\nchdir = %(x)\nset = threads=2\n"),
    ]);
    let loaded = room.run("p.ini");
    assert_eq!((loaded.config.workers.processes, loaded.config.workers.threads), (7, 2));
    assert_eq!(loaded.config.process.chdir.as_deref(), Some(Path::new("%(x)")));
}

#[test]
fn set_makes_options_and_placeholders() {
    let room = uwsgi("set-ph = dir=/srv\nchdir = %(dir)\nset = processes=2\nset-placeholder = unused=1");
    let loaded = room.run("app.ini -S threads=3");
    assert_eq!((loaded.config.workers.processes, loaded.config.workers.threads), (2, 3));
    assert_eq!(loaded.config.process.chdir.as_deref(), Some(Path::new("/srv")));
    assert_eq!(warnings(&loaded), [""; 0]);
    assert_eq!(room.error("--set nope"), "set: \"nope\" is not of the form name=value (command line)");
    let error = room.error("--set-ph processes=2");
    assert_eq!(error, "set-ph: processes is an option and can be no placeholder (command line)");
}

#[test]
fn strict_holds_wherever_it_stands() {
    let room = uwsgi("procesess = 4\nthreads = many\nbase = /srv\nchdir = %(base)\nset-ph = mine=1\n");
    let loaded = room.run("app.ini");
    assert_eq!(
        warnings(&loaded),
        [
            "procesess: unknown option; did you mean processes? (app.ini:2)",
            "threads: \"many\" is not a number; read as 1 (app.ini:3)"
        ]
    );
    for line in ["--strict app.ini", "app.ini --set strict=true"] {
        let error = room.error(line);
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(
            lines,
            [
                "procesess: unknown option; did you mean processes? (app.ini:2)",
                "threads: \"many\" is not a number (app.ini:3)"
            ]
        );
    }
}

#[test]
fn what_is_not_built_refuses_to_start_where_that_matters() {
    let room = uwsgi("https = :443,a.crt,a.key\nnever-swap = 1\n");
    let error = room.error("app.ini");
    let line = "https: not built yet: nothing listens at this address; allow-missing = https starts without it";
    assert_eq!(error, format!("{line} (app.ini:2)"));
    assert_eq!(room.run("app.ini --allow-missing https").warnings.len(), 2);
}

#[test]
fn a_reload_reads_everything_again_from_the_same_place() {
    let room = uwsgi("processes = 2\nini = sub.ini\n");
    room.write("sub.ini", b"[uwsgi]\nthreads = 2\n");
    let source = room.source("--ini app.ini", &[("UWSGI_LISTEN", "7")]);
    assert_eq!(run(load(&source)).config.workers.threads, 2);
    room.write("sub.ini", b"[uwsgi]\nthreads = 5\n");
    let config = run(load(&source)).config;
    assert_eq!((config.workers.processes, config.workers.threads, config.sockets.listen), (2, 5, Some(7)));
    room.write("app.ini", b"[uwsgi]\nprocesses = none\n");
    assert!(load(&source).is_err());
}

#[test]
fn bytes_that_are_no_text_matter_only_where_text_is_needed() {
    let room = Room::new(&[]);
    room.write("a.ini", b"; caf\xe9\n[uwsgi]\nprocesses = 2\nmine = \xff\nother = <%(mine)>\n[other]\nx = \xff\n");
    let loaded = room.run("a.ini");
    assert_eq!(loaded.config.workers.processes, 2);
    assert_eq!(loaded.config.directives[2].value, Some(b"<\xff>".into()));
    room.write("b.ini", b"[uwsgi]\nprocesses = \xff\n");
    assert_eq!(room.error("b.ini"), "processes: \"\\xff\" is not UTF-8 text (b.ini:2)");
}

#[test]
fn a_pipe_is_remembered() {
    let room = Room::new(&[]);
    let fifo = room.0.join("fifo.ini");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()));
    let writer = {
        let fifo = fifo.clone();
        std::thread::spawn(move || std::fs::write(fifo, "[uwsgi]\nprocesses = 6\n"))
    };
    let source = room.source("fifo.ini", &[]);
    assert_eq!(run(load(&source)).config.workers.processes, 6);
    writer.join().expect("a thread").expect("written");
    assert_eq!(run(load(&source)).config.workers.processes, 6, "nobody writes a second time");
}

#[test]
fn what_crosses_to_the_module_means_the_same_there() {
    let room = uwsgi("base = /srv\nchdir = %(base)\nmaster\nthreads = 4k\nstrict = false\nhttp = :1\n");
    let config = run(load(&room.source("--ini app.ini -T", &[]))).config;
    let crossed = crate::decode(&crate::encode(&config.directives)).expect("directives");
    assert_eq!(Config::interpret(crossed).map(|(config, _)| config), Ok(config));
}

#[test]
fn no_bytes_make_it_panic() {
    let room = Room::new(&[]);
    let mut random = Random::new(11);
    let parts: &[&[u8]] = &[
        b"[uwsgi]\n",
        b"[",
        b"]",
        b"=",
        b"\n",
        b"%",
        b"%(",
        b"$(",
        b"@(",
        b")",
        b"(",
        b"\xff",
        b"\0",
        b" ",
        b"ini = ",
        b"a.ini",
        b":uwsgi",
        b"include=",
        b"set = ",
        b"processes",
        b"threads=4",
        b"http-socket = :1",
        b"#",
        b"%d",
        b"chmod-socket=",
        b"env=",
        b"http-keepalive",
        b"\r",
        b"\t",
        b"strict",
        b"allow-missing = ",
        b"emperor=",
    ];
    for _ in 0..800 {
        let mut text = b"[uwsgi]\n".to_vec();
        (0..random.below(25)).for_each(|_| text.extend_from_slice(random.pick::<&[u8]>(parts)));
        room.write("a.ini", &text);
        let source = room.source("", &[]);
        let mut gather = Gather::new(&source, true);
        gather.say(Directive::new("ini", Some("a.ini"), Origin::Argv));
        let _ = understand(gather, &source, true);
    }
}

#[test]
fn a_file_cut_at_any_byte_does_not_panic() {
    let room = Room::new(&[]);
    let text = b"; %d\n[uwsgi]\nhttp-socket = 127.0.0.1:$(PORT)\nbase = %d\nchdir = %(base + 1)/\xc3\xa9\n\
        set = threads=2\nchmod-socket = 660\nini = :web\nenv = A=%%B\nmaster\n[web]\nprocesses = 4\n";
    for cut in 0..=text.len() {
        room.write("a.ini", &text[..cut]);
        let _ = room.load("--ini a.ini");
    }
}

/// `../shared/corpus`: files that public projects run uWSGI with.
#[test]
fn real_files_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let Ok(index) = std::fs::read_to_string(corpus.join("INDEX.tsv")) else { return };
    let mut columns = index.lines().skip(1).map(|line| line.split('\t').collect::<Vec<_>>());
    let files: Vec<&str> = columns.by_ref().filter(|row| row.get(5) == Some(&"ini")).map(|row| row[0]).collect();
    let (mut read, mut known_all, mut started) = (0, 0, 0);
    for name in &files {
        let source = Source {
            argv: vec!["ruwsgi".into(), "--ini".into(), (*name).into()],
            env: vec![("HOME".into(), "/root".into())],
            cwd: corpus.clone(),
            reloading: false,
        };
        let survey = survey(&source, true);
        let unknown = |problem: &Problem| problem.message == "unknown option";
        // Some name files that are not here: that is an error, not a panic.
        read += usize::from(!survey.problems.iter().any(|problem| problem.message.contains("cannot read")));
        known_all += usize::from(!survey.problems.iter().any(unknown));
        started += usize::from(load(&source).is_ok());
    }
    println!("{} files: {read} read, {known_all} with known options only, {started} start today", files.len());
    assert!(files.len() > 100 && read * 100 >= files.len() * 90, "{read} of {}", files.len());
    assert!(known_all * 100 >= read * 80, "{known_all} of {read}");
}

/// What `show-config` writes says the same again.
#[test]
fn what_is_shown_is_read_as_it_was() {
    let mut random = Random::new(17);
    let parts: &[&[u8]] = &[
        b"a", b"=", b" ", b"%(b)", b"%%", b"\xe9", b";", b"#", b"[", b"]", b"(", b")", b"$(HOME)", b"$", b"@", b"b c",
        b"\t", b"x = y",
    ];
    let names = ["a", "b", "c", "env", "module"];
    let room = Room::new(&[]);
    for _ in 0..500 {
        let mut text = b"[uwsgi]\n".to_vec();
        for _ in 0..random.below(8) {
            let value: Vec<u8> = (0..random.below(7)).flat_map(|_| random.pick::<&[u8]>(parts).to_vec()).collect();
            let name = *random.pick(&names);
            text.extend([name.as_bytes(), b" = ", &value, b"\n"].concat());
        }
        room.write("a.ini", &text);
        let first = survey(&room.source("--ini a.ini", &[("HOME", "/root")]), true).config;
        // Once more: nothing is left to fill in, and a percent sign is one.
        let shown: Vec<BString> = first.lines().filter(|line| !line.starts_with(b"ini = ")).collect();
        let shown = bstr::join("\n", &shown).replace("%", "%%");
        room.write("b.ini", &shown);
        let source = room.source("", &[]);
        let mut gather = Gather::new(&source, true);
        gather.say(Directive::new("ini", Some("b.ini"), Origin::Argv));
        let again: Vec<_> = gather.records.iter().skip(1).map(|record| pair(&record.directive)).collect();
        let before: Vec<_> = first.directives.iter().skip(1).map(pair).collect();
        assert_eq!(again, before, "{}", shown.as_bstr());
    }
}

/// What a line of a file can say: no blanks at its ends, and a flag is true.
fn pair(directive: &Directive) -> (String, BString) {
    let value = directive.value.as_ref().map_or(b"true".as_bstr(), |value| value.as_bstr());
    let trimmed = value.trim_with(|mark| " \t\r".contains(mark));
    (directive.name.clone(), trimmed.into())
}
