//! The emperor: one instance for each file that a monitor sees. [`plan`] decides, without touching anything; [`run`] does
//! what it decided. An instance that is itself a vassal knows its emperor by `crate::vassal`.

mod child;
mod control;
mod desk;
mod host;
mod launch;
mod monitor;
mod name;
mod notice;
mod on_demand;
pub(crate) mod pipe;
mod plan;
mod run;
mod start;
mod stats;
mod tyrant;
mod voice;

pub(crate) use child::{Child, leash};
pub use control::ask;
pub(crate) use start::{is_emperor, places, run};
