//! The sockets where routers hear announcements: bound by the master, heard by the router processes. They outlive a reload
//! that still wants them.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;

use ruwsgi_options::Config;

use super::settings::Settings;
use crate::Place;
use crate::subscription::Ear;

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
