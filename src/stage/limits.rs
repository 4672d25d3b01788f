//! What workers may have at most, and on which processors they run. The master makes room for the limits while it still
//! can; its children get them when they are started, so that it is never bound by them itself.

use ruwsgi_options::{Bounds, Config};
use ruwsgi_sys::limit::{Limit, Resource};
use ruwsgi_sys::process;

use crate::{Place, why};

/// The limits that the options ask for, with their names.
fn named(config: &Config) -> Vec<(&'static str, Limit)> {
    let said = &config.process;
    let both = |value: u64| Some(value).filter(|value| *value > 0).map(|hard| Bounds { soft: hard, hard });
    let all = [
        ("limit-as", Resource::RLIMIT_AS, both(said.limit_as.saturating_mul(1 << 20))),
        ("limit-nproc", Resource::RLIMIT_NPROC, both(said.limit_nproc)),
        ("rlimit-core", Resource::RLIMIT_CORE, said.rlimit_core),
        ("rlimit-cpu", Resource::RLIMIT_CPU, said.rlimit_cpu),
        ("rlimit-data", Resource::RLIMIT_DATA, said.rlimit_data),
        ("rlimit-fsize", Resource::RLIMIT_FSIZE, said.rlimit_fsize),
        ("rlimit-memlock", Resource::RLIMIT_MEMLOCK, said.rlimit_memlock),
        ("rlimit-stack", Resource::RLIMIT_STACK, said.rlimit_stack),
    ];
    let limit = |(name, resource, bounds): (_, _, Option<Bounds>)| {
        bounds.map(|Bounds { soft, hard }| (name, Limit { resource, soft, hard }))
    };
    all.into_iter().filter_map(limit).collect()
}

/// The limits of what is started.
#[must_use]
pub fn of(config: &Config) -> Vec<Limit> {
    named(config).into_iter().map(|(_, limit)| limit).collect()
}

/// Makes room for them, or says which one can't be.
pub fn permit(config: &Config) -> Result<(), String> {
    named(config).into_iter().try_for_each(|(name, limit)| {
        let refused =
            |error| format!("{name}: more than the hard limit allows: {}{}", why(&error), Place(config, name));
        limit.permit().map_err(refused)
    })
}

/// Has the worker of a slot run on processors of its own; nobody has said so: on all.
pub fn pin(config: &Config, slot: u32) {
    let each = config.process.cpu_affinity as usize;
    let Some(all) = process::processors().ok().filter(|all| each > 0 && !all.is_empty()) else { return };
    let mine = share(&all, each, slot);
    let shown: Vec<String> = mine.iter().map(ToString::to_string).collect();
    match process::run_on(&mine) {
        Ok(()) => tracing::info!("worker {slot} runs on processors {}", shown.join(" ")),
        Err(error) => {
            let place = Place(config, "cpu-affinity");
            tracing::warn!("cpu-affinity: worker {slot} can't run on {}: {}{place}", shown.join(" "), why(&error));
        }
    }
}

/// Round robin over what there is.
fn share(all: &[usize], each: usize, slot: u32) -> Vec<usize> {
    let first = slot.saturating_sub(1) as usize * each;
    let mut mine: Vec<usize> = (0..each.min(all.len())).map(|number| all[(first + number) % all.len()]).collect();
    mine.sort_unstable();
    mine
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn processors_are_dealt_in_turn() {
        let all = [0, 2, 4];
        assert_eq!([1, 2, 3, 4].map(|slot| share(&all, 1, slot)), [[0], [2], [4], [0]]);
        assert_eq!([1, 2].map(|slot| share(&all, 2, slot)), [[0, 2], [0, 4]]);
        assert_eq!(share(&all, 9, 2), [0, 2, 4]);
    }
}
