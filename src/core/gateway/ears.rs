//! The sockets where routers hear announcements: bound by the master, heard by the router processes. They outlive a reload
//! that still wants them.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use ruwsgi_options::Config;
use ruwsgi_sys::exec;

use super::settings::Settings;
use crate::subscription::Ear;
use crate::upgrade::Ear as Left;
use crate::{Place, why};

/// A socket, and by what a reload knows it again.
pub(crate) struct Heard {
    option: String,
    said: String,
    identified: bool,
    pub(super) ear: RefCell<Ear>,
    vacuum: Cell<bool>,
}

impl Heard {
    /// Those of a router, taken over from `former` where they are there already.
    pub(super) fn of(
        name: &str,
        settings: &Settings,
        config: &Config,
        former: &[Rc<Self>],
    ) -> Result<Vec<Rc<Self>>, String> {
        let (option, identified) = (format!("{name}-subscription-server"), config.subscriptions.use_credentials);
        let bind = |said: &String| {
            let same = |one: &&Rc<Self>| one.option == option && one.said == *said && one.identified == identified;
            if let Some(bound) = former.iter().find(same) {
                return Ok(bound.clone());
            }
            let ear = Ear::bind(said, identified, config.sockets.chmod_socket)
                .map_err(|why| format!("{option}: {said:?} {why}{}", Place(config, &option)))?;
            tracing::info!("{option} at {ear}");
            let vacuum = Cell::new(config.sockets.vacuum);
            Ok(Rc::new(Self { option: option.clone(), said: said.clone(), identified, ear: RefCell::new(ear), vacuum }))
        };
        settings.mapping.subscription.iter().map(bind).collect()
    }
}

impl Heard {
    /// One that another executable has left.
    pub(super) fn inherited(left: &Left) -> Result<Self, String> {
        let Left { option, said, identified, shown, file, vacuum, .. } = left.clone();
        let fd = exec::inherited(left.fd);
        let fd = fd.map_err(|error| format!("{option} at {shown} was left to this executable: {}", why(&error)))?;
        let (ear, vacuum) = (RefCell::new(Ear::of(fd, shown, file)), Cell::new(vacuum));
        Ok(Self { option, said, identified, ear, vacuum })
    }

    /// What there is to know of it for another executable.
    pub(super) fn left(&self) -> Left {
        let ear = self.ear.borrow();
        Left {
            fd: ear.as_raw_fd(),
            option: self.option.clone(),
            said: self.said.clone(),
            identified: self.identified,
            shown: ear.to_string(),
            file: ear.file().cloned(),
            vacuum: self.vacuum.get(),
        }
    }

    /// Its file goes with it, or stays.
    pub(super) fn set_vacuum(&self, vacuum: bool) {
        self.vacuum.set(vacuum);
    }
}

impl AsRawFd for Heard {
    fn as_raw_fd(&self) -> RawFd {
        self.ear.borrow().as_raw_fd()
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        if self.vacuum.get() {
            self.ear.borrow_mut().vacuum();
        }
    }
}
