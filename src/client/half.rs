//! What every half can do, and how the client half does it.

use super::{Client, Opening, udp};
use crate::config::{self, TunnelConfig};
use crate::net::own_addresses::OwnAddresses;
use crate::service::{Current, Half, StartError};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpStream;

impl Half for Client {
    fn renewed(
        &self,
        settings: config::Half,
        tunnel: &TunnelConfig,
        own: &OwnAddresses,
    ) -> Result<Client, StartError> {
        let config::Half::Client(settings) = settings else { return Err(StartError::OtherHalf) };
        let client = Client::new(*settings, tunnel, own)?;
        client.names.begin_with(&[Arc::clone(&self.names)]);
        Ok(client)
    }

    async fn serve_udp(
        current: Arc<Current<Client>>,
        sockets: Vec<UdpSocket>,
        closing: impl Future<Output = ()> + Send,
    ) {
        let carry = move |source| {
            if let Some(carrier) = &current.get().udp {
                carrier.carry(source);
            }
        };
        udp::serve(carry, sockets, closing).await;
    }

    fn farewell(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send + '_>>> {
        let of_tunnels = match &self.opener {
            Opening::Tunnel(opener) => opener.farewell(),
            Opening::Session(_) => None,
            #[cfg(feature = "grpc")]
            Opening::GrpcSession(pool) => Some(Box::pin(pool.opener().close()) as Pin<Box<_>>),
        };
        match (&self.udp, of_tunnels) {
            (Some(udp), Some(of_tunnels)) => Some(Box::pin(async {
                tokio::join!(udp.close(), of_tunnels);
            })),
            (_, of_tunnels) => of_tunnels,
        }
    }

    fn retire(&self, _: &Client) {
        if let Some(udp) = &self.udp {
            udp.retire();
        }
        match &self.opener {
            Opening::Session(pool) => pool.retire(),
            #[cfg(feature = "grpc")]
            Opening::GrpcSession(pool) => pool.retire(),
            Opening::Tunnel(opener) => opener.retire(),
        }
    }

    async fn serve(self: Arc<Client>, app: TcpStream, peer: SocketAddr) {
        self.serve_connection(app, peer).await;
    }
}
