//! The log's bound: what strangers can cause, they can cause a thousand times. Each place in the code
//! that logs may write a few lines a minute; the others are counted, and the count is told.
//!
//! The bound is the log's and not the places', so that no line that is added later can be without it. It
//! begins when the process serves: what is said at the start is said in full.

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
const ABOUT: &str = "left_out";

/// Whether the process serves.
static SERVING: AtomicBool = AtomicBool::new(false);

/// There is something to tell once its period is over.
static LEFT_OUT: Notify = Notify::const_new();

static PLACES: LazyLock<Mutex<Places>> = LazyLock::new(Mutex::default);

/// From now on lines are limited.
pub fn begin() {
    SERVING.store(true, Ordering::Relaxed);
}

/// Tells how many lines were left out, each period once it is over. To be run as long as the process
/// serves.
pub async fn tell() {
    loop {
        LEFT_OUT.notified().await;
        loop {
            // (the lock is not held any longer than for this)
            let due = lock().next_due();
            let Some(due) = due else { break };
            sleep_until(due).await;
            tell_all(|places| places.take_due(Instant::now()));
        }
    }
}

/// Tells what was left out until now: the process ends.
pub fn tell_the_rest() {
    tell_all(|places| places.take_due(Instant::now() + PERIOD));
}

fn lock() -> std::sync::MutexGuard<'static, Places> {
    PLACES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_all(take: impl FnOnce(&mut Places) -> Vec<LeftOut>) {
    // The lock is not held while lines are written: they come by here again.
    let all = take(&mut lock());
    for LeftOut { level, name, count } in all {
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
            LEFT_OUT.notify_one();
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
struct Places(HashMap<Identifier, Place>);

#[derive(Debug)]
struct Place {
    /// When the period began.
    began: Instant,
    /// Lines that were written in it.
    written: u32,
    /// What was left out, if anything was.
    left_out: Option<LeftOut>,
}

/// Lines that were left out.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    level: Level,
    name: String,
    count: u64,
}

impl Places {
    /// Whether a line of this place may be written; counts it if not.
    fn admit(
        &mut self,
        place: Identifier,
        level: Level,
        now: Instant,
        name: impl FnOnce() -> String,
    ) -> bool {
        let place = self.0.entry(place).or_insert_with(|| Place { began: now, written: 0, left_out: None });
        // What was left out is told before the next period begins.
        if place.left_out.is_none() && now.duration_since(place.began) >= PERIOD {
            (place.began, place.written) = (now, 0);
        }
        if place.written < BURST {
            place.written += 1;
            return true;
        }
        place.left_out.get_or_insert_with(|| LeftOut { level, name: name(), count: 0 }).count += 1;
        false
    }

    /// When there is something to tell next.
    fn next_due(&self) -> Option<Instant> {
        self.0.values().filter(|place| place.left_out.is_some()).map(|place| place.began + PERIOD).min()
    }

    /// What was left out in periods that are over; they begin anew.
    fn take_due(&mut self, now: Instant) -> Vec<LeftOut> {
        let due = self.0.values_mut().filter(|place| now.duration_since(place.began) >= PERIOD);
        due.filter_map(|place| {
            let left_out = place.left_out.take()?;
            (place.began, place.written) = (now, 0);
            Some(left_out)
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

    fn admitted(places: &mut Places, place: &'static Here, now: Instant, lines: usize) -> usize {
        let name = || "no tunnel".to_owned();
        let admit = |_: &usize| places.admit(Identifier(place), Level::WARN, now, name);
        (0..lines).filter(admit).count()
    }

    #[test]
    fn a_place_writes_a_burst_a_period_and_the_rest_is_counted() {
        let (mut places, start) = (Places::default(), Instant::now());
        assert_eq!(admitted(&mut places, &ONE, start, 300), 10);
        assert_eq!(admitted(&mut places, &OTHER, start, 9), 9, "another place is not affected");
        assert_eq!(places.next_due(), Some(start + PERIOD));
        assert_eq!(places.take_due(start + PERIOD / 2), []);
        let left_out = LeftOut { level: Level::WARN, name: "no tunnel".into(), count: 290 };
        assert_eq!(places.take_due(start + PERIOD), [left_out]);
        assert_eq!((places.next_due(), places.take_due(start + PERIOD * 2)), (None, vec![]));
        assert_eq!(admitted(&mut places, &ONE, start + PERIOD, 300), 10, "a new period");
    }

    #[test]
    fn a_new_period_begins_by_itself_where_nothing_was_left_out() {
        let (mut places, start) = (Places::default(), Instant::now());
        assert_eq!(admitted(&mut places, &ONE, start, 10), 10);
        assert_eq!(admitted(&mut places, &ONE, start + PERIOD, 10), 10);
        assert_eq!(places.next_due(), None);
    }

    #[test]
    fn no_count_is_lost_to_a_late_teller() {
        let (mut places, start) = (Places::default(), Instant::now());
        admitted(&mut places, &ONE, start, 11);
        admitted(&mut places, &ONE, start + PERIOD * 3, 1);
        assert_eq!(places.take_due(start + PERIOD * 3).first().map(|left_out| left_out.count), Some(2));
    }
}
