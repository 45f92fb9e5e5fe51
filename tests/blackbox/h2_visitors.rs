//! Who comes over HTTP/2 to a port that takes gRPC: visitors have the website's own answers, also on a connection that
//! they share with tunnels, and WebSockets come over HTTP/2, too.

use crate::auto::BROWSED;
use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{assert_echo, connect, recv, send};
use crate::support::fronts::{Front, Kind};
use crate::support::grpc::{App, Style, ask, client, python_server};
use crate::support::hosts::curl;
use crate::support::peers::{self, need};
use crate::support::plugin::{self, Ours, Plugin, bare};
use crate::support::quic;
use crate::support::tempdir::TempDir;
use crate::support::tls_site::{PAGE, TlsSite};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::Ws;
use crate::support::{STEP, assert_same, eventually, noise, secs, within};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Stdio;

/// The path of a WebSocket, and that of a tunnel in gRPC.
const STREAM: &str = "/stream";
const TUN: &str = "/chairs/Tun";

/// Where a trusted proxy is: an address of this machine that the other visitors have not.
const TRUSTED: &str = "127.0.0.7";

/// A server that takes everything, in front of a website that speaks HTTP/2 in the clear.
fn server(backend: &Backend, site: SocketAddr, certificate: &Certificate, more: &str) -> Plugin {
    let tls = certificate.for_server();
    let options = format!("mode=auto;serviceName=chairs;path={STREAM};{tls};failover-h2={site};{more}");
    plugin::server(Ours, backend.addr, &options)
}

fn port(plugin: &Plugin) -> String {
    plugin.addr.port().to_string()
}

/// The frames that come before an answer are the website's, byte for byte, whoever comes: in TLS and in the clear.
#[test]
fn the_websites_settings_are_passed_on_byte_for_byte() {
    within(secs(90), || {
        need!("openssl", "nginx", "caddy", "python-h2");
        let certificate = Certificate::new(NAME);
        let nginx = TlsSite::with(&certificate, PAGE);
        let caddy = quic::Site::start(&certificate, NAME, &[("index.html", b"a page")]);
        let python = python_server("site", None, &[]);
        let echo = Backend::echo();
        let mut seen = Vec::new();
        for site in [nginx.h2, caddy.h2, python.addr] {
            let server = server(&echo, site, &certificate, "");
            // (in which reads they come is nobody's affair)
            let direct = ask(&["opening", &site.port().to_string(), "-"]).concat();
            assert!(direct.contains("04"), "{direct:?}");
            for name in ["-", NAME] {
                let through = ask(&["opening", &port(&server), name]).concat();
                assert_eq!(through, direct, "{name}: {}", server.child.show_log());
            }
            seen.push(direct);
        }
        assert!(
            seen[0] != seen[1] && seen[1] != seen[2],
            "three websites that cannot be told apart: {seen:?}"
        );
    });
}

/// Pages, uploads, errors and trailers are what the website says, from a connection that stays the website's, and from
/// one of a trusted proxy, each of whose requests has its own way.
#[test]
fn visitors_have_the_websites_answers() {
    within(secs(120), || {
        need!("openssl", "python-h2");
        let certificate = Certificate::new(NAME);
        let site = python_server("site", None, &[]);
        let echo = Backend::echo();
        let server = server(&echo, site.addr, &certificate, &format!("trusted={TRUSTED}"));
        let direct = ask(&["visits", &site.addr.port().to_string(), "-", "127.0.0.1", "/", "/big"]);
        let kinds = [
            "GET / 200 ",
            "GET /big 200 5242880 ",
            "HEAD 200 0 ",
            "missing 404 ",
            "POST 200 40 ",
            "with trailers 200 ",
        ];
        for (line, kind) in direct.iter().zip(kinds) {
            assert!(line.starts_with(kind), "{direct:?}");
        }
        assert!(direct[5].contains(" x-sum="), "{direct:?}");
        for source in ["127.0.0.1", TRUSTED] {
            for name in ["-", NAME] {
                let through = ask(&["visits", &port(&server), name, source, "/", "/big"]);
                assert_eq!(through, direct, "{source} {name}: {}", server.child.show_log());
            }
        }
        assert_eq!(echo.accepted(), 0);
    });
}

