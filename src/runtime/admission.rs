//! How many connections may be open, so that each that is accepted gets what it takes to serve it.

use super::drain;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Descriptors that a connection takes: its own, and one for what is dialled for it or the file that it gets.
const OF_CONNECTION: u64 = 2;

/// Descriptors of the process itself: what it listens on, its event loops, its logs.
const OF_PROCESS: u64 = 64;

static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets how many connections may be open by the number of descriptors that there may be.
pub fn set_limit(descriptors: Option<u64>) {
    if let Some(number) = descriptors {
        MOST.store(most(number), Ordering::Relaxed);
    }
}

fn most(descriptors: u64) -> usize {
    let own = OF_PROCESS.min(descriptors / 3);
    usize::try_from((descriptors - own) / OF_CONNECTION).unwrap_or(usize::MAX).max(1)
}

/// The number of connections that are open, where no more may be.
pub(crate) fn is_full() -> Option<usize> {
    let open = drain::open();
    (open >= MOST.load(Ordering::Relaxed)).then_some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_descriptors_and_the_process_its_own() {
        for (descriptors, connections) in
            [(0, 1), (3, 1), (60, 20), (192, 64), (256, 96), (1024, 480), (u64::MAX, u64::MAX / 2 - 32)]
        {
            assert_eq!(most(descriptors) as u64, connections, "{descriptors} descriptors");
        }
    }
}
