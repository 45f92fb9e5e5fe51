//! Lines on stderr, as hosts leave it: it may be closed, its reader may have stopped reading, and other
//! processes write to it. A line is one write, of what fits into a pipe at once, and nobody waits for it:
//! what cannot be written now is dropped. Where it is a file, whose disk may take its time, a thread waits.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

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
    /// By a thread, which may wait.
    Thread(SyncSender<ToWrite>),
}

/// What the thread does in its turn.
#[derive(Debug)]
enum ToWrite {
    Line(String),
    /// All before it was written.
    Mark(SyncSender<()>),
}

/// Lines that wait for the thread at the most.
const WAITING: usize = 1000;

#[derive(Debug)]
struct Stderr {
    mode: WriteMode,
    /// A part of a line was written that could not be ended.
    torn: bool,
    /// Lines that there was no room for.
    lost: u64,
}

static STDERR: Mutex<Stderr> = Mutex::new(Stderr { mode: WriteMode::Shared, torn: false, lost: 0 });

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
            // A file takes what it is given, sooner or later.
            _ => WriteMode::Shared,
        };
    }
}

/// From now on a file is written by a thread of its own. To be called once the process serves: nobody waited for
/// before, and until then the process may have to be one of a single thread.
pub fn start_thread() {
    let mut stderr = lock();
    if !matches!(stderr.mode, WriteMode::Shared) {
        return;
    }
    let (sender, receiver) = sync_channel(WAITING);
    // Without the thread it is as before.
    if std::thread::Builder::new().name("log".into()).spawn(move || write_in_turn(&receiver)).is_ok() {
        stderr.mode = WriteMode::Thread(sender);
    }
}

fn write_in_turn(receiver: &Receiver<ToWrite>) {
    let mut torn = false;
    for next in receiver {
        match next {
            // A disk that is full takes nothing.
            ToWrite::Line(line) => {
                write_once(&line, &mut torn, |bytes| io::stderr().write(bytes));
            }
            // Whoever asked may not wait any more.
            ToWrite::Mark(written) => drop(written.try_send(())),
        }
    }
}

/// Waits until what was said is written, but not for a disk that is stuck. To be called before the process ends.
pub fn flush() {
    const LONGEST: Duration = Duration::from_secs(1);
    let sender = match &lock().mode {
        WriteMode::Thread(sender) => sender.clone(),
        _ => return,
    };
    let (written, is_written) = sync_channel(1);
    if sender.try_send(ToWrite::Mark(written)).is_ok() {
        // Too late is as good as never.
        let _ = is_written.recv_timeout(LONGEST);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Stderr> {
    STDERR.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says why the program ends, in one line and one write, whatever the log level.
pub fn print_error(error: &dyn Display) {
    write(&format!("obfs-rs: {error}"));
    flush();
}

/// Writes a line, if that is possible without waiting.
pub fn write(line: &str) {
    lock().write(one_line(line));
}

impl Stderr {
    fn write(&mut self, line: String) {
        if self.lost > 0 {
            let told =
                format!("obfs-rs: {} lines of the log were lost: who takes them was too slow\n", self.lost);
            if self.put(told) {
                self.lost = 0;
            }
        }
        if !self.put(line) {
            self.lost += 1;
        }
    }

    /// Writes a line, or leaves it to the thread. `false`: that would have to wait.
    fn put(&mut self, line: String) -> bool {
        let torn = &mut self.torn;
        match &self.mode {
            WriteMode::Shared => is_writable() && write_once(&line, torn, |bytes| io::stderr().write(bytes)),
            #[cfg(unix)]
            WriteMode::Own(file) => write_once(&line, torn, |bytes| (&*file).write(bytes)),
            #[cfg(unix)]
            WriteMode::Socket => write_once(&line, torn, |bytes| {
                use rustix::net::{SendFlags, send};
                send(io::stderr(), bytes, SendFlags::DONTWAIT).map_err(io::Error::from)
            }),
            WriteMode::Thread(sender) => sender.try_send(ToWrite::Line(line)).is_ok(),
        }
    }
}

/// Writes a line with one write, behind the end of one that was `torn`. `false` if nothing of it was taken.
fn write_once(line: &str, torn: &mut bool, write: impl FnOnce(&[u8]) -> io::Result<usize>) -> bool {
    let ended;
    let bytes = if *torn {
        ended = format!("\n{line}");
        ended.as_bytes()
    } else {
        line.as_bytes()
    };
    // Not `write_all`: that would wait where a part was taken.
    let written = write(bytes).unwrap_or(0);
    if written > 0 {
        *torn = written < bytes.len();
    }
    written > 0
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
    fn a_line_that_was_torn_is_ended_before_the_next() {
        let mut torn = false;
        let mut written = Vec::new();
        for room in [4, 0, 100, 100] {
            write_once("a line\n", &mut torn, |bytes| {
                let taken = bytes.get(..room).unwrap_or(bytes);
                written.extend_from_slice(taken);
                Ok(taken.len())
            });
        }
        assert!(!write_once("no room\n", &mut torn, |_| Err(io::ErrorKind::StorageFull.into())));
        assert_eq!((String::from_utf8(written).unwrap().as_str(), torn), ("a li\na line\na line\n", false));
    }

    #[test]
    fn nobody_waits_for_a_disk_that_is_stuck() {
        let (sender, stuck) = sync_channel(WAITING);
        let mut stderr = Stderr { mode: WriteMode::Thread(sender), torn: false, lost: 0 };
        for number in 0..WAITING + 5 {
            stderr.write(format!("line {number}\n"));
        }
        let next = || match stuck.try_recv() {
            Ok(ToWrite::Line(line)) => line,
            other => panic!("{other:?}"),
        };
        let first = [next(), next()];
        assert_eq!(first, ["line 0\n", "line 1\n"]);
        stderr.write("again\n".to_owned());
        let rest: Vec<_> = (2..WAITING + 2).map(|_| next()).collect();
        assert!(rest[WAITING - 2].starts_with("obfs-rs: 5 lines of the log were lost"), "{rest:?}");
        assert_eq!((rest[WAITING - 1].as_str(), stderr.lost), ("again\n", 0));
    }

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
