//! The kinds of the options of programs that the master runs beside the workers: daemons and jobs. Rows of the `table`
//! name these kinds; see `kind`.

use std::path::PathBuf;

use crate::directive::{Directive, Origin};
use crate::kind::{Kind, Reading, Said, some};

/// A command that stays in the foreground, each time one more.
pub struct Daemons;
/// `PIDFILE[,SECONDS] COMMAND`, each time one more.
pub struct SmartDaemons;
/// `key=value,...`, each time one more.
pub struct KeyedDaemons;
/// `MINUTE HOUR DAY MONTH WEEKDAY COMMAND`, each time one more.
pub struct Crons;
/// `[key=value,...] COMMAND`, each time one more.
pub struct KeyedCrons;

/// SIGTERM.
const TERM: i32 = 15;
/// How often a pidfile is looked at, in seconds.
const FREQUENCY: u32 = 10;

/// A daemon as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaemonSaid {
    /// For the shell.
    pub command: String,
    /// It outlives the server; this file says who it is.
    pub pidfile: Option<PathBuf>,
    /// It stays in the foreground, and the server writes the pidfile.
    pub keeps: bool,
    /// How often the pidfile is looked at, in seconds.
    pub frequency_s: u32,
    /// When it ends, so does the instance.
    pub control: bool,
    /// What makes it end.
    pub stop_signal: i32,
    /// The same at a reload.
    pub reload_signal: Option<i32>,
    /// It outlives the server, and is told of a reload and of the stop all the same.
    pub notified: bool,
    /// Files that make it start anew.
    pub touch: Vec<PathBuf>,
    /// It reads the server's standard input.
    pub input: bool,
    /// Whom it runs as.
    pub user: Option<u32>,
    /// In which group.
    pub group: Option<u32>,
    /// Where it runs.
    pub folder: Option<PathBuf>,
    /// The longest pause before it is started again, in seconds.
    pub most_pause_s: u32,
    /// The option.
    pub option: &'static str,
    /// Its value.
    pub text: String,
    /// Where it was said.
    pub origin: Origin,
}

/// A job as it was said. Negative numbers are intervals: -1 is always, -5 each fifth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronSaid {
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 23.
    pub hour: i32,
    /// Of the month, from 1.
    pub day: i32,
    /// From 1.
    pub month: i32,
    /// Of the week: 0 and 7 are Sunday.
    pub weekday: i32,
    /// For the shell.
    pub command: String,
    /// Not while it still runs.
    pub unique: bool,
    /// It is killed after so many seconds; 0: never. `None`: `cron-harakiri` says.
    pub harakiri_s: Option<u32>,
    /// The option.
    pub option: &'static str,
    /// Its value.
    pub text: String,
    /// Where it was said.
    pub origin: Origin,
}

/// So long a pause at most where nobody says another, in seconds: uWSGI's.
const PAUSE: u32 = 300;

impl DaemonSaid {
    fn new(said: &Said<'_>, command: String) -> Self {
        Self {
            command,
            pidfile: None,
            keeps: true,
            frequency_s: FREQUENCY,
            control: said.name == "attach-control-daemon",
            stop_signal: TERM,
            reload_signal: None,
            notified: false,
            touch: Vec::new(),
            input: false,
            user: None,
            group: None,
            folder: None,
            most_pause_s: PAUSE,
            option: said.name,
            text: said.value.unwrap_or_default().to_owned(),
            origin: said.origin.clone(),
        }
    }

    /// What says the same.
    #[must_use]
    pub fn directive(&self) -> Directive {
        Directive::new(self.option, Some(&self.text), self.origin.clone())
    }
}

impl Kind for Daemons {
    type Field = Vec<DaemonSaid>;
    const HINT: &'static str = "COMMAND";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        field.push(DaemonSaid::new(said, some(said.value)?));
        Ok(None)
    }
}

impl Kind for SmartDaemons {
    type Field = Vec<DaemonSaid>;
    const HINT: &'static str = "PIDFILE[,SECONDS] COMMAND";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let wrong = || format!("{text:?} is not PIDFILE[,SECONDS] COMMAND");
        let (file, command) = text.split_once(' ').filter(|(_, it)| !it.trim().is_empty()).ok_or_else(wrong)?;
        let (file, frequency) = file.split_once(',').unwrap_or((file, "10"));
        let frequency_s = number(frequency, 1, 86_400).ok_or_else(wrong)?;
        let daemon = DaemonSaid::new(said, command.trim_start().to_owned());
        let (pidfile, keeps) = (Some(file.into()), said.name == "smart-attach-daemon2");
        field.push(DaemonSaid { pidfile, frequency_s, keeps, ..daemon });
        Ok(None)
    }
}

