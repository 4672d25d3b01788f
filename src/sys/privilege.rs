//! Giving up root: accounts by name or number, and the one way down, which is verified.

use std::ffi::CString;
use std::io;

use nix::unistd::{
    Gid, Group, Uid, User, geteuid, getresgid, getresuid, initgroups, setgroups, setresgid, setresuid, setuid,
};

use crate::confine;

/// CAP_SETUID, capabilities(7).
const CAP_SETUID: u64 = 1 << 7;

/// A user, as the system knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its number.
    pub uid: u32,
    /// Its name and its primary group, where the system knows the number.
    pub known: Option<(String, u32)>,
}

/// Whom to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The user; `None`: stay.
    pub user: Option<Account>,
    /// The group; `None`: the user's primary one.
    pub group: Option<u32>,
    /// The other groups.
    pub others: Others,
    /// The capabilities that are kept, as a set of bits; `None`: what the kernel makes of it.
    pub capabilities: Option<u64>,
}

/// In which groups to be besides the first one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Others {
    /// In those that the system has the user in.
    #[default]
    OfUser,
    /// In these, and no others.
    These(Vec<u32>),
}

/// This process may become whom it likes.
#[must_use]
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Finds a user by name or number. `None`: no such name.
pub fn user(text: &str) -> io::Result<Option<Account>> {
    let number = text.parse::<u32>().ok();
    let found = match number {
        Some(uid) => User::from_uid(Uid::from_raw(uid))?,
        None => User::from_name(text)?,
    };
    let known = |user: User| Account { uid: user.uid.as_raw(), known: Some((user.name, user.gid.as_raw())) };
    Ok(found.map(known).or(number.map(|uid| Account { uid, known: None })))
}

/// Finds a group by name or number. `None`: no such name.
pub fn group(text: &str) -> io::Result<Option<u32>> {
    match text.parse() {
        Ok(gid) => Ok(Some(gid)),
        Err(_) => Ok(Group::from_name(text)?.map(|group| group.gid.as_raw())),
    }
}

impl Target {
    /// Nothing would change: this process is already that user and group.
    #[must_use]
    pub fn is_me(&self) -> bool {
        let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
        self.user.as_ref().is_none_or(|user| user.uid == uid) && self.group.is_none_or(|group| group == gid)
    }

    /// The group that its files have: the one that was said, or the user's primary one.
    #[must_use]
    pub fn group_of_files(&self) -> Option<u32> {
        let primary = || self.user.as_ref()?.known.as_ref().map(|(_, primary)| *primary);
        self.group.or_else(primary)
    }

    /// Becomes it, for good: supplementary groups, group, user, in this order; then looks whether it is so. Whatever
    /// is to be kept of root's powers is kept, and nothing else.
    pub fn take(&self) -> io::Result<()> {
        if let Some(set) = self.capabilities {
            confine::bound(set)?;
            confine::keep_over_user(true)?;
        }
        let group = self.take_groups()?;
        let user = self.user.as_ref().map(|user| Uid::from_raw(user.uid));
        if let Some(user) = user {
            setresuid(user, user, user)?;
        }
        if let Some(set) = self.capabilities {
            confine::keep_over_user(false)?;
            confine::keep_only(set)?;
        }
        let (users, groups) = (getresuid()?, getresgid()?);
        let user_holds = user.is_none_or(|user| [users.real, users.effective, users.saved] == [user; 3]);
        let group_holds = group.is_none_or(|group| [groups.real, groups.effective, groups.saved] == [group; 3]);
        // Who may change users by a capability may do that.
        let may_change = self.capabilities.is_some_and(|set| set & CAP_SETUID != 0);
        let stays = may_change || user.is_none_or(|user| user.is_root() || setuid(Uid::from_raw(0)).is_err());
        if user_holds && group_holds && stays {
            return Ok(());
        }
        Err(io::Error::other("the privileges are still there after they were dropped"))
    }

    fn take_groups(&self) -> io::Result<Option<Gid>> {
        let known = self.user.as_ref().and_then(|user| user.known.as_ref());
        let group = self.group.or(known.map(|(_, primary)| *primary)).map(Gid::from_raw);
        match (&self.others, known, group) {
            (Others::These(groups), ..) => {
                setgroups(&groups.iter().copied().map(Gid::from_raw).collect::<Vec<_>>())?;
            }
            (Others::OfUser, Some((name, _)), Some(group)) => initgroups(&CString::new(name.as_str())?, group)?,
            (Others::OfUser, None, Some(group)) => setgroups(&[group])?,
            (Others::OfUser, _, None) if self.user.is_some() => setgroups(&[])?,
            (Others::OfUser, _, None) => {}
        }
        if let Some(group) = group {
            setresgid(group, group, group)?;
        }
        Ok(group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let root = user("root").unwrap().unwrap();
        assert_eq!((root.uid, user("0").unwrap().unwrap()), (0, root.clone()));
        assert_eq!(user("4242424").unwrap(), Some(Account { uid: 4_242_424, known: None }));
        assert_eq!(user("no such user").unwrap(), None);
        assert_eq!(group("root").unwrap(), Some(0));
        assert_eq!(group("17").unwrap(), Some(17));
        assert_eq!(group("no such group").unwrap(), None);
    }
}
