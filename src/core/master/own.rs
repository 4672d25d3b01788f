//! What the master has of its own, beside workers and their listeners: where it answers, what it watches, whom it tells.
//! A start has all of it or does not begin; behind another executable, it goes on with what can be had.

use std::rc::Rc;

use mio::Poll;
use ruwsgi_options::Config;

use super::bells::Bells;
use super::desk::Desk;
use super::fifo::Fifos;
use super::notify_socket::NotifySocket;
use super::subscriptions::Subscriptions;
use crate::listeners::Bound;

/// All of it.
pub(super) struct Own {
    pub bells: Bells,
    pub desk: Desk,
    pub subscriptions: Subscriptions,
    pub fifos: Fifos,
    pub notify_socket: NotifySocket,
}

impl Own {
    /// Of a start.
    pub(super) fn new(poll: &Poll, config: &Config, listeners: &[Rc<Bound>]) -> Result<Self, String> {
        let mut own = Self::none(config);
        own.bells.renew(poll, config)?;
        own.desk.renew(poll, config, &[])?;
        own.subscriptions = Subscriptions::new(config, listeners)?;
        own.fifos.renew(poll, &config.process.master_fifo)?;
        own.notify_socket.renew(poll, config)?;
        Ok(own)
    }

    /// Behind another executable, whose workers are not to end with what is wrong here: it is told, and the reload with
    /// which this one begins is refused for it. `left`: what is open already.
    pub(super) fn behind(poll: &Poll, config: &Config, listeners: &[Rc<Bound>], left: &[Rc<Bound>]) -> Self {
        let mut own = Self::none(config);
        let mut done = vec![own.bells.renew(poll, config)];
        done.extend(own.desk.go_on(poll, config, left).into_iter().map(Err));
        match Subscriptions::new(config, listeners) {
            Ok(subscriptions) => own.subscriptions = subscriptions,
            // What is announced may be a listener that is not bound yet.
            Err(_) if listeners.len() < config.listeners().len() => {}
            Err(reason) => done.push(Err(reason)),
        }
        done.push(own.fifos.renew(poll, &config.process.master_fifo));
        done.push(own.notify_socket.renew(poll, config));
        done.into_iter().filter_map(Result::err).for_each(|reason| tracing::error!("{reason}"));
        own
    }

    fn none(config: &Config) -> Self {
        Self {
            bells: Bells::default(),
            desk: Desk::default(),
            subscriptions: Subscriptions::none(config),
            fifos: Fifos::default(),
            notify_socket: NotifySocket::default(),
        }
    }
}

/// Whether a master behind this one could have all of that. Nothing of what is live is touched.
pub(crate) fn could_have(config: &Config, listeners: &[Rc<Bound>], left: &[Rc<Bound>]) -> Result<(), String> {
    let poll = Poll::new().map_err(|error| format!("epoll: {error}"))?;
    Bells::default().renew(&poll, config)?;
    Desk::default().renew(&poll, config, left)?;
    Subscriptions::new(config, listeners)?;
    Fifos::could_open(&config.process.master_fifo)?;
    NotifySocket::could_open(config)
}