/// curl, which is a client of others' making.
#[test]
fn curl_loads_pages_over_http2() {
    within(secs(90), || {
        need!("openssl", "nginx", "curl");
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, PAGE);
        let echo = Backend::echo();
        for more in ["", "trusted=127.0.0.1"] {
            let server = server(&echo, site.h2, &certificate, more);
            let at = server.addr.port();
            let resolve = format!("{NAME}:{at}:127.0.0.1");
            let cacert = certificate.cert.display().to_string();
            let in_tls = format!("https://{NAME}:{at}/");
            let clear = format!("http://{NAME}:{at}/");
            for words in [
                &["--http2", "--resolve", &resolve, "--cacert", &cacert, &in_tls][..],
                &["--http2-prior-knowledge", "--resolve", &resolve, &clear],
            ] {
                let page = curl(words);
                assert_eq!(page.status, "200", "{more} {words:?}: {}", server.child.show_log());
                assert_same("the page", &page.body, PAGE.as_bytes());
            }
            let missing =
                curl(&["--http2", "--resolve", &resolve, "--cacert", &cacert, &format!("{in_tls}not-there")]);
            assert_eq!(missing.status, "404");
        }
        assert_eq!(echo.accepted(), 0);
    });
}

/// The first request decides whose a stranger's connection is; of a trusted proxy's each request does.
#[test]
fn a_tunnel_and_a_page_share_a_connection() {
    within(secs(90), || {
        need!("openssl", "python-h2");
        let certificate = Certificate::new(NAME);
        let site = python_server("site", None, &[]);
        let echo = Backend::echo();
        let server = server(&echo, site.addr, &certificate, &format!("trusted={TRUSTED}"));
        let page = ask(&["visits", &site.addr.port().to_string(), "-"])[0].replace("GET / ", "page ");
        for name in ["-", NAME] {
            for (source, first) in [(TRUSTED, "tunnel"), (TRUSTED, "page"), ("127.0.0.1", "tunnel")] {
                let said = ask(&["mixed", &port(&server), name, source, TUN, first]);
                let more = if first == "page" { vec![page.clone()] } else { Vec::new() };
                let expected =
                    [&more[..], &["tunnel True".into(), page.clone(), "tunnel True".into(), "open".into()]]
                        .concat();
                assert_eq!(said, expected, "{name} {source} {first}: {}", server.child.show_log());
            }
            let before = echo.accepted();
            let said = ask(&["mixed", &port(&server), name, "127.0.0.1", TUN, "page"]);
            assert_eq!(said[0], page, "{said:?}");
            assert!(
                said.contains(&"tunnel False".to_owned()),
                "a visitor's connection is the website's: {said:?}"
            );
            assert_eq!(echo.accepted(), before);
        }
    });
}

/// What a website has granted to whoever comes, a client uses at once: its first bytes may be many.
#[test]
fn a_client_may_use_the_windows_that_the_website_has_granted() {
    within(secs(90), || {
        need!("openssl", "nginx", "caddy", "python-h2", "v2ray");
        let certificate = Certificate::new(NAME);
        let nginx = TlsSite::with(&certificate, PAGE);
        let caddy = quic::Site::start(&certificate, NAME, &[("index.html", b"a page")]);
        let python = ["0", "1", "1000", "65535", "16777216", "2147483647"]
            .map(|window| python_server("site", None, &[window]));
        let echo = Backend::echo();
        for site in [nginx.h2, caddy.h2].into_iter().chain(python.iter().map(|site| site.addr)) {
            let server = server(&echo, site, &certificate, "");
            for tls in [None, Some(&certificate)] {
                for app in [App::Ours, App::V2ray] {
                    let client_half = client(app, server.addr, echo.addr, Style { tls, service: "chairs" });
                    // All of it at once, on a connection's first tunnel and on its second.
                    for seed in 0..2 {
                        assert_echo(&connect(client_half.addr), &noise(3_000_000, seed));
                    }
                }
            }
        }
    });
}

