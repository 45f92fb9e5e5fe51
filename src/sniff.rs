//! Which kind of first bytes are these? Asked of every connection to a server half, answered as a pure
//! function of the bytes.

use crate::config::{FakeTlsRule, HttpRule};
use crate::wire::client_hello::{self, ClientHello};
use crate::wire::fake_tls::ReceivedHello;
use crate::wire::http::{self, Upgrade};

/// What a server half takes as its own.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Upgrade requests.
    pub http: Option<HttpRule>,
    /// The hellos of `obfs=tls`.
    pub fake_tls: Option<FakeTlsRule>,
    /// Whether real TLS is asked for its name. If not, it is a visitor's whatever it asks for.
    pub tls: bool,
    /// Whether upgrade requests are taken inside TLS alone: whoever speaks in the clear is a visitor.
    pub tls_alone: bool,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided: the bytes could still become a client's.
    NeedMore,
    /// An upgrade request that is taken.
    Http(Upgrade),
    /// A hello of `obfs=tls` that is taken.
    FakeTls(ReceivedHello),
    /// A complete hello of real TLS.
    Tls,
    /// Anybody else.
    Visitor,
}

/// What a visitor speaks, as far as its first byte tells: each has a website of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP in the clear, or anything that is not TLS.
    Plain,
    /// TLS: a handshake record (RFC 8446 section 5.1).
    Tls,
}

impl Rules {
    /// Decides what the first bytes of a connection are, as early as they allow. More bytes never
    /// change a verdict other than [`Verdict::NeedMore`].
    pub fn sniff(&self, bytes: &[u8]) -> Verdict {
        if bytes.is_empty() {
            return Verdict::NeedMore;
        }
        match self.speech(bytes) {
            Speech::Plain if self.tls_alone => Verdict::Visitor,
            Speech::Plain => self.http.as_ref().map_or(Verdict::Visitor, |rule| sniff_http(bytes, rule)),
            Speech::Tls => match &self.fake_tls {
                Some(rule) => match sniff_fake_tls(bytes, rule) {
                    Verdict::Visitor if self.tls => sniff_tls(bytes),
                    verdict => verdict,
                },
                None if self.tls => sniff_tls(bytes),
                None => Verdict::Visitor,
            },
        }
    }

    /// The rules for what is inside TLS.
    pub fn inside_tls(&self) -> Rules {
        Rules { http: self.http.clone(), ..Rules::default() }
    }

    /// The rules for further requests of those who speak in the clear.
    pub fn in_the_clear(&self) -> Rules {
        Rules { http: self.http.clone().filter(|_| !self.tls_alone), ..Rules::default() }
    }

    /// Whether upgrade requests may ask for WebSocket frames.
    pub fn websocket(&self) -> bool {
        self.http.as_ref().is_some_and(|rule| rule.web.is_some())
    }

    /// What a connection with these first bytes speaks. One that says nothing is taken for what the
    /// port is chiefly for.
    pub fn speech(&self, bytes: &[u8]) -> Speech {
        const HANDSHAKE: u8 = 0x16;
        match bytes.first() {
            Some(&HANDSHAKE) => Speech::Tls,
            None if self.http.is_none() => Speech::Tls,
            _ => Speech::Plain,
        }
    }
}

fn sniff_http(bytes: &[u8], rule: &HttpRule) -> Verdict {
    match http::sniff(bytes, &rule.accept()) {
        http::Verdict::NeedMore => Verdict::NeedMore,
        http::Verdict::Upgrade(upgrade) => Verdict::Http(upgrade),
        http::Verdict::Other => Verdict::Visitor,
    }
}

fn sniff_fake_tls(bytes: &[u8], rule: &FakeTlsRule) -> Verdict {
    match ReceivedHello::parse(bytes) {
        Ok(None) => Verdict::NeedMore,
        Ok(Some(hello)) if rule.takes(bytes.get(hello.server_name.clone()).unwrap_or_default()) => {
            Verdict::FakeTls(hello)
        }
        Ok(Some(_)) | Err(_) => Verdict::Visitor,
    }
}

