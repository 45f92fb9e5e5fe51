//! `obfs-rs probe --quic` at a server half that speaks QUIC.

use crate::probe::RUN;
use crate::probe_quic::{Http3Site, probe, probe_beside, start};
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::peers::need;
use crate::support::plugin::{Ours, server};
use crate::support::quic::our_server;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::within;

/// What only a client of ours offers for our own name: it must be let in, and who asks so sees it.
fn is_a_clients(name: &str) -> bool {
    let of_our_name = !name.contains("foreign");
    let of_a_client = ["ALPN h2 and http/1.1", "ALPN http/1.1", "without ALPN", "ALPN h2", "no ALPN"];
    of_our_name && of_a_client.iter().any(|offer| name.contains(offer))
}

/// QUIC that is not ours goes to the website, byte for byte.
#[test]
fn a_server_with_a_website_behind_is_like_its_website() {
    within(RUN, || {
        need!("caddy", "openssl");
        let (certificate, backend) = (Certificate::new(NAME), Backend::echo());
        let site = Http3Site::start(&certificate);
        let site = site.ports[0];
        let options = format!(
            "mode=auto;{};path=/secret-path;obfs-tls-host=secret.example;failover-tls={site};quic;failover-quic={site}",
            certificate.for_server()
        );
        let server = server(Ours, backend.addr, &options);
        let found = probe_beside(server.addr, site, &[]);
        assert_eq!((found.count("unstable"), found.count("unfinished")), (0, 0), "{:#}", found.json);
        for name in found.named("differs") {
            assert!(is_a_clients(name), "{:#}", found.probe(name));
        }
        for name in [
            "handshake",
            "handshake for a foreign name",
            "handshake, ALPN of no protocol",
            "an unknown version",
        ] {
            assert_eq!(found.probe(name)["status"], "same", "{:#}", found.probe(name));
        }
        // The other ALPNs of our name are taken, and that is told.
        assert_eq!(found.exit, Exit::Code(1));
        let as_v2ray = found.probe("handshake, ALPN h2 and http/1.1, as v2ray-plugin's");
        assert_eq!(as_v2ray["status"], "differs", "{as_v2ray:#}");
        let child = start(server.addr, &["--site", &site.to_string(), "--wait", "1"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(1));
        child.wait_text("takes what v2ray-plugin's clients offer over QUIC for this name");
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}

/// Without a website strangers get no answer, and see a port that is not closed.
#[test]
fn a_server_without_a_website_is_silent_for_strangers() {
    within(RUN, || {
        need!("openssl");
        let (certificate, backend) = (Certificate::new(NAME), Backend::echo());
        let server = our_server(backend.addr, &format!("mode=quic;{}", certificate.for_server()));
        let found = probe(server.addr, &["--name", "www.example.com"]);
        assert_eq!(found.exit, Exit::Code(1));
        assert_eq!(found.named("differs"), ["whether something listens"], "{}", found.differing());
        let child = start(server.addr, &["--name", "www.example.com", "--wait", "1"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(1));
        child.wait_text("answers none of the probes");
        // Who knows the name is let in.
        let found = probe(server.addr, &["--wait", "1"]);
        assert_eq!(found.probe("handshake, ALPN h2 and http/1.1, as v2ray-plugin's")["status"], "differs");
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}

/// A server that has not been asked to listen over UDP does not.
#[test]
fn a_server_without_quic_has_a_closed_port() {
    within(RUN, || {
        need!("openssl");
        let (certificate, backend) = (Certificate::new(NAME), Backend::echo());
        let server = server(Ours, backend.addr, &format!("mode=auto;{}", certificate.for_server()));
        let found = probe(server.addr, &[]);
        assert_eq!((found.exit, found.count("differ")), (Exit::Code(0), 0), "{}", found.differing());
    });
}
