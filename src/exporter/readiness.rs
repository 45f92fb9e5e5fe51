//! Whether new connections are served.

use crate::metrics;
use crate::runtime::admission;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long an answer may take that is to be one.
const LIMIT: Duration = Duration::from_secs(1);

/// How long an answer is good: whoever asks more often does not reach further than this.
const KEPT: Duration = Duration::from_secs(3);

/// A look at what cannot be done without. The error says what is missing.
pub type Check = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Asks whether all is there that cannot be done without, once for all who want to know.
pub struct Readiness {
    check: Box<dyn Fn() -> Check + Send + Sync>,
    /// Who holds it asks, and the others wait for what it hears.
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Readiness {
    /// Asks so.
    pub fn new(check: impl Fn() -> Check + Send + Sync + 'static) -> Readiness {
        Readiness { check: Box::new(check), last: Mutex::default() }
    }

    /// Whether new connections are served. The error says why they are not.
    pub(super) async fn ask(&self) -> Result<(), String> {
        if metrics::is_draining() {
            return Err("draining: no more connections are accepted".to_owned());
        }
        if let Some(full) = admission::is_full() {
            return Err(format!("accepting pauses: {full}"));
        }
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < KEPT
        {
            return answer.clone();
        }
        let answer = timeout(LIMIT, (self.check)()).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())));
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test(start_paused = true)]
    async fn all_who_ask_share_an_answer_for_a_while() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&asked);
        let readiness = Readiness::new(move || {
            let number = counts.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                tokio::time::sleep(LIMIT / 2).await;
                if number == 0 { Err("not yet".to_owned()) } else { Ok(()) }
            })
        });
        let readiness = Arc::new(readiness);
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..10 {
            let readiness = Arc::clone(&readiness);
            all.spawn(async move { readiness.ask().await });
        }
        while let Some(answer) = all.join_next().await {
            assert_eq!(answer.unwrap().unwrap_err(), "not yet");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        tokio::time::advance(KEPT).await;
        assert_eq!(readiness.ask().await, Ok(()));
        assert_eq!((readiness.ask().await, asked.load(Ordering::SeqCst)), (Ok(()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_is_not_waited_for() {
        let readiness = Readiness::new(|| Box::pin(std::future::pending()));
        let began = Instant::now();
        assert_eq!(readiness.ask().await.unwrap_err(), "no answer within 1 s");
        assert!(began.elapsed() < LIMIT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_goes_away_does_not_leave_the_others_waiting() {
        async fn wait() -> Result<(), String> {
            tokio::time::sleep(LIMIT / 2).await;
            Ok(())
        }
        let readiness = Readiness::new(|| Box::pin(wait()));
        assert!(timeout(LIMIT / 4, readiness.ask()).await.is_err());
        assert_eq!(readiness.ask().await, Ok(()));
    }
}
