//! What a visitor missed who looks like one of our clients: asked once it is known that it is none.

use super::{HANDSHAKE, Rules, client_hello};
use crate::wire::fake_tls::ReceivedHello;
use crate::wire::http::{HttpRule, MissedUpgrade, UpgradeMiss};
use crate::wire::tls::client_hello::ClientHello;

/// Why somebody who looks like a client of ours is taken for a visitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missed {
    /// An upgrade request lacks this.
    Upgrade(UpgradeMiss),
    /// An upgrade request came in the clear, and is taken inside TLS alone.
    UpgradeInTheClear,
    /// No upgrade request is taken.
    AnyUpgrade,
    /// A hello of `obfs=tls` has another name.
    FakeTlsName,
    /// No hello of `obfs=tls` is taken.
    AnyFakeTls,
    /// TLS came that a client of ours may have sent, and there is no certificate.
    AnyTls,
    /// Such TLS asks for a name that the certificate does not have.
    CertificateName,
}

/// What these first bytes missed, which the `rules` do not take, and what they ask for, escaped: nothing for a log
/// that may not hold secrets. `of_certificate` says whether a name is one of this server's certificate, where it
/// has one. `None` for who does not look like a client.
pub fn missed(
    bytes: &[u8],
    rules: &Rules,
    has_certificate: bool,
    of_certificate: impl Fn(&[u8]) -> bool,
) -> Option<(Missed, String)> {
    if bytes.first() == Some(&HANDSHAKE) {
        return missed_by_hello(bytes, rules, has_certificate, of_certificate);
    }
    match &rules.http {
        None => Some((Missed::AnyUpgrade, HttpRule::default().missed(bytes)?.asked)),
        Some(rule) => {
            let MissedUpgrade { missed, asked } = rule.missed(bytes)?;
            let missed = missed.map(Missed::Upgrade).or(rules.tls_alone.then_some(Missed::UpgradeInTheClear));
            Some((missed?, asked))
        }
    }
}

fn missed_by_hello(
    bytes: &[u8],
    rules: &Rules,
    has_certificate: bool,
    of_certificate: impl Fn(&[u8]) -> bool,
) -> Option<(Missed, String)> {
    let shown = |name: &[u8]| format!("name {}", name.escape_ascii());
    if let Ok(Some(hello)) = ReceivedHello::parse(bytes) {
        let missed = if rules.fake_tls.is_some() { Missed::FakeTlsName } else { Missed::AnyFakeTls };
        return Some((missed, shown(bytes.get(hello.server_name).unwrap_or_default())));
    }
    let body = client_hello::body(bytes).ok()??;
    let hello = ClientHello::parse(&body)?;
    let name = hello.server_name?;
    // As clients of ours do, browsers and most scanners do not.
    if hello.offers(b"h2") || !hello.offers(b"http/1.1") {
        return None;
    }
    let missed = match has_certificate {
        true if of_certificate(name) => return None,
        true => Missed::CertificateName,
        // Where TLS is what the port is for, its visitors are expected.
        false if rules.http.is_none() => return None,
        false => Missed::AnyTls,
    };
    Some((missed, shown(name)))
}
