//! Warnings that are kept, for one who puts them where they belong.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// The most that is kept, in lines: what warns more often than that says the same again.
const MOST: usize = 1000;

/// Warnings that nobody has asked for yet.
#[derive(Debug, Clone, Default)]
pub struct KeptWarnings(Arc<Mutex<Vec<String>>>);

impl KeptWarnings {
    /// Those that came since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One more.
    pub(crate) fn keep(&self, line: String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST {
            kept.push(line);
        }
    }
}

impl<S: Subscriber> Layer<S> for KeptWarnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        let Line { message, error } = line;
        self.keep(if error.is_empty() { message } else { format!("{message} ({error})") });
    }
}

/// What a line says, without the connection that it is about: there is one.
#[derive(Default)]
struct Line {
    message: String,
    error: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "error" => self.error = format!("{value:?}"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::{subscriber, warn};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[test]
    fn a_line_is_its_message_and_its_error() {
        let kept = KeptWarnings::default();
        let log = tracing_subscriber::registry().with(kept.clone());
        subscriber::with_default(log, || {
            warn!(server = "192.0.2.1:80", "the server is silent");
            warn!(error = %"no such file", "the old one stays");
            for _ in 0..2 * MOST {
                warn!("again");
            }
        });
        let lines = kept.take();
        assert_eq!(lines[..2], ["the server is silent", "the old one stays (no such file)"]);
        assert_eq!(lines.len(), MOST);
        assert_eq!(kept.take(), [""; 0]);
    }
}
