//! How many connections may be open, so that each that is accepted gets what it takes to serve it.

use super::drain;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Descriptors that a connection takes: its own, and one for what is dialled for it or the file that it gets.
const OF_CONNECTION: usize = 2;

/// Descriptors of the process itself: what it listens on, its event loops, its logs.
const OF_PROCESS: u64 = 64;

/// So many descriptors of connections have one pipe more among them. A pipe has two descriptors, and whoever gets none
/// does without.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DESCRIPTORS_OF_PIPE: usize = 4 * OF_CONNECTION;

static MOST: AtomicUsize = AtomicUsize::new(usize::MAX);
static DESCRIPTORS: AtomicUsize = AtomicUsize::new(usize::MAX);
static SESSIONS: AtomicUsize = AtomicUsize::new(0);
static VISITORS: AtomicUsize = AtomicUsize::new(0);

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
        let most = MOST.load(Ordering::Relaxed) / DESCRIPTORS_OF_PIPE;
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

/// A visitor who speaks QUIC and has a descriptor of its own, until this is dropped.
#[cfg(all(feature = "quic", feature = "server"))]
#[derive(Debug)]
pub(crate) struct OpenVisitor(());

#[cfg(all(feature = "quic", feature = "server"))]
impl OpenVisitor {
    /// One more, if there is a descriptor for it. As with sessions, they do not take the last ones.
    pub(crate) fn count() -> Option<OpenVisitor> {
        is_room_for(MOST.load(Ordering::Relaxed) / 4).then(|| {
            VISITORS.fetch_add(1, Ordering::Relaxed);
            OpenVisitor(())
        })
    }
}

#[cfg(all(feature = "quic", feature = "server"))]
impl Drop for OpenVisitor {
    fn drop(&mut self) {
        VISITORS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A descriptor of a session of mux, until this is dropped.
#[derive(Debug)]
pub(crate) struct SessionPlace(Option<OwnPlace>);

/// The place of one session that is counted with its connection: for a connection two descriptors are counted.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnPlace(Arc<AtomicBool>);

impl OwnPlace {
    /// That place, if no other session of the connection has it.
    pub(crate) fn take(&self) -> Option<SessionPlace> {
        let is_taken = self.0.swap(true, Ordering::AcqRel);
        (!is_taken).then(|| SessionPlace(Some(self.clone())))
    }
}

impl SessionPlace {
    /// Of one more for which somebody is to be dialled, if there is a descriptor for that. Those who open many do not take
    /// the last ones: the port is still there for others.
    pub(crate) fn of_dialled() -> Option<SessionPlace> {
        let most = MOST.load(Ordering::Relaxed);
        let is_room = SESSIONS.load(Ordering::Relaxed) < most - most / 4 && is_room_for(1);
        is_room.then(SessionPlace::of_accepted)
    }

    /// Of one more whose descriptor is there already: it was accepted.
    pub(crate) fn of_accepted() -> SessionPlace {
        SESSIONS.fetch_add(1, Ordering::Relaxed);
        SessionPlace(None)
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        match &self.0 {
            Some(own) => own.0.store(false, Ordering::Release),
            None => drop(SESSIONS.fetch_sub(1, Ordering::Relaxed)),
        }
    }
}

/// Sets how many connections may be open by the number of descriptors that there may be.
pub fn set_limit(descriptors: Option<u64>) {
    if let Some(number) = descriptors {
        MOST.store(most(number), Ordering::Relaxed);
        DESCRIPTORS.store(usize::try_from(number).unwrap_or(usize::MAX), Ordering::Relaxed);
    }
}

/// So many descriptors are for connections and sessions.
fn most(descriptors: u64) -> usize {
    let own = OF_PROCESS.min(descriptors / 3);
    // (a fifth of them is for pipes)
    let connections = (descriptors - own) / 5 * 4 / OF_CONNECTION as u64;
    usize::try_from(connections)
        .map_or(usize::MAX, |connections| connections.max(1).saturating_mul(OF_CONNECTION))
}

fn is_room_for(more: usize) -> bool {
    let single = SESSIONS.load(Ordering::Relaxed) + VISITORS.load(Ordering::Relaxed);
    let taken = drain::open() * OF_CONNECTION + single;
    taken.saturating_add(more) <= MOST.load(Ordering::Relaxed)
}

/// What there is, where no more may be.
pub(crate) fn is_full() -> Option<Full> {
    (!is_room_for(OF_CONNECTION)).then(|| Full {
        open: drain::open(),
        sessions: SESSIONS.load(Ordering::Relaxed),
        visitors: VISITORS.load(Ordering::Relaxed),
        descriptors: DESCRIPTORS.load(Ordering::Relaxed),
    })
}

/// As many connections and sessions as there may be.
#[derive(Debug)]
pub(crate) struct Full {
    open: usize,
    sessions: usize,
    visitors: usize,
    descriptors: usize,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Full { open, sessions, visitors, descriptors } = self;
        write!(f, "{open} connections are open")?;
        if *sessions > 0 {
            write!(f, ", with {sessions} sessions")?;
        }
        if *visitors > 0 {
            write!(f, ", and {visitors} visitors over QUIC")?;
        }
        write!(f, ", as many as {descriptors} open files allow (option `n`, `ulimit -n`, or the memory)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_descriptors_and_the_process_its_own() {
        for (descriptors, connections) in [(0, 1), (3, 1), (60, 16), (192, 50), (256, 76), (1024, 384)] {
            assert_eq!(most(descriptors), connections * OF_CONNECTION, "{descriptors} descriptors");
        }
    }
}
