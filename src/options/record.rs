//! What a reading keeps of each line: what it says, what it said before placeholders were filled in, and the files that
//! led to it. `gather` makes the records; `ruwsgi explain` and `ruwsgi check` show them.

use std::sync::Arc;

use bstr::BString;

use crate::directive::{Directive, Origin};

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name, the value with placeholders filled in, and the place.
    pub directive: Directive,
    /// The value as it was written, if placeholders changed it.
    pub raw: Option<BString>,
    /// Where the files that led here were asked for, the outermost first: empty for the command line and the environment.
    pub through: Arc<[Origin]>,
    /// It acted when it was read (`ini`, `set`, `if-env` ...): no placeholder in it is filled in.
    pub done: bool,
    /// It stands under a condition about the machine, which was not looked at: it may count or not.
    pub conditional: bool,
    /// Its value depends on the machine, which was not looked at: the value is not what will be there.
    pub unsure: bool,
}
