//! Prints what a command found. A reader that has seen enough (`| head`) ends the command quietly.

use std::{
    fmt,
    io::{self, Write as _},
};

use crate::exit::Exit;

/// `println!`, but a reader that went away ends the command instead of making it panic.
macro_rules! say {
    ($($text:tt)*) => { $crate::say::line(format_args!($($text)*)) };
}

/// Prints a line on stdout.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    let written = writeln!(io::stdout().lock(), "{text}");
    if let Err(error) = written {
        let exit = match error.kind() {
            io::ErrorKind::BrokenPipe => Exit::Ok,
            _ => Exit::Internal,
        };
        // Nothing is held that would have to be given back: demos and nodes do not print through here.
        std::process::exit(exit as i32);
    }
}
