//! The signals that the process follows: to end, and to read its settings anew.

use super::signals::{self, Caught, Signal};
use std::io;

pub(crate) use signals::set_main_thread_stuck;

/// The signals that the process follows, caught before there is an event loop that hears them. From here on none of
/// them is lost, and none ends the process by itself: whoever finds the pid file, or is told that the process is
/// ready, may send one at once.
#[derive(Debug)]
pub struct CaughtSignals {
    terminate: Caught,
    interrupt: Caught,
    hangup: Caught,
}

impl CaughtSignals {
    /// Catches them from now on. To be called once.
    ///
    /// # Errors
    ///
    /// No handler can be installed.
    pub fn catch() -> io::Result<CaughtSignals> {
        Ok(CaughtSignals {
            terminate: signals::catch_shutdown(libc::SIGTERM)?,
            interrupt: signals::catch_shutdown(libc::SIGINT)?,
            hangup: signals::catch(libc::SIGHUP)?,
        })
    }

    /// Listens for them, and for those that have come already. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// The event loop takes no more.
    pub fn listen(self) -> io::Result<(ShutdownSignals, ReloadSignal)> {
        let shutdown =
            ShutdownSignals { terminate: self.terminate.listen()?, interrupt: self.interrupt.listen()? };
        let reload = ReloadSignal { hangup: self.hangup.listen()? };
        Ok((shutdown, reload))
    }
}

/// The signals that ask the process to end.
#[derive(Debug)]
pub struct ShutdownSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl ShutdownSignals {
    /// Waits for one of them. Unless [`expect_another`](Self::expect_another) was called, the next one ends the
    /// process.
    ///
    /// # Errors
    ///
    /// No handler can be installed.
    pub async fn recv(&mut self) -> io::Result<&'static str> {
        Ok(tokio::select! {
            () = self.terminate.recv() => "SIGTERM",
            () = self.interrupt.recv() => "SIGINT",
        })
    }

    /// The one that was heard is being followed, which may take a while: the next is to be heard, too.
    pub fn expect_another(&self) {
        signals::expect_another();
    }
}

/// The signal that asks the process to read its settings anew.
#[derive(Debug)]
pub struct ReloadSignal {
    hangup: Signal,
}

impl ReloadSignal {
    /// Waits for it.
    pub async fn recv(&mut self) {
        self.hangup.recv().await;
    }
}
