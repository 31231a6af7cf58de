//! Standard error, for people. A closed one is no reason to stop.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Writes a line.
pub fn tell(text: impl Display) {
    // There is nobody left to tell that nobody is there.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a person watches.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}
