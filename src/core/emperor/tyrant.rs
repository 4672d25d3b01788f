//! `emperor-tyrant`: as whom a vassal runs. The owner is that of the open file, and nobody but he and root may have put
//! the file there or may put another one in its place: each folder and each link on the way is looked at from the root
//! on. What is looked at next lies in a folder that was found safe, so nobody else can exchange it meanwhile, nor later,
//! when the vassal reads the file by its name.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use ruwsgi_sys::file;

use crate::why;

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;
const STICKY: u32 = 0o1000;
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

/// The user and the group that own the file of a vassal; `of_link`: those of the link, where it is one.
pub(super) fn owner(path: &Path, of_link: bool) -> Result<(u32, u32), String> {
    let failed = |error: io::Error| format!("emperor-tyrant: its owner can't be known: {}", why(&error));
    let opened = OpenOptions::new().read(true).custom_flags(file::NONBLOCK).open(path).map_err(failed)?;
    let found = opened.metadata().map_err(failed)?;
    let owner = if of_link {
        let link = path.symlink_metadata().map_err(failed)?;
        (link.uid(), link.gid())
    } else {
        (found.uid(), found.gid())
    };
    if owner.0 == 0 || owner.1 == 0 {
        let (kind, number) = if owner.0 == 0 { ("user", owner.0) } else { ("group", owner.1) };
        return Err(format!("emperor-tyrant: its {kind} is root's ({number}): give it to a user of its own"));
    }
    if found.mode() & (GROUP_WRITES | OTHERS_WRITE) != 0 {
        return Err("emperor-tyrant: others than its owner may write it: chmod go-w".to_owned());
    }
    walk(path, owner.0, &opened).map_err(|reason| format!("emperor-tyrant: {reason}"))?;
    Ok(owner)
}

/// Goes from the root to the file, which must be the one that is open.
fn walk(path: &Path, owner: u32, opened: &File) -> Result<(), String> {
    let failed = |path: &Path, error: &io::Error| format!("{} can't be looked at: {}", path.display(), why(error));
    let whole = std::path::absolute(path).map_err(|error| failed(path, &error))?;
    let mut here = PathBuf::from("/");
    is_safe(&here, &here.symlink_metadata().map_err(|error| failed(&here, &error))?, owner)?;
    let mut left = parts(&whole);
    let mut links = 0;
    while let Some(part) = left.pop() {
        if part == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let found = next.symlink_metadata().map_err(|error| failed(&next, &error))?;
        if found.is_symlink() {
            links += 1;
            if links > MOST_LINKS {
                return Err(format!("{} leads through too many links", path.display()));
            }
            if found.uid() != 0 && found.uid() != owner {
                return Err(format!("{} is a link of another user ({})", next.display(), found.uid()));
            }
            let target = next.read_link().map_err(|error| failed(&next, &error))?;
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            left.extend(parts(&target));
            continue;
        }
        if found.is_dir() {
            is_safe(&next, &found, owner)?;
        }
        here = next;
    }
    let found = here.symlink_metadata().map_err(|error| failed(&here, &error))?;
    let meant = opened.metadata().map_err(|error| failed(&here, &error))?;
    let same = (found.dev(), found.ino()) == (meant.dev(), meant.ino());
    if same { Ok(()) } else { Err("it was exchanged while it was looked at".to_owned()) }
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    let mut parts: Vec<OsString> = path.components().filter_map(part).collect();
    parts.reverse();
    parts
}

/// Nobody but root and the owner can exchange what lies in this folder.
fn is_safe(folder: &Path, found: &Metadata, owner: u32) -> Result<(), String> {
    if found.uid() != 0 && found.uid() != owner {
        return Err(format!("{} is a folder of another user ({})", folder.display(), found.uid()));
    }
    let sticky = found.mode() & STICKY != 0;
    if found.mode() & (GROUP_WRITES | OTHERS_WRITE) != 0 && !sticky {
        return Err(format!("others may write to the folder {}: chmod go-w", folder.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    fn mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_root_and_the_owner_may_have_put_a_file_there() {
        if !nix_is_root() {
            return;
        }
        let top = std::env::temp_dir().join(format!("ruwsgi-tyrant-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&top);
        std::fs::create_dir_all(top.join("v/sub")).unwrap();
        [&top, &top.join("v"), &top.join("v/sub")].into_iter().for_each(|path| mode(path, 0o755));
        let file = top.join("v/a.ini");
        std::fs::write(&file, "x").unwrap();
        mode(&file, 0o644);
        let told = |path: &Path| owner(path, false).unwrap_err();
        assert!(told(&file).contains("user is root's"));
        chown(&file, Some(4242), Some(0)).unwrap();
        assert!(told(&file).contains("group is root's"));
        chown(&file, Some(4242), Some(4343)).unwrap();
        assert_eq!(owner(&file, false), Ok((4242, 4343)));
        mode(&file, 0o664);
        assert!(told(&file).contains("chmod go-w"));
        mode(&file, 0o600);

        mode(&top.join("v"), 0o777);
        assert!(told(&file).contains("others may write to the folder"));
        mode(&top.join("v"), 0o1777);
        assert_eq!(owner(&file, false), Ok((4242, 4343)), "a sticky folder, as /tmp is");
        mode(&top.join("v"), 0o755);
        chown(top.join("v"), Some(4999), None).unwrap();
        assert!(told(&file).contains("folder of another user (4999)"));
        chown(top.join("v"), Some(4242), None).unwrap();
        assert_eq!(owner(&file, false), Ok((4242, 4343)));

        let link = top.join("v/sub/l.ini");
        symlink("../a.ini", &link).unwrap();
        assert_eq!(owner(&link, false), Ok((4242, 4343)), "a link of root's");
        assert!(owner(&link, true).unwrap_err().contains("user is root's"));
        lchown(&link, Some(4999), Some(4999)).unwrap();
        assert!(told(&link).contains("link of another user (4999)"));
        lchown(&link, Some(4242), Some(4343)).unwrap();
        assert_eq!(owner(&link, true), Ok((4242, 4343)));
        std::fs::remove_dir_all(&top).unwrap();
    }

    fn nix_is_root() -> bool {
        ruwsgi_sys::privilege::is_root()
    }
}
