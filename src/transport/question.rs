//! Whether what was said to the server of a connection is answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A server from which nothing has come for so long, though something was said to it, is dialled anew for the next tunnel:
/// it was started anew, or the way to it is another. (The connection ends only after its time-out; it may yet be heard of.)
const ANSWER: Duration = Duration::from_secs(3);

/// What was said first of all that has not been answered: since when, and how much had come by then.
#[derive(Debug, Default)]
pub(super) struct Question(Mutex<Option<(Instant, u64)>>);

impl Question {
    fn get(&self) -> MutexGuard<'_, Option<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is said. (So many datagrams, or bytes, had come before.)
    pub(super) fn ask(&self, received: impl FnOnce() -> u64) {
        self.get().get_or_insert_with(|| (Instant::now(), received()));
    }

    /// Something has come.
    pub(super) fn note_answer(&self) {
        *self.get() = None;
    }

    /// Whether there is an answer, or still time for one. Anything is one: what was said is acknowledged.
    pub(super) fn is_in_time(&self, received: impl FnOnce() -> u64) -> bool {
        let mut question = self.get();
        let Some((at, before)) = *question else { return true };
        // (where numbers are small, they may have begun again)
        if received() != before {
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
