//! What the process is asked to be, and what it logs.

use super::error::ConfigError;
use super::limits::buffers;
use super::metrics::{MetricsAddress, metrics};
use super::options::Options;
use super::values::{flag, parse, parsed, value, value_if_any};
use crate::telemetry::LogLevel;
use crate::telemetry::access_log::{AccessLogConfig, Format, Sink};
use std::path::PathBuf;
use std::time::Duration;

/// In seconds.
const DAY: u64 = 24 * 3600;

/// What the process is asked to be.
#[derive(Debug, Clone, Default)]
pub struct ProcessConfig {
    /// The user to go on as, once everything is bound.
    pub user: Option<String>,
    /// Where the process id is written.
    pub pid_file: Option<PathBuf>,
    /// The most files that may be open.
    pub open_files: Option<u64>,
    /// The most bytes that may be buffered.
    pub buffers: Option<usize>,
    /// Where the metrics are.
    pub metrics: Option<MetricsAddress>,
    /// Where each connection has a line.
    pub access_log: Option<AccessLogConfig>,
    /// How long tunnels that are open may go on when the process is asked to end.
    pub drain: Option<Duration>,
}

/// What the process is asked to be.
pub(super) fn process(options: &Options) -> Result<ProcessConfig, ConfigError> {
    let user = value(options, "a", "the name or number of a user")?;
    let pid_file = value(options, "f", "the name of a file")?;
    let access_log = access_log(options)?;
    if let (Some(AccessLogConfig { sink: Sink::Stdout, .. }), Some(access_log), Some(f)) =
        (&access_log, options.get("access-log"), options.get("f"))
    {
        return Err(ConfigError::conflict(
            access_log,
            f,
            "in the background nobody reads stdout: name a file",
        ));
    }
    Ok(ProcessConfig {
        user: user.map(|(_, user)| user.to_owned()),
        pid_file: pid_file.map(|(_, path)| path.into()),
        open_files: parsed(options, "n", "a number of open files (1 or more)", |text| {
            text.parse().ok().filter(|&number| number > 0)
        })?,
        buffers: buffers(options)?,
        metrics: metrics(options)?,
        access_log,
        drain: parsed(options, "drain", "a number of seconds from 1 to 86400 (a day)", |text| {
            text.parse().ok().filter(|seconds| (1..=DAY).contains(seconds)).map(Duration::from_secs)
        })?,
    })
}

/// The access log that is asked for.
fn access_log(options: &Options) -> Result<Option<AccessLogConfig>, ConfigError> {
    let expected = "`stdout` or the name of a file";
    let sink = parsed(options, "access-log", expected, |text| match text {
        "stdout" | "-" => Some(Sink::Stdout),
        // The working directory changes when the process goes into the background.
        path => std::path::absolute(path).ok().map(Sink::File),
    })?;
    let expected = "a format of the access log (json or text)";
    let format =
        parsed(options, "access-log-format", expected, |text| match text.to_ascii_lowercase().as_str() {
            "json" => Some(Format::Json),
            "text" => Some(Format::Text),
            _ => None,
        })?;
    let (Some(sink), format) = (sink, format) else {
        return match options.get("access-log-format") {
            Some(option) if format.is_some() => Err(ConfigError::needs(option, "`access-log`")),
            _ => Ok(None),
        };
    };
    Ok(Some(AccessLogConfig { sink, format: format.unwrap_or_default() }))
}

pub(super) fn log_level(options: &Options) -> Result<LogLevel, ConfigError> {
    let expected = "a log level (error, warning, info, debug or none)";
    let level = parse(value_if_any(options, "loglevel"), expected, |text| {
        match text.to_ascii_lowercase().as_str() {
            "none" => Some(LogLevel::None),
            "error" => Some(LogLevel::Error),
            "warning" | "warn" => Some(LogLevel::Warning),
            "info" => Some(LogLevel::Info),
            "debug" => Some(LogLevel::Debug),
            _ => None,
        }
    })?;
    Ok(if flag(options, "v")? { LogLevel::Debug } else { level.unwrap_or(LogLevel::Info) })
}

/// The name server that was asked for.
pub(super) fn nameserver(options: &Options) -> Result<Option<String>, ConfigError> {
    Ok(value(options, "d", "the address of a name server")?.map(|(_, text)| text.to_owned()))
}
