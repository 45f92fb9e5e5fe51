//! The access log: a line for each connection that was accepted, when it has ended.
//!
//! Lines go through one buffer to one thread, so nobody who serves waits for a disk. The thread writes what has come
//! together since it wrote last; what comes while the buffer is full is left out and counted. A file is opened
//! anew where [`reopen`] asks for it: then it has been moved away, as logrotate does it.

use serde::Serialize;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;
use tokio::time::Instant;
use tracing::{info, warn};

/// The most that waits to be written, in bytes: some ten thousand lines.
const BUFFER: usize = 4 * 1024 * 1024;

/// For so long lines are gathered before they are written together.
const GATHER: Duration = Duration::from_millis(50);

/// How often it is told that lines cannot be written.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// How long the end of the process waits for what is not written yet.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// An object of JSON.
    #[default]
    Json,
    /// Words and `name=value` pairs.
    Text,
}

/// Where lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// To stdout.
    Stdout,
    /// To the end of a file.
    File(PathBuf),
}

/// An access log that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogConfig {
    /// Where lines go.
    pub sink: Sink,
    /// How they look.
    pub format: Format,
}

impl AccessLogConfig {
    /// The file that is written.
    pub fn file(&self) -> Option<&std::path::Path> {
        match &self.sink {
            Sink::Stdout => None,
            Sink::File(path) => Some(path),
        }
    }
}

/// Why there is no access log.
#[derive(Debug, Error)]
pub enum AccessLogError {
    /// The file cannot be written.
    #[error("option `access-log`: cannot write to {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no thread to write it.
    #[error("cannot start the thread of the access log: {0}")]
    Thread(io::Error),
}

impl AccessLogError {
    /// Whether only another configuration helps. A full disk may have room again.
    pub fn is_about_the_configuration(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            AccessLogError::File { error, .. } => !matches!(error.kind(), StorageFull | QuotaExceeded),
            AccessLogError::Thread(_) => false,
        }
    }
}

/// What a line says of a connection.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// How long it lasted.
    pub(super) after: Duration,
    /// Who came.
    pub(super) from: String,
    /// The proxies that speak for it, the nearest to it first.
    pub(super) via: Vec<String>,
    pub(super) kind: &'static str,
    pub(super) tls: bool,
    pub(super) path: Option<&'static str>,
    pub(super) to: Option<&'static str>,
    pub(super) address: Option<&'a str>,
    pub(super) up: Option<u64>,
    pub(super) down: Option<u64>,
    pub(super) requests: Option<u64>,
    pub(super) end: &'static str,
    pub(super) cause: Option<String>,
}

/// A line as it is written, in this order.
#[derive(Debug, Serialize)]
struct Fields<'a> {
    time: String,
    from: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    via: &'a [String],
    kind: &'static str,
    tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<u64>,
    seconds: f64,
    end: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
}

impl Line<'_> {
    fn fields(&self, now: SystemTime) -> Fields<'_> {
        let began = now.checked_sub(self.after).unwrap_or(now);
        Fields {
            time: humantime::format_rfc3339_millis(began).to_string(),
            from: &self.from,
            via: &self.via,
            kind: self.kind,
            tls: self.tls,
            path: self.path,
            to: self.to,
            address: self.address,
            up: self.up,
            down: self.down,
            requests: self.requests,
            // To the millisecond, as the beginning.
            seconds: (self.after.as_secs_f64() * 1000.0).round() / 1000.0,
            end: self.end,
            cause: self.cause.as_deref(),
        }
    }

    fn write(&self, format: Format, now: SystemTime, out: &mut Vec<u8>) {
        let fields = self.fields(now);
        match format {
            // Nothing in it can fail, and a vector takes everything.
            Format::Json => drop(serde_json::to_writer(&mut *out, &fields)),
            Format::Text => fields.write_text(out),
        }
        out.push(b'\n');
    }
}

impl Fields<'_> {
    fn write_text(&self, out: &mut Vec<u8>) {
        let mut text = format!("{} {}", self.time, self.from);
        for proxy in self.via {
            text.push_str(&format!(" via {proxy}"));
        }
        text.push(' ');
        text.push_str(self.kind);
        if self.tls {
            text.push_str(" in TLS");
        }
        let mut pair = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                text.push_str(&format!(" {name}={value}"));
            }
        };
        pair("path", self.path.map(str::to_owned));
        pair("to", self.to.map(str::to_owned));
        pair("address", self.address.map(quoted));
        pair("up", self.up.map(|bytes| bytes.to_string()));
        pair("down", self.down.map(|bytes| bytes.to_string()));
        pair("requests", self.requests.map(|requests| requests.to_string()));
        pair("seconds", Some(format!("{:.3}", self.seconds)));
        pair("end", Some(quoted(self.end)));
        pair("cause", self.cause.map(quoted));
        out.extend_from_slice(text.as_bytes());
    }
}

