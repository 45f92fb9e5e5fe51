//! The one line in the log that a connection gets when it has ended.

use crate::fallback::{NoVisit, Visit};
use crate::net::conn_info::ConnInfo;
use crate::relay::Outcome;
use crate::telemetry;
use crate::transport::NotAccepted;
use crate::transport::proxy_protocol::ReceiveError;
use std::io;
use tokio::time::Instant;
use tracing::{debug, warn};

/// What a connection was.
pub(super) enum Ended {
    /// A tunnel.
    Tunnel(Outcome),
    /// A visitor's.
    Visit(Visit),
}

/// Why a connection became nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It broke before it was known what it is.
    #[error("the connection broke: {0}")]
    Gone(io::Error),
    #[error(transparent)]
    ProxyHeader(#[from] ReceiveError),
    /// TLS was to end here, and nobody else could answer it.
    #[error("{0}")]
    TlsHandshake(io::Error),
    /// A client got no tunnel.
    #[error(transparent)]
    NotAccepted(#[from] NotAccepted),
    #[error(transparent)]
    NoVisit(#[from] NoVisit),
}

/// Tells the log.
pub(super) fn tell(peer: &ConnInfo, began: Instant, ended: Result<Ended, Error>) {
    match ended {
        Ok(Ended::Tunnel(outcome)) => telemetry::tunnel_ended(peer, "tunnel", began, &outcome),
        Ok(Ended::Visit(Visit::Relayed(outcome, unclear))) => {
            if let Some(reason) = unclear {
                debug!(%peer, %reason, "stopped looking for upgrade requests");
            }
            telemetry::tunnel_ended(peer, "visitor", began, &outcome);
        }
        Ok(Ended::Visit(Visit::Answered(requests))) => debug!(%peer, requests, "visitor of our own website"),
        Err(Error::Gone(error) | Error::NotAccepted(NotAccepted::Broken(error))) => {
            debug!(%peer, %error, "gone before there was a tunnel");
        }
        Err(Error::ProxyHeader(error)) => error.tell(peer),
        Err(Error::TlsHandshake(error)) => debug!(%peer, %error, "no TLS handshake"),
        Err(Error::NotAccepted(NotAccepted::Empty)) => debug!(%peer, "closed before sending anything"),
        Err(Error::NotAccepted(error)) => {
            let stage = if matches!(error, NotAccepted::Backend(_)) { "dial" } else { "open" };
            warn!(%peer, stage, %error, "tunnel failed");
        }
        Err(Error::NoVisit(NoVisit::Circle)) => warn!(
            %peer,
            "many visitors that begin alike wait for the website, which answers none of them: does it lead back \
             here? One of them is reset"
        ),
        Err(Error::NoVisit(error)) => warn!(%peer, %error, "the website cannot be reached"),
    }
}
