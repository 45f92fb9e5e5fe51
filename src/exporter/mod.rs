//! Where the metrics are had: a small web server of its own, which only asks and never holds a tunnel up.
//!
//! `/metrics` is for Prometheus. `/healthz` answers as long as the event loop does; `/readyz` says whether new
//! connections are served.

mod ask;
mod connection;
mod guests;
mod listener;
mod readiness;
#[cfg(unix)]
mod trial;
#[cfg(unix)]
mod unix_socket;

pub use ask::{ask, judge};
pub use connection::serve;
pub use listener::{ExporterError, Held, try_address};
pub use readiness::{Check, Readiness};
#[cfg(unix)]
pub use trial::{Trial, try_socket};

use crate::config::MetricsAddress;
use crate::os::user::User;
use crate::runtime::watchdog::watched;
use crate::runtime::{blocking, drain};
use guests::{Asked, Guests};
use listener::Listener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, io};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

/// How long an address that another process has is left alone, at first and at most.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Listens for those who ask for metrics.
#[derive(Debug)]
pub struct Exporter {
    address: MetricsAddress,
    /// None as long as another process has the address, and once it is left to another one.
    listeners: Mutex<Vec<Listener>>,
}

impl Exporter {
    /// Listens at this address, or waits for it where another process has it: the one before may still drain. A Unix
    /// socket is made this user's, if it is to be another one than the one who makes it.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    pub fn bind(address: &MetricsAddress, user: Option<&User>) -> Result<Exporter, ExporterError> {
        let listeners = match listener::bind(address, user) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                warn!("{error}; it goes on without metrics, and tries again until it has the address");
                Vec::new()
            }
            listeners => listeners?,
        };
        Ok(Exporter { address: address.clone(), listeners: Mutex::new(listeners) })
    }

    /// Gives the process before, which drains and has seen by now that this one listens, the time to leave its address
    /// to this one, as long as this one may have it: as this user it could not. Blocks.
    pub fn wait_as_root(&self, user: &User) {
        /// The process before looks once a second.
        const TRIES: u32 = 30;
        const PAUSE: Duration = Duration::from_millis(100);
        let takes_root = match &self.address {
            MetricsAddress::Tcp(address) => address.port < 1024,
            // Its folder is root's, most likely.
            MetricsAddress::Unix(_) => true,
        };
        if !takes_root || user.is_current() {
            return;
        }
        for _ in 0..TRIES {
            if !self.listeners().is_empty() {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "nothing else runs yet")]
            std::thread::sleep(PAUSE);
            if let Ok(listeners) = listener::bind(&self.address, Some(user)) {
                *self.listeners() = listeners;
            }
        }
    }

    /// Tells where the metrics are, if they are there.
    pub fn tell(&self) {
        if !self.listeners().is_empty() {
            info!("metrics are at {self}");
        }
    }

    /// Answers until `succeeded`: then the address is left to another process, and who has asked is answered. Never
    /// ends, since a service goes on without its metrics.
    pub async fn run(&self, readiness: Readiness, succeeded: impl Future<Output = ()>) {
        let answer = async {
            self.wait_for_address().await;
            self.answer(readiness).await;
        };
        tokio::select! {
            () = answer => {}
            () = succeeded => {}
        }
        if !std::mem::take(&mut *self.listeners()).is_empty() {
            info!("metrics are no longer at {self}: the address is left to another process");
        }
        std::future::pending().await
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries until it listens.
    async fn wait_for_address(&self) {
        let (mut pause, mut told) = (PAUSE, io::ErrorKind::AddrInUse);
        while self.listeners().is_empty() {
            tokio::time::sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
            if drain::is_draining() {
                // Who comes next is to have it.
                return std::future::pending().await;
            }
            let address = self.address.clone();
            // A name is looked up, and a socket has a file. By now the process is its user.
            match blocking::FILES.run(move || listener::bind(&address, None)).await {
                Ok(Ok(listeners)) => {
                    *self.listeners() = listeners;
                    info!("metrics are at {self} now");
                }
                Ok(Err(error)) if error.kind() != told => {
                    told = error.kind();
                    let hint = match told {
                        io::ErrorKind::PermissionDenied => {
                            " (what only root may do, before option `a`, takes a restart)"
                        }
                        _ => "",
                    };
                    warn!("{error}{hint}; it goes on without metrics, and tries again");
                }
                // Nothing new, or no thread.
                Ok(Err(_)) | Err(_) => {}
            }
        }
    }

    /// Answers until it is dropped.
    async fn answer(&self, readiness: Readiness) {
        let (guests, readiness) = (Guests::new(), Arc::new(readiness));
        let mut acceptors = JoinSet::new();
        let accepting: Vec<_> = self.listeners().iter().filter_map(Listener::acceptor).collect();
        for mut acceptor in accepting {
            let (guests, readiness) = (Arc::clone(&guests), Arc::clone(&readiness));
            acceptors.spawn(watched(None, async move {
                loop {
                    let connection = acceptor.accept().await;
                    let Ok(place) = guests.seat().await else { return };
                    let readiness = Arc::clone(&readiness);
                    // It has its time, also where the address is left to another process meanwhile.
                    tokio::spawn(watched(None, async move {
                        let serve = |asked: Asked| async move {
                            serve(connection, &readiness, || asked.tell()).await;
                        };
                        if !place.hold(serve).await {
                            debug!("metrics: a connection that did not ask makes room for another one");
                        }
                    }));
                }
            }));
        }
        while acceptors.join_next().await.is_some() {}
        std::future::pending().await
    }
}

impl fmt::Display for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            MetricsAddress::Tcp(address) => write!(f, "http://{address}/metrics"),
            MetricsAddress::Unix(_) => write!(f, "{}, path /metrics", self.address),
        }
    }
}