/// A value with what would make two of it, or two lines, out of the way.
fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'=');
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.escape_debug())
}

/// The one access log of the process.
static ACCESS_LOG: OnceLock<AccessLog> = OnceLock::new();

struct AccessLog {
    format: Format,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to do for the thread.
    is_wanted: Condvar,
    /// The thread has written everything.
    is_written: Condvar,
    is_to_be_reopened: AtomicBool,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    losses: Losses,
    is_writing: bool,
    is_closing: bool,
}

/// Lines that nobody will read, since it was told last.
#[derive(Default)]
struct Losses {
    lines: u64,
    /// Why; if not, they came faster than they could be written.
    failure: Option<io::Error>,
    told: Option<Instant>,
}

impl Losses {
    /// What is to be told now: once in a while it is.
    fn take_due(&mut self, now: Instant) -> Option<(u64, Option<io::Error>)> {
        let is_early = self.told.is_some_and(|told| now.duration_since(told) < TELL_EVERY);
        if self.lines == 0 || is_early {
            return None;
        }
        self.told = Some(now);
        Some((std::mem::take(&mut self.lines), self.failure.take()))
    }
}

fn tell(due: Option<(u64, Option<io::Error>)>) {
    match due {
        None => {}
        Some((lines, Some(error))) => {
            warn!(%error, "the access log cannot be written: {lines} lines are lost; tunnels go on");
        }
        Some((lines, None)) => {
            warn!("the access log cannot be written fast enough: {lines} lines are lost; tunnels go on");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the access log. To be called once, while what it needs can be opened.
///
/// # Errors
///
/// The file cannot be written, or there is no thread.
pub fn start(config: AccessLogConfig) -> Result<(), AccessLogError> {
    let AccessLogConfig { sink, format } = config;
    let output = Output::open(sink)?;
    let shared = Arc::new(Shared::default());
    let of_thread = Arc::clone(&shared);
    std::thread::Builder::new()
        .name("access-log".into())
        .spawn(move || Writer { output, torn: false }.run(&of_thread))
        .map_err(AccessLogError::Thread)?;
    // A second one in the same process, as there is none, would not be heard.
    let _ = ACCESS_LOG.set(AccessLog { format, shared });
    Ok(())
}

/// Whether anybody reads what would be written.
pub(super) fn is_on() -> bool {
    ACCESS_LOG.get().is_some()
}

/// Writes a line; later, from another thread.
pub(super) fn write(line: &Line<'_>) {
    let Some(AccessLog { format, shared }) = ACCESS_LOG.get() else { return };
    let mut bytes = Vec::with_capacity(256);
    #[expect(clippy::disallowed_methods, reason = "the time of day is what the line is to say")]
    line.write(*format, SystemTime::now(), &mut bytes);
    let mut queue = shared.lock();
    if queue.lines.len() + bytes.len() > BUFFER {
        queue.losses.lines += 1;
        let due = queue.losses.take_due(Instant::now());
        drop(queue);
        return tell(due);
    }
    let was_empty = queue.lines.is_empty();
    queue.lines.extend_from_slice(&bytes);
    drop(queue);
    if was_empty {
        shared.is_wanted.notify_one();
    }
}

/// Opens the file anew, if there is one.
pub fn reopen() {
    let Some(AccessLog { shared, .. }) = ACCESS_LOG.get() else { return };
    // Under the lock, so that a thread that is about to wait sees it.
    let queue = shared.lock();
    shared.is_to_be_reopened.store(true, Ordering::Relaxed);
    drop(queue);
    shared.is_wanted.notify_one();
}

/// Waits a little until everything is written: the process ends.
pub fn finish() {
    let Some(AccessLog { shared, .. }) = ACCESS_LOG.get() else { return };
    let mut queue = shared.lock();
    queue.is_closing = true;
    shared.is_wanted.notify_one();
    let is_unwritten = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
    // Whether in time or not: the process ends.
    drop(shared.is_written.wait_timeout_while(queue, LAST_WORDS, is_unwritten));
}

enum Output {
    Stdout,
    File(PathBuf, File),
}

impl Output {
    fn open(sink: Sink) -> Result<Output, AccessLogError> {
        match sink {
            Sink::Stdout => Ok(Output::Stdout),
            Sink::File(path) => match open(&path) {
                Ok(file) => Ok(Output::File(path, file)),
                Err(error) => Err(AccessLogError::File { path, error }),
            },
        }
    }

    /// One call of the system.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            // (not std's, whose buffer hides how much was written)
            #[cfg(unix)]
            Output::Stdout => rustix::io::write(rustix::stdio::stdout(), bytes).map_err(io::Error::from),
            #[cfg(not(unix))]
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()?;
                Ok(bytes.len())
            }
            Output::File(_, file) => file.write(bytes),
        }
    }
}

/// Opens a file so that lines go behind what is in it. Only its owner and its group read who came.
fn open(path: &std::path::Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        // A pipe that nobody reads is an error, and not a wait.
        options.mode(0o640).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options.open(path)
}

