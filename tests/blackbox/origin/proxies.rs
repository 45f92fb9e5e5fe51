//! Between real programs: HAProxy and nginx in front, nginx behind, clients of every kind.

use super::website::Website;
use super::{VISITOR, get, visit};
use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect, connect_from, recv_head, send};
use crate::support::fronts::{Front, Kind};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, SimpleObfs, V2ray, client, server};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{noise, secs, within};

const BEHIND_HAPROXY: &str = "loglevel=debug;proxy-protocol=in;trusted=127.0.0.1";

/// What HAProxy sends, and what the site is told with: all four ways.
const VERSIONS: [(&str, &str); 4] =
    [("send-proxy", "v1"), ("send-proxy", "v2"), ("send-proxy-v2", "v1"), ("send-proxy-v2", "v2")];

#[track_caller]
fn assert_no_warning(server: &Plugin) {
    let lines = server.child.lines();
    assert!(!lines.iter().any(|line| line.contains("WARN")), "{}", server.child.show_log());
}

/// The site's log has the visitor's own address and port, through HAProxy and us.
#[test]
fn the_site_behind_haproxy_sees_the_visitor() {
    within(secs(90), || {
        need!("haproxy", "nginx", "openssl");
        let (site, backend) = (Website::start(), Backend::echo());
        for (header, version) in VERSIONS {
            let options =
                format!("obfs=http;failover={};failover-proxy={version};{BEHIND_HAPROXY}", site.plain);
            let server = server(Ours, backend.addr, &options);
            let front = Front::with_proxy_header(header, server.addr);
            let path = format!("/{header}/{version}");
            let (page, visitor) = visit(front.addr, &get(&path));
            assert!(page.ends_with(&format!("you are {VISITOR}\n")), "{page}; {}", server.child.show_log());
            site.assert_told("http", &path, visitor, front.addr);
            let line = server.child.wait_line("the visit", |line| {
                line.contains("visitor ended") && line.contains(&visitor.to_string())
            });
            assert!(line.contains(&format!("peer={visitor} via 127.0.0.1:")), "{line}");
            // HAProxy looks whether the server lives, with headers of its own.
            server.child.wait_text("peer=127.0.0.1:");
            assert_no_warning(&server);
        }
        assert_eq!(backend.accepted(), 0);
    });
}

/// Tunnels go through it, and the header does not come out at the other end. Our log names the client.
#[test]
fn tunnels_pass_haproxy_and_the_log_names_the_client() {
    within(secs(90), || {
        need!("haproxy", "obfs-local", "ss-v2ray-plugin");
        for (header, version) in [("send-proxy", "v1"), ("send-proxy-v2", "v2")] {
            let backend = Backend::echo();
            let (site, _connections) = Backend::manual();
            let failover = format!("failover={};failover-proxy={version}", site.addr);
            for (disguise, makes) in [
                ("obfs=http", &[Ours, SimpleObfs][..]),
                ("obfs=tls", &[Ours, SimpleObfs]),
                ("mode=websocket", &[Ours, V2ray]),
            ] {
                let server = server(Ours, backend.addr, &format!("{disguise};{failover};{BEHIND_HAPROXY}"));
                let front = Front::with_proxy_header(header, server.addr);
                for &make in makes {
                    // Only our client can be told which address to dial from.
                    let options = match make {
                        Ours => format!("{disguise};b={VISITOR}"),
                        SimpleObfs => format!("{disguise};obfs-host=www.bing.com"),
                        V2ray => String::new(),
                    };
                    let client = client(make, front.addr, &options);
                    let stream = connect(client.addr);
                    assert_echo(&stream, b"hello");
                    assert_echo(&stream, &noise(300_000, 1));
                    drop(stream);
                    // A session of v2ray's ends, and its connection lives on.
                    drop(client);
                    let wanted =
                        if make == Ours { format!("peer={VISITOR}:") } else { "peer=127.0.0.1:".to_owned() };
                    let line = server.child.wait_line(&format!("{make:?} in {disguise}"), |line| {
                        line.contains("tunnel ended") && line.contains(&wanted)
                    });
                    assert!(line.contains(" via 127.0.0.1:"), "{line}");
                }
                assert_no_warning(&server);
            }
            assert_eq!(backend.accepted(), 6);
        }
    });
}

