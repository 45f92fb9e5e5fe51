//! Where the metrics are had: a small web server of its own, which only asks and never holds a tunnel up.
//!
//! `/metrics` is for Prometheus. `/healthz` answers as long as the event loop does; `/readyz` says whether new
//! connections are served.

mod connection;
mod listener;
mod readiness;
#[cfg(unix)]
mod unix_socket;

pub use listener::ExporterError;
pub use readiness::{Check, Readiness};

use crate::config::MetricsAddress;
use crate::os::user::User;
use crate::runtime::watchdog::watched;
use listener::Listener;
use std::fmt;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at a time. Further ones wait until one of these is over, which takes seconds.
const MOST: usize = 32;

/// Listens for those who ask for metrics.
#[derive(Debug)]
pub struct Exporter {
    address: MetricsAddress,
    listeners: Vec<Listener>,
}

impl Exporter {
    /// Listens at this address. A Unix socket is made this user's, if it is to be another one than the one who
    /// makes it. To be called while the process has one thread.
    ///
    /// # Errors
    ///
    /// It cannot be had.
    pub fn bind(address: &MetricsAddress, user: Option<&User>) -> Result<Exporter, ExporterError> {
        let listeners = listener::bind(address, user)?;
        Ok(Exporter { address: address.clone(), listeners })
    }

    /// Answers until it is dropped.
    pub async fn run(&self, readiness: Readiness) {
        let (slots, readiness) = (Arc::new(Semaphore::new(MOST)), Arc::new(readiness));
        let mut tasks = JoinSet::new();
        for listener in &self.listeners {
            let Some(mut acceptor) = listener.acceptor() else { continue };
            let (slots, readiness) = (Arc::clone(&slots), Arc::clone(&readiness));
            tasks.spawn(watched(None, async move {
                let mut connections = JoinSet::new();
                loop {
                    let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                    let connection = acceptor.accept().await;
                    while connections.try_join_next().is_some() {}
                    let readiness = Arc::clone(&readiness);
                    connections.spawn(watched(None, async move {
                        connection::serve(connection, &readiness).await;
                        drop(slot);
                    }));
                }
            }));
        }
        while tasks.join_next().await.is_some() {}
        // A service goes on without its metrics.
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
