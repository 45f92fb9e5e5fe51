//! What the process owes the system and the program that started it.

use std::io;
#[cfg(unix)]
use std::time::Duration;
#[cfg(unix)]
use tracing::{debug, warn};

/// Sets the limit of open files: to the number that is asked for, otherwise as high as it may be. Says
/// what it is then.
#[cfg(unix)]
pub fn limit_open_files(wanted: Option<u64>) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let asked = match wanted {
        // Both limits, as simple-obfs sets them. Who may, has the hard one raised by it.
        Some(number) => Rlimit { current: Some(number), maximum: Some(number) },
        None if limit.current == limit.maximum => return limit.current,
        None => highest,
    };
    let Err(error) = setrlimit(Resource::Nofile, asked) else { return asked.current };
    let Some(number) = wanted else {
        debug!(%error, "the limit of open files stays as it is");
        return limit.current;
    };
    let granted = match setrlimit(Resource::Nofile, highest) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let granted_text = granted.map_or_else(|| "unlimited".to_owned(), |number| number.to_string());
    warn!(%error, "{number} open files cannot be had; the limit is {granted_text}");
    granted
}

/// Windows has no such limit.
#[cfg(not(unix))]
pub fn limit_open_files(_: Option<u64>) -> Option<u64> {
    None
}

/// The name of the parent process, where the system tells it.
pub fn parent_name() -> Option<String> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let pid = rustix::process::getppid()?.as_raw_nonzero();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(name.trim_end().to_owned())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// Waits for the signal that asks the process to end.
///
/// # Errors
///
/// No handler can be installed.
#[cfg(unix)]
pub async fn asked_to_end() -> io::Result<&'static str> {
    use super::signals::ending;
    let mut terminate = ending(libc::SIGTERM)?;
    let mut interrupt = ending(libc::SIGINT)?;
    Ok(tokio::select! {
        () = terminate.recv() => "SIGTERM",
        () = interrupt.recv() => "SIGINT",
    })
}

/// Waits for the event that asks the process to end.
///
/// # Errors
///
/// No handler can be installed.
#[cfg(not(unix))]
pub async fn asked_to_end() -> io::Result<&'static str> {
    tokio::signal::ctrl_c().await?;
    Ok("Ctrl-C")
}

/// The process that started us, to be outlived by no more than a second or two.
#[derive(Debug)]
pub struct Parent {
    #[cfg(unix)]
    pid: Option<rustix::process::Pid>,
}

/// How often the parent is looked for where the kernel does not tell.
#[cfg(unix)]
const PARENT_CHECK: Duration = Duration::from_secs(1);

impl Parent {
    /// Takes note of the parent. To be called as early as can be: a parent that died before is not seen.
    pub fn remember() -> Parent {
        Parent {
            #[cfg(unix)]
            pid: rustix::process::getppid(),
        }
    }

    /// Waits for the parent's end. To be awaited on the process's first thread, to which the kernel's
    /// signal is bound.
    ///
    /// That signal comes when the *thread* that started us ends, so it is only a hint that makes us
    /// look: hosts with many threads may end one and live on, and the kernel then binds the signal to
    /// another of them.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub async fn gone(&self) {
        use super::signals::signal;
        // Nobody else sends this one, and if somebody does, we look once more than needed.
        let hint = rustix::process::Signal::USR2;
        let hints = signal(libc::SIGUSR2).and_then(|hints| {
            Ok(rustix::process::set_parent_process_death_signal(Some(hint)).map(|()| hints)?)
        });
        match hints {
            // Looked for before each wait: it may have died before the signal was asked for.
            Ok(mut hints) => {
                while self.lives() {
                    hints.recv().await;
                }
            }
            Err(error) => {
                debug!(%error, "the kernel does not tell of the parent's death; looking for it");
                self.look().await;
            }
        }
    }

    /// Waits for the parent's end.
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    pub async fn gone(&self) {
        self.look().await;
    }

    /// Waits for the parent's end. Hosts on Windows end their plugins themselves or hold them in a job.
    #[cfg(not(unix))]
    pub async fn gone(&self) {
        std::future::pending().await
    }

    /// Whether the parent is still the one we had. Orphans are given another.
    #[cfg(unix)]
    fn lives(&self) -> bool {
        rustix::process::getppid() == self.pid
    }

    #[cfg(unix)]
    async fn look(&self) {
        while self.lives() {
            tokio::time::sleep(PARENT_CHECK).await;
        }
    }
}
