//! What all connections of the server half share.

use super::backends::Backends;
use super::reach;
use crate::config::{Routes, ServerConfig};
use crate::detect::Rules;
use crate::fallback::Fallback;
#[cfg(feature = "quic")]
use crate::net::dial::Dialer;
use crate::net::limits::Limits;
#[cfg(feature = "quic")]
use crate::relay::Timeouts;
#[cfg(feature = "quic")]
use crate::transport::quic::Settings;
use crate::transport::tls::Acceptor;
use std::sync::{Arc, Mutex};
use tokio::task::AbortHandle;

/// The server half: what all its connections share.
#[derive(Debug)]
pub struct Server {
    pub(super) config: ServerConfig,
    pub(super) limits: Option<Arc<Limits>>,
    pub(super) routes: Routes,
    /// Which connections are ours inside TLS, and which requests behind the first in the clear.
    pub(super) inside: Rules,
    pub(super) in_the_clear: Rules,
    pub(super) backends: Backends,
    pub(super) fallback: Fallback,
    #[cfg(feature = "quic")]
    pub(super) timeouts: Timeouts,
    pub(super) tls: Option<Acceptor>,
    /// With what QUIC connections are accepted.
    #[cfg(feature = "quic")]
    pub(super) quic: Option<Settings>,
    /// The website's HTTP/3.
    #[cfg(feature = "quic")]
    pub(super) quic_website: Option<Arc<Dialer>>,
    /// Tells those that were accepted by it that another is in its place.
    #[cfg(feature = "grpc")]
    pub(super) retired: tokio::sync::watch::Sender<bool>,
    /// What is behind, until it is asked whether it answers.
    pub(super) to_be_asked: Mutex<Vec<reach::Target>>,
    /// What runs beside the connections.
    pub(super) beside: Mutex<Vec<AbortHandle>>,
}
