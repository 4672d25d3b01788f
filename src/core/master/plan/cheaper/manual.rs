//! `manual`: only `+` and `-` of the FIFO change anything.

use super::{Advice, Algorithm, Cheaper};
use crate::master::order::Load;

/// Advises nothing.
#[derive(Debug, Default)]
pub(super) struct Manual;

impl Algorithm for Manual {
    fn advise(&mut self, _: &Load, _: &Cheaper, _: u32) -> Advice {
        None
    }
}
