//! TLS, which was left out of the program (feature `tls`): the same names, of values that cannot be. The
//! configuration refuses what would need them.

#![expect(missing_docs, clippy::missing_errors_doc, reason = "what is never called")]

use super::Stream;
use crate::config::{TlsClientConfig, TlsServerConfig};
use crate::detect::Handoff;
use crate::net::budget::Budget;
use crate::net::conn_info::ConnInfo;
use crate::relay::RelayStream;
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// There is no TLS.
#[derive(Debug, Error)]
#[error("this program was built without TLS")]
pub struct TlsError;

/// There is no TLS.
pub type ConnectError = TlsError;

/// Nothing takes TLS connections.
#[derive(Debug, Clone)]
pub enum Acceptor {}

impl Acceptor {
    pub fn new(_: &TlsServerConfig, _: bool) -> Result<Acceptor, TlsError> {
        Err(TlsError)
    }

    pub fn watch_files(&self) {
        match *self {}
    }

    pub fn stop_watching(&self) {
        match *self {}
    }

    pub fn is_same(&self, _: &Acceptor) -> bool {
        match *self {}
    }

    pub fn read_files(&self) -> Result<(), TlsError> {
        match *self {}
    }

    pub async fn accept(
        &self,
        _: Handoff<Stream>,
        _: bool,
        _: &Budget,
    ) -> io::Result<(Handoff<Stream>, Option<Cow<'static, str>>)> {
        match *self {}
    }

    pub fn is_asked_for(&self, _: Option<&[u8]>, _: &ConnInfo) -> bool {
        match *self {}
    }

    pub fn facts(&self) -> Option<CertificateFacts> {
        match *self {}
    }

    pub fn has_name(&self, _: &[u8]) -> bool {
        match *self {}
    }
}

/// What stands in no certificate.
#[derive(Debug)]
pub struct CertificateFacts {
    pub file: PathBuf,
    pub names: String,
    pub begin: Option<u64>,
    pub end: Option<u64>,
}

/// Nothing makes TLS connections.
#[derive(Debug)]
pub enum Connector {}

impl Connector {
    pub fn new(_: &TlsClientConfig) -> Result<Connector, TlsError> {
        Err(TlsError)
    }

    #[cfg(feature = "grpc")]
    pub fn for_h2(_: &TlsClientConfig) -> Result<Connector, TlsError> {
        Err(TlsError)
    }

    pub async fn connect(&self, _: TcpStream) -> Result<TlsStream, ConnectError> {
        match *self {}
    }
}

/// Nothing makes TLS connections to the website.
#[derive(Debug, Clone)]
pub enum UpstreamTls {}

impl UpstreamTls {
    pub fn new() -> Result<UpstreamTls, TlsError> {
        Err(TlsError)
    }

    pub async fn connect(&self, _: TcpStream, _: &TlsStream) -> io::Result<TlsStream> {
        match *self {}
    }

    pub async fn connect_as(&self, _: TcpStream, _: Option<&str>) -> io::Result<TlsStream> {
        match *self {}
    }
}

/// A stream that is never there.
#[derive(Debug)]
pub enum TlsStream {}

impl TlsStream {
    pub fn close_notify_unless_peer_closed(&mut self) {
        match *self {}
    }

    pub fn tcp(&self) -> &TcpStream {
        match *self {}
    }

    pub fn asked_name(&self) -> Option<&str> {
        match *self {}
    }

    pub fn is_h2(&self) -> bool {
        match *self {}
    }

    #[cfg(feature = "grpc")]
    pub fn chosen_protocol(&self) -> String {
        match *self {}
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}

impl RelayStream for TlsStream {
    fn abort(&mut self) {
        match *self {}
    }

    fn is_broken(&self, _: &mut Context<'_>) -> bool {
        match *self {}
    }
}
