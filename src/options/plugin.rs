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
        Ok((!missing.is_empty()).then(|| Remark::Told(format!("there is no plugin {missing}; going on without it"))))
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
        if missing.is_empty() { Ok(None) } else { Err(format!("there is no plugin {missing}")) }
    }
}

/// `0:python3`, `python,http` and `/usr/lib/uwsgi/plugins/python3_plugin.so` as names.
pub(crate) fn plugin_names(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
        let name = match name.split_once(':') {
            Some((modifier, name)) if modifier.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => name,
        };
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
        assert_eq!(read::<Plugins>(Some("0:python3,http")).0, ["python3", "http"]);
        let (_, said) = read::<Plugins>(Some("python3, php,psgi"));
        assert_eq!(said, Ok(Some("there is no plugin \"php\", \"psgi\"; going on without it".into())));
        assert!(read::<Plugins>(Some("python27")).1.is_ok_and(|said| said.is_some()));
        assert_eq!(read::<NeedPlugins>(Some("php")).1, Err("there is no plugin \"php\"".into()));
        assert_eq!(read::<NeedPlugins>(Some("python3")).1, Ok(None));
    }
}
