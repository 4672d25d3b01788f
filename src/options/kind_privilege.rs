//! The kinds of options about privileges and limits. Rows of the `table` name these kinds; see `kind`.

use crate::kind::{Kind, Reading, Said, some};

/// Names of capabilities with commas between them, as a set of bits.
pub struct Capabilities;
/// `SOFT[:HARD]` of a resource: numbers, perhaps with K, M or G, or `unlimited`.
pub struct Limit;

/// The most and the least that a process may have of something; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What holds.
    pub soft: u64,
    /// How far the process itself may raise it.
    pub hard: u64,
}

/// capabilities(7), in the order of their numbers.
pub const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

impl Kind for Capabilities {
    type Field = Option<u64>;
    const HINT: &'static str = "NAMES";

    /// uWSGI adds those of several lines; `CAP_` before a name is what capabilities(7) writes.
    fn read(field: &mut Option<u64>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let mut set = field.unwrap_or_default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let plain = name.to_ascii_lowercase();
            let plain = plain.strip_prefix("cap_").unwrap_or(&plain);
            let number = CAPABILITIES.iter().position(|known| *known == plain);
            set |= 1 << number.ok_or_else(|| format!("there is no capability {name:?}: see capabilities(7)"))?;
        }
        *field = Some(set);
        Ok(None)
    }
}

impl Kind for Limit {
    type Field = Option<Bounds>;
    const HINT: &'static str = "SOFT[:HARD]";

    fn read(field: &mut Option<Bounds>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (soft, hard) = text.split_once(':').unwrap_or((&text, &text));
        let read = |part: &str| {
            amount(part).ok_or_else(|| format!("{part:?} is neither a number, perhaps with K, M or G, nor unlimited"))
        };
        let bounds = Bounds { soft: read(soft)?, hard: read(hard)? };
        if bounds.soft > bounds.hard {
            return Err(format!("{soft} is more than the hard limit {hard}"));
        }
        *field = Some(bounds);
        Ok(None)
    }
}

fn amount(text: &str) -> Option<u64> {
    if matches!(text, "unlimited" | "infinity") {
        return Some(u64::MAX);
    }
    let (digits, unit) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse::<u64>().ok()?.checked_mul(unit)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn capabilities_are_known_by_name() {
        assert_eq!(read::<Capabilities>(Some("chown,CAP_SETUID, net_bind_service")).0, Some(1 | 1 << 7 | 1 << 10));
        assert_eq!(read::<Capabilities>(Some("checkpoint_restore")).0, Some(1 << 40));
        let error = read::<Capabilities>(Some("setuid,flying")).1.unwrap_err();
        assert!(error.contains("\"flying\""), "{error}");
    }

    #[test]
    fn limits_have_units_and_two_sides() {
        let bounds = |soft, hard| Some(Bounds { soft, hard });
        assert_eq!(read::<Limit>(Some("0")).0, bounds(0, 0));
        assert_eq!(read::<Limit>(Some("8M:unlimited")).0, bounds(8 << 20, u64::MAX));
        assert_eq!(read::<Limit>(Some("infinity")).0, bounds(u64::MAX, u64::MAX));
        for wrong in ["", "x", "1T", "M", "2:1", "1:", "99999999999999999999"] {
            assert!(read::<Limit>(Some(wrong)).1.is_err(), "{wrong}");
        }
    }
}
