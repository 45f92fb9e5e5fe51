//! Bulk goes to threads that have less of it.
//!
//! A connection begins on the thread that accepted it, and all that begin while there is little to do
//! begin on one ([`workers`](super::workers)). Small exchanges are best off so. Bulk is not: a thread carries
//! as much as a core can, and no more. So a connection that carries bulk moves to another thread when its
//! own has no time left and several such connections, and the other has fewer by two or more. When it has
//! become a small exchange again, it goes back to the first thread, if that has time.
//!
//! It is decided when bulk has just been carried: a process at rest has no clock that would wake it.
//! How much time a thread has left is what its runtime counts: how long it did not wait for news. CPU time
//! would not tell it, as on a machine with much to do a thread waits for a core as well.

use super::turn;
use super::workers::Workers;
use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

/// Over how long a thread counts its bulk, at the least.
const WINDOW: Duration = Duration::from_millis(100);

/// How long a connection stays where it has come to.
const STAY: Duration = Duration::from_secs(1);

/// The share of its time that a thread with too much to do works.
const BUSY: f64 = 0.75;

/// The share below which the first thread takes small exchanges back.
const QUIET: f64 = 0.5;

/// What is read and written in a turn that is one of bulk: half of it is what a flow takes for a large read.
const LARGE: u64 = 64 * 1024;

/// How long a thread did not wait, of all the time that it has been there. Where that is not counted, it
/// always looks as if it had too much to do.
fn busy_time(handle: &Handle) -> Duration {
    #[cfg(target_has_atomic = "64")]
    return handle.metrics().worker_total_busy_duration(0);
    #[cfg(not(target_has_atomic = "64"))]
    {
        static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
        let _ = handle;
        START.elapsed()
    }
}

/// How busy a thread is.
#[derive(Debug)]
struct Gauge {
    handle: Handle,
    since: Instant,
    busy: Duration,
}

impl Gauge {
    fn new(handle: Handle) -> Gauge {
        Gauge { since: Instant::now(), busy: busy_time(&handle), handle }
    }

    /// The share of its time that the thread has worked since this was last told. `None` if that is too
    /// short a while ago.
    fn read(&mut self, now: Instant) -> Option<f64> {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed < WINDOW {
            return None;
        }
        let total = busy_time(&self.handle);
        let worked = total.saturating_sub(std::mem::replace(&mut self.busy, total));
        self.since = now;
        Some(worked.as_secs_f64() / elapsed.as_secs_f64())
    }
}

/// A thread of the workers, seen from itself.
#[derive(Debug)]
struct Worker {
    workers: Arc<Workers>,
    index: usize,
    own: Gauge,
    /// The first thread, seen from another, once there was a reason to look.
    first: Option<Gauge>,
    /// The number of the window, and the connections with bulk that were seen in it.
    window: u32,
    bulk: usize,
    /// Threads that are to get a connection each.
    targets: Vec<usize>,
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
}

/// A thread's part in the workers, until it is dropped.
pub(crate) struct Joined {
    workers: Arc<Workers>,
    index: usize,
}

/// Makes this thread the one of this number. Tasks of a runtime with several threads are its own affair.
pub(crate) fn join(workers: &Arc<Workers>, index: usize) -> Option<Joined> {
    let handle = Handle::current();
    if workers.size() == 1 || handle.runtime_flavor() != RuntimeFlavor::CurrentThread {
        return None;
    }
    turn::set_reactor(u32::try_from(index).unwrap_or(u32::MAX));
    workers.board.set_handle(index, Some(handle.clone()));
    let workers = Arc::clone(workers);
    let own = Gauge::new(handle);
    let worker = Worker {
        workers: Arc::clone(&workers),
        index,
        own,
        first: None,
        window: 1,
        bulk: 0,
        targets: Vec::new(),
    };
    WORKER.set(Some(worker));
    Some(Joined { workers, index })
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.workers.board.set_handle(self.index, None);
    }
}

impl Worker {
    /// Where a connection that has carried bulk is to go on.
    fn place_bulk(&mut self, load: &mut Load) -> Option<Handle> {
        let now = Instant::now();
        if let Some(share) = self.own.read(now) {
            self.targets = self.workers.board.count(self.index, self.bulk, share >= BUSY, now);
            self.window = self.window.wrapping_add(1);
            self.bulk = 0;
        }
        if load.counted != Some((self.index, self.window)) {
            load.counted = Some((self.index, self.window));
            self.bulk += 1;
        }
        if self.targets.is_empty() || !load.may_move(now) {
            return None;
        }
        let handle = self.workers.board.handle(self.targets.pop()?)?;
        // It was counted here above, and is going to be counted there.
        self.bulk -= 1;
        load.moved_at = Some(now);
        Some(handle)
    }

