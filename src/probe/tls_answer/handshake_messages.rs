//! The messages of a TLS server as text.

use super::{Item, ServerHello, Session, TlsAnswer, What};
use crate::wire::tls::{content_type, handshake_type};
use rustls::{AlertDescription, CipherSuite, NamedGroup, ProtocolVersion};
use std::fmt;

/// How many parts of an answer are shown. A handshake has fewer; a server may send thousands.
const SHOWN: usize = 20;

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Hello(hello) => hello.fmt(f)?,
            What::Certificates(digest) => write!(f, "certificates {digest}")?,
            What::KeyExchange(group, None) => write!(f, "key exchange {group:?}")?,
            What::KeyExchange(group, Some(scheme)) => write!(f, "key exchange {group:?} {scheme:?}")?,
            What::Message(handshake_type::SERVER_HELLO_DONE) => f.write_str("ServerHelloDone")?,
            What::Message(handshake_type::CERTIFICATE_STATUS) => f.write_str("certificate status")?,
            What::Message(kind) => write!(f, "handshake message {kind}")?,
            What::Alert(level, description) => {
                let level = match level {
                    1 => "warning".to_owned(),
                    2 => "fatal".to_owned(),
                    other => format!("level {other}"),
                };
                write!(f, "alert {level} {:?}", AlertDescription::from(*description))?;
            }
            What::ChangeCipherSpec => f.write_str("ChangeCipherSpec")?,
            What::Encrypted(content_type::APPLICATION_DATA) => f.write_str("encrypted records")?,
            What::Encrypted(kind) => write!(f, "encrypted records of type {kind}")?,
            What::Broken(kind) => write!(f, "an incomplete or broken record of type {kind}")?,
        }
        match self.version {
            0x0303 => Ok(()),
            other => write!(f, " (record of {:?})", ProtocolVersion::from(other)),
        }
    }
}

impl fmt::Display for ServerHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.retry { "HelloRetryRequest" } else { "ServerHello" };
        let (version, suite) = (ProtocolVersion::from(self.version), CipherSuite::from(self.suite));
        write!(f, "{name} {version:?} {suite:?}")?;
        if let Some(group) = self.group {
            write!(f, " {:?}", NamedGroup::from(group))?;
        }
        match self.session {
            Session::Echoed => {}
            Session::Empty => f.write_str(", no session id")?,
            Session::Own(length) => write!(f, ", a session id of {length} bytes")?,
        }
        if let Some(alpn) = &self.alpn {
            write!(f, ", ALPN {}", alpn.escape_ascii())?;
        }
        if self.compression != 0 {
            write!(f, ", compression {}", self.compression)?;
        }
        Ok(())
    }
}

impl fmt::Display for TlsAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, item) in self.items.iter().take(SHOWN).enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            item.fmt(f)?;
        }
        match self.items.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}
