//! What the process owes the system: how many files it opens, how it keeps its memory, which signals mean nothing to it.

#[cfg(unix)]
use tracing::debug;
use tracing::warn;

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

/// The CPU time that the process has used, where the system tells it.
///
/// (It is asked through the C library, which knows what to do where the newer call is not let through. rustix asks the
/// kernel, and takes it that this clock never fails.)
pub fn cpu_time() -> Option<std::time::Duration> {
    #[cfg(unix)]
    {
        use nix::time::{ClockId, clock_gettime};
        clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).ok().map(Into::into)
    }
    #[cfg(windows)]
    {
        super::windows::process::own_times().ok().map(|times| times.cpu)
    }
    #[cfg(not(any(unix, windows)))]
    None
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
    let by_memory = by_memory();
    let wanted = wanted.map(of_use);
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

/// Says how many files are to be open. Windows sets no limit, but connections are counted all the same.
#[cfg(not(unix))]
pub fn limit_open_files(wanted: Option<u64>) -> Option<u64> {
    wanted.map(of_use).or_else(by_memory)
}

/// So many descriptors there is memory for.
fn by_memory() -> Option<u64> {
    super::memory::limit().map(|bytes| (bytes / MEMORY_OF_DESCRIPTOR).max(FEWEST))
}

/// The number that was asked for, or the fewest that are of use.
fn of_use(wanted: u64) -> u64 {
    if wanted < FEWEST_OF_USE {
        warn!("option `n`: {wanted} open files are too few to work with; {FEWEST_OF_USE} are taken");
    }
    wanted.max(FEWEST_OF_USE)
}

/// Has the signals end nothing that end a process only because it does not expect them: a terminal that
/// closes (SIGHUP, until [`CaughtSignals`](super::shutdown::CaughtSignals) has it), what administrators send to daemons of other kinds (SIGUSR1), timers and limits that
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
