//! What a client says of a handshake that failed: in words, and without the names that only clients are to know.

use super::stream::{HANDSHAKE_TIMEOUT, NotTls};
use crate::telemetry::iso_date;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use std::io;
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// How rustls-webpki calls a server's certificate that says that it is an authority's; rustls passes it
/// on as text only.
pub(super) const CA_AS_SERVER: &str = "CaUsedAsEndEntity";

/// Why there is no TLS with the server.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The server's certificate is not what it must be.
    #[error("the server's certificate is not accepted: {0}")]
    Certificate(String),
    /// Anything else.
    #[error("the TLS handshake failed: {0}")]
    Failed(String),
    /// The server did not go on.
    #[error(
        "the TLS handshake took more than {} s: the server says nothing (is this its port, and does it speak TLS \
         there?), or packets are lost on the way",
        HANDSHAKE_TIMEOUT.as_secs()
    )]
    Silent,
}

/// The most names of a certificate that are told.
const NAMES: usize = 8;

/// Says what did not match, and what to look at.
pub(in crate::transport) fn explain(error: io::Error) -> ConnectError {
    match error.kind() {
        io::ErrorKind::TimedOut => return ConnectError::Silent,
        io::ErrorKind::UnexpectedEof => {
            return ConnectError::Failed(
                "the server closed the connection during it (is this its port for TLS, and are `host` and `tls` as \
                 it wants them?)"
                    .to_owned(),
            );
        }
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
            let who = "the connection was reset during it, by the server or by somebody on the way";
            return ConnectError::Failed(who.to_owned());
        }
        _ => {}
    }
    let inner = error.get_ref();
    if let Some(NotTls(answer)) = inner.and_then(|inner| inner.downcast_ref::<NotTls>()) {
        return ConnectError::Failed(format!(
            "the server does not speak TLS on this port: it answered `{answer}`; is `tls` set on the server, and is this its port?"
        ));
    }
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(what)) => ConnectError::Certificate(of_certificate(what)),
        Some(rustls::Error::AlertReceived(alert)) => {
            ConnectError::Failed(format!("the server refused it{}", of_alert(*alert)))
        }
        Some(rustls::Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )) => ConnectError::Failed(
            "the server speaks none of TLS 1.2 and 1.3 (versions before those are not supported)".to_owned(),
        ),
        _ => ConnectError::Failed(error.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "nobody whom this machine trusts has signed it (the option `cert` names one more)".to_owned()
        }
        CertificateError::Other(why) if why.to_string().contains(CA_AS_SERVER) => {
            "it is its own authority's, and not one that the option `cert` names: give the client `cert=FILE` with the \
             server's certificate"
                .to_owned()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "it has expired at {}, and this machine's clock says {}: check this clock; if it is right, the server \
             needs a new certificate",
            date(*not_after),
            date(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "it is not valid before {}, and this machine's clock says {}: check this clock",
            date(*not_before),
            date(*time)
        ),
        CertificateError::NotValidForName => {
            "it is not valid for the name that the client asks for (option `sni` or `host`)".to_owned()
        }
        // (the name itself may be one that nobody is to read in a log)
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!(
                "it is not valid for the name that the client asks for (option `sni` or `host`, whose default is \
                 `cloudfront.com`); it is {}",
                names(presented)
            )
        }
        // One of the same name that has been made anew looks so.
        CertificateError::BadSignature => {
            "it is signed with another key than that of the certificate which is trusted for it: has the server another \
             certificate than the file of the option `cert`?"
                .to_owned()
        }
        CertificateError::Revoked => "it has been revoked".to_owned(),
        other => other.to_string(),
    }
}

/// The names that a certificate has; as many as a line has room for, and harmless ones.
pub(super) fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "one without names (subjectAltName)".to_owned();
    }
    // rustls writes them as `DnsName("example.com")` and `IpAddress(…)`.
    let plain = |name: &String| {
        let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
        let inner = inner.trim_matches('"');
        inner.chars().take(100).collect::<String>().escape_debug().to_string()
    };
    let listed: Vec<_> = presented.iter().take(NAMES).map(plain).collect();
    let more = match presented.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("for {}{more}", listed.join(", "))
}

fn of_alert(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnrecognisedName => " for its name: is the option `host` (or `sni`) the server's?",
        AlertDescription::ProtocolVersion => ": it speaks none of TLS 1.2 and 1.3",
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            ": both have no algorithms in common, or it does not know the name (option `host` or `sni`)"
        }
        AlertDescription::NoApplicationProtocol => ": it speaks no HTTP/1.1 inside TLS",
        AlertDescription::CertificateRequired | AlertDescription::BadCertificate => {
            ": it wants a certificate of the client, and this client has none"
        }
        AlertDescription::InternalError => {
            ": something is wrong there (alert internal_error); its log may tell"
        }
        other => return format!(": it sent the alert {other:?}"),
    };
    words.to_owned()
}

fn date(time: UnixTime) -> String {
    // Years beyond those that can be written are cut.
    const LAST: u64 = 253_402_300_799;
    iso_date(SystemTime::UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_told_with_both_dates() {
        let at = |seconds| UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let expired =
            CertificateError::ExpiredContext { time: at(1_890_248_470), not_after: at(1_798_231_241) };
        let said = of_certificate(&expired);
        assert!(
            said.contains("expired at 2026-12-25T20:40:41Z") && said.contains("says 2029-11-24T"),
            "{said}"
        );
        let early = CertificateError::NotValidYetContext { time: at(0), not_before: at(u64::MAX) };
        let said = of_certificate(&early);
        assert!(said.contains("before 9999-12-31T23:59:59Z") && said.contains("says 1970-01-01T00:00:00Z"));
    }

    #[test]
    fn the_names_of_a_certificate_are_few_and_harmless() {
        assert_eq!(names(&[]), "one without names (subjectAltName)");
        let two = [r#"DnsName("a.example")"#.to_owned(), "IpAddress(127.0.0.1)".to_owned()];
        assert_eq!(names(&two), "for a.example, 127.0.0.1");
        let many: Vec<_> =
            (0..1000).map(|number| format!("DnsName(\"{number}\n{}\")", "x".repeat(999))).collect();
        let said = names(&many);
        assert!(said.ends_with(" and 992 more") && said.len() < 1000 && !said.contains('\n'), "{said}");
    }

    #[test]
    fn what_failed_is_told_in_words() {
        let rustls =
            |error: rustls::Error| explain(io::Error::new(io::ErrorKind::InvalidData, error)).to_string();
        let alert = |alert| rustls(rustls::Error::AlertReceived(alert));
        for (said, words) in [
            (alert(AlertDescription::UnrecognisedName), "`host`"),
            (alert(AlertDescription::ProtocolVersion), "TLS 1.2 and 1.3"),
            (alert(AlertDescription::AccessDenied), "AccessDenied"),
            (
                rustls(rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)),
                "TLS 1.2 and 1.3",
            ),
            (rustls(rustls::Error::InvalidCertificate(CertificateError::BadSignature)), "`cert`"),
            (explain(io::ErrorKind::UnexpectedEof.into()).to_string(), "closed the connection"),
            (explain(io::ErrorKind::ConnectionReset.into()).to_string(), "was reset"),
            (explain(io::ErrorKind::TimedOut.into()).to_string(), "more than 10 s"),
        ] {
            assert!(said.contains(words), "{said}");
        }
    }
}