/// Many pages and tunnels at once behind one front, which puts them on connections as it likes.
#[test]
fn a_front_mixes_pages_and_tunnels() {
    within(secs(120), || {
        need!("openssl", "envoy", "curl", "python-h2", "v2ray");
        let certificate = Certificate::new(NAME);
        let site = python_server("site", None, &[]);
        let echo = Backend::echo();
        let server = server(&echo, site.addr, &certificate, "trusted=127.0.0.1");
        let front = Front::with_grpc(Kind::Envoy, server.addr);
        let style = Style { tls: None, service: "chairs" };
        let clients = [App::Ours, App::V2ray].map(|app| client(app, front.addr, echo.addr, style));
        std::thread::scope(|scope| {
            for client_half in &clients {
                for seed in 0..4 {
                    scope.spawn(move || {
                        for round in 0..4 {
                            assert_echo(&connect(client_half.addr), &noise(200_000, seed + 10 * round));
                        }
                    });
                }
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let said =
                        ask(&["visits", &front.addr.port().to_string(), "-", "127.0.0.1", "/", "/big"]);
                    assert!(said[1].starts_with("GET /big 200 5242880 "), "{said:?}");
                    assert!(said[5].contains(" x-sum="), "{said:?}");
                });
            }
        });
    });
}

/// RFC 8441: what a client of WebSocket's has to see, with a page before it and a page beside it.
#[test]
fn a_websocket_comes_over_http2() {
    within(secs(90), || {
        need!("openssl", "python-h2");
        let certificate = Certificate::new(NAME);
        let site = python_server("site", None, &[]);
        let echo = Backend::echo();
        let server = server(&echo, site.addr, &certificate, &format!("trusted={TRUSTED}"));
        for name in ["-", NAME] {
            for (key, accept) in [("-", "-"), ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")] {
                let said = ask(&["websocket", &port(&server), name, TRUSTED, STREAM, "/", key]);
                let expected = [
                    "announced 1",
                    "",
                    &format!("status 200 {accept}"),
                    "echo True",
                    "pong True",
                    "",
                    "close True",
                ];
                assert_eq!(said.len(), expected.len(), "{said:?}: {}", server.child.show_log());
                for (line, expected) in said.iter().zip(expected) {
                    assert!(line.starts_with(expected), "{name}: {said:?}: {}", server.child.show_log());
                }
                assert!(said[1].starts_with("page 200 52 ") && said[1] == said[5], "{said:?}");
            }
            let before = echo.accepted();
            let said = ask(&["websocket", &port(&server), name, TRUSTED, "/elsewhere", "/"]);
            assert!(!said.iter().any(|line| line.starts_with("status 200")), "{said:?}");
            assert_eq!(echo.accepted(), before);
        }
    });
}

/// Fronts that make WebSockets over HTTP/2 of those over HTTP/1.1.
#[test]
fn fronts_pass_websockets_on_over_http2() {
    within(secs(90), || {
        need!("openssl", "haproxy", "envoy", "python-h2", "ss-v2ray-plugin");
        let certificate = Certificate::new(NAME);
        let site = python_server("site", None, &[]);
        let echo = Backend::echo();
        for kind in [Kind::HaProxy, Kind::Envoy] {
            let server = server(&echo, site.addr, &certificate, "trusted=127.0.0.1");
            let front = Front::with_websockets_over_h2(kind, server.addr);
            let logs = || format!("{}\n{}", server.child.show_log(), front.child.show_log());
            for mux in [0, 4] {
                for make in [Ours, plugin::V2ray] {
                    let mode = if make == Ours { "mode=websocket;" } else { "" };
                    let options = format!("{mode}mux={mux};path={STREAM};host={NAME}");
                    let client = plugin::client(make, front.addr, &options);
                    std::thread::scope(|scope| {
                        for seed in 0..4 {
                            let addr = client.addr;
                            scope.spawn(move || {
                                let stream = connect(addr);
                                assert_echo(&stream, b"hello");
                                assert_echo(&stream, &noise(500_000, seed));
                            });
                        }
                    });
                }
            }
            let (mut ws, head) = Ws::open_with(
                front.addr,
                STREAM,
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n",
            );
            assert!(
                head.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
                "{kind:?} {head}: {}",
                logs()
            );
            ws.send(crate::support::websocket::BINARY, b"frames");
            assert_eq!(ws.recv(6), b"frames", "{}", logs());
        }
    });
}

