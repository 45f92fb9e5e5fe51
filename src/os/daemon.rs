//! Going on in the background.

use std::fs::File;
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::process::ExitCode;
use thiserror::Error;

/// Why the process cannot go into the background.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The system refuses.
    #[error("cannot go into the background: {0}")]
    Refused(#[from] io::Error),
}

/// Which of two processes this is.
#[derive(Debug)]
pub enum Side {
    /// The one that was started: it ends with this code.
    Started(ExitCode),
    /// The one in the background.
    Background(Background),
}

/// A process in the background that still has its stderr, so that what goes wrong at the start is seen
/// by whoever started it.
#[derive(Debug)]
pub struct Background {
    ready: PipeWriter,
}

/// Goes on in a second process, in a session of its own. The first waits until the second is ready or
/// has failed, and ends as it did: who starts it knows then that it listens.
///
/// To be called while the process has one thread.
///
/// # Errors
///
/// There is no second process.
pub fn detach() -> Result<Side, DaemonError> {
    let (mut news, ready) = io::pipe()?;
    // SAFETY: there is no other thread that could hold a lock the child would wait for.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error().into()),
        0 => {
            drop(news);
            rustix::process::setsid().map_err(io::Error::from)?;
            Ok(Side::Background(Background { ready }))
        }
        child => {
            drop(ready);
            let mut byte = [0];
            let code = match news.read(&mut byte) {
                Ok(1) => ExitCode::SUCCESS,
                _ => exit_code(child),
            };
            Ok(Side::Started(code))
        }
    }
}

/// The exit code of a child that has ended.
fn exit_code(child: libc::pid_t) -> ExitCode {
    use rustix::process::{Pid, WaitOptions, waitpid};
    let code = waitpid(Pid::from_raw(child), WaitOptions::empty())
        .ok()
        .flatten()
        .and_then(|(_, status)| u8::try_from(status.exit_status()?).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Background {
    /// Everything works: the terminal is let go of, and no folder is kept from being unmounted.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn ready(mut self) -> io::Result<()> {
        std::env::set_current_dir("/")?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&null)?;
        rustix::stdio::dup2_stdout(&null)?;
        rustix::stdio::dup2_stderr(&null)?;
        self.ready.write_all(b"!")
    }
}
