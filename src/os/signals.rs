//! Signals, heard by the runtime through a pipe; and heeded where no runtime hears them any more.
//!
//! (The runtime's own way needs a pair of sockets, which some sandboxes refuse, and panics without.)

use signal_hook::flag;
use signal_hook::low_level::pipe;
use std::io::{self, PipeReader, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
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
    catch_with(number, || Ok(()))
}

/// The same, with other actions that are registered before.
fn catch_with(number: i32, register: impl FnOnce() -> io::Result<()>) -> io::Result<Caught> {
    let (reader, writer) = io::pipe()?;
    let mut early = writer.try_clone()?;
    note(number)?;
    register()?;
    pipe::register(number, writer)?;
    if is_noted(number) {
        // It may have come before the pipe was there. If not, it is heard once all the same.
        early.write_all(&[0])?;
    }
    Ok(Caught(reader))
}

/// The signals that have a handler, as bits.
static CAUGHT: AtomicU32 = AtomicU32::new(0);

/// Those of them that have come.
static NOTED: AtomicU32 = AtomicU32::new(0);

/// (Those of real time, above 32, are none of ours.)
fn bit(number: i32) -> u32 {
    1 << ((number - 1) & 31)
}

/// Has a signal noted from now on, also by the actions that are registered later: until one is, it would be lost, since
/// the first that is registered takes the default action away before it is there itself.
fn note(number: i32) -> io::Result<()> {
    extern "C" fn handler(number: i32) {
        NOTED.fetch_or(bit(number), Ordering::SeqCst);
    }
    if CAUGHT.fetch_or(bit(number), Ordering::SeqCst) & bit(number) != 0 {
        return Ok(());
    }
    // SAFETY: all bits 0 are a `sigaction`: no flags, no handler, and a mask that blocks nothing.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(i32) as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler has the signature that goes without SA_SIGINFO, and only writes to an atomic number.
    if unsafe { libc::sigaction(number, &action, std::ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn is_noted(number: i32) -> bool {
    NOTED.load(Ordering::SeqCst) & bit(number) != 0
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
    let caught = catch_with(number, || {
        flag::register_conditional_shutdown(number, 0, Arc::clone(&MAIN_STUCK))?;
        flag::register_conditional_shutdown(number, 0, Arc::clone(&REQUESTED))?;
        flag::register(number, Arc::clone(&REQUESTED)).map(|_| ())
    })?;
    if is_noted(number) {
        REQUESTED.store(true, Ordering::SeqCst);
    }
    Ok(caught)
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

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::time::Duration;
    use tokio::time::timeout;

    async fn is_heard(caught: Caught) -> bool {
        let mut signal = caught.listen().unwrap();
        timeout(Duration::from_secs(5), signal.recv()).await.is_ok()
    }

    /// Wherever a signal comes while it is being caught, it is heard: before the first action is registered, and
    /// between two of them.
    #[tokio::test]
    async fn a_signal_that_comes_while_it_is_being_caught_is_heard() {
        for (number, first) in [(libc::SIGURG, false), (libc::SIGWINCH, true)] {
            let caught = catch_with(number, || {
                if first {
                    flag::register(number, Arc::default())?;
                }
                raise(number)
            });
            assert!(is_heard(caught.unwrap()).await, "an action is registered: {first}");
        }
    }

    /// It is heard once, and so is the next.
    #[tokio::test]
    async fn a_signal_that_is_caught_again_is_heard() {
        for _ in 0..2 {
            let mut signal = catch(libc::SIGTSTP).unwrap().listen().unwrap();
            for _ in 0..2 {
                raise(libc::SIGTSTP).unwrap();
                timeout(Duration::from_secs(5), signal.recv()).await.unwrap();
            }
            assert!(timeout(Duration::from_millis(1), signal.recv()).await.is_err());
        }
    }

    /// It has asked for the end of the process, so that the next ends it.
    #[tokio::test]
    async fn a_shutdown_that_was_asked_for_before_is_known() {
        let number = libc::SIGTTIN;
        note(number).unwrap();
        raise(number).unwrap();
        let caught = catch_shutdown(number).unwrap();
        assert!(REQUESTED.load(Ordering::SeqCst));
        assert!(is_heard(caught).await);
        expect_another();
    }
}
