//! How many connections may be open, so that each that is accepted gets what it takes to serve it.

use super::drain;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors that a connection takes: its own, and one for what is dialled for it or the file that it gets.
const OF_CONNECTION: u64 = 2;

/// Descriptors of the process itself: what it listens on, its event loops, its logs.
const OF_PROCESS: u64 = 64;

/// So many connections have one pipe more among them. A pipe has two descriptors, and whoever gets none does without.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CONNECTIONS_OF_PIPE: usize = 4;

static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

#[cfg(any(target_os = "linux", target_os = "android"))]
static PIPES: AtomicUsize = AtomicUsize::new(0);

/// A pipe, which is counted until this is dropped.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
pub(crate) struct OpenPipe(());

#[cfg(any(target_os = "linux", target_os = "android"))]
impl OpenPipe {
    /// One more, if there may be.
    pub(crate) fn count() -> Option<OpenPipe> {
        let most = MOST.load(Ordering::Relaxed) / CONNECTIONS_OF_PIPE;
        let one_more = |pipes| (pipes < most).then_some(pipes + 1);
        PIPES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| OpenPipe(()))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl Drop for OpenPipe {
    fn drop(&mut self) {
        PIPES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many connections have one visitor more beside them who speaks QUIC, and takes one descriptor.
#[cfg(all(feature = "quic", feature = "server"))]
const CONNECTIONS_OF_VISITOR: usize = 4;

static VISITORS: AtomicUsize = AtomicUsize::new(0);

/// A visitor who speaks QUIC, and is counted until this is dropped.
#[cfg(all(feature = "quic", feature = "server"))]
#[derive(Debug)]
pub(crate) struct OpenVisitor(());

#[cfg(all(feature = "quic", feature = "server"))]
impl OpenVisitor {
    /// One more, if there may be.
    pub(crate) fn count() -> Option<OpenVisitor> {
        let most = MOST.load(Ordering::Relaxed).div_ceil(CONNECTIONS_OF_VISITOR);
        let one_more = |visitors| (visitors < most && is_full().is_none()).then_some(visitors + 1);
        VISITORS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok().map(|_| OpenVisitor(()))
    }
}

#[cfg(all(feature = "quic", feature = "server"))]
impl Drop for OpenVisitor {
    fn drop(&mut self) {
        VISITORS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sets how many connections may be open by the number of descriptors that there may be.
pub fn set_limit(descriptors: Option<u64>) {
    if let Some(number) = descriptors {
        MOST.store(most(number), Ordering::Relaxed);
    }
}

fn most(descriptors: u64) -> usize {
    let own = OF_PROCESS.min(descriptors / 3);
    // (a fifth of them is for pipes)
    usize::try_from((descriptors - own) / 5 * 4 / OF_CONNECTION).unwrap_or(usize::MAX).max(1)
}

/// The number of connections that are open, where no more may be.
pub(crate) fn is_full() -> Option<usize> {
    let open = drain::open() + VISITORS.load(Ordering::Relaxed);
    (open >= MOST.load(Ordering::Relaxed)).then_some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_descriptors_and_the_process_its_own() {
        for (descriptors, connections) in [(0, 1), (3, 1), (60, 16), (192, 50), (256, 76), (1024, 384)] {
            assert_eq!(most(descriptors) as u64, connections, "{descriptors} descriptors");
        }
    }
}
