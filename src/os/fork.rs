//! A second process.

use rustix::process::Pid;
use std::fs::File;
use std::io;

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
