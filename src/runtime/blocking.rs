//! Work that blocks: look-ups of names, and files.
//!
//! The runtime's own pool for it ends the process where no thread can be started (a container's limit of
//! processes), and starts up to 512 threads where a name server is silent. Here the threads are few, and
//! work for which there is none fails alone.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a thread waits for more to do.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

/// A few threads for one kind of work.
pub struct ThreadPool {
    name: &'static str,
    /// The most threads.
    size: usize,
    /// The most work that waits for one.
    queue: usize,
    state: Mutex<State>,
    news: Condvar,
}

struct State {
    waiting: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

/// For look-ups of names. Each may take as long as the system waits for a silent name server, so these
/// have threads of their own.
pub static NAMES: ThreadPool = ThreadPool::new("names", 8, 256);

/// For files.
pub static FILES: ThreadPool = ThreadPool::new("files", 8, 4096);

impl ThreadPool {
    const fn new(name: &'static str, size: usize, queue: usize) -> ThreadPool {
        let state = State { waiting: VecDeque::new(), threads: 0, idle: 0 };
        ThreadPool { name, size, queue, state: Mutex::new(state), news: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more piece of work, and a thread that will come for it.
    ///
    /// # Errors
    ///
    /// No thread can be started and there is none, or too much waits already.
    fn place(&'static self) -> io::Result<MutexGuard<'static, State>> {
        let mut state = self.state();
        if state.waiting.len() >= self.queue {
            return Err(io::Error::new(io::ErrorKind::WouldBlock, "too much waits for a thread"));
        }
        // Those that are idle have been told of what waits for them, but need not have come for it yet.
        if state.idle <= state.waiting.len() && state.threads < self.size {
            match std::thread::Builder::new().name(self.name.into()).spawn(|| self.work()) {
                Ok(_) => state.threads += 1,
                // Those that there are do it later.
                Err(_) if state.threads > 0 => {}
                Err(error) => {
                    return Err(io::Error::new(error.kind(), format!("no thread can be started: {error}")));
                }
            }
        }
        Ok(state)
    }

    /// Puts work in its place. Nothing comes of it if it panics.
    fn put<T: Send + 'static>(
        &self,
        mut place: MutexGuard<'_, State>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (tell, told) = oneshot::channel();
        place.waiting.push_back(Box::new(move || {
            // Whoever asked may have gone.
            let _ = tell.send(work());
        }));
        drop(place);
        self.news.notify_one();
        told
    }

    /// Has a thread do this.
    ///
    /// # Errors
    ///
    /// No thread can be had, or the work has panicked.
    pub async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let told = self.put(self.place()?, work);
        told.await.map_err(broke_off)
    }

    /// The same; where no thread can be had, it is done here and now. For what is short on a sound disk:
    /// others wait for it.
    ///
    /// # Errors
    ///
    /// The work has panicked.
    pub async fn run_or_inline<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let told = match self.place() {
            Ok(place) => self.put(place, work),
            Err(_) => return Ok(work()),
        };
        told.await.map_err(broke_off)
    }

    /// What a thread does.
    fn work(&'static self) {
        let mut state = self.state();
        loop {
            if let Some(job) = state.waiting.pop_front() {
                drop(state);
                // The panic is told by the hook; whoever waits sees that nothing comes.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.state();
                continue;
            }
            state.idle += 1;
            let waited = self.news.wait_timeout(state, IDLE_TIMEOUT).unwrap_or_else(PoisonError::into_inner);
            state = waited.0;
            state.idle -= 1;
            if waited.1.timed_out() && state.waiting.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

fn broke_off(_: oneshot::error::RecvError) -> io::Error {
    io::Error::other("the work broke off")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_that_panics_fails_alone() {
        static POOL: ThreadPool = ThreadPool::new("test", 1, 8);
        let broken = POOL.run(|| -> u8 { panic!("as the test wants it") }).await;
        assert_eq!(broken.unwrap_err().to_string(), "the work broke off");
        // The only thread goes on.
        assert_eq!(POOL.run(|| 7).await.unwrap(), 7);
        assert_eq!(POOL.run_or_inline(|| 8).await.unwrap(), 8);
        assert_eq!(POOL.state().threads, 1);
    }

    #[tokio::test]
    async fn threads_and_what_waits_for_them_are_bounded() {
        static POOL: ThreadPool = ThreadPool::new("test", 2, 3);
        let (hold, held) = mpsc::channel::<()>();
        let held = std::sync::Arc::new(Mutex::new(held));
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..2 {
            let (held, tell) = (std::sync::Arc::clone(&held), tell.clone());
            drop(POOL.put(POOL.place().unwrap(), move || {
                tell.send(number).unwrap();
                let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
            }));
        }
        for _ in 0..2 {
            told.recv().await.unwrap();
        }
        for _ in 0..3 {
            drop(POOL.put(POOL.place().unwrap(), || {}));
        }
        assert_eq!(POOL.run(|| {}).await.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(POOL.state().threads, 2);
        drop(hold);
        // The queue is worked off.
        while let Err(error) = POOL.run(|| {}).await {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            tokio::task::yield_now().await;
        }
    }
}
