//! The master: plans and supervises. [`plan`] decides, without touching anything; [`run`] does what it decided.

mod bells;
mod beside;
mod children;
mod chores;
mod desk;
mod event;
mod fealty;
mod fifo;
mod harakiri;
mod health;
mod host;
mod inherit;
mod notice;
mod notify_socket;
mod order;
mod own;
mod plan;
mod queues;
mod reload;
mod rounds;
mod run;
mod stacks;
mod stats;
mod subscriptions;
mod survey;
mod touch;
mod upgrade;

pub(crate) use host::{Ground, environment, locks, mercy_ms};
pub(crate) use inherit::Left;
pub(crate) use own::could_have;
pub(crate) use plan::Backoff;
pub(crate) use reload::needs_restart;
pub(crate) use run::{First, Master};