/// A server that terminates TLS has the header in front of the hello; the site is told in the clear.
#[test]
fn the_header_stands_in_front_of_tls() {
    within(secs(90), || {
        need!("haproxy", "nginx", "openssl", "curl", "ss-v2ray-plugin");
        let (site, backend, certificate) = (Website::start(), Backend::echo(), Certificate::new(NAME));
        for (header, version) in VERSIONS {
            let options = format!(
                "mode=websocket;{};failover={};failover-proxy={version};{BEHIND_HAPROXY}",
                certificate.for_server(),
                site.plain
            );
            let server = server(Ours, backend.addr, &options);
            let front = Front::with_proxy_header(header, server.addr);
            let path = format!("/tls/{header}/{version}");
            let page = curl(&[
                "--interface",
                "127.0.0.2",
                "--cacert",
                &certificate.cert.display().to_string(),
                "--resolve",
                &format!("{NAME}:{}:127.0.0.1", front.addr.port()),
                &format!("https://{NAME}:{}{path}", front.addr.port()),
            ]);
            assert_eq!(page.body, b"you are 127.0.0.2\n", "{}", server.child.show_log());
            let line = site.log_line(&path);
            assert!(line.starts_with("http 127.0.0.2 127.0.0.2:"), "{line}");
            assert!(line.contains(&format!(" at {} ", front.addr)), "{line}");
            let client = client(V2ray, front.addr, &certificate.for_client());
            assert_echo(&connect(client.addr), &noise(300_000, 2));
            assert_no_warning(&server);
        }
    });
}

/// `obfs=tls`: visitors' TLS goes to the site as it is, behind the header.
#[test]
fn the_https_site_behind_obfs_tls_sees_the_visitor() {
    within(secs(90), || {
        need!("haproxy", "nginx", "openssl", "curl");
        let (site, backend) = (Website::start(), Backend::echo());
        for version in ["v1", "v2"] {
            let failover =
                format!("failover={};failover-tls={};failover-proxy={version}", site.plain, site.tls);
            for behind in ["", BEHIND_HAPROXY] {
                let server = server(Ours, backend.addr, &format!("obfs=http,tls;{failover};{behind}"));
                let front =
                    (!behind.is_empty()).then(|| Front::with_proxy_header("send-proxy-v2", server.addr));
                let reached = front.as_ref().map_or(server.addr, |front| front.addr);
                let name = if front.is_some() { "haproxy" } else { "direct" };
                let path = format!("/{name}/{version}");
                let https = format!("https://{reached}{path}");
                let page = curl(&["-k", "--interface", "127.0.0.2", &https]);
                assert_eq!(page.body, b"you are 127.0.0.2\n", "{}", server.child.show_log());
                let line = site.log_line(&path);
                assert!(line.starts_with("https 127.0.0.2 127.0.0.2:"), "{line}");
                assert!(line.contains(&format!(" at {reached} ")), "{line}");
                // And those without TLS to the other one.
                let path = format!("/{name}/plain/{version}");
                let (_, visitor) = visit(reached, &get(&path));
                site.assert_told("http", &path, visitor, reached);
            }
        }
    });
}

/// nginx in front speaks HTTP and adds to X-Forwarded-For: what it added is logged, and not what the
/// visitor itself made up.
#[test]
fn nginx_in_front_names_visitors_and_clients() {
    within(secs(60), || {
        need!("nginx", "openssl");
        let (site, backend) = (Website::start(), Backend::echo());
        let options = format!(
            "obfs=http;obfs-uri=/stream;failover={};failover-proxy=v2;loglevel=debug;trusted=127.0.0.1/32",
            site.plain
        );
        for forged in ["", "X-Forwarded-For: 203.0.113.7\r\n", "X-Forwarded-For: unknown, 127.0.0.1\r\n"] {
            let server = server(Ours, backend.addr, &options);
            let front = Front::start(Kind::Nginx, server.addr);
            let named = format!("peer={VISITOR} via 127.0.0.1:");
            let request = format!("GET /x HTTP/1.1\r\nHost: a\r\n{forged}Connection: close\r\n\r\n");
            let (page, _) = visit(front.addr, &request);
            // The site is told of the connection, which is nginx's; the header went to it untouched.
            assert!(page.ends_with("you are 127.0.0.1\n"), "{page}");
            let line = server.child.wait_text("visitor ended");
            assert!(line.contains(&named), "{line}");

            let client = connect_from(VISITOR, front.addr);
            let upgrade = format!(
                "GET /stream HTTP/1.1\r\nHost: a\r\n{forged}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            );
            send(&client, upgrade.as_bytes());
            assert!(recv_head(&client).starts_with("HTTP/1.1 101 "));
            assert_echo(&client, b"hello");
            drop(client);
            let line = server.child.wait_text("tunnel ended");
            assert!(line.contains(&named), "{line}");
        }
        // Whoever is not trusted speaks for nobody.
        let server = server(Ours, backend.addr, &options);
        let (_, visitor) = visit(
            server.addr,
            "GET /y HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n\r\n",
        );
        server.child.wait_line("the visit", |line| line.contains(&format!("peer={visitor} up=")));
    });
}
