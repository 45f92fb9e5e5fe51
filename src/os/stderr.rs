//! Lines on stderr, as hosts leave it: it may be closed, its reader may have stopped reading, and other
//! processes write to it. A line is one write, of what fits into a pipe at once, and nobody waits for it:
//! what cannot be written now is dropped.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

/// The longest line. So much goes into a pipe whole or not at all (Linux's `PIPE_BUF`), so that other
/// writers do not tear it apart.
const MAX_LINE: usize = 4096;

/// What stands at the end of a line that was too long.
const ELLIPSIS: &str = "…";

/// How lines are written.
#[derive(Debug)]
enum WriteMode {
    /// On the descriptor that others share, once the system says that there is room.
    Shared,
    /// On a description of the same pipe or terminal that is ours alone: it does not block, without
    /// making the one that others share so.
    #[cfg(unix)]
    Own(std::fs::File),
    /// On a socket, where each call can say that it does not wait.
    #[cfg(unix)]
    Socket,
}

#[derive(Debug)]
struct Stderr {
    mode: WriteMode,
    /// A part of a line was written that could not be ended.
    torn: bool,
}

static STDERR: Mutex<Stderr> = Mutex::new(Stderr { mode: WriteMode::Shared, torn: false });

/// Finds out how lines can be written without waiting. To be called where stderr stays what it is.
pub fn choose_mode() {
    #[cfg(unix)]
    {
        use rustix::fs::FileType;
        use std::os::unix::fs::OpenOptionsExt as _;
        let kind = rustix::fs::fstat(io::stderr()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        lock().mode = match kind {
            Ok(FileType::Socket) => WriteMode::Socket,
            // (where it cannot be opened again, as without /proc, the shared one does)
            Ok(FileType::Fifo | FileType::CharacterDevice) => std::fs::File::options()
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open("/proc/self/fd/2")
                .map_or(WriteMode::Shared, WriteMode::Own),
            // A file takes what it is given.
            _ => WriteMode::Shared,
        };
    }
}

fn lock() -> std::sync::MutexGuard<'static, Stderr> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why the program ends, in one line and one write, whatever the log level.
pub fn print_error(error: &dyn Display) {
    write(&format!("obfs-rs: {error}"));
}

/// Writes a line, if that is possible without waiting.
pub fn write(line: &str) {
    let mut line = one_line(line);
    let mut stderr = lock();
    let torn = stderr.torn;
    if torn {
        line.insert(0, '\n');
    }
    let bytes = line.as_bytes();
    // Not `write_all`: that would wait where a part was taken.
    let written = match &stderr.mode {
        WriteMode::Shared if is_writable() => io::stderr().write(bytes),
        WriteMode::Shared => return,
        #[cfg(unix)]
        WriteMode::Own(file) => (&*file).write(bytes),
        #[cfg(unix)]
        WriteMode::Socket => {
            use rustix::net::{SendFlags, send};
            send(io::stderr(), bytes, SendFlags::DONTWAIT).map_err(io::Error::from)
        }
    };
    if let Ok(written) = written {
        stderr.torn = (torn && written == 0) || (written > 0 && written < bytes.len());
    }
}

/// Whether a line can be written without waiting for a reader, as far as the system tells.
fn is_writable() -> bool {
    #[cfg(unix)]
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let stderr = io::stderr();
        let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
        matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1..))
    }
    #[cfg(not(unix))]
    true
}

/// A text as one line with its end: whatever in it could end the line, or make a terminal do something,
/// is escaped, and what is too long is cut.
pub fn one_line(text: &str) -> String {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let mut line = String::with_capacity(text.len() + 1);
    for char in text.chars() {
        let start = line.len();
        if matches!(char, ' '..='~') {
            line.push(char);
        } else {
            // (this leaves letters of all scripts as they are)
            line.extend(char.escape_debug());
        }
        if line.len() + ELLIPSIS.len() + 1 > MAX_LINE {
            line.truncate(start);
            line.push_str(ELLIPSIS);
            break;
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_but_its_end() {
        for (text, line) in [
            ("a line\n", "a line\n"),
            ("no end, \"quoted\" \\x41", "no end, \"quoted\" \\x41\n"),
            ("", "\n"),
            ("a\nINFO forged\r\n", "a\\nINFO forged\\r\n"),
            ("\u{1b}[2J\u{7}\u{7f}\u{9b}", "\\u{1b}[2J\\u{7}\\u{7f}\\u{9b}\n"),
            ("a\u{85}b\u{2028}c\u{202e}d\t", "a\\u{85}b\\u{2028}c\\u{202e}d\\t\n"),
            ("Größe 大小", "Größe 大小\n"),
        ] {
            assert_eq!(one_line(text), line, "{text:?}");
        }
    }

    #[test]
    fn a_long_line_is_cut_to_what_a_pipe_takes_at_once() {
        for text in ["x".repeat(10_000), "ß".repeat(10_000), "\n".repeat(10_000)] {
            let line = one_line(&text);
            assert!((4080..=MAX_LINE).contains(&line.len()), "{}", line.len());
            assert!(line.ends_with("…\n"), "{line}");
        }
        let fits = format!("{}\n", "x".repeat(MAX_LINE - ELLIPSIS.len() - 1));
        assert_eq!(one_line(&fits), fits);
    }
}
