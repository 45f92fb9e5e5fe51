//! Where a connection comes from.

use super::Server;
use super::error::Error;
use crate::net::conn_info::ConnInfo;
use crate::transport::proxy_protocol;
use tokio::net::TcpStream;

impl Server {
    /// Reads the PROXY header, where a proxy in front sends one. Returns whether that speaks for itself.
    pub(super) async fn receive_proxy_header(
        &self,
        tcp: &mut TcpStream,
        info: &mut ConnInfo,
    ) -> Result<bool, Error> {
        // A website may want to be told, or to say where it is, and a certificate may be for an address.
        let failover = &self.config.failover;
        if self.tls.is_some() || failover.proxy.is_some() || failover.plain.says_where_it_is() {
            info.load_local_addr(tcp).map_err(Error::Gone)?;
        }
        let mut is_proxys_own = false;
        if self.config.fronts.sends_proxy_header(info.visitor.ip()) {
            match Box::pin(proxy_protocol::receive(tcp)).await.map_err(Error::ProxyHeader)? {
                Some(addresses) => info.apply_proxy_header(addresses),
                // Where the proxy speaks for itself, the ends of the socket are the right ones.
                None => is_proxys_own = true,
            }
        }
        Ok(is_proxys_own)
    }
}
