//! The program that started this one.

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io;
use std::time::Duration;
#[cfg(any(target_os = "linux", target_os = "android"))]
use tokio::io::unix::AsyncFd;
#[cfg(any(target_os = "linux", target_os = "android"))]
use tracing::debug;

/// The process that started us, to be outlived by no more than a second or two.
///
/// Whoever it is at the start counts. A host that has gone before the first look has left us to another
/// process, which cannot be told from one that started us itself; so has one that forks twice. A parent
/// in another pid namespace has no number here (the manager of a container, which ends us itself).
#[derive(Debug)]
pub struct Parent {
    pid: Option<rustix::process::Pid>,
}

/// How often the parent is looked for where the kernel does not tell.
const PARENT_CHECK: Duration = Duration::from_secs(1);

impl Parent {
    /// Takes note of the parent. To be called as early as can be: a parent that died before is not seen.
    pub fn remember() -> Parent {
        Parent { pid: rustix::process::getppid() }
    }

    /// Its name, where the system tells it.
    pub fn name(&self) -> Option<String> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let pid = self.pid?.as_raw_nonzero();
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some(name.trim_end().to_owned())
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        None
    }

    /// Waits for the parent's end, whoever runs as whom by then.
    ///
    /// The kernel tells of it by a descriptor of the parent where it has such (Linux 5.3). A signal at the
    /// parent's death would not do: a host that has given up root may not signal us, who have not, and
    /// where the *thread* ends that started us the signal comes, though the host lives on.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub async fn exited(&self) {
        let Some(pid) = self.pid else { return std::future::pending().await };
        match open_pidfd(pid) {
            Ok(descriptor) => {
                // It may have ended before: then the number may be another process's by now.
                if self.is_alive()
                    && let Err(error) = descriptor.readable().await
                {
                    debug!(%error, "the parent cannot be watched; looking for it");
                    self.poll().await;
                }
            }
            Err(error) => {
                debug!(%error, "the kernel has no descriptor of the parent; looking for it");
                self.poll_when_signalled().await;
            }
        }
    }

    /// Waits for the parent's end.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub async fn exited(&self) {
        self.poll().await;
    }

    /// Whether the parent is still the one we had. Orphans are given another.
    fn is_alive(&self) -> bool {
        rustix::process::getppid() == self.pid
    }

    async fn poll(&self) {
        while self.is_alive() {
            tokio::time::sleep(PARENT_CHECK).await;
        }
    }

    /// The same with the kernel's signal at the death of the thread that started us, as a hint to look.
    /// To be awaited on the process's first thread, to which that signal is bound.
    ///
    /// Between two who are not root the signal always arrives, so the looks may be rare: phones are not
    /// to be woken. One who is root is looked after every second.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn poll_when_signalled(&self) {
        use super::signals::{Caught, catch};
        const RARELY: Duration = Duration::from_secs(30);
        // Nobody else sends this one, and if somebody does, we look once more than needed.
        let hint = rustix::process::Signal::USR2;
        let hints = catch(libc::SIGUSR2).and_then(Caught::listen).and_then(|hints| {
            Ok(rustix::process::set_parent_process_death_signal(Some(hint)).map(|()| hints)?)
        });
        let Ok(mut hints) = hints else { return self.poll().await };
        let root = rustix::process::getuid().is_root() || rustix::process::geteuid().is_root();
        let pause = if root { PARENT_CHECK } else { RARELY };
        // Looked for before each wait: it may have died before the signal was asked for.
        while self.is_alive() {
            let _ = tokio::time::timeout(pause, hints.recv()).await;
        }
    }
}

/// A descriptor that becomes readable when a process ends: all of its threads.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn open_pidfd(pid: rustix::process::Pid) -> io::Result<AsyncFd<std::os::fd::OwnedFd>> {
    use rustix::process::{PidfdFlags, pidfd_open};
    // A filter of system calls may kill who makes one that it does not know, as Android's does.
    if is_filtered() {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "system calls are filtered"));
    }
    let descriptor = pidfd_open(pid, PidfdFlags::NONBLOCK)
        // The flag is younger than the call.
        .or_else(|_| pidfd_open(pid, PidfdFlags::empty()))?;
    // SAFETY: an owned descriptor stays open, and stays the same one, for as long as it lives.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, tokio::io::Interest::READABLE) };
    watched.map_err(Into::into)
}

/// Whether a seccomp filter is on this process.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() != "0")
}
