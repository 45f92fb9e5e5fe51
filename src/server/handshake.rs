//! TLS that ends at the server half.

use super::ended::Error;
use crate::config::{ServerConfig, TlsServerConfig};
use crate::detect::{Handoff, UpstreamId};
use crate::net::budget::{Budget, Share};
use crate::net::conn_info::ConnInfo;
use crate::transport::Stream;
use crate::transport::tls::{AcceptError, Acceptor, TlsError};
use std::borrow::Cow;
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};

/// What a handshake costs at the most, in bytes: rustls's state, its flight, and what waits of a record.
const HANDSHAKE: usize = 16 * 1024;

/// How long a handshake waits for others to end, which have as long themselves.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// TLS of our own name.
#[derive(Debug)]
pub(super) struct OwnTls {
    pub(super) acceptor: Acceptor,
    /// A name that is ours whether the certificate has it or not.
    name: Option<String>,
}

/// What came of a hello.
pub(super) enum Handshake {
    /// What is inside is in the clear from here on.
    Done(Handoff<Stream>),
    /// It goes on as it is, to that server, for this reason.
    PassThrough(Handoff<Stream>, UpstreamId, Cow<'static, str>),
}

impl OwnTls {
    /// With `h2`, HTTP/2 is taken where it is offered.
    pub(super) fn new(config: &TlsServerConfig, h2: bool) -> Result<OwnTls, TlsError> {
        Ok(OwnTls { acceptor: Acceptor::new(config, h2)?, name: config.name.clone() })
    }

    /// Whether a hello asks for a name of ours, or for none (RFC 6066: an address is none) at an address
    /// that our certificate has.
    pub(super) fn is_asked_for(&self, name: Option<&[u8]>, info: &ConnInfo) -> bool {
        let address = info.local_addr().ip().to_string();
        let asked = name.unwrap_or(address.as_bytes());
        self.name.as_ref().is_some_and(|own| asked.eq_ignore_ascii_case(own.as_bytes()))
            || self.acceptor.has_name(asked)
    }

    /// Says whether clients with `obfs=tls` are taken beside real TLS, where that may be asked.
    pub(super) fn tell_about_fake_tls(&self, config: &ServerConfig) {
        if config.fake_tls_is_left_out() {
            info!(
                "clients with obfs=tls are not taken beside TLS; obfs-tls-host=NAME takes those that ask for NAME"
            );
        }
        let names = config.rules.fake_tls.iter().flat_map(|rule| &rule.server_names);
        for _ in names.filter(|name| self.acceptor.has_name(name.as_bytes())) {
            warn!(
                "the certificate has a name of obfs-tls-host: who asks the website for it may find the tunnel; give \
                 these clients another name"
            );
        }
    }
}

/// Makes the handshake with a connection whose hello was read. What cannot be answered here goes on to the
/// other server, where there is one.
pub(super) async fn accept(
    tls: &Option<OwnTls>,
    c: Handoff<Stream>,
    otherwise: Option<UpstreamId>,
    undecided: &Budget,
) -> Result<Handshake, Error> {
    let Some(share) = share(undecided, c.read_buf.len(), otherwise.is_some()).await else {
        return match otherwise {
            Some(site) => Ok(Handshake::PassThrough(c, site, "too many handshakes".into())),
            None => Err(Error::TlsHandshake(io::Error::other("too many handshakes"))),
        };
    };
    let Handoff { io, read_buf, info, began, upstream } = c;
    // The table has rows for it only in the clear, and where there is a certificate.
    let (Some(tls), Stream::Tcp(tcp)) = (tls, io) else {
        return Err(Error::TlsHandshake(io::ErrorKind::Unsupported.into()));
    };
    let accepted = tls.acceptor.accept(tcp, &read_buf, otherwise.is_some()).await;
    drop(share);
    match (accepted, otherwise) {
        (Ok(tls), _) => Ok(Handshake::Done(Handoff::new(tls.into(), info, began))),
        (Err(AcceptError::Refused(tcp, error)), Some(site)) => {
            let c = Handoff { io: tcp.into(), read_buf, info, began, upstream };
            Ok(Handshake::PassThrough(c, site, error.to_string().into()))
        }
        (Err(AcceptError::Refused(_, error) | AcceptError::Failed(error)), _) => {
            Err(Error::TlsHandshake(error))
        }
    }
}

/// What a handshake may hold, beside the hello. Where nothing is left, one that somebody else can
/// answer does not wait for it.
async fn share(undecided: &Budget, hello: usize, or_pass: bool) -> Option<Share<'_>> {
    let mut share = undecided.share();
    if share.grow_to(hello + HANDSHAKE) {
        return Some(share);
    }
    if or_pass {
        return None;
    }
    timeout(TURN_TIMEOUT, undecided.wait_for(hello + HANDSHAKE)).await.ok()
}