fn number<N: TryFrom<i64>>(text: &str, least: i64, most: i64) -> Option<N> {
    let number: i64 = text.trim().parse().ok()?;
    (least..=most).contains(&number).then(|| N::try_from(number).ok()).flatten()
}

/// Keys and values with commas between them, as uWSGI reads them: `\,` is a comma.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    // No text of a configuration holds a NUL.
    let whole = text.replace("\\,", "\0");
    let parts: Vec<String> = whole.split(',').map(|part| part.replace('\0', ",")).collect();
    let pair = |part: &String| {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("{part:?} is not KEY=VALUE"))?;
        Ok((key.trim().to_owned(), value.to_owned()))
    };
    parts.iter().filter(|part| !part.trim().is_empty()).map(pair).collect()
}

impl Kind for KeyedDaemons {
    type Field = Vec<DaemonSaid>;
    const HINT: &'static str = "KEY=VALUE,...";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let mut daemon = DaemonSaid { keeps: false, ..DaemonSaid::new(said, String::new()) };
        for (key, value) in pairs(&some(said.value)?)? {
            set(&mut daemon, &key, value)?;
        }
        if daemon.command.is_empty() {
            return Err("there is no command=".into());
        }
        daemon.keeps |= daemon.pidfile.is_none();
        field.push(daemon);
        Ok(None)
    }
}

fn set(daemon: &mut DaemonSaid, key: &str, value: String) -> Result<(), String> {
    let wrong = || format!("{key}: {value:?} is no number that it can be");
    let signal = |value: &str| number(value, 1, 64);
    match key {
        "command" | "cmd" | "exec" => daemon.command = value,
        "freq" => daemon.frequency_s = number(&value, 1, 86_400).ok_or_else(wrong)?,
        "pidfile" => daemon.pidfile = Some(value.into()),
        "control" => daemon.control = true,
        "daemonize" | "daemon" => daemon.keeps = true,
        "touch" => daemon.touch.extend(value.split(';').filter(|path| !path.is_empty()).map(PathBuf::from)),
        "stopsignal" | "stop_signal" => daemon.stop_signal = signal(&value).ok_or_else(wrong)?,
        "reloadsignal" | "reload_signal" => daemon.reload_signal = Some(signal(&value).ok_or_else(wrong)?),
        "stdin" => daemon.input = true,
        "uid" => daemon.user = Some(number(&value, 0, u32::MAX.into()).ok_or_else(wrong)?),
        "gid" => daemon.group = Some(number(&value, 0, u32::MAX.into()).ok_or_else(wrong)?),
        "chdir" => daemon.folder = Some(value.into()),
        "max_throttle" => daemon.most_pause_s = number(&value, 1, 86_400).ok_or_else(wrong)?,
        "notifypid" => daemon.notified = true,
        "ns_pid" => return Err("ns_pid: namespaces of processes are not built yet".into()),
        "legion" => return Err("legion: there are no legions yet".into()),
        _ => return Err(format!("there is no key {key:?}: command, pidfile, freq, control and the like are")),
    }
    Ok(())
}

