//! Router processes: requests come in, and go to the instances that serve them.

pub mod balance;
