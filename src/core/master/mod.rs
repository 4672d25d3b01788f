//! The master: plans and supervises. [`plan`] decides, without touching anything; [`run`] does what it decided.

mod chores;
mod desk;
mod event;
mod fifo;
mod harakiri;
mod health;
mod host;
mod notice;
mod order;
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

pub(crate) use host::environment;
pub(crate) use run::{First, Master};