/// The least and the most of each field of a job, with its name.
const FIELDS: [(&str, i32, i32); 5] =
    [("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)];

impl CronSaid {
    fn new(said: &Said<'_>, command: &str) -> Self {
        let (option, text, origin) = (said.name, said.value.unwrap_or_default().to_owned(), said.origin.clone());
        let [minute, hour, day, month, weekday] = [-1; 5];
        let command = command.trim_start().to_owned();
        Self { minute, hour, day, month, weekday, command, unique: false, harakiri_s: None, option, text, origin }
    }

    /// What says the same.
    #[must_use]
    pub fn directive(&self) -> Directive {
        Directive::new(self.option, Some(&self.text), self.origin.clone())
    }

    fn set(&mut self, field: usize, text: &str) -> Result<(), String> {
        let (name, least, most) = FIELDS[field];
        let value: i32 = text.parse().map_err(|_| format!("{name}: {text:?} is not a number"))?;
        if value >= 0 && !(least..=most).contains(&value) {
            return Err(format!("{name}: {value} never comes: {least} to {most} do, -1 is always, -5 each fifth"));
        }
        let fields = [&mut self.minute, &mut self.hour, &mut self.day, &mut self.month, &mut self.weekday];
        fields.into_iter().nth(field).into_iter().for_each(|field| *field = value);
        Ok(())
    }
}

impl Kind for Crons {
    type Field = Vec<CronSaid>;
    const HINT: &'static str = "MIN HOUR DAY MONTH WEEKDAY COMMAND";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let wrong = || format!("{text:?} is not MINUTE HOUR DAY MONTH WEEKDAY COMMAND");
        let (mut rest, mut words) = (text.trim_start(), Vec::new());
        for _ in FIELDS {
            let (word, behind) = rest.split_once([' ', '\t']).ok_or_else(wrong)?;
            words.push(word);
            rest = behind.trim_start();
        }
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut job = CronSaid { unique: said.name == "unique-cron", ..CronSaid::new(said, rest) };
        words.iter().enumerate().try_for_each(|(at, word)| job.set(at, word))?;
        field.push(job);
        Ok(None)
    }
}

impl Kind for KeyedCrons {
    type Field = Vec<CronSaid>;
    const HINT: &'static str = "[KEY=VALUE,...] COMMAND";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (keys, command) = match text.split_once(' ') {
            Some((keys, command)) if keys.contains('=') => (keys, command),
            None if text.contains('=') => return Err(format!("{text:?} has no command")),
            _ => ("", &text[..]),
        };
        let mut job = CronSaid::new(said, command);
        for (key, value) in pairs(keys)? {
            let place = FIELDS.iter().position(|(name, ..)| *name == key || key == "week" && *name == "weekday");
            match (place, key.as_str()) {
                (Some(at), _) => job.set(at, &value)?,
                (None, "unique") => job.unique = value != "0",
                (None, "harakiri") => {
                    let seconds = number(&value, 0, u32::MAX.into());
                    job.harakiri_s = Some(seconds.ok_or_else(|| format!("harakiri: {value:?} is not a number"))?);
                }
                (None, "legion") => return Err("legion: there are no legions yet".into()),
                _ => {
                    return Err(format!(
                        "there is no key {key:?}: minute, hour, day, month, week, unique, harakiri are"
                    ));
                }
            }
        }
        field.push(job);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn daemons_are_commands_with_or_without_a_pidfile() {
        let (said, _) = read::<SmartDaemons>(Some("/run/c.pid,5 celery -A app"));
        assert_eq!((said[0].command.as_str(), said[0].frequency_s, said[0].keeps), ("celery -A app", 5, false));
        assert_eq!(said[0].pidfile, Some("/run/c.pid".into()));
        let text = "cmd=redis-server --port 1\\,2,stopsignal=2,reloadsignal=1,control=1,touch=/a;/b,max_throttle=7";
        let (said, _) = read::<KeyedDaemons>(Some(text));
        let daemon = &said[0];
        assert_eq!(daemon.command, "redis-server --port 1,2");
        assert_eq!((daemon.stop_signal, daemon.reload_signal, daemon.control, daemon.keeps), (2, Some(1), true, true));
        assert_eq!((daemon.touch.len(), daemon.most_pause_s), (2, 7));
        assert!(!read::<KeyedDaemons>(Some("exec=a,pidfile=/p")).0[0].keeps);
        assert!(read::<KeyedDaemons>(Some("exec=a,pidfile=/p,daemonize=1")).0[0].keeps);
        for wrong in ["a", "pidfile=/p", "cmd=a,stopsignal=99", "cmd=a,colour=red", "cmd=a,ns_pid=1"] {
            assert!(read::<KeyedDaemons>(Some(wrong)).1.is_err(), "{wrong}");
        }
        for wrong in ["/p", "/p ", "/p,x c"] {
            assert!(read::<SmartDaemons>(Some(wrong)).1.is_err(), "{wrong}");
        }
    }

    #[test]
    fn jobs_have_times() {
        let (said, _) = read::<Crons>(Some("-15 -1  1 12 7 ./manage.py run -1"));
        let job = &said[0];
        assert_eq!([job.minute, job.hour, job.day, job.month, job.weekday], [-15, -1, 1, 12, 7]);
        assert_eq!(job.command, "./manage.py run -1");
        let (said, _) = read::<KeyedCrons>(Some("minute=-5,week=3,unique=1,harakiri=9 curl -L x"));
        let job = &said[0];
        assert_eq!([job.minute, job.hour, job.day, job.month, job.weekday], [-5, -1, -1, -1, 3]);
        assert_eq!((job.unique, job.harakiri_s, job.command.as_str()), (true, Some(9), "curl -L x"));
        assert_eq!(read::<KeyedCrons>(Some("run it")).0[0].command, "run it");
        for wrong in ["", "1 2 3 4 5", "* * * * * x", "60 -1 -1 -1 -1 x", "-1 -1 0 -1 -1 x"] {
            assert!(read::<Crons>(Some(wrong)).1.is_err(), "{wrong}");
        }
        for wrong in ["minute=1", "minute=x a", "second=1 a", "legion=a b"] {
            assert!(read::<KeyedCrons>(Some(wrong)).1.is_err(), "{wrong}");
        }
    }
}
