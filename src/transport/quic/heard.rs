//! Whether the server of a connection can be thought to be there.

use quinn::Connection;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A server from which nothing has come for so long, though something was said to it, is dialled anew for the next tunnel:
/// it was started anew, or the way to it is another. (The connection ends only after its time-out; it may yet be heard of.)
const ANSWER: Duration = Duration::from_secs(3);

/// What is known of it.
#[derive(Debug)]
pub(super) struct Heard {
    connection: Connection,
    question: Question,
}

impl Heard {
    pub(super) fn new(connection: Connection) -> Heard {
        Heard { connection, question: Question::default() }
    }

    fn received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Something is said in a tunnel.
    pub(super) fn note_said(&self) {
        self.question.ask(|| self.received());
    }

    /// Something has come in a tunnel.
    pub(super) fn note_heard(&self) {
        self.question.note_answer();
    }

    /// Whether the server answers, as far as it was asked.
    pub(super) fn answers(&self) -> bool {
        self.question.is_in_time(|| self.received())
    }
}

/// What was said first of all that has not been answered: since when, and how many datagrams had come by then.
#[derive(Debug, Default)]
struct Question(Mutex<Option<(Instant, u64)>>);

impl Question {
    fn get(&self) -> MutexGuard<'_, Option<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, received: impl FnOnce() -> u64) {
        self.get().get_or_insert_with(|| (Instant::now(), received()));
    }

    fn note_answer(&self) {
        *self.get() = None;
    }

    /// Whether there is an answer, or still time for one. Any datagram is one: what was said is acknowledged.
    fn is_in_time(&self, received: impl FnOnce() -> u64) -> bool {
        let mut question = self.get();
        let Some((at, before)) = *question else { return true };
        if received() > before {
            *question = None;
        }
        question.is_none() || at.elapsed() < ANSWER
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn who_was_asked_nothing_is_in_time_and_silence_counts_from_the_first_question() {
        let question = Question::default();
        advance(10 * ANSWER).await;
        assert!(question.is_in_time(|| 7));
        question.ask(|| 7);
        advance(ANSWER / 2).await;
        question.ask(|| 7);
        assert!(question.is_in_time(|| 7));
        advance(ANSWER / 2).await;
        assert!(!question.is_in_time(|| 7));
        question.note_answer();
        assert!(question.is_in_time(|| 7));
    }

    /// A tunnel may be silent for long once what was said in it has arrived.
    #[tokio::test(start_paused = true)]
    async fn what_is_acknowledged_is_answered_for_good() {
        let question = Question::default();
        question.ask(|| 7);
        advance(2 * ANSWER).await;
        for _ in 0..3 {
            assert!(question.is_in_time(|| 8), "an acknowledgement has come");
            advance(2 * ANSWER).await;
        }
        question.ask(|| 8);
        advance(ANSWER).await;
        assert!(!question.is_in_time(|| 8));
    }
}
