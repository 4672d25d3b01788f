//! Jobs at times: which are due is decided from the clock alone; running them is a few lines. The master calls both.

use std::ffi::OsString;

use ruwsgi_options::{Config, CronSaid, Directive};
use ruwsgi_sys::clock::{self, Wall};
use ruwsgi_sys::exec::{self, Own, Program};
use ruwsgi_sys::reap::End;
use ruwsgi_sys::signal;

use crate::upgrade::{Running as Left, State};
use crate::why;

/// The jobs of the instance.
#[derive(Default)]
pub(crate) struct Crons {
    jobs: Vec<Job>,
    /// Those that run.
    running: Vec<Running>,
    /// Minutes since 1970 that were looked at last.
    minute: i64,
    next_ms: u64,
    harakiri_s: u32,
    env: Vec<(OsString, OsString)>,
}

struct Job {
    said: CronSaid,
    /// When it was started last, in seconds since 1970.
    started: i64,
}

struct Running {
    pid: i32,
    said: CronSaid,
    since_ms: u64,
    kill_ms: Option<u64>,
}

/// What becomes of a job that is due.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Run,
    /// It runs, and others of it do, too.
    RunBeside(i32),
    /// It is `unique`, and runs still.
    Skip(i32),
}

/// Whether a job is due in this minute. Day and weekday, where both are said, are alternatives, as in crontab(5).
fn is_due(said: &CronSaid, now: Wall) -> bool {
    let weekday = if said.weekday == 7 { 0 } else { said.weekday };
    let fits = |wanted: i32, is: i32| if wanted < 0 { is % wanted == 0 } else { is == wanted };
    let (day, week) = (fits(said.day, now.day), fits(weekday, now.weekday));
    let days = if said.day >= 0 && said.weekday >= 0 { day || week } else { day && week };
    fits(said.minute, now.minute) && fits(said.hour, now.hour) && fits(said.month, now.month) && days
}

fn verdict(said: &CronSaid, running: &[Running]) -> Verdict {
    match running.iter().find(|one| one.said == *said) {
        None => Verdict::Run,
        Some(one) if said.unique => Verdict::Skip(one.pid),
        Some(one) => Verdict::RunBeside(one.pid),
    }
}

fn all(config: &Config) -> impl Iterator<Item = &CronSaid> {
    let it = &config.hooks;
    it.cron.iter().chain(&it.unique_cron).chain(&it.cron2)
}

impl Crons {
    /// These are wanted from here on; what runs, runs on.
    pub(crate) fn want(&mut self, config: &Config, env: Vec<(OsString, OsString)>) {
        let former = std::mem::take(&mut self.jobs);
        let started = |said: &CronSaid| former.iter().find(|job| job.said == *said).map_or(0, |job| job.started);
        self.jobs = all(config).map(|said| Job { said: said.clone(), started: started(said) }).collect();
        (self.harakiri_s, self.env) = (config.hooks.cron_harakiri, env);
    }

    /// Goes on with what another executable has left.
    pub(crate) fn inherit(&mut self, left: &State) {
        let said = |directive: &Directive| {
            let (config, _) = Config::interpret(vec![directive.clone()]).ok()?;
            all(&config).next().cloned()
        };
        for (job, started) in &left.jobs {
            // What is not wanted any more needs no past.
            let job = said(job).and_then(|said| self.jobs.iter_mut().find(|job| job.said == said));
            job.into_iter().for_each(|job| job.started = *started);
        }
        let running = left.running.iter().filter_map(|one| {
            let Left { pid, since_ms, kill_ms, .. } = *one;
            Some(Running { pid, said: said(&one.said)?, since_ms, kill_ms })
        });
        self.running.extend(running);
        self.minute = left.minute;
    }

    /// What is left to another executable.
    pub(crate) fn legacy(&self, state: &mut State) {
        state.minute = self.minute;
        state.jobs = self.jobs.iter().map(|job| (job.said.directive(), job.started)).collect();
        let running = |one: &Running| {
            let Running { pid, since_ms, kill_ms, .. } = *one;
            Left { said: one.said.directive(), pid, since_ms, kill_ms }
        };
        state.running = self.running.iter().map(running).collect();
    }

