//! QUIC, which was left out of the program (feature `quic`): the same names, of values that cannot be. The
//! configuration refuses what would need them.

#![expect(missing_docs, clippy::missing_errors_doc, reason = "what is never called")]

use super::tls::TlsError;
use super::{NotOpened, Tunnel};
use crate::config::QuicClientConfig;
use crate::net::Dialer;
use crate::udp::Port;
use std::sync::Arc;
use thiserror::Error;

/// There is no QUIC.
#[derive(Debug, Error)]
pub enum QuicError {}

/// Nothing opens tunnels in QUIC.
#[derive(Debug)]
pub enum QuicOpener {}

impl QuicOpener {
    pub fn new(_: QuicClientConfig, _: Dialer) -> Result<QuicOpener, TlsError> {
        #[cfg(feature = "tls")]
        return Err(TlsError::Rustls(rustls::Error::General("QUIC was left out of the program".into())));
        #[cfg(not(feature = "tls"))]
        Err(TlsError)
    }

    pub fn server(&self) -> &Arc<str> {
        match *self {}
    }

    pub fn retire(&self) {
        match *self {}
    }

    pub async fn close(&self) {
        match *self {}
    }

    pub async fn open(&self, _: Vec<u8>) -> Result<Tunnel, NotOpened> {
        match *self {}
    }
}

/// Nothing carries UDP sessions in QUIC.
#[derive(Debug)]
pub enum QuicPackets {}

impl QuicPackets {
    pub fn new(config: QuicClientConfig, dialer: Dialer) -> Result<QuicPackets, TlsError> {
        match QuicOpener::new(config, dialer)? {}
    }

    pub fn server(&self) -> &Arc<str> {
        match *self {}
    }

    pub fn carry(self: &Arc<Self>, _: Port) {
        match **self {}
    }

    pub fn retire(&self) {
        match *self {}
    }

    pub async fn close(&self) {
        match *self {}
    }
}
