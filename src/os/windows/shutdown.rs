//! What asks a process to end: Ctrl-C, Ctrl-Break, the end of its console, and the end of the session.
//!
//! (The runtime has its own way to hear of them, which goes on taking them where nobody hears any more: when the first
//! thread is stuck, and the second time.)

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tokio::sync::Notify;
use windows_sys::Win32::System::Console::{
    CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT,
    SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::RemoteDesktop::ProcessIdToSessionId;
use windows_sys::core::BOOL;

/// One of them has come, and was not followed yet.
static REQUESTED: AtomicBool = AtomicBool::new(false);

/// The first thread does not return to its event loop, so that it hears of none.
static MAIN_STUCK: AtomicBool = AtomicBool::new(false);

/// Which one has come last.
static EVENT: AtomicU32 = AtomicU32::new(CTRL_C_EVENT);

/// One has come after which Windows ends the process in some seconds, whatever it does.
static HURRIED: AtomicBool = AtomicBool::new(false);

/// Wakes the one who waits for them, or has the next wait be over at once.
static HEARD: Notify = Notify::const_new();

/// Called by the system, on a thread that it makes for this.
unsafe extern "system" fn handle(event: u32) -> BOOL {
    const FOLLOWED: BOOL = 1;
    let hurried = match event {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => false,
        // Services alone hear of it, of whichever user it is.
        CTRL_LOGOFF_EVENT if is_service() => return FOLLOWED,
        _ => true,
    };
    EVENT.store(event, Ordering::SeqCst);
    if REQUESTED.swap(true, Ordering::SeqCst) || MAIN_STUCK.load(Ordering::SeqCst) {
        std::process::exit(0);
    }
    HURRIED.fetch_or(hurried, Ordering::SeqCst);
    HEARD.notify_one();
    while hurried {
        // Windows ends the process as soon as this returns, and after five seconds if it does not.
        std::thread::park();
    }
    FOLLOWED
}

/// Whether this runs in the session of services, which no user's logoff ends.
fn is_service() -> bool {
    let mut session = u32::MAX;
    // SAFETY: takes a number, and the pointer to a living one, which is written to.
    unsafe { ProcessIdToSessionId(std::process::id(), &mut session) != 0 && session == 0 }
}

/// What asks the process to end, caught before there is an event loop that hears it. From here on none of them is lost,
/// and none ends the process by itself.
#[derive(Debug)]
pub struct CaughtSignals(());

impl CaughtSignals {
    /// Catches them from now on. To be called once.
    ///
    /// # Errors
    ///
    /// No handler can be installed.
    pub fn catch() -> io::Result<CaughtSignals> {
        // SAFETY: the handler has the signature that is asked for, may be run on any thread, and stays where it is.
        if unsafe { SetConsoleCtrlHandler(Some(handle), 1) } == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(CaughtSignals(()))
    }

    /// Listens for them, and for those that have come already.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn listen(self) -> io::Result<(ShutdownSignals, ReloadSignal)> {
        Ok((ShutdownSignals(()), ReloadSignal(())))
    }
}

/// What asks the process to end.
#[derive(Debug)]
pub struct ShutdownSignals(());

impl ShutdownSignals {
    /// Waits for one of them. Unless [`expect_another`](Self::expect_another) was called, the next one ends the
    /// process. Where there is no time for anything else, the next one comes at once.
    ///
    /// # Errors
    ///
    /// None here.
    pub async fn recv(&mut self) -> io::Result<&'static str> {
        if !HURRIED.load(Ordering::SeqCst) {
            HEARD.notified().await;
        }
        Ok(match EVENT.load(Ordering::SeqCst) {
            CTRL_C_EVENT => "Ctrl-C",
            CTRL_BREAK_EVENT => "Ctrl-Break",
            CTRL_CLOSE_EVENT => "the console was closed",
            CTRL_LOGOFF_EVENT => "the user logs off",
            CTRL_SHUTDOWN_EVENT => "the system shuts down",
            _ => "the console asks for it",
        })
    }

    /// The one that was heard is being followed, which may take a while: the next is to be heard, too.
    pub fn expect_another(&self) {
        REQUESTED.store(false, Ordering::SeqCst);
    }
}

/// What asks the process to read its settings anew: nothing does here.
#[derive(Debug)]
pub struct ReloadSignal(());

impl ReloadSignal {
    /// Waits for ever.
    pub async fn recv(&mut self) {
        std::future::pending().await
    }
}

/// To be told when the first thread has become stuck, and when it no longer is. Ends the process if it has
/// been asked to end meanwhile.
pub(crate) fn set_main_thread_stuck(stuck: bool) {
    MAIN_STUCK.store(stuck, Ordering::SeqCst);
    if stuck && REQUESTED.load(Ordering::SeqCst) {
        tracing::info!("ending: it was asked for");
        crate::os::stderr::flush();
        std::process::exit(0);
    }
}
