//! What the process owes the system and the program that started it.

#[cfg(unix)]
use super::signals::{Caught, Signal};
use std::io;
#[cfg(unix)]
use std::time::Duration;
#[cfg(any(target_os = "linux", target_os = "android"))]
use tokio::io::unix::AsyncFd;
#[cfg(unix)]
use tracing::{debug, warn};

/// The part of the memory that there is a descriptor for, in bytes.
///
/// All that can be at a time is to be no more than three quarters of the memory, whatever peers do:
///
/// - a third for connections. Each has two descriptors and a half (`runtime::admission`), thus 120 KiB; it costs up to 40 KiB,
///   whether bytes wait or not: its task and the kernel's part of it, TLS, the file that it gets, and what it may have
///   when the limit of buffers is reached (`buffers::LEAST`, and as much of a head);
/// - a quarter for what waits (`buffers::PART`), and a sixteenth for first messages (`PART_OF_BEGINNINGS`), which count
///   as waiting, too, but may come on top when the quarter is used;
/// - the rest, some MB, for the program itself.
const MEMORY_OF_DESCRIPTOR: u64 = 48 * 1024;

/// Has the allocator keep one heap instead of several for each core, where there is little memory: each keeps what it
/// has had at the most, and the threads have that at different times. To be called before there are threads.
pub fn keep_heap_together() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LITTLE: u64 = 256 * 1024 * 1024;
        if super::memory::limit().is_some_and(|bytes| bytes <= LITTLE) {
            // SAFETY: takes two integers and sets a number of the allocator's.
            unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
        }
    }
}

/// The fewest descriptors that a limit by memory leaves.
const FEWEST: u64 = 256;

/// With fewer, what a half needs for itself leaves nothing for connections.
const FEWEST_OF_USE: u64 = 64;

/// Sets the limit of open files: to the number that is asked for, otherwise as high as it may be and there is memory
/// for. Says what it is then.
#[cfg(unix)]
pub fn limit_open_files(wanted: Option<u64>) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let highest = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let by_memory = super::memory::limit().map(|bytes| (bytes / MEMORY_OF_DESCRIPTOR).max(FEWEST));
    let wanted = wanted.map(|number| {
        if number < FEWEST_OF_USE {
            warn!("option `n`: {number} open files are too few to work with; {FEWEST_OF_USE} are taken");
        }
        number.max(FEWEST_OF_USE)
    });
    let asked = match wanted {
        // Both limits, as simple-obfs sets them. Who may, has the hard one raised by it.
        Some(number) => Rlimit { current: Some(number), maximum: Some(number) },
        None if by_memory.is_some_and(|number| limit.maximum.is_none_or(|maximum| number < maximum)) => {
            Rlimit { current: by_memory, ..limit }
        }
        None if limit.current == limit.maximum => return limit.current,
        None => highest,
    };
    let Err(error) = setrlimit(Resource::Nofile, asked) else { return asked.current };
    let Some(number) = wanted else {
        debug!(%error, "the limit of open files stays as it is");
        return limit.current;
    };
    let granted = setrlimit(Resource::Nofile, highest).map_or(limit.current, |()| limit.maximum);
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

/// The signals that the process follows, caught before there is an event loop that hears them. From here on none of
/// them is lost, and none ends the process by itself: whoever finds the pid file, or is told that the process is
/// ready, may send one at once.
#[derive(Debug)]
pub struct CaughtSignals {
    #[cfg(unix)]
    terminate: Caught,
    #[cfg(unix)]
    interrupt: Caught,
    #[cfg(unix)]
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
            #[cfg(unix)]
            terminate: super::signals::catch_shutdown(libc::SIGTERM)?,
            #[cfg(unix)]
            interrupt: super::signals::catch_shutdown(libc::SIGINT)?,
            #[cfg(unix)]
            hangup: super::signals::catch(libc::SIGHUP)?,
        })
    }

    /// Listens for them, and for those that have come already. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// The event loop takes no more.
    pub fn listen(self) -> io::Result<(ShutdownSignals, ReloadSignal)> {
        let shutdown = ShutdownSignals {
            #[cfg(unix)]
            terminate: self.terminate.listen()?,
            #[cfg(unix)]
            interrupt: self.interrupt.listen()?,
        };
        let reload = ReloadSignal {
            #[cfg(unix)]
            hangup: self.hangup.listen()?,
        };
        Ok((shutdown, reload))
    }
}

/// The signals that ask the process to end, or what stands in their place.
#[derive(Debug)]
pub struct ShutdownSignals {
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(unix)]
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
        #[cfg(unix)]
        return Ok(tokio::select! {
            () = self.terminate.recv() => "SIGTERM",
            () = self.interrupt.recv() => "SIGINT",
        });
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.map(|()| "Ctrl-C")
    }

    /// The one that was heard is being followed, which may take a while: the next is to be heard, too.
    pub fn expect_another(&self) {
        #[cfg(unix)]
        super::signals::expect_another();
    }
}

/// The signal that asks the process to read its settings anew.
#[derive(Debug)]
pub struct ReloadSignal {
    #[cfg(unix)]
    hangup: Signal,
}

impl ReloadSignal {
    /// Waits for it. On a system without, that is for ever.
    pub async fn recv(&mut self) {
        #[cfg(unix)]
        self.hangup.recv().await;
        #[cfg(not(unix))]
        std::future::pending().await
    }
}

/// Has the signals end nothing that end a process only because it does not expect them: a terminal that
/// closes (SIGHUP, until [`CaughtSignals`] has it), what administrators send to daemons of other kinds (SIGUSR1), timers and limits that
/// were inherited. A background job that writes to its terminal goes on as well (SIGTTOU). SIGTERM,
/// SIGINT, SIGQUIT and a terminal's stop mean what they always do.
pub fn ignore_unexpected_signals() {
    #[cfg(unix)]
    for signal in [
        libc::SIGHUP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGIO,
        libc::SIGXFSZ,
        libc::SIGPIPE,
        libc::SIGTTIN,
        libc::SIGTTOU,
        #[cfg(any(target_os = "linux", target_os = "android"))]
        libc::SIGPWR,
    ] {
        // SAFETY: takes two integers; no code of ours runs in a handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// The process that started us, to be outlived by no more than a second or two.
///
/// Whoever it is at the start counts. A host that has gone before the first look has left us to another
/// process, which cannot be told from one that started us itself; so has one that forks twice. A parent
/// in another pid namespace has no number here (the manager of a container, which ends us itself).
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
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    pub async fn exited(&self) {
        self.poll().await;
    }

    /// Waits for the parent's end. Hosts on Windows end their plugins themselves or hold them in a job.
    #[cfg(not(unix))]
    pub async fn exited(&self) {
        std::future::pending().await
    }

    /// Whether the parent is still the one we had. Orphans are given another.
    #[cfg(unix)]
    fn is_alive(&self) -> bool {
        rustix::process::getppid() == self.pid
    }

    #[cfg(unix)]
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
        use super::signals::catch;
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
fn is_filtered() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() != "0")
}
