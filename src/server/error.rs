//! Connections of which nothing came, and what is told of them.

use crate::fallback::NoVisit;
use crate::metrics::{self, Failure};
use crate::telemetry::Record;
use crate::transport::NotAccepted;
use crate::transport::proxy_protocol::ReceiveError;
use std::io;
use tracing::{debug, warn};

/// Why a connection became nothing.
pub(super) enum Error {
    /// It broke before it was known what it is.
    Gone(io::Error),
    ProxyHeader(ReceiveError),
    /// TLS was to end here, and nobody else could answer it.
    TlsHandshake(io::Error),
    NotAccepted(NotAccepted),
    NoVisit(NoVisit),
}

impl Error {
    fn failure(&self) -> Failure {
        match self {
            Error::Gone(_)
            | Error::ProxyHeader(ReceiveError::Broken(_))
            | Error::NotAccepted(NotAccepted::Broken(_)) => Failure::Gone,
            // A load balancer that looks every second whether the port answers: nothing went wrong.
            Error::ProxyHeader(ReceiveError::Empty) | Error::NotAccepted(NotAccepted::Empty) => {
                Failure::Empty
            }
            Error::ProxyHeader(_) => Failure::ProxyHeader,
            Error::TlsHandshake(_) => Failure::Tls,
            Error::NotAccepted(NotAccepted::Malformed(_)) => Failure::Malformed,
            Error::NotAccepted(NotAccepted::Backend(_)) => Failure::Backend,
            Error::NoVisit(NoVisit::Dial(_)) => Failure::Website,
            Error::NoVisit(NoVisit::Tls(_)) => Failure::WebsiteTls,
            Error::NoVisit(NoVisit::Circle) => Failure::Circle,
        }
    }

    /// Tells both logs.
    pub(super) fn tell(self, record: Record) {
        metrics::connection_failed(self.failure());
        let peer = &record.info;
        match self {
            Error::Gone(error) | Error::NotAccepted(NotAccepted::Broken(error)) => {
                debug!(%peer, %error, "closed before it was known what it is");
                record.failed("gone", &error);
            }
            Error::ProxyHeader(error) => {
                error.tell(peer);
                let is_gone = matches!(error, ReceiveError::Empty | ReceiveError::Broken(_));
                record.failed(if is_gone { "gone" } else { "refused" }, &error);
            }
            Error::TlsHandshake(error) => {
                debug!(%peer, %error, "TLS handshake failed");
                record.failed("refused", &error);
            }
            Error::NotAccepted(NotAccepted::Empty) => {
                debug!(%peer, "closed before sending anything");
                record.failed("gone", &NotAccepted::Empty);
            }
            Error::NotAccepted(error) => {
                warn!(%peer, stage = error.stage(), %error, "tunnel failed");
                record.failed("failed", &error);
            }
            Error::NoVisit(NoVisit::Circle) => {
                warn!(
                    %peer,
                    "many visitors that begin alike wait for the website, which answers none of them: does it lead \
                     back here? One of them is reset"
                );
                record.failed("failed", &NoVisit::Circle);
            }
            Error::NoVisit(error) => {
                let option = record.target.as_ref().map(|target| target.role);
                warn!(%peer, option, %error, "the website cannot be reached");
                record.failed("failed", &error);
            }
        }
    }
}