    /// Where a connection of small exchanges is to go on.
    fn place_small(&mut self, load: &mut Load) -> Option<Handle> {
        if self.index < self.workers.active() {
            return None;
        }
        let now = Instant::now();
        if !load.may_move(now) {
            return None;
        }
        if self.first.is_none() {
            self.first = self.workers.board.handle(0).map(Gauge::new);
        }
        let first = self.first.as_mut()?;
        if first.read(now)? >= QUIET {
            return None;
        }
        load.moved_at = Some(now);
        Some(first.handle.clone())
    }
}

/// What a connection carries.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Load {
    /// Large turns, and small ones since the last large one.
    large: u8,
    small: u8,
    /// The thread and the window in which it was counted.
    counted: Option<(usize, u32)>,
    /// When it came to its thread from another.
    moved_at: Option<Instant>,
}

/// What a turn has shown.
#[derive(Debug, PartialEq, Eq)]
enum Observed {
    Bulk,
    Small,
    Nothing,
}

impl Load {
    /// So many large turns are bulk. Pages and pictures are fewer.
    const BULK: u8 = 4;
    /// So many small turns in a row end it.
    const PAUSE: u8 = 8;
    /// After so many it is a small exchange.
    const EXCHANGE: u8 = 128;

    /// Takes note of a turn in which so many bytes were moved.
    fn note_turn(&mut self, moved: u64) -> Observed {
        if moved >= LARGE {
            (self.large, self.small) = (self.large.saturating_add(1).min(Self::BULK), 0);
            return if self.large == Self::BULK { Observed::Bulk } else { Observed::Nothing };
        }
        if moved > 0 {
            self.small += 1;
            if self.small >= Self::PAUSE {
                self.large = 0;
            }
            if self.small == Self::EXCHANGE {
                self.small = Self::PAUSE;
                return Observed::Small;
            }
        }
        Observed::Nothing
    }

    fn may_move(&self, now: Instant) -> bool {
        self.moved_at.is_none_or(|at| now.saturating_duration_since(at) >= STAY)
    }
}

/// A connection's task, which can go on in another runtime.
struct Movable {
    task: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    load: Load,
}

impl Future for Movable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(task) = &mut this.task else { return Poll::Ready(()) };
        let before = turn::moved();
        if task.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let place = match this.load.note_turn(turn::moved().wrapping_sub(before)) {
            Observed::Bulk => Worker::place_bulk,
            Observed::Small => Worker::place_small,
            Observed::Nothing => return Poll::Pending,
        };
        let target = WORKER.with_borrow_mut(|worker| place(worker.as_mut()?, &mut this.load));
        let Some(target) = target else { return Poll::Pending };
        // Whatever would wake it here finds a task that is over; the first poll there asks all anew.
        target.spawn(Movable { task: this.task.take(), load: this.load });
        Poll::Ready(())
    }
}

