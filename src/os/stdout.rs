//! What is printed for whoever asked for it.

use super::stderr::print_error;
use std::io::{self, Write as _};

/// Prints a text. Returns whether it was written; an error is told. A reader that has seen enough (`| head`) is none.
pub fn print(text: &str) -> bool {
    let mut out = io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            print_error(&format!("cannot write to standard output: {error}"));
            false
        }
        _ => true,
    }
}
