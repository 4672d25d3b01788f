//! The kinds of the options that act while the configuration is read: `gather` has done what they ask for when their
//! values come here, so nothing is kept. What they were given may be bytes of any kind.

use crate::kind::{Arg, Kind, Reading, Said};

/// It took a value and has acted.
pub struct Acted;
/// It took no value and has acted.
pub struct Mark;
/// It may have had a value and has acted.
pub struct MaybeMark;

impl Kind for Acted {
    type Field = ();
    const HINT: &'static str = "TEXT";
    const BYTES: bool = true;

    fn read((): &mut (), _: &Said<'_>) -> Reading {
        Ok(None)
    }
}

impl Kind for Mark {
    type Field = ();
    const ARG: Arg = Arg::None;
    const HINT: &'static str = "";
    const BYTES: bool = true;

    fn read((): &mut (), _: &Said<'_>) -> Reading {
        Ok(None)
    }
}

impl Kind for MaybeMark {
    type Field = ();
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "TEXT";
    const BYTES: bool = true;

    fn read((): &mut (), _: &Said<'_>) -> Reading {
        Ok(None)
    }
}
