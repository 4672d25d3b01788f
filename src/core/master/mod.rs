//! The master: plans and supervises. [`plan`] decides, without touching anything; [`run`] does what it decided.

mod event;
mod host;
mod order;
mod plan;
mod reload;
mod run;
mod touch;

pub(crate) use run::{First, Master};
