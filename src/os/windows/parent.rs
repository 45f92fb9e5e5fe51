//! The program that started this one.

use super::process::{OtherProcess, now, own_times, parent_id};
use std::ffi::c_void;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::debug;
use windows_sys::Win32::Foundation::{ERROR_INVALID_PARAMETER, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::Threading::{
    INFINITE, RegisterWaitForSingleObject, UnregisterWaitEx, WT_EXECUTEONLYONCE,
};

/// The process that started us, to be outlived by no more than a second or two. Windows ends nobody with his parent: a
/// host that is killed would leave its plugin behind, with its port.
#[derive(Debug)]
pub struct Parent(io::Result<State>);

#[derive(Debug)]
enum State {
    /// It was there when we looked, and stays known: while its handle is open, its id is no other's.
    Known(OtherProcess),
    /// It had ended before we looked.
    Gone,
    /// The system has started us.
    Nobody,
}

/// How often the parent is looked at where the system does not tell.
const PARENT_CHECK: Duration = Duration::from_secs(1);

impl Parent {
    /// Takes note of the parent. To be called as early as can be: its id may be another's once it has ended.
    pub fn remember() -> Parent {
        Parent(find())
    }

    /// The name of its file, as hosts are called elsewhere: without `.exe`, and in small letters, since here they mean
    /// the same.
    pub fn name(&self) -> Option<String> {
        let Ok(State::Known(process)) = &self.0 else { return None };
        Some(process.file()?.file_stem()?.to_str()?.to_lowercase())
    }

    /// Waits for the parent's end.
    pub async fn exited(&self) {
        let process = match &self.0 {
            Ok(State::Known(process)) => process,
            Ok(State::Gone) => return,
            Ok(State::Nobody) => return std::future::pending().await,
            Err(error) => {
                debug!(%error, "the parent cannot be watched: this process may outlive it");
                return std::future::pending().await;
            }
        };
        match Wait::start(process) {
            Ok(wait) => wait.over.notified().await,
            Err(error) => debug!(%error, "the system does not tell of the parent's end; looking for it"),
        }
        while !process.has_ended() {
            tokio::time::sleep(PARENT_CHECK).await;
        }
    }
}

fn find() -> io::Result<State> {
    let id = parent_id()?;
    if id == 0 {
        return Ok(State::Nobody);
    }
    let process = match OtherProcess::open(id) {
        Err(error) if error.raw_os_error() == Some(ERROR_INVALID_PARAMETER.cast_signed()) => {
            return Ok(State::Gone);
        }
        opened => opened?,
    };
    // Who began after us has not started us, but got the id of the one who did. (Nobody begins later than now: there the
    // clock was set back since.)
    let (began, ours) = (process.times()?.began, own_times()?.began);
    if began > ours && began <= now() {
        return Ok(State::Gone);
    }
    Ok(State::Known(process))
}

/// A wait for a process's end, by one of the system's threads, which waits for many things at once.
struct Wait<'a> {
    handle: HANDLE,
    over: Arc<Notify>,
    _process: &'a OtherProcess,
}

// SAFETY: the system takes the handle of a wait from whichever thread.
unsafe impl Send for Wait<'_> {}
// SAFETY: nothing is done with the handle but when this is dropped.
unsafe impl Sync for Wait<'_> {}

impl Wait<'_> {
    fn start(process: &OtherProcess) -> io::Result<Wait<'_>> {
        unsafe extern "system" fn notify(over: *mut c_void, _timed_out: bool) {
            // SAFETY: it is the pointer that was given below, and `Wait` keeps what it points at until this has returned.
            unsafe { &*over.cast_const().cast::<Notify>() }.notify_one();
        }
        let over = Arc::new(Notify::new());
        let mut handle = std::ptr::null_mut();
        // SAFETY: the process's handle is open, and stays so while `Wait` borrows it; so does what the pointer to `over`
        // points at, since `Wait` ends the wait before it lets go of either.
        let started = unsafe {
            RegisterWaitForSingleObject(
                &mut handle,
                process.handle(),
                Some(notify),
                Arc::as_ptr(&over).cast(),
                INFINITE,
                WT_EXECUTEONLYONCE,
            )
        };
        if started == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Wait { handle, over, _process: process })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle is that of a wait which nobody has ended. This returns when `notify` is not running, and
        // will not be run any more; that never takes long.
        unsafe { UnregisterWaitEx(self.handle, INVALID_HANDLE_VALUE) };
    }
}
