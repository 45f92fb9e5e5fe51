//! gRPC, which was left out of the program (feature `grpc`): the same names, of values that cannot be. The
//! configuration refuses what would need them.

#![expect(missing_docs, clippy::missing_errors_doc, reason = "what is never called")]

use super::tls::TlsError;
use super::{NotOpened, Tunnel};
use crate::config::GrpcClientConfig;
use crate::net::Dialer;
use std::sync::Arc;
use thiserror::Error;

/// There is no gRPC.
#[derive(Debug, Error)]
pub enum GrpcError {}

/// Nothing opens tunnels in gRPC.
#[derive(Debug)]
pub enum GrpcOpener {}

impl GrpcOpener {
    pub fn new(_: GrpcClientConfig, _: Dialer) -> Result<GrpcOpener, TlsError> {
        #[cfg(feature = "tls")]
        return Err(TlsError::Rustls(rustls::Error::General("gRPC was left out of the program".into())));
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