/// What a page says over its WebSocket, which a browser puts on the page's own connection.
const TALKING: &str = "<script>
const socket = new WebSocket(`wss://${location.host}/stream`);
socket.binaryType = 'arraybuffer';
const how = performance.getEntriesByType('navigation')[0].nextHopProtocol;
socket.onopen = () => socket.send(new TextEncoder().encode('over ' + how + ';'));
socket.onmessage = event => socket.send(event.data);
</script>";

/// A real browser behind a trusted address: the page and its WebSocket come over one connection.
#[test]
fn a_browsers_page_has_its_websocket_on_the_same_connection() {
    within(secs(120), || {
        need!("openssl", "nginx", "chromium");
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, &format!("{BROWSED}{TALKING}"));
        let (backend, connections) = Backend::manual();
        let dir = TempDir::new("access-log");
        let log = dir.path().join("access.log");
        let more = format!("trusted=127.0.0.1;access-log={}", log.display());
        let server = server(&backend, site.h2, &certificate, &more);
        let browser = browser(&format!("https://{NAME}:{}/", server.addr.port()));
        let behind = next(&connections);
        assert_eq!(recv(&behind, 8), b"over h2;", "{}", server.child.show_log());
        let file = noise(200_000, 1);
        send(&behind, &file);
        assert_same("the browser's echo", &recv(&behind, file.len()), &file);
        drop(browser);
        // The page and the WebSocket have a line each, and came from the same port of the browser's.
        let came = || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
            lines.map(|line| (line["kind"].to_string(), line["from"].to_string())).collect::<Vec<_>>()
        };
        let together = || {
            let came = came();
            let of = |wanted: &str| {
                came.iter()
                    .filter(|(kind, _)| kind.contains(wanted))
                    .map(|(_, from)| from)
                    .collect::<Vec<_>>()
            };
            of("websocket").iter().any(|from| of("visitor").contains(from))
        };
        assert!(eventually(STEP, together), "{:?}; {}", came(), server.child.show_log());
    });
}

/// Chromium with this page open, until it is dropped.
fn browser(url: &str) -> (Child, TempDir) {
    let profile = TempDir::new("chromium");
    let mut command = bare(peers::path("chromium"));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic"]);
    command.args(["--ignore-certificate-errors", "--disable-background-networking", "--disable-sync"]);
    command.args(["--disable-component-update", "--disable-dev-shm-usage", "--remote-debugging-port=0"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--host-resolver-rules=MAP {NAME} 127.0.0.1")).arg(url);
    command.env("HOME", profile.path()).stdout(Stdio::null()).stderr(Stdio::null());
    (Child::spawn_as_is("chromium", command), profile)
}

/// A visitor who is no proxy of ours has the website's word on WebSockets over HTTP/2, which nginx does not speak.
#[test]
fn strangers_hear_of_no_websockets_over_http2_but_the_websites() {
    within(secs(60), || {
        need!("openssl", "nginx", "python-h2");
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, PAGE);
        let echo = Backend::echo();
        let server = server(&echo, site.h2, &certificate, "");
        for name in ["-", NAME] {
            let said = ask(&["websocket", &port(&server), name, "127.0.0.1", STREAM, "/"]);
            assert_eq!(said[0], "announced 0", "{said:?}");
            assert!(said[1].starts_with(&format!("page 200 {} ", PAGE.len())), "{said:?}");
            assert!(!said[2].starts_with("status 200"), "{said:?}");
        }
        assert_eq!(echo.accepted(), 0);
    });
}
