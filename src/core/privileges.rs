//! `uid` and `gid`: from what was said to whom to become.

use ruwsgi_options::Config;
use ruwsgi_sys::privilege::{self, Target};

use crate::{Place, why};

/// Gives up root as the configuration says, or says why that can't be.
pub(crate) fn drop_root(config: &Config) -> Result<(), String> {
    let target = target(config)?;
    if !privilege::is_root() {
        if target.is_me() {
            return Ok(());
        }
        let (option, name) = match (&config.process.uid, &config.process.gid) {
            (Some(uid), _) => ("uid", uid),
            (None, Some(gid)) => ("gid", gid),
            (None, None) => return Ok(()),
        };
        return Err(format!("{option}: only root can become {name:?}{}", Place(config, option)));
    }
    if target.user.is_none() {
        tracing::warn!("running as root: uid names the user to run as");
    }
    if target.user.is_none() && target.group.is_none() {
        return Ok(());
    }
    target.take().map_err(|error| format!("uid, gid: the privileges can't be dropped: {}", why(&error)))
}

/// Whom `uid` and `gid` mean.
pub(crate) fn target(config: &Config) -> Result<Target, String> {
    let unknown = |option, kind, name: &str, why: String| {
        format!("{option}: there is no {kind} {name:?}{why}{}", Place(config, option))
    };
    let user = match &config.process.uid {
        None => None,
        Some(name) => match privilege::user(name) {
            Ok(Some(user)) => Some(user),
            Ok(None) => return Err(unknown("uid", "user", name, String::new())),
            Err(error) => return Err(unknown("uid", "user", name, format!(" ({})", why(&error)))),
        },
    };
    let group = match &config.process.gid {
        None => None,
        Some(name) => match privilege::group(name) {
            Ok(Some(group)) => Some(group),
            Ok(None) => return Err(unknown("gid", "group", name, String::new())),
            Err(error) => return Err(unknown("gid", "group", name, format!(" ({})", why(&error)))),
        },
    };
    Ok(Target { user, group })
}
