//! What `obfs-rs probe` is asked to do.

use crate::net::addr::HostPort;
use std::time::Duration;

/// What `obfs-rs probe` is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The server that is looked at.
    pub server: HostPort,
    /// The website that it must not be told from.
    pub site: HostPort,
    /// Visitors speak TLS.
    pub tls: bool,
    /// The name that visitors ask for, instead of the server's.
    pub name: Option<String>,
    /// The tunnel's path.
    pub path: Option<String>,
    /// What makes the random bytes the same as in another run.
    pub seed: Option<u64>,
    /// How long a connection on which nothing happens is watched.
    pub wait: Duration,
    /// Print JSON.
    pub json: bool,
    /// Print every probe.
    pub verbose: bool,
}
