//! How many may ask at a time. Who is connected and does not ask makes room for who comes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

/// Connections at a time.
const MOST: usize = 32;

/// How long a connection that does not ask keeps a place that another one waits for. A scraper asks at once.
const PATIENCE: Duration = Duration::from_millis(100);

/// The places that there are.
pub(super) struct Guests {
    places: Arc<Semaphore>,
    silent: Mutex<Silent>,
}

/// Those who have not asked yet, by their numbers: who has come first, is first.
#[derive(Default)]
struct Silent {
    next: u64,
    guests: BTreeMap<u64, (Instant, oneshot::Sender<()>)>,
}

/// The place of one connection.
pub(super) struct Place {
    guests: Arc<Guests>,
    number: u64,
    place: OwnedSemaphorePermit,
    sent_away: oneshot::Receiver<()>,
}

impl Guests {
    pub(super) fn new() -> Arc<Guests> {
        Arc::new(Guests { places: Arc::new(Semaphore::new(MOST)), silent: Mutex::default() })
    }

    /// A place for a connection that has come. Where there is none, the one that has been silent for the longest time
    /// is sent away, or one that is being answered waited for.
    pub(super) async fn seat(self: &Arc<Self>) -> Result<Place, AcquireError> {
        let mut place = std::pin::pin!(Arc::clone(&self.places).acquire_owned());
        let place = loop {
            let due = self.silent().guests.values().next().map(|(since, _)| *since + PATIENCE);
            tokio::select! {
                biased;
                place = &mut place => break place?,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    // One is enough: its place comes as soon as its connection is closed.
                    if self.send_one_away() {
                        break place.await?;
                    }
                }
            }
        };
        let (send_away, sent_away) = oneshot::channel();
        let mut silent = self.silent();
        let number = silent.next;
        silent.next += 1;
        silent.guests.insert(number, (Instant::now(), send_away));
        drop(silent);
        Ok(Place { guests: Arc::clone(self), number, place, sent_away })
    }

    /// Whether there was one that has been silent for long.
    fn send_one_away(&self) -> bool {
        let mut silent = self.silent();
        let Some(oldest) = silent.guests.first_entry() else { return false };
        oldest.get().0.elapsed() >= PATIENCE && oldest.remove().1.send(()).is_ok()
    }

    fn silent(&self) -> MutexGuard<'_, Silent> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Does what is done for the guest, who says by the function that it is given when the request is here, until that
    /// is done or the guest is sent away; whether it was done.
    pub(super) async fn hold<F: Future<Output = ()>>(self, serve: impl FnOnce(Asked) -> F) -> bool {
        let Place { guests, number, place, sent_away } = self;
        let asked = Asked { guests, number };
        let served = tokio::select! {
            () = serve(asked) => true,
            // (Of one who has asked, only the other end of the channel is gone.)
            Ok(()) = sent_away => false,
        };
        drop(place);
        served
    }
}

/// Of one guest: whoever has asked, or is gone, is silent no more.
pub(super) struct Asked {
    guests: Arc<Guests>,
    number: u64,
}

impl Asked {
    pub(super) fn tell(&self) {
        self.guests.silent().guests.remove(&self.number);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::time::timeout;

    /// A guest who sits until he is sent away, silent or not.
    async fn sit(guests: &Arc<Guests>, asks: bool) -> tokio::task::JoinHandle<bool> {
        let place = guests.seat().await.expect("a place");
        let hold = place.hold(move |asked| async move {
            if asks {
                asked.tell();
            }
            pending::<()>().await;
        });
        let sits = tokio::spawn(hold);
        tokio::task::yield_now().await;
        sits
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_silent_makes_room_and_only_when_there_is_none() {
        let guests = Guests::new();
        let asking = sit(&guests, true).await;
        let first = sit(&guests, false).await;
        let second = sit(&guests, false).await;
        let mut others = Vec::new();
        for _ in 3..MOST {
            others.push(sit(&guests, false).await);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!first.is_finished(), "there was no need");
        others.push(sit(&guests, false).await);
        assert!(!first.await.expect("it ends"));
        tokio::task::yield_now().await;
        assert!(!asking.is_finished() && !second.is_finished());
        assert_eq!(guests.silent().guests.len(), MOST - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_has_a_moment_and_who_asks_all_the_time_it_takes() {
        let guests = Guests::new();
        let mut sitting = Vec::new();
        for number in 0..MOST {
            sitting.push(sit(&guests, number > 0).await);
        }
        assert!(timeout(PATIENCE / 2, guests.seat()).await.is_err());
        let began = Instant::now();
        sitting.push(sit(&guests, true).await);
        assert_eq!(began.elapsed().as_millis(), (PATIENCE / 2).as_millis());
        assert!(sitting.swap_remove(0).is_finished());
        // All are being answered.
        assert!(timeout(Duration::from_secs(9), guests.seat()).await.is_err());
        sitting[0].abort();
        assert!(timeout(PATIENCE, guests.seat()).await.is_ok());
    }
}
