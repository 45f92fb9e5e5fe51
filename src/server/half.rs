//! What every half can do, and how the server half does it.

#[cfg(feature = "quic")]
use super::quic;
use super::{Server, start};
use crate::config::{self, TunnelConfig};
use crate::net::own_addresses::OwnAddresses;
#[cfg(feature = "quic")]
use crate::service::Current;
use crate::service::{Half, StartError};
use std::net::SocketAddr;
#[cfg(feature = "quic")]
use std::net::UdpSocket;
use std::sync::Arc;
use tokio::net::TcpStream;
impl Half for Server {
    fn start(&self) {
        if let Some(tls) = &self.tls {
            tls.watch_files();
        }
        start::tell_in_the_background(self);
    }

    #[cfg(feature = "quic")]
    async fn serve_udp(
        current: Arc<Current<Server>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) {
        quic::serve(current, sockets, closing).await;
    }

    async fn check(&self) -> Result<(), String> {
        self.backends.check().await
    }

    fn log_hints(&self) {
        start::log_hints(self);
    }

    fn renewed(
        &self,
        settings: config::Half,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Server, StartError> {
        start::renewed(self, settings, tunnel, own)
    }

    fn retire(&self, next: &Server) {
        start::retire(self, next);
    }

    fn log_rest(&self) {
        self.fallback.visitors().tell_rest();
    }

    async fn serve(self: Arc<Server>, tcp: TcpStream, peer: SocketAddr) {
        self.serve_connection(tcp, peer).await;
    }
}