fn sniff_tls(bytes: &[u8]) -> Verdict {
    match client_hello::body(bytes) {
        Ok(None) => Verdict::NeedMore,
        Ok(Some(body)) if ClientHello::parse(&body).is_ok() => Verdict::Tls,
        Ok(Some(_)) | Err(_) => Verdict::Visitor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WebRule;
    use crate::wire::fake_tls::ClientHello;
    use proptest::prelude::*;

    fn rules(http: bool, fake_tls: Option<&str>) -> Rules {
        Rules {
            http: http.then(|| HttpRule { method: "GET".into(), path: None, host: None, web: None }),
            fake_tls: fake_tls.map(|name| FakeTlsRule {
                server_names: name.split_terminator(',').map(str::to_owned).collect(),
            }),
            ..Rules::default()
        }
    }

    fn hello(name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        ClientHello::new(&mut rand::rng(), 0).encode(name, b"payload", &mut bytes).unwrap();
        bytes
    }

    const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

    /// The verdict, which must be the same whatever the pieces.
    fn sniff(rules: &Rules, bytes: &[u8]) -> Verdict {
        let first = (0..=bytes.len()).map(|cut| rules.sniff(&bytes[..cut])).find(|v| *v != Verdict::NeedMore);
        let whole = rules.sniff(bytes);
        assert_eq!(first.unwrap_or(Verdict::NeedMore), whole);
        whole
    }

    #[test]
    fn each_kind_is_taken_where_it_is_wanted() {
        for (http, fake_tls) in [(true, None), (true, Some("")), (false, Some(""))] {
            let rules = rules(http, fake_tls);
            assert_eq!(matches!(sniff(&rules, UPGRADE), Verdict::Http(_)), http);
            assert_eq!(matches!(sniff(&rules, &hello("a")), Verdict::FakeTls(_)), fake_tls.is_some());
            assert_eq!(sniff(&rules, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Verdict::Visitor);
            assert_eq!(sniff(&rules, b"\x16\x03\x01\x00\x00"), Verdict::Visitor);
        }
    }

    #[test]
    fn a_server_name_is_compared_where_there_is_one() {
        let rules = rules(false, Some("other.example,www.example.com"));
        assert!(matches!(sniff(&rules, &hello("WWW.example.com")), Verdict::FakeTls(_)));
        assert!(matches!(sniff(&rules, &hello("www.example.com:8443")), Verdict::FakeTls(_)));
        assert_eq!(sniff(&rules, &hello("other.example.com")), Verdict::Visitor);
        assert_eq!(sniff(&rules, &hello("")), Verdict::Visitor);
    }

    /// A server for every kind of client, with a certificate.
    fn auto() -> Rules {
        let web = Some(WebRule { path: "/stream".into() });
        Rules {
            http: Some(HttpRule { method: "GET".into(), path: Some("/".into()), host: None, web }),
            fake_tls: Some(FakeTlsRule { server_names: Vec::new() }),
            tls: true,
            tls_alone: false,
        }
    }

    /// The first flight of a rustls client.
    fn real_hello() -> Vec<u8> {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = "www.example.com".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    fn request(path: &str, headers: &[&str]) -> Vec<u8> {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n"
        )
        .into_bytes()
    }

    /// What a kind of client sends first, and what that is. `None`: a visitor.
    fn kinds() -> Vec<(&'static str, Vec<u8>, Option<&'static str>)> {
        let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
        let version = "Sec-WebSocket-Version: 13";
        let early = "Sec-WebSocket-Protocol: aGVsbG8";
        vec![
            ("obfs=http", request("/", &[key, "Content-Length: 3"]), Some("raw")),
            ("obfs=http at another path", request("/stream", &[key]), None),
            ("HTTPUpgrade", request("/stream", &[]), Some("raw")),
            ("HTTPUpgrade at another path", request("/", &[]), None),
            ("HTTPUpgrade with early data", request("/stream", &[early]), Some("early")),
            ("WebSocket", request("/stream", &[key, version]), Some("frames")),
            ("WebSocket, a query", request("/stream?ed=2048", &[key, version]), Some("frames")),
            ("WebSocket with early data", request("/stream", &[key, version, early]), Some("early frames")),
            ("the website's own WebSocket", request("/chat", &[key, version]), None),
            ("obfs=tls", hello("www.example.com"), Some("fake TLS")),
            ("real TLS", real_hello(), Some("TLS")),
            ("TLS that is none", b"\x16\x03\x01\x00\x05\x02\x00\x00\x00\x00".to_vec(), None),
            ("a page", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), None),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), None),
            ("anything", b"\x05\x01\x00".to_vec(), None),
        ]
    }

    fn kind(verdict: &Verdict) -> Option<&'static str> {
        match verdict {
            Verdict::Http(Upgrade { versioned: true, protocol: Some(_), .. }) => Some("early frames"),
            Verdict::Http(Upgrade { versioned: false, protocol: Some(_), .. }) => Some("early"),
            Verdict::Http(Upgrade { versioned: true, .. }) => Some("frames"),
            Verdict::Http(Upgrade { versioned: false, .. }) => Some("raw"),
            Verdict::FakeTls(_) => Some("fake TLS"),
            Verdict::Tls => Some("TLS"),
            Verdict::Visitor => None,
            Verdict::NeedMore => Some("undecided"),
        }
    }

    #[test]
    fn every_kind_is_told_from_the_others() {
        for (name, bytes, wanted) in kinds() {
            assert_eq!(kind(&sniff(&auto(), &bytes)), wanted, "{name}");
            // What follows changes nothing.
            let more = [&bytes[..], b"more of it, whatever it is"].concat();
            assert_eq!(kind(&sniff(&auto(), &more)), wanted, "{name}");
        }
    }

    #[test]
    fn where_tls_is_demanded_nothing_is_taken_in_the_clear() {
        let alone = Rules { tls_alone: true, ..auto() };
        for (name, bytes, wanted) in kinds() {
            let wanted = wanted.filter(|kind| matches!(*kind, "fake TLS" | "TLS"));
            assert_eq!(kind(&sniff(&alone, &bytes)), wanted, "{name}");
        }
        assert_eq!(kind(&sniff(&alone.in_the_clear(), &request("/stream", &[]))), None);
        assert_eq!(kind(&sniff(&alone.inside_tls(), &request("/stream", &[]))), Some("raw"));
        assert_eq!(kind(&sniff(&auto().in_the_clear(), &request("/stream", &[]))), Some("raw"));
    }

    #[test]
    fn inside_tls_there_is_no_tls() {
        let inside = auto().inside_tls();
        assert_eq!(sniff(&inside, &real_hello()), Verdict::Visitor);
        assert_eq!(sniff(&inside, &hello("a")), Verdict::Visitor);
        assert_eq!(kind(&sniff(&inside, &request("/stream", &[]))), Some("raw"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_cut_changes_a_verdict(
            which in 0..15_usize,
            spoilt in proptest::collection::vec((0..600_usize, any::<u8>()), 0..4),
            noise in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = kinds().swap_remove(which).1;
            for (at, byte) in spoilt {
                if let Some(old) = bytes.get_mut(at) { *old = byte; }
            }
            bytes.extend(noise);
            sniff(&auto(), &bytes);
        }

        #[test]
        fn nor_do_bytes_of_any_kind(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            sniff(&auto(), &bytes);
        }
    }

    #[test]
    fn silence_is_taken_for_what_the_port_is_for() {
        assert_eq!(rules(true, Some("")).speech(b""), Speech::Plain);
        assert_eq!(rules(false, Some("")).speech(b""), Speech::Tls);
        assert_eq!(rules(true, None).speech(b"\x16"), Speech::Tls);
        assert_eq!(rules(false, Some("")).speech(b"G"), Speech::Plain);
    }
}
