//! The client's end of TLS for visitors: rustls, which trusts everybody, since certificates are
//! compared here and not verified.

use super::script::{Offer, OfferedName};
use super::seen::{Agreed, Handshake};
use crate::transport::tls::NoCertificateVerification;
use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, SupportedProtocolVersion};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The most bytes of a first flight that are kept: more than any chain of certificates has.
const MAX_FLIGHT: usize = 64 * 1024;

/// A name that no site has.
const FOREIGN: &str = "foreign.example";

/// A client that trusts everybody, and begins anew each time.
///
/// # Errors
///
/// rustls refuses the versions.
pub fn client_config(
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&str],
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NoCertificateVerification))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The name for a hello, of which `own` is the site's.
pub fn name_for_hello(offered: OfferedName, own: Option<&str>) -> ServerName<'static> {
    let name = match offered {
        OfferedName::Own => own,
        OfferedName::Foreign => Some(FOREIGN),
        OfferedName::None => None,
    };
    // An address is not sent as a server name (RFC 6066 section 3).
    match name.map(|name| ServerName::try_from(name.to_owned())) {
        Some(Ok(name)) => name,
        _ => ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    }
}

/// TLS between a visitor and the wire. Bytes go through it; it owns no socket.
pub struct Layer {
    connection: ClientConnection,
    flight: Vec<u8>,
    /// Why there is no (more) TLS.
    failure: Option<String>,
    /// The handshake had been done when it failed.
    was_open: bool,
    close_notify: bool,
}

impl Layer {
    /// A connection that offers this. `server_name` is the site's own.
    ///
    /// # Errors
    ///
    /// rustls refuses the offer.
    pub fn new(offer: &Offer, server_name: Option<&str>) -> Result<Layer, rustls::Error> {
        let versions = if offer.only_tls12 { &[&TLS12][..] } else { &[&TLS13, &TLS12] };
        let config = client_config(versions, &offer.alpn)?;
        let name = name_for_hello(offer.name, server_name);
        let mut connection = ClientConnection::new(Arc::new(config), name)?;
        // So that `say` takes all of it.
        connection.set_buffer_limit(None);
        Ok(Layer { connection, flight: Vec::new(), failure: None, was_open: false, close_notify: false })
    }

    /// Whether what is said goes inside now.
    pub fn is_open(&self) -> bool {
        self.failure.is_none() && !self.connection.is_handshaking()
    }

    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Takes bytes off the wire, and appends what was inside them.
    pub fn receive(&mut self, mut wire: &[u8], inside: &mut Vec<u8>) {
        if self.connection.is_handshaking() && self.flight.len() < MAX_FLIGHT {
            self.flight.extend_from_slice(wire);
        }
        while !wire.is_empty() && self.failure.is_none() {
            self.was_open |= !self.connection.is_handshaking();
            let taken = self.connection.read_tls(&mut wire).map_err(|error| error.to_string());
            let processed = taken.and_then(|_| {
                self.connection.process_new_packets().map_err(|error| match error {
                    rustls::Error::AlertReceived(alert) => format!("alert {alert:?}"),
                    other => other.to_string(),
                })
            });
            match processed {
                Ok(state) => self.close_notify |= state.peer_has_closed(),
                Err(error) => self.failure = Some(error),
            }
            if self.close_notify {
                // rustls takes nothing behind it.
                wire = &[];
            }
            // (the socket shows an end without close_notify, too)
            let _ = self.connection.reader().read_to_end(inside);
        }
    }

    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.connection.writer().write_all(bytes);
    }

    pub fn close(&mut self) {
        self.connection.send_close_notify();
    }

    pub fn take_wire(&mut self, out: &mut Vec<u8>) {
        while self.connection.wants_write() && self.connection.write_tls(out).is_ok_and(|n| n > 0) {}
    }

    /// What was seen of TLS, once it is over.
    pub fn seen(self, is_subject: bool) -> Handshake {
        fn name(agreed: Option<impl std::fmt::Debug>) -> String {
            agreed.map(|agreed| format!("{agreed:?}")).unwrap_or_default()
        }
        let connection = &self.connection;
        let certificates = connection.peer_certificates().unwrap_or_default();
        let agreed = || Agreed {
            version: name(connection.protocol_version()),
            suite: name(connection.negotiated_cipher_suite().map(|suite| suite.suite())),
            group: name(connection.negotiated_key_exchange_group().map(|group| group.name())),
            alpn: connection.alpn_protocol().map(|name| name.escape_ascii().to_string()),
            certificates: certificates.iter().map(|certificate| certificate.to_vec()).collect(),
        };
        let is_open = self.was_open || !connection.is_handshaking();
        let (outcome, alert) = match (is_open, self.failure) {
            (true, failure) => (Ok(agreed()), failure),
            (false, Some(failure)) => (Err(failure), None),
            (false, None) => (Err("it was not finished".to_owned()), None),
        };
        Handshake {
            is_subject,
            outcome,
            flight: self.flight,
            tickets: connection.tls13_tickets_received(),
            alert,
            close_notify: self.close_notify,
        }
    }
}