/// Whether both are open for the same file.
fn is_same(one: &File, other: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let id = |file: &File| file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()));
        id(one) == id(other)
    }
    #[cfg(not(unix))]
    {
        let _ = (one, other);
        false
    }
}

/// The thread's part.
struct Writer {
    output: Output,
    /// A part of a line was written that could not be ended.
    torn: bool,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        let mut lines = Vec::new();
        loop {
            let is_idle = |queue: &mut Queue| {
                queue.lines.is_empty()
                    && !queue.is_closing
                    && !shared.is_to_be_reopened.load(Ordering::Relaxed)
            };
            let mut queue = shared.lock();
            if queue.losses.lines == 0 {
                queue = shared.is_wanted.wait_while(queue, is_idle).unwrap_or_else(PoisonError::into_inner);
            } else {
                // There is something to tell, though nothing more may come.
                let waited = shared.is_wanted.wait_timeout_while(queue, TELL_EVERY, is_idle);
                queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            // What comes next goes with it.
            let not_closing = |queue: &mut Queue| !queue.is_closing && queue.lines.len() < BUFFER / 2;
            let waited = shared.is_wanted.wait_timeout_while(queue, GATHER, not_closing);
            let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut queue.lines, &mut lines);
            queue.is_writing = true;
            let is_last = queue.is_closing;
            drop(queue);
            let failure;
            if shared.is_to_be_reopened.swap(false, Ordering::Relaxed) {
                // What has come until now belongs to the file that is moved away.
                failure = self.write(&lines).err();
                self.reopen();
            } else {
                failure = self.write(&lines).err();
            }
            lines.clear();
            let mut queue = shared.lock();
            queue.is_writing = false;
            if let Some((lost, error)) = failure {
                queue.losses.lines += lost;
                queue.losses.failure = Some(error);
            }
            let due = queue.losses.take_due(Instant::now());
            if queue.lines.is_empty() {
                shared.is_written.notify_all();
                if is_last {
                    return;
                }
            }
            drop(queue);
            tell(due);
        }
    }

    /// Writes lines. If that cannot be: how many were lost, and why.
    fn write(&mut self, mut lines: &[u8]) -> Result<(), (u64, io::Error)> {
        if self.torn && !lines.is_empty() && self.output.write(b"\n").is_ok_and(|written| written == 1) {
            self.torn = false;
        }
        let lost = |lines: &[u8]| lines.iter().filter(|&&byte| byte == b'\n').count() as u64;
        while !lines.is_empty() {
            match self.output.write(lines) {
                Ok(0) => return Err((lost(lines), io::ErrorKind::WriteZero.into())),
                Ok(written) => {
                    self.torn = lines.get(written - 1) != Some(&b'\n');
                    lines = &lines[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((lost(lines), error)),
            }
        }
        Ok(())
    }

    fn reopen(&mut self) {
        let Output::File(path, file) = &mut self.output else { return };
        match open(path) {
            Ok(new) => {
                self.torn &= is_same(file, &new);
                *file = new;
                info!("the access log {} was opened anew", path.display());
            }
            Err(error) => {
                warn!(%error, "cannot open the access log {} anew: lines go on to the old file", path.display());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line<'static> {
        Line {
            after: Duration::from_micros(1_234_567),
            from: "198.51.100.7:5".into(),
            via: vec!["10.0.0.1:6".into()],
            kind: "websocket",
            tls: true,
            path: Some("ours"),
            to: Some("backend"),
            address: Some("127.0.0.1:8388"),
            up: Some(10),
            down: Some(0),
            requests: None,
            end: "reset",
            cause: Some("accepted side: \"no\"\n\u{1b}[0m".into()),
        }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        line().write(format, SystemTime::UNIX_EPOCH + Duration::from_millis(86_401_500), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_of_json() {
        let text = written(Format::Json);
        assert_eq!(
            text,
            "{\"time\":\"1970-01-02T00:00:00.265Z\",\"from\":\"198.51.100.7:5\",\"via\":[\"10.0.0.1:6\"],\
             \"kind\":\"websocket\",\"tls\":true,\"path\":\"ours\",\"to\":\"backend\",\
             \"address\":\"127.0.0.1:8388\",\"up\":10,\"down\":0,\"seconds\":1.235,\"end\":\"reset\",\
             \"cause\":\"accepted side: \\\"no\\\"\\n\\u001b[0m\"}\n"
        );
    }

    #[test]
    fn a_line_of_text() {
        assert_eq!(
            written(Format::Text),
            "1970-01-02T00:00:00.265Z 198.51.100.7:5 via 10.0.0.1:6 websocket in TLS path=ours to=backend \
             address=127.0.0.1:8388 up=10 down=0 seconds=1.235 end=reset \
             cause=\"accepted side: \\\"no\\\"\\n\\u{1b}[0m\"\n"
        );
    }
}
