//! Going on in the background.

use rustix::process::{Pid, WaitOptions, waitpid};
use std::fs::File;
use std::io::{self, PipeWriter, Read as _, Write as _};
use std::process::ExitCode;

/// Which of two processes this is.
#[derive(Debug)]
pub enum DaemonSide {
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
pub fn detach() -> io::Result<DaemonSide> {
    let (mut is_ready, ready) = io::pipe()?;
    match fork()? {
        None => {
            drop(is_ready);
            rustix::process::setsid()?;
            Ok(DaemonSide::Background(Background { ready }))
        }
        Some(child) => {
            drop(ready);
            let code = match is_ready.read(&mut [0]) {
                Ok(1) => ExitCode::SUCCESS,
                _ => exit_code(child),
            };
            Ok(DaemonSide::Started(code))
        }
    }
}

/// The exit code of a child that has ended.
fn exit_code(child: Pid) -> ExitCode {
    let code = waitpid(Some(child), WaitOptions::empty())
        .ok()
        .flatten()
        .and_then(|(_, status)| u8::try_from(status.exit_status()?).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Background {
    /// Everything works: the terminal is let go of, and the first process ends with success.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn ready(mut self) -> io::Result<()> {
        release_terminal()?;
        self.ready.write_all(b"!")
    }
}

/// Goes on in two processes. Returns the second one's number to the first, and `None` to the second.
///
/// To be called while the process has one thread.
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: there is no other thread that could hold a lock the child would wait for.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        number => Ok(Pid::from_raw(number)),
    }
}

/// Lets go of the terminal, or of what stands in its place, and of the working directory, which could not
/// be unmounted otherwise.
pub(super) fn release_terminal() -> io::Result<()> {
    std::env::set_current_dir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}
