//! Signals, heard by the runtime through a pipe; and heeded where no runtime hears them any more.
//!
//! (The runtime's own way needs a pair of sockets, which some sandboxes refuse, and panics without.)

use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::io::{self, PipeReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;

/// A kind of signals that is listened for.
#[derive(Debug)]
pub struct Signal(Receiver);

/// A kind of signals that is caught: what comes of it is heard once it is listened for.
#[derive(Debug)]
pub struct Caught(PipeReader);

/// Catches a signal from now on, whether there is a runtime or not.
///
/// # Errors
///
/// There are no descriptors left, or this signal cannot be handled.
pub fn catch(number: i32) -> io::Result<Caught> {
    let (reader, writer) = io::pipe()?;
    pipe::register(number, writer)?;
    Ok(Caught(reader))
}

impl Caught {
    /// Listens for it, and for those that have come since it was caught. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// The event loop takes no more.
    pub fn listen(self) -> io::Result<Signal> {
        Ok(Signal(Receiver::from_owned_fd(self.0.into())?))
    }
}

impl Signal {
    /// Waits until it comes, once or more often since it was last waited for.
    pub async fn recv(&mut self) {
        if !matches!(self.0.read(&mut [0; 64]).await, Ok(1..)) {
            // The pipe's other end is never closed.
            std::future::pending().await
        }
    }
}

/// The first thread does not return to its event loop, so that it hears of no signal.
static MAIN_STUCK: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// A signal has asked the process to end.
static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Catches a signal that asks the process to end. While the first thread is stuck, it ends it at once;
/// so does a second one in any case.
///
/// # Errors
///
/// As [`catch`] has them.
pub fn catch_shutdown(number: i32) -> io::Result<Caught> {
    flag::register_conditional_shutdown(number, 0, Arc::clone(&MAIN_STUCK))?;
    flag::register_conditional_shutdown(number, 0, Arc::clone(&REQUESTED))?;
    flag::register(number, Arc::clone(&REQUESTED))?;
    catch(number)
}

/// The first signal has been heard, and is being followed: the next is heard, too.
pub(crate) fn expect_another() {
    REQUESTED.store(false, Ordering::SeqCst);
}

/// To be told when the first thread has become stuck, and when it no longer is. Ends the process if it has
/// been asked to end meanwhile.
pub(crate) fn set_main_thread_stuck(stuck: bool) {
    MAIN_STUCK.store(stuck, Ordering::SeqCst);
    if stuck && REQUESTED.load(Ordering::SeqCst) {
        tracing::info!("ending: a signal has asked for it");
        super::stderr::flush();
        std::process::exit(0);
    }
}
