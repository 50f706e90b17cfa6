//! Writing to people and pipes: colours on a terminal alone, and a closed pipe is not an error.

use std::fmt::Arguments;
use std::io::Write;

/// A line on stdout.
pub(super) fn line(text: Arguments<'_>) {
    let mut out = anstream::stdout().lock();
    // Whoever closed the pipe wants no more.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// A line on stderr, with our name.
pub(super) fn complain(text: Arguments<'_>) {
    let _ = writeln!(anstream::stderr().lock(), "deskhand: {text}");
}
