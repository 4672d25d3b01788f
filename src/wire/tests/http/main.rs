//! HTTP/1 as a client sees it, through the seam that the engine uses.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod client;
mod corpora;
mod mutation;
mod reply;
mod requests;
mod responses;
mod rows;
