//! The protocols of front ends as those see them, through the seam that the engine uses.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod client;
mod corpora;
#[path = "../http/rows.rs"]
mod rows;
