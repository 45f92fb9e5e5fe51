//! TLS that ends at the server half.

use super::Server;
use super::ended::Error;
use crate::detect::{Handoff, UpstreamId};
use crate::net::budget::Share;
use crate::net::conn_info::ConnInfo;
use crate::transport::Stream;
use crate::transport::tls::AcceptError;
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// What a handshake costs at the most, in bytes: rustls's state, its flight, and what waits of a record.
const HANDSHAKE: usize = 16 * 1024;

/// How long a handshake waits for others to end, which have as long themselves.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of a hello.
pub(super) enum Handshake {
    /// What is inside is in the clear from here on.
    Done(Handoff<Stream>),
    /// It goes on as it is, to that server, for this reason.
    PassThrough(Handoff<Stream>, UpstreamId, String),
}

impl Server {
    /// Whether a hello asks for a name of ours, or for none (RFC 6066: an address is none) at an address
    /// that our certificate has.
    pub(super) fn is_of_certificate(&self, name: Option<&[u8]>, info: &ConnInfo) -> bool {
        let address = info.local_addr().ip().to_string();
        let asked = name.unwrap_or(address.as_bytes());
        let named = self.config.tls.as_ref().and_then(|tls| tls.name.as_ref());
        named.is_some_and(|named| asked.eq_ignore_ascii_case(named.as_bytes()))
            || self.tls.as_ref().is_some_and(|tls| tls.has_name(asked))
    }

    /// Makes the handshake of TLS with a connection whose hello was read. What cannot be answered here goes on to
    /// the other server, where there is one.
    pub(super) async fn terminate_tls(
        &self,
        c: Handoff<Stream>,
        otherwise: Option<UpstreamId>,
    ) -> Result<Handshake, Error> {
        let Some(share) = self.share_for_handshake(c.read_buf.len(), otherwise.is_some()).await else {
            return match otherwise {
                Some(site) => Ok(Handshake::PassThrough(c, site, "too many handshakes".to_owned())),
                None => Err(Error::TlsHandshake(io::Error::other("too many of them"))),
            };
        };
        let Handoff { io, read_buf, info, began, upstream } = c;
        let (Some(acceptor), Stream::Tcp(tcp)) = (&self.tls, io) else {
            return Err(Error::TlsHandshake(io::ErrorKind::Unsupported.into()));
        };
        let accepted = acceptor.accept(tcp, &read_buf, otherwise.is_some()).await;
        drop(share);
        match (accepted, otherwise) {
            (Ok(tls), _) => Ok(Handshake::Done(Handoff::new(tls.into(), info, began))),
            (Err(AcceptError::Refused(tcp, error)), Some(site)) => {
                let c = Handoff { io: tcp.into(), read_buf, info, began, upstream };
                Ok(Handshake::PassThrough(c, site, error.to_string()))
            }
            (Err(AcceptError::Refused(_, error) | AcceptError::Failed(error)), _) => {
                Err(Error::TlsHandshake(error))
            }
        }
    }

    /// What a handshake may hold, beside the hello. Where nothing is left, one that somebody else can
    /// answer does not wait for it.
    async fn share_for_handshake(&self, hello: usize, or_give_back: bool) -> Option<Share<'_>> {
        let undecided = self.fallback.undecided();
        let mut share = undecided.share();
        if share.grow_to(hello + HANDSHAKE) {
            return Some(share);
        }
        if or_give_back {
            return None;
        }
        timeout(TURN_TIMEOUT, undecided.wait_for(hello + HANDSHAKE)).await.ok()
    }
}
