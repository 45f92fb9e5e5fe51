//! The log's bound: what strangers can cause, they can cause a thousand times. Each place in the code
//! that logs may write a few lines a minute; the others are counted, and the count is told.
//!
//! The bound is the log's and not the places', so that no line that is added later can be without it. It
//! begins when the process serves: what is said at the start is said in full.

use crate::metrics;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, error, info, warn};
use tracing_subscriber::layer::{Context, Layer};

/// Lines that a place may write in one period: enough to show what happens and to whom.
const BURST: u32 = 10;

/// A period.
const PERIOD: Duration = Duration::from_secs(60);

/// The most characters of a message by which the lines that were left out are named.
const NAME: usize = 80;

/// The target of the lines about other lines, which are not limited themselves: there is at most one a
/// period for each place.
const ABOUT: &str = "suppressed";

/// Whether the process serves.
static SERVING: AtomicBool = AtomicBool::new(false);

/// There is something to tell once its period is over.
static SUPPRESSED: Notify = Notify::const_new();

static CALL_SITES: LazyLock<Mutex<CallSites>> = LazyLock::new(Mutex::default);

/// From now on lines are limited, and nobody waits for a disk that they go to.
pub fn start() {
    crate::os::stderr::start_thread();
    SERVING.store(true, Ordering::Relaxed);
}

/// Tells how many lines were left out, each period once it is over. To be run as long as the process
/// serves.
pub async fn report() {
    loop {
        SUPPRESSED.notified().await;
        loop {
            // (the lock is not held any longer than for this)
            let due = lock().next_due();
            let Some(due) = due else { break };
            sleep_until(due).await;
            report_all(|sites| sites.take_due(Instant::now()));
        }
    }
}

/// Tells what was left out until now: the process ends.
pub fn report_rest() {
    report_all(|sites| sites.take_due(Instant::now() + PERIOD));
}

fn lock() -> std::sync::MutexGuard<'static, CallSites> {
    CALL_SITES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report_all(take: impl FnOnce(&mut CallSites) -> Vec<Suppressed>) {
    // The lock is not held while lines are written: they come by here again.
    let all = take(&mut lock());
    for Suppressed { level, name, count } in all {
        let seconds = PERIOD.as_secs();
        match level {
            Level::ERROR => {
                error!(target: ABOUT, "{count} more lines like `{name}` were left out within {seconds} s");
            }
            Level::WARN => {
                warn!(target: ABOUT, "{count} more lines like `{name}` were left out within {seconds} s");
            }
            _ => info!(target: ABOUT, "{count} more lines like `{name}` were left out within {seconds} s"),
        }
    }
}

/// Asks of each line whether it may be written.
pub struct Limit;

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if !SERVING.load(Ordering::Relaxed) || metadata.target() == ABOUT {
            return true;
        }
        let name = || {
            let mut name = Name(String::new());
            event.record(&mut name);
            name.0
        };
        let admitted = lock().admit(event.metadata().callsite(), *metadata.level(), Instant::now(), name);
        if !admitted {
            metrics::log_line_suppressed();
            SUPPRESSED.notify_one();
        }
        admitted
    }
}

/// The message of a line.
struct Name(String);

impl Visit for Name {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}").chars().take(NAME).collect();
        }
    }
}

/// What each place has written. There are as many as the code has.
#[derive(Debug, Default)]
struct CallSites(HashMap<Identifier, CallSite>);

#[derive(Debug)]
struct CallSite {
    /// When the period began.
    began: Instant,
    /// Lines that were written in it.
    written: u32,
    /// What was left out, if anything was.
    suppressed: Option<Suppressed>,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
struct Suppressed {
    level: Level,
    name: String,
    count: u64,
}

impl CallSites {
    /// Whether a line of this place may be written; counts it if not.
    fn admit(&mut self, site: Identifier, level: Level, now: Instant, name: impl FnOnce() -> String) -> bool {
        let site =
            self.0.entry(site).or_insert_with(|| CallSite { began: now, written: 0, suppressed: None });
        // What was left out is told before the next period begins.
        if site.suppressed.is_none() && now.duration_since(site.began) >= PERIOD {
            (site.began, site.written) = (now, 0);
        }
        if site.written < BURST {
            site.written += 1;
            return true;
        }
        site.suppressed.get_or_insert_with(|| Suppressed { level, name: name(), count: 0 }).count += 1;
        false
    }

    /// When there is something to tell next.
    fn next_due(&self) -> Option<Instant> {
        self.0.values().filter(|site| site.suppressed.is_some()).map(|site| site.began + PERIOD).min()
    }

    /// What was left out in periods that are over; they begin anew.
    fn take_due(&mut self, now: Instant) -> Vec<Suppressed> {
        let due = self.0.values_mut().filter(|site| now.duration_since(site.began) >= PERIOD);
        due.filter_map(|site| {
            let suppressed = site.suppressed.take()?;
            (site.began, site.written) = (now, 0);
            Some(suppressed)
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Metadata;
    use tracing::callsite::Callsite;
    use tracing::subscriber::Interest;

    struct Here(u8);

    impl Callsite for Here {
        fn set_interest(&self, _: Interest) {}
        fn metadata(&self) -> &Metadata<'_> {
            unimplemented!("nobody asks for {}", self.0)
        }
    }

    static ONE: Here = Here(1);
    static OTHER: Here = Here(2);

    fn admitted(sites: &mut CallSites, site: &'static Here, now: Instant, lines: usize) -> usize {
        let name = || "tunnel failed".to_owned();
        let admit = |_: &usize| sites.admit(Identifier(site), Level::WARN, now, name);
        (0..lines).filter(admit).count()
    }

    #[test]
    fn a_place_writes_a_burst_a_period_and_the_rest_is_counted() {
        let (mut sites, start) = (CallSites::default(), Instant::now());
        assert_eq!(admitted(&mut sites, &ONE, start, 300), 10);
        assert_eq!(admitted(&mut sites, &OTHER, start, 9), 9, "another place is not affected");
        assert_eq!(sites.next_due(), Some(start + PERIOD));
        assert_eq!(sites.take_due(start + PERIOD / 2), []);
        let suppressed = Suppressed { level: Level::WARN, name: "tunnel failed".into(), count: 290 };
        assert_eq!(sites.take_due(start + PERIOD), [suppressed]);
        assert_eq!((sites.next_due(), sites.take_due(start + PERIOD * 2)), (None, vec![]));
        assert_eq!(admitted(&mut sites, &ONE, start + PERIOD, 300), 10, "a new period");
    }

    #[test]
    fn a_new_period_begins_by_itself_where_nothing_was_suppressed() {
        let (mut sites, start) = (CallSites::default(), Instant::now());
        assert_eq!(admitted(&mut sites, &ONE, start, 10), 10);
        assert_eq!(admitted(&mut sites, &ONE, start + PERIOD, 10), 10);
        assert_eq!(sites.next_due(), None);
    }

    #[test]
    fn no_count_is_lost_to_a_late_teller() {
        let (mut sites, start) = (CallSites::default(), Instant::now());
        admitted(&mut sites, &ONE, start, 11);
        admitted(&mut sites, &ONE, start + PERIOD * 3, 1);
        assert_eq!(sites.take_due(start + PERIOD * 3).first().map(|suppressed| suppressed.count), Some(2));
    }
}
