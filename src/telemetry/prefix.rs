//! What stands in front of each line: when, which program, which half. A host writes to the same place, in
//! local time and under its own name.

use std::fmt;
use std::time::{Duration, SystemTime};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

/// The time, in UTC, the program and the half of it.
pub(super) struct Prefix(pub(super) String);

impl FormatTime for Prefix {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        #[expect(clippy::disallowed_methods, reason = "the date of a line")]
        let now = SystemTime::now();
        let now = humantime::format_rfc3339_millis(writable(now));
        write!(w, "{now} obfs-rs {}", self.0)
    }
}

/// The half alone: the system's log has time and program by itself.
#[cfg(unix)]
pub(super) struct HalfOnly(pub(super) String);

#[cfg(unix)]
impl FormatTime for HalfOnly {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        w.write_str(&self.0)
    }
}

/// A time as RFC 3339 has it, in UTC, to the second.
#[cfg(feature = "tls")]
pub fn iso_date(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(writable(time)).to_string()
}

/// The clock of a machine may say anything, and only the years from 1970 to 9999 can be written.
fn writable(time: SystemTime) -> SystemTime {
    const LAST: Duration = Duration::from_secs(253_402_300_799);
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + since.min(LAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_clock_can_be_written() {
        let day = Duration::from_secs(86_400);
        let epoch = SystemTime::UNIX_EPOCH;
        for (time, text) in [
            (epoch + day + Duration::from_millis(7), "1970-01-02T00:00:00.007Z"),
            (epoch - day, "1970-01-01T00:00:00.000Z"),
            (epoch + day * 365 * 9000, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(humantime::format_rfc3339_millis(writable(time)).to_string(), text);
        }
    }
}