/// Gives a connection a task of its own. On a thread of the workers, it may go on on another one.
pub fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if WORKER.with_borrow(Option::is_some) {
        tokio::spawn(Movable { task: Some(Box::pin(task)), load: Load::default() });
    } else {
        tokio::spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::thread::ThreadId;

    #[test]
    fn bulk_and_small_exchanges_are_told_apart() {
        let observed = |moved: &[u64]| {
            let mut load = Load::default();
            moved.iter().map(|&moved| load.note_turn(moved)).collect::<Vec<_>>()
        };
        let last = |moved: &[u64]| observed(moved).pop();
        let small = |n: usize| vec![100; n];
        assert_eq!(last(&[LARGE; 3]), Some(Observed::Nothing));
        assert_eq!(last(&[LARGE; 4]), Some(Observed::Bulk));
        // Some small pieces and idle turns between are no end of it; a pause is.
        assert_eq!(last(&[&[LARGE; 4][..], &small(7), &[0; 50], &[LARGE]].concat()), Some(Observed::Bulk));
        assert_eq!(last(&[&[LARGE; 4][..], &small(8), &[LARGE]].concat()), Some(Observed::Nothing));
        assert_eq!(last(&small(127)), Some(Observed::Nothing));
        assert_eq!(last(&small(128)), Some(Observed::Small));
        assert_eq!(last(&[&small(100)[..], &[LARGE], &small(100)].concat()), Some(Observed::Nothing));
        let told = observed(&small(1000)).iter().filter(|&observed| *observed == Observed::Small).count();
        assert_eq!(told, 8, "and told now and then");
    }

    #[test]
    fn nobody_is_moved_twice_in_a_row() {
        let now = Instant::now();
        let mut load = Load::default();
        assert!(load.may_move(now));
        load.moved_at = Some(now);
        assert!(!load.may_move(now + STAY / 2));
        assert!(load.may_move(now + STAY));
    }

    /// Two threads of the workers, until it is dropped; everything begins on the first.
    struct Threads(Vec<Handle>, Vec<(tokio::sync::oneshot::Sender<()>, std::thread::JoinHandle<()>)>);

    impl Threads {
        fn start() -> Threads {
            let workers = Workers::of(2);
            let mut threads = Threads(Vec::new(), Vec::new());
            for index in 0..2 {
                let (stop, stopped) = tokio::sync::oneshot::channel();
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                threads.0.push(runtime.handle().clone());
                let workers = Arc::clone(&workers);
                let (joined, has_joined) = mpsc::channel();
                let thread = std::thread::spawn(move || {
                    runtime.block_on(async {
                        let _joined = join(&workers, index);
                        joined.send(()).unwrap();
                        let _ = stopped.await;
                    });
                });
                threads.1.push((stop, thread));
                has_joined.recv().unwrap();
            }
            threads
        }

        /// Spawns from the first thread.
        fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            let first = self.0.first().expect("there are two");
            first.spawn(async move { spawn(task) });
        }
    }

    impl Drop for Threads {
        fn drop(&mut self) {
            for (stop, thread) in self.1.drain(..) {
                let _ = stop.send(());
                let _ = thread.join();
            }
        }
    }

    /// Turns in each of which so many bytes are moved, each told with its thread, until nobody listens.
    /// With bulk there is no time left.
    async fn turns(bytes: Arc<AtomicUsize>, told: mpsc::Sender<ThreadId>) {
        while told.send(std::thread::current().id()).is_ok() {
            let bytes = bytes.load(Ordering::Relaxed) as u64;
            turn::note_moved(bytes);
            if bytes < LARGE {
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            }
            let began = Instant::now();
            while began.elapsed() < Duration::from_micros(200) {
                std::hint::spin_loop();
            }
            tokio::task::yield_now().await;
        }
    }

    /// Starts two tasks of turns.
    fn two(threads: &Threads, bytes: &Arc<AtomicUsize>) -> [mpsc::Receiver<ThreadId>; 2] {
        [(); 2].map(|()| {
            let (told, turn) = mpsc::channel();
            threads.spawn(turns(Arc::clone(bytes), told));
            turn
        })
    }

    /// Waits until a turn of each has been on one thread, or on two.
    fn wait_until([one, other]: &[mpsc::Receiver<ThreadId>; 2], apart: bool) {
        let limit = Instant::now() + Duration::from_secs(30);
        while (one.recv().unwrap() != other.recv().unwrap()) != apart {
            assert!(Instant::now() < limit, "apart: {}", !apart);
        }
    }

    #[test]
    fn of_two_tasks_with_bulk_one_goes_to_the_other_thread_and_both_stay() {
        let threads = Threads::start();
        let both = two(&threads, &Arc::new(AtomicUsize::new(LARGE as usize)));
        wait_until(&both, true);
        for _ in 0..2000 {
            assert_ne!(both[0].recv().unwrap(), both[1].recv().unwrap());
        }
    }

    #[test]
    fn bulk_that_becomes_a_small_exchange_goes_back_to_the_first_thread() {
        let threads = Threads::start();
        let bytes = Arc::new(AtomicUsize::new(LARGE as usize));
        let both = two(&threads, &bytes);
        wait_until(&both, true);
        bytes.store(200, Ordering::Relaxed);
        wait_until(&both, false);
    }

    #[test]
    fn small_exchanges_stay_together_though_they_leave_a_thread_no_time() {
        let threads = Threads::start();
        let (told, turn) = mpsc::channel();
        for _ in 0..8 {
            let told = told.clone();
            threads.spawn(async move {
                while told.send(std::thread::current().id()).is_ok() {
                    turn::note_moved(200);
                    tokio::task::yield_now().await;
                }
            });
        }
        let first = turn.recv().unwrap();
        for _ in 0..100_000 {
            assert_eq!(turn.recv().unwrap(), first);
        }
    }
}