    /// When somebody has to look.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        let deadline = self.running.iter().filter_map(|one| one.kill_ms).min();
        deadline.into_iter().chain((!self.jobs.is_empty()).then_some(self.next_ms)).min()
    }

    /// Starts what is due in this minute, once, and ends what takes too long.
    pub(crate) fn look(&mut self, now_ms: u64) {
        for one in &mut self.running {
            if one.kill_ms.is_some_and(|at| at <= now_ms) {
                one.kill_ms = None;
                let seconds = (now_ms - one.since_ms) / 1000;
                // The words that people's alerts look for in uWSGI's log.
                tracing::warn!(
                    "HARAKIRI ON CRON \"{}\" (pid {}): it has run for {seconds} s",
                    one.said.command,
                    one.pid
                );
                let _ = signal::kill_group(one.pid);
            }
        }
        if self.jobs.is_empty() || now_ms < self.next_ms {
            return;
        }
        let now = clock::unix_seconds();
        self.next_ms = now_ms + (60 - now.rem_euclid(60)).unsigned_abs() * 1_000;
        if std::mem::replace(&mut self.minute, now.div_euclid(60)) == now.div_euclid(60) {
            return;
        }
        let wall = clock::wall(now);
        for at in 0..self.jobs.len() {
            if is_due(&self.jobs[at].said, wall) {
                self.jobs[at].started = now;
                self.run(self.jobs[at].said.clone(), now_ms);
            }
        }
    }

    fn run(&mut self, said: CronSaid, now_ms: u64) {
        let CronSaid { option, command, .. } = &said;
        match verdict(&said, &self.running) {
            Verdict::Run => {}
            Verdict::Skip(pid) => return tracing::warn!("{option}: {command} still runs (pid {pid}): not started"),
            Verdict::RunBeside(pid) => tracing::warn!("{option}: {command} still runs (pid {pid}): started beside it"),
        }
        let args: [OsString; 2] = ["-c".into(), command.into()];
        let program = Program {
            program: "/bin/sh".as_ref(),
            args: &args,
            env: &self.env,
            umask: None,
            input: false,
            keep: &[],
            // As in uWSGI, a job is finished even if the instance ends meanwhile.
            own: Own { session: true, outlives: true, interruptible: true, ..Own::default() },
        };
        match exec::start(&program) {
            Ok(pid) => {
                tracing::info!("{option} (pid {pid}): {command}");
                let most_s = u64::from(said.harakiri_s.unwrap_or(self.harakiri_s));
                let kill_ms = (most_s > 0).then_some(now_ms + most_s * 1_000);
                self.running.push(Running { pid, said, since_ms: now_ms, kill_ms });
            }
            Err(error) => tracing::error!("{option}: {command}: {} ({})", why(&error), said.origin),
        }
    }

    /// A child is dead: `true`, if it was a job.
    pub(crate) fn note_end(&mut self, pid: i32, end: End) -> bool {
        let Some(at) = self.running.iter().position(|one| one.pid == pid) else { return false };
        let Running { said, since_ms, .. } = self.running.swap_remove(at);
        let seconds = clock::coarse_ms().saturating_sub(since_ms) / 1000;
        match end {
            End::Exited(0) => tracing::info!("{} (pid {pid}) done after {seconds} s: {}", said.option, said.command),
            end => tracing::warn!("{} (pid {pid}) {end} after {seconds} s: {}", said.option, said.command),
        }
        true
    }

    /// The instance ends: who goes on is told.
    pub(crate) fn stop(&mut self) {
        self.jobs.clear();
        for one in self.running.drain(..) {
            tracing::info!("{} (pid {}) goes on: {}", one.said.option, one.pid, one.said.command);
        }
    }

    /// All jobs: what was said, the pid if it runs, when it was started last in seconds since 1970.
    pub(crate) fn list(&self) -> Vec<(&CronSaid, i32, i64)> {
        let pid = |said: &CronSaid| self.running.iter().find(|one| one.said == *said).map_or(-1, |one| one.pid);
        self.jobs.iter().map(|job| (&job.said, pid(&job.said), job.started)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::Origin;

    fn said(name: &str, value: &str) -> CronSaid {
        let (config, _) = Config::interpret(vec![Directive::new(name, Some(value), Origin::Argv)]).unwrap();
        let it = config.hooks;
        it.cron.into_iter().chain(it.unique_cron).chain(it.cron2).next().unwrap()
    }

    /// Saturday, 21 November, 12:30.
    const NOON: Wall = Wall { minute: 30, hour: 12, day: 21, month: 11, weekday: 6 };

    #[test]
    fn a_job_is_due_as_uwsgi_has_it() {
        for (times, due) in [
            ("-1 -1 -1 -1 -1", true),
            ("30 12 21 11 6", true),
            ("30 12 21 11 -1", true),
            ("31 -1 -1 -1 -1", false),
            ("-15 -1 -1 -1 -1", true),
            ("-7 -1 -1 -1 -1", false),
            ("-1 -6 -1 -1 -1", true),
            ("-1 -5 -1 -1 -1", false),
            ("-1 -1 -1 12 -1", false),
            // Either of them.
            ("30 12 1 -1 6", true),
            ("30 12 21 -1 1", true),
            ("30 12 1 -1 1", false),
            // Both of them.
            ("30 12 -7 -1 6", true),
            ("30 12 -8 -1 6", false),
            ("30 12 21 -1 -3", true),
        ] {
            assert_eq!(is_due(&said("cron", &format!("{times} x")), NOON), due, "{times}");
        }
        let sunday = Wall { weekday: 0, ..NOON };
        assert!(is_due(&said("cron", "-1 -1 -1 -1 7 x"), sunday) && is_due(&said("cron", "-1 -1 -1 -1 0 x"), sunday));
        assert!(is_due(&said("cron2", "minute=-1440 x"), Wall { minute: 0, ..NOON }));
        assert!(!is_due(&said("cron2", "minute=-1440 x"), NOON));
    }

    #[test]
    fn jobs_that_run_are_known_to_another_executable() {
        let config =
            |text: &str| Config::interpret(vec![Directive::new("unique-cron", Some(text), Origin::Env)]).unwrap().0;
        let (wanted, mut crons) = (config("-1 -1 -1 -1 -1 x"), Crons::default());
        crons.want(&wanted, Vec::new());
        (crons.minute, crons.jobs[0].started) = (7, 420);
        crons.running.push(Running { pid: 9, said: crons.jobs[0].said.clone(), since_ms: 1, kill_ms: Some(2) });
        let mut left = State::default();
        crons.legacy(&mut left);
        let mut next = Crons::default();
        next.want(&wanted, Vec::new());
        next.inherit(&left);
        assert_eq!((next.list(), next.minute), (crons.list(), 7));
        assert_eq!(verdict(&next.jobs[0].said, &next.running), Verdict::Skip(9));
        assert_eq!(next.wake_ms(), Some(0));
    }

    #[test]
    fn one_that_is_unique_does_not_overlap_itself() {
        let (plain, unique) = (said("cron", "-1 -1 -1 -1 -1 x"), said("unique-cron", "-1 -1 -1 -1 -1 x"));
        let running = |said: &CronSaid| [Running { pid: 7, said: said.clone(), since_ms: 0, kill_ms: None }];
        assert_eq!(verdict(&plain, &[]), Verdict::Run);
        assert_eq!(verdict(&plain, &running(&plain)), Verdict::RunBeside(7));
        assert_eq!(verdict(&unique, &running(&unique)), Verdict::Skip(7));
        assert_eq!(verdict(&unique, &running(&plain)), Verdict::Run);
    }
}
