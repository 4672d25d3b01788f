//! The statistics of an emperor: uWSGI's keys, types and order, and behind them what is ours (`state`, `reason`).

use serde_json::{Value, json};

use super::plan::{Plan, Vassal};
use ruwsgi_contract::VERSION;
use ruwsgi_sys::{clock, process};

/// What the statistics tell beside the plan.
pub(super) struct Scene<'s> {
    /// The places of vassals, as they were written.
    pub emperor: Vec<String>,
    pub tyrant: bool,
    /// The folder or the list that a vassal is from, and when its file changed, in seconds since 1970.
    pub file: &'s dyn Fn(&super::name::Name) -> (String, i64),
    /// The clock of the plan, in milliseconds.
    pub now_ms: u64,
    pub minified: bool,
}

/// Milliseconds of the plan as seconds since 1970; 0: never.
fn unix(scene: &Scene<'_>, at_ms: Option<u64>) -> i64 {
    at_ms.map_or(0, |at_ms| clock::unix_seconds() - (scene.now_ms.saturating_sub(at_ms) / 1_000) as i64)
}

/// The document.
pub(super) fn document(plan: &Plan, scene: &Scene<'_>) -> Vec<u8> {
    let (uid, gid) = process::owner();
    let folder = std::env::current_dir().map(|folder| folder.to_string_lossy().into_owned()).unwrap_or_default();
    let vassals: Vec<Value> =
        plan.vassals().map(|(name, it)| vassal(&name.to_string(), it, (scene.file)(name), scene)).collect();
    let waits = plan.vassals().filter(|(_, it)| it.process().is_none() && it.throttle.failures > 0);
    let blacklist: Vec<Value> = waits
        .map(|(name, it)| {
            json!({
                "id": name.to_string(),
                "throttle_level": it.throttle.level_ms,
                "attempt": it.throttle.failures,
                "first_attempt": unix(scene, Some(it.throttle.first_ms)),
                "last_attempt": unix(scene, Some(it.throttle.last_ms)),
                "reason": it.reason,
            })
        })
        .collect();
    let document = json!({
        "version": VERSION,
        "pid": process::id(),
        "uid": uid,
        "gid": gid,
        "cwd": folder,
        "emperor": scene.emperor,
        "emperor_tyrant": u8::from(scene.tyrant),
        "throttle_level": 0,
        "vassals": vassals,
        "blacklist": blacklist,
    });
    let text = if scene.minified { serde_json::to_vec(&document) } else { serde_json::to_vec_pretty(&document) };
    // Keys are text: a value of this kind can always be written.
    text.unwrap_or_default()
}

fn vassal(id: &str, it: &Vassal, (monitor, modified): (String, i64), scene: &Scene<'_>) -> Value {
    let up = it.process();
    let at = |pick: fn(&super::plan::Up) -> Option<u64>| unix(scene, up.and_then(pick));
    let (uid, gid) = it.terms().and_then(|terms| terms.owner).unwrap_or_default();
    json!({
        "id": id,
        "pid": up.map_or(-1, |up| up.pid),
        "born": unix(scene, it.first_ms),
        "last_mod": modified,
        "last_heartbeat": at(|up| up.heartbeat_ms),
        "loyal": u8::from(up.is_some_and(|up| up.loyal_ms.is_some())),
        "ready": u8::from(up.is_some_and(|up| up.ready_ms.is_some())),
        "accepting": u8::from(up.is_some_and(|up| up.accepting_ms.is_some())),
        "last_loyal": at(|up| up.loyal_ms),
        "last_ready": at(|up| up.ready_ms),
        "last_accepting": at(|up| up.accepting_ms),
        "first_run": unix(scene, it.first_ms),
        "last_run": at(|up| Some(up.since_ms)),
        "cursed": at(|up| up.leaving.as_ref().map(|leaving| leaving.since_ms)),
        "zerg": 0,
        "on_demand": it.terms().and_then(|terms| terms.address.as_deref()).unwrap_or_default(),
        "uid": uid,
        "gid": gid,
        "monitor": monitor,
        "respawns": it.starts.saturating_sub(1),
        "state": it.state(),
        "reason": it.reason,
    })
}
