//! What is said to a service manager, and what it hands over: systemd's `sd_notify` and socket activation.
//!
//! A plugin inherits its host's variables, and must not speak for it: whoever has a host does not come by here.

use sd_notify::NotifyState;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tracing::debug;

/// The first descriptor that is handed over (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;

/// How often it is said again that the service is ready, where nobody reads it, and how soon.
const AGAIN: u32 = 120;
const PAUSE: Duration = Duration::from_millis(500);

/// How many were taken.
static TAKEN: AtomicI32 = AtomicI32::new(0);

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub struct ServiceManager {
    /// How often it wants to hear that the program is alive.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that started this process.
    pub fn of_this_process() -> ServiceManager {
        ServiceManager { watchdog: sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero()) }
    }

    /// It serves, and this is what.
    pub fn ready(&self, status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It reads its settings anew. To be followed by [`ready`](Self::ready).
    pub fn reloading(&self) {
        // (The library's own reading of this clock overflows where time has 32 bits.)
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(microseconds)]);
    }

    /// It ends, and this is what it waits for.
    pub fn stopping(&self, status: &str) {
        notify(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Tells twice as often as is wanted that the program is alive, while it `is_alive`.
    pub async fn tell_alive(&self, is_alive: impl Fn() -> bool) {
        let Some(interval) = self.watchdog else { return std::future::pending().await };
        loop {
            if is_alive() {
                notify(&[NotifyState::Watchdog]);
            }
            tokio::time::sleep(interval / 2).await;
        }
    }
}

/// Where nobody listens, nothing is lost but this.
fn notify(states: &[NotifyState<'_>]) {
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    let Err(error) = send(&message) else { return };
    debug!(%error, "the service manager cannot be told");
    // It has no room now. That a service is ready it has to know.
    if error.kind() == io::ErrorKind::WouldBlock
        && states.iter().any(|state| matches!(state, NotifyState::Ready))
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn(async move {
            for _ in 0..AGAIN {
                tokio::time::sleep(PAUSE).await;
                if send(&message).is_ok() {
                    break;
                }
            }
        });
    }
}

/// Sends a message, without waiting for whoever is to read it: tunnels go on meanwhile. (The library's own sending
/// waits, and knows no abstract names.)
fn send(message: &str) -> io::Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Ok(()) };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            socket.send_to_addr(message.as_bytes(), &address)?;
        }
        _ => {
            socket.send_to(message.as_bytes(), &name)?;
        }
    }
    Ok(())
}

/// The listening sockets that were handed over, each with its name or number. To be called once, before any
/// descriptor is opened that could be taken for one.
///
/// # Errors
///
/// What was handed over is none.
pub fn take_sockets() -> io::Result<Vec<(String, TcpListener)>> {
    let mut sockets = Vec::new();
    for (number, name) in sd_notify::listen_fds_with_names()? {
        let name = if name == "unknown" || name.is_empty() { number.to_string() } else { name };
        // SAFETY: by the protocol they are this process's, and nobody else in it has asked for them.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        TAKEN.fetch_max(number - FIRST + 1, Ordering::Relaxed);
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is {what}"));
        let socket = socket2::Socket::from(descriptor);
        if !socket.is_listener().map_err(|_| wrong("no socket"))? {
            return Err(wrong("no socket that listens"));
        }
        if socket.local_addr()?.as_socket().is_none() {
            return Err(wrong("no TCP socket"));
        }
        sockets.push((name, socket.into()));
    }
    Ok(sockets)
}

/// Closes the sockets that were handed over, in a second process that does not serve them.
pub(super) fn close_sockets() {
    for number in FIRST..FIRST + TAKEN.load(Ordering::Relaxed) {
        // SAFETY: this process was forked for something else; whoever owned them in it never runs again.
        unsafe { libc::close(number) };
    }
}
