//! The log: one line an event, on stderr (in the background: to syslog), without payload and without
//! keys. Paths and names that only clients are to know stand in lines for debugging alone.

use crate::os::stderr;
use std::fmt::Display;
use std::io::{self, Write};
#[cfg(unix)]
use std::sync::LazyLock;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::debug;
use tracing::level_filters::LevelFilter;
#[cfg(unix)]
use tracing::{Level, Metadata, warn};
use tracing_subscriber::filter::Targets;
#[cfg(unix)]
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, reload};

pub mod access_log;
mod kept;
mod level;
mod limit;
mod prefix;
mod record;

pub use access_log::{AccessLogConfig, AccessLogError};
pub use kept::KeptWarnings;
pub use level::LogLevel;
pub use limit::{
    report as report_suppressed, report_rest as report_rest_of_suppressed, start as start_limiting,
};

pub use crate::metrics::TunnelKind;
pub use record::{Answered, Kind, PathClass, Record, Target};

#[cfg(unix)]
use crate::os::syslog::Syslog;
#[cfg(unix)]
use prefix::HalfOnly;
use prefix::Prefix;
#[cfg(feature = "tls")]
pub(crate) use prefix::iso_date;

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To whoever started us.
    Stderr,
    /// To the system's log; until [`switch_to_syslog`], to stderr.
    Syslog,
}

/// Starts the log of this `half`. To be called once.
pub fn init(level: LogLevel, destination: Destination, half: impl Display) {
    let log = tracing_subscriber::fmt::layer().with_target(false).with_ansi(false).log_internal_errors(false);
    let half = half.to_string();
    #[cfg(unix)]
    let prefix = Prefix(half.clone());
    #[cfg(not(unix))]
    let prefix = Prefix(half);
    match destination {
        Destination::Stderr => {
            stderr::choose_mode();
            start(level, log.with_timer(prefix).with_writer(|| Stderr));
        }
        #[cfg(unix)]
        Destination::Syslog => {
            start(level, log.with_timer(HalfOnly(half)).with_writer(ToSyslog));
        }
        #[cfg(not(unix))]
        Destination::Syslog => start(level, log.with_timer(prefix).with_writer(|| Stderr)),
    }
}

/// From now on what is warned of is kept for one who asks, in place of a log. To be called once, and not beside
/// [`init`].
pub fn keep_warnings() -> KeptWarnings {
    let kept = KeptWarnings::default();
    start(LogLevel::Warning, kept.clone());
    kept
}

/// Starts a log of which no more is written than this level, until that is changed.
fn start(level: LogLevel, log: impl Layer<Registry> + Send + Sync) {
    let (filtered, to_change) = reload::Layer::new(filter(level));
    let _ = LEVEL.set(Box::new(move |level| drop(to_change.reload(filter(level)))));
    tracing_subscriber::registry().with(log).with(limit::Limit).with(filtered).init();
}

/// Changes how much is logged.
static LEVEL: OnceLock<Box<dyn Fn(LogLevel) + Send + Sync>> = OnceLock::new();

/// Tells, for debugging alone, the paths and names that only clients are to know, where there are any.
pub fn log_secrets(secrets: &str) {
    if !secrets.is_empty() {
        debug!("only clients are to know: {secrets}");
    }
}

/// From now on so much is logged.
pub fn set_level(level: LogLevel) {
    if let Some(set) = LEVEL.get() {
        set(level);
    }
}

/// What libraries say is for those who work on them, but for warnings.
fn filter(level: LogLevel) -> Targets {
    const LIBRARIES: [&str; 5] = ["quinn", "quinn_proto", "quinn_udp", "hyper", "hyper_util"];
    let level = match level {
        LogLevel::None => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // (h2 warns of what any stranger may say)
    let targets = Targets::new().with_default(level).with_target("h2", level.min(LevelFilter::ERROR));
    targets.with_targets(LIBRARIES.map(|library| (library, level.min(LevelFilter::WARN))))
}

/// Waits, not for long, until what was said is written: the process ends.
pub fn flush() {
    stderr::flush();
}

/// Whether there is no terminal any more, nor anybody else who reads stderr.
static IN_BACKGROUND: AtomicBool = AtomicBool::new(false);

/// Says so if there is no system's log, to whoever reads stderr yet.
pub fn warn_without_syslog() {
    #[cfg(unix)]
    if !SYSLOG.is_available() {
        warn!("there is no syslog: until there is one, the last lines of the log are kept for it");
    }
}

/// From now on nobody reads stderr.
pub fn switch_to_syslog() {
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
pub async fn run_syslog() {
    #[cfg(unix)]
    if IN_BACKGROUND.load(Ordering::Relaxed) {
        SYSLOG.run().await;
    }
    std::future::pending().await
}

#[cfg(unix)]
impl<'a> MakeWriter<'a> for ToSyslog {
    type Writer = SyslogLine;

    fn make_writer(&'a self) -> SyslogLine {
        SyslogLine(Level::INFO)
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> SyslogLine {
        SyslogLine(*metadata.level())
    }
}

/// One line on its way to the system's log.
#[cfg(unix)]
struct SyslogLine(Level);

#[cfg(unix)]
impl Write for SyslogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if IN_BACKGROUND.load(Ordering::Relaxed) {
            SYSLOG.send(self.0, &stderr::one_line(&String::from_utf8_lossy(line)));
        } else {
            stderr::write(&format!("obfs-rs {}", String::from_utf8_lossy(line)));
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines for stderr.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        stderr::write(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
