//! The names in `plugins` and `need-plugins`: everything is built in, so naming one loads nothing; a name that is
//! nothing here is told. Two kinds of values for the `table`.

use crate::kind::{Kind, Reading, Remark, Said};

/// Names of plugins, with commas; a missing one is remarked on.
pub struct Plugins;
/// Names of plugins, with commas; a missing one is an error.
pub struct NeedPlugins;

impl Kind for Plugins {
    type Field = Vec<String>;
    const HINT: &'static str = "NAMES";

    fn read(field: &mut Vec<String>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        let names: Vec<&str> = plugin_names(text).collect();
        field.extend(names.iter().map(ToString::to_string));
        let missing = missing(&names);
        let told = (!missing.is_empty()).then(|| format!("there is no plugin {missing}; going on without it"));
        Ok(told.or_else(|| elsewhere(text)).map(Remark::Told))
    }
}

impl Kind for NeedPlugins {
    type Field = Vec<String>;
    const HINT: &'static str = "NAMES";

    fn read(field: &mut Vec<String>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        let names: Vec<&str> = plugin_names(text).collect();
        field.extend(names.iter().map(ToString::to_string));
        let missing = missing(&names);
        if !missing.is_empty() {
            return Err(format!("there is no plugin {missing}"));
        }
        Ok(elsewhere(text).map(Remark::Told))
    }
}

/// The parts of a value, each with the modifier that it is to have: `0:python3` in two.
fn parts(text: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| match name.split_once(':') {
        Some((modifier, name)) if modifier.bytes().all(|byte| byte.is_ascii_digit()) => (Some(modifier), name),
        _ => (None, name),
    })
}

/// What is told of a plugin that is wanted under another number than its own.
fn elsewhere(text: &str) -> Option<String> {
    let own = |modifier: &str| modifier.parse() == Ok(0u32);
    let (modifier, name) = parts(text).find(|(modifier, _)| modifier.is_some_and(|modifier| !own(modifier)))?;
    let modifier = modifier.unwrap_or_default();
    Some(format!("requests for modifier {modifier} are not served: {name} has the number that it always has"))
}

/// `0:python3`, `python,http` and `/usr/lib/uwsgi/plugins/python3_plugin.so` as names.
pub(crate) fn plugin_names(text: &str) -> impl Iterator<Item = &str> {
    parts(text).map(|(_, name)| {
        let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
        file.strip_suffix("_plugin.so").unwrap_or(file)
    })
}

fn missing(names: &[&str]) -> String {
    let missing = names.iter().filter(|name| !is_built_in(name));
    missing.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

/// What the usual build of uWSGI has inside. What their options do here, the options say; naming them loads nothing.
const BUILT_IN: &[&str] = &[
    "cache",
    "carbon",
    "cheaper_busyness",
    "corerouter",
    "fastrouter",
    "gevent",
    "http",
    "logfile",
    "logsocket",
    "mongodblog",
    "nagios",
    "ping",
    "rawrouter",
    "redislog",
    "rpc",
    "rrdtool",
    "rsyslog",
    "signal",
    "spooler",
    "sslrouter",
    "stats_pusher_socket",
    "symcall",
    "syslog",
    "ugreen",
    "zergpool",
];

pub(crate) fn is_built_in(name: &str) -> bool {
    let python = name.strip_prefix("python").is_some_and(|rest| {
        !rest.starts_with('2') && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b'-')
    });
    python || name.starts_with("router_") || name.starts_with("transformation_") || BUILT_IN.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn built_in_plugins_are_there() {
        for name in [
            "python",
            "python3",
            "python311",
            "python3.11",
            "0:python3",
            "http,python",
            "router_redirect",
            "logfile",
            "/usr/lib/uwsgi/plugins/python3_plugin.so",
            "",
            "gevent",
        ] {
            assert_eq!(read::<Plugins>(Some(name)).1, Ok(None), "{name}");
        }
        // `uwsgi --plugins-list` of a build from PyPI.
        let usual = "gevent nagios rrdtool carbon corerouter fastrouter http ugreen syslog rsyslog logsocket router_uwsgi \
                     router_redirect router_basicauth zergpool redislog mongodblog router_rewrite router_http logfile \
                     router_cache rawrouter router_static sslrouter cheaper_busyness transformation_tofile \
                     transformation_gzip transformation_chunked transformation_offload router_memcached router_redis \
                     router_hash router_expires router_metrics transformation_template stats_pusher_socket python \
                     spooler symcall ping signal cache rpc";
        for name in usual.split_whitespace() {
            assert_eq!(read::<NeedPlugins>(Some(name)).1, Ok(None), "{name}");
        }
        assert_eq!(read::<NeedPlugins>(Some("000:python3")).1, Ok(None));
        let told = "requests for modifier 5 are not served: python39 has the number that it always has";
        assert_eq!(read::<Plugins>(Some("http,5:python39")).1, Ok(Some(told.into())));
        assert_eq!(read::<NeedPlugins>(Some("5:python39")).1, Ok(Some(told.into())));
        assert_eq!(read::<Plugins>(Some("0:python3,http")).0, ["python3", "http"]);
        let (_, said) = read::<Plugins>(Some("python3, php,psgi"));
        assert_eq!(said, Ok(Some("there is no plugin \"php\", \"psgi\"; going on without it".into())));
        assert!(read::<Plugins>(Some("python27")).1.is_ok_and(|said| said.is_some()));
        assert_eq!(read::<NeedPlugins>(Some("php")).1, Err("there is no plugin \"php\"".into()));
        assert_eq!(read::<NeedPlugins>(Some("python3")).1, Ok(None));
    }
}
