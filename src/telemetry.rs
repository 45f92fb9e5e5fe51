//! The log: one line an event, on stderr (in the background: to syslog), without payload and without
//! keys.

use crate::config::LogLevel;
use crate::relay::{End, Outcome};
use std::fmt::Display;
use std::io::{self, Write};
#[cfg(unix)]
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::Instant;
use tracing::level_filters::LevelFilter;
#[cfg(unix)]
use tracing::{Level, Metadata};
use tracing::{debug, warn};
#[cfg(unix)]
use tracing_subscriber::fmt::MakeWriter;

#[cfg(unix)]
mod syslog;
#[cfg(unix)]
use syslog::Syslog;

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To whoever started us.
    Stderr,
    /// To the system's log; until [`went_into_background`], to stderr.
    Syslog,
}

/// Starts the log. To be called once.
pub fn init(level: LogLevel, destination: Destination) {
    let level = match level {
        LogLevel::None => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false);
    match destination {
        Destination::Stderr => log.with_writer(|| Stderr).init(),
        #[cfg(unix)]
        Destination::Syslog => log.without_time().with_writer(ToSyslog).init(),
        #[cfg(not(unix))]
        Destination::Syslog => log.with_writer(|| Stderr).init(),
    }
}

/// Whether there is no terminal any more, nor anybody else who reads stderr.
static IN_BACKGROUND: AtomicBool = AtomicBool::new(false);

/// Says so if there is no system's log, to whoever reads stderr yet.
#[cfg(unix)]
pub fn look_for_syslog() {
    if !SYSLOG.is_there() {
        warn!("there is no syslog: until there is one, the last lines of the log are kept for it");
    }
}

/// From now on nobody reads stderr.
pub fn went_into_background() {
    IN_BACKGROUND.store(true, Ordering::Relaxed);
}

/// The system's log, where it is asked for.
#[cfg(unix)]
static SYSLOG: LazyLock<Syslog> = LazyLock::new(Syslog::default);

/// Writes to the system's log, in the background.
#[cfg(unix)]
#[derive(Debug)]
struct ToSyslog;

/// Sends what waits for the system's log, for as long as the process lives.
pub async fn keep_sending() {
    #[cfg(unix)]
    if IN_BACKGROUND.load(Ordering::Relaxed) {
        SYSLOG.keep_sending().await;
    }
    std::future::pending().await
}

#[cfg(unix)]
impl<'a> MakeWriter<'a> for ToSyslog {
    type Writer = SyslogLine;

    fn make_writer(&'a self) -> SyslogLine {
        SyslogLine(syslog::severity(Level::INFO))
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> SyslogLine {
        SyslogLine(syslog::severity(*metadata.level()))
    }
}

/// One line on its way to the system's log.
#[cfg(unix)]
struct SyslogLine(u8);

#[cfg(unix)]
impl Write for SyslogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if IN_BACKGROUND.load(Ordering::Relaxed) {
            SYSLOG.send(self.0, &String::from_utf8_lossy(line));
        } else {
            Stderr.write_all(line)?;
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// stderr as hosts leave it: it may be closed, and its reader may have stopped reading. Neither may
/// stop the traffic, so a line that cannot be written at once is dropped.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if is_writable() {
            let _ = io::stderr().write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether a line can be written without waiting for a reader.
#[cfg(unix)]
fn is_writable() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(n) if n > 0)
}

#[cfg(not(unix))]
fn is_writable() -> bool {
    true
}

/// The line that a connection gets when it has ended.
pub fn tunnel_ended(peer: impl Display, verdict: &'static str, began: Instant, outcome: &Outcome) {
    let Outcome { up, down, end } = outcome;
    let seconds = format_args!("{:.3}", began.elapsed().as_secs_f64()).to_string();
    match end {
        // Somebody has set something up wrongly: this is to be seen without asking for it.
        End::Malformed(..) => warn!(%peer, up, down, seconds, %end, "{verdict} ended"),
        _ => debug!(%peer, up, down, seconds, %end, "{verdict} ended"),
    }
}
