//! One port for everybody: clients of every kind over TCP and UDP, and visitors of the website over HTTP/1.1, HTTP/2 and
//! HTTP/3.

use crate::auto::{BROWSED, Named, all_clients, browse_with, options};
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{assert_echo, connect, recv_to_end, send};
use crate::support::hosts::curl;
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::quic::{self, App, Site, ask, client, for_server, our_server};
use crate::support::site::INDEX;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, digest, eventually, noise, secs, within};
use rustix::process::Signal;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const BIG: usize = 1024 * 1024;

/// Our server in front of this website, and when it has both ports.
#[track_caller]
fn in_front_of(site: &Site, certificate: &Certificate, backend: &Backend, more: &str) -> Plugin {
    let more = format!("quic;failover={};failover-h2={};{more}", site.plain, site.h2);
    let server = server(Ours, backend.addr, &options(certificate, &more));
    quic::wait_bound(&server.child, server.addr.port());
    server
}

fn files(big: &[u8]) -> [(&'static str, &[u8]); 3] {
    [("index.html", INDEX.as_bytes()), ("big.bin", big), ("browsed.html", BROWSED.as_bytes())]
}

/// The lines that the visitor over HTTP/3 has for a page that is there.
fn page_line(body: &[u8]) -> String {
    format!("page 200 {} {}", body.len(), digest(body))
}

#[test]
fn every_kind_of_client_works_while_visitors_come_over_every_http() {
    within(secs(240), || {
        need!("openssl", "caddy", "curl", "obfs-local", "ss-v2ray-plugin", "v2ray", "python-aioquic");
        let certificate = Certificate::new(NAME);
        let file = noise(BIG, 20);
        let site = Site::start(&certificate, NAME, &files(&file));
        let echo = Backend::echo();
        let server = in_front_of(&site, &certificate, &echo, &format!("failover-quic={}", site.addr));
        let mut clients = all_clients(server.addr, &certificate.for_client());
        for app in [App::Ours, App::Plugin, App::V2ray] {
            clients.push((format!("{app:?} mode=quic"), client(app, server.addr, &certificate)));
        }
        let port = server.addr.port();
        let resolve = format!("{NAME}:{port}:127.0.0.1");
        let roots = certificate.cert.display().to_string();
        let by_curl = |words: &[&str], scheme: &str| {
            let words = [words, &["--resolve", &resolve, "--cacert", &roots]].concat();
            let of =
                |path: &str| curl(&[&words[..], &[&format!("{scheme}://{NAME}:{port}/{path}")]].concat());
            let page = of("");
            assert_eq!((page.status.as_str(), page.body), ("200", INDEX.as_bytes().to_vec()), "{words:?}");
            assert_same("a big file", &of("big.bin").body, &file);
        };
        let over_http3 = || {
            let said = ask(&["page", &port.to_string(), NAME, &roots, "/", "/big.bin", "/nothing"]);
            let wanted = ["open h3".to_owned(), page_line(INDEX.as_bytes()), page_line(&file)];
            assert_eq!(said[..3], wanted, "{said:?}");
            assert!(said[3].starts_with("page 404 "), "{said:?}");
        };
        let visitors: [(&str, &(dyn Fn() + Sync)); 4] = [
            ("HTTP/1.1", &|| by_curl(&[], "http")),
            ("HTTP/1.1 in TLS", &|| by_curl(&["--http1.1"], "https")),
            ("HTTP/2", &|| by_curl(&["--http2"], "https")),
            ("HTTP/3", &over_http3),
        ];
        let done = AtomicBool::new(false);
        let (done, clients) = (&done, &clients);
        std::thread::scope(|scope| {
            let visits: Vec<_> = visitors
                .into_iter()
                .map(|(over, visit)| {
                    scope.spawn(move || {
                        let mut visits = 0;
                        while visits < 3 || !done.load(Ordering::Relaxed) {
                            let _named = Named(over);
                            visit();
                            visits += 1;
                        }
                    })
                })
                .collect();
            let tunnels: Vec<_> = (0..8)
                .flat_map(|round| clients.iter().enumerate().map(move |(kind, client)| (round, kind, client)))
                .collect();
            let next = AtomicUsize::new(0);
            std::thread::scope(|workers| {
                for _ in 0..8 {
                    workers.spawn(|| {
                        while let Some((round, kind, (name, client))) =
                            tunnels.get(next.fetch_add(1, Ordering::Relaxed))
                        {
                            let _named = Named(name);
                            let payload = noise(1 + 7_001 * round, (*kind + 20 * round) as u64);
                            assert_echo(&connect(client.addr), &payload);
                        }
                    });
                }
            });
            done.store(true, Ordering::Relaxed);
            for visitor in visits {
                visitor.join().expect("a visitor");
            }
        });
    });
}

/// Names and offers that are not ours go to the website's QUIC, which answers as if nobody stood before it; ours are ours.
#[test]
fn quic_that_is_not_ours_is_the_websites() {
    within(secs(180), || {
        need!("openssl", "caddy", "python-aioquic", "sing-box");
        let (ours, theirs) = (Certificate::new(NAME), Certificate::new("shop.example"));
        let site = Site::start(&theirs, "shop.example", &files(b"big"));
        let echo = Backend::echo();
        let server = in_front_of(&site, &ours, &echo, &format!("failover-quic={}", site.addr));
        let of = |port: u16, name: &str, alpn: &[&str]| {
            ask(&[&["handshake", &port.to_string(), name], alpn].concat())[0].clone()
        };
        for (name, alpn) in [
            ("shop.example", &["h3"][..]),
            ("shop.example", &["h2", "http/1.1"]),
            ("shop.example", &[]),
            ("other.example", &["h3"]),
            ("", &["h3"]),
            (NAME, &["h3"]),
            (NAME, &["dot"]),
        ] {
            let there = of(site.addr.port(), name, alpn);
            assert_eq!(of(server.addr.port(), name, alpn), there, "{name} {alpn:?}");
        }
        let mine = of(server.addr.port(), NAME, &["h2", "http/1.1"]);
        assert!(mine.starts_with("open h2 "), "{mine}");
        assert_ne!(mine, of(server.addr.port(), "shop.example", &["h3"]));
        let roots = theirs.cert.display().to_string();
        let said = ask(&["page", &server.addr.port().to_string(), "shop.example", &roots, "/"]);
        assert_eq!(said, ["open h3".to_owned(), page_line(INDEX.as_bytes())]);
        // sing-box's client looks like a browser.
        let app = client(App::SingBox, server.addr, &ours);
        let stream = connect(app.addr);
        send(&stream, b"hello");
        assert_eq!(recv_to_end(&stream, secs(10)).0, b"");
        assert_eq!(echo.accepted(), 0);
        let tunnel = client(App::Ours, server.addr, &ours);
        assert_echo(&connect(tunnel.addr), &noise(100_000, 1));
    });
}

/// Without a website that speaks QUIC nobody answers there who is not ours, no more than at a port that is not served; and
/// `h3` for our name is ours.
#[test]
fn without_a_website_for_quic_strangers_hear_nothing() {
    within(secs(180), || {
        need!("openssl", "caddy", "python-aioquic", "sing-box");
        let certificate = Certificate::new(NAME);
        let site = Site::start(&certificate, NAME, &files(b"big"));
        let echo = Backend::echo();
        let auto = in_front_of(&site, &certificate, &echo, "");
        let alone = our_server(echo.addr, &for_server(&certificate));
        for server in [&auto, &alone] {
            let port = server.addr.port().to_string();
            for (name, alpn) in [("other.example", "h2"), ("other.example", "h3"), ("", "h2"), (NAME, "dot")]
            {
                let said = ask(&["handshake", &port, name, alpn]);
                assert_eq!(said, ["silence"], "{name} {alpn}");
            }
            // A version that nobody has, which most servers would answer; and an id that nobody gave out.
            let unknown =
                format!("c0babababa08{}08{}00449e{}", "11".repeat(8), "22".repeat(8), "00".repeat(1200));
            let short = format!("40{}", "33".repeat(60));
            assert_eq!(ask(&["ask", &port, "2", &unknown, &short]), ["answers 0"]);
            let said = ask(&["handshake", &port, NAME, "h3"]);
            assert!(said[0].starts_with("open h3 "), "{said:?}");
        }
        // What comes first from sing-box's client is an address of seven bytes; the echo has it, too.
        let app = client(App::SingBox, auto.addr, &certificate);
        let stream = connect(app.addr);
        send(&stream, b"hello");
        assert!(eventually(STEP, || echo.accepted() == 1), "{}", app.child.show_log());
    });
}

/// `h3` is a browser's where there is a website for it; but no visitor asks for a name that leads to a backend of its own.
#[test]
fn sing_box_is_served_beside_a_website_by_a_name_with_a_route() {
    within(secs(60), || {
        need!("openssl", "caddy", "python-aioquic", "sing-box");
        let certificate = Certificate::new(NAME);
        let site = Site::start(&certificate, NAME, &files(b"big"));
        let (main, routed) = (Backend::echo(), Backend::echo());
        let options = format!("{};failover-quic={}", for_server(&certificate), site.addr);
        let roots = certificate.cert.display().to_string();
        for (route, wanted) in [("", 0), (&*format!(";route={NAME}:{}", routed.addr), 1)] {
            let server = our_server(main.addr, &format!("{options}{route}"));
            server.child.wait_text(&format!("listening on UDP [{}]", server.addr));
            let app = client(App::SingBox, server.addr, &certificate);
            let stream = connect(app.addr);
            send(&stream, b"hello");
            let port = server.addr.port().to_string();
            if wanted == 0 {
                let said = ask(&["page", &port, NAME, &roots, "/"]);
                assert_eq!(said[1], page_line(INDEX.as_bytes()), "{said:?}");
            } else {
                assert!(eventually(STEP, || routed.accepted() == wanted), "{}", app.child.show_log());
            }
            assert_eq!((main.accepted(), routed.accepted()), (0, wanted));
            server.child.signal(Signal::TERM);
            assert_eq!(server.child.wait_exit(STEP), Exit::Code(0));
            let told = server.child.show_log().contains(" in the last ");
            assert_eq!(told, wanted == 0, "the visitors are told at the end: {}", server.child.show_log());
        }
    });
}

/// Who may be a client of ours but for the name gets no answer, and the log tells.
#[test]
fn a_name_that_the_certificate_does_not_have_is_told_once_in_a_while() {
    within(secs(60), || {
        need!("openssl", "python-aioquic");
        let (certificate, echo) = (Certificate::new(NAME), Backend::echo());
        let server = our_server(echo.addr, &for_server(&certificate));
        let port = server.addr.port().to_string();
        for (name, alpn) in [("h3.example", "h3"), ("one.example", "h2"), ("two.example", "h2")] {
            assert_eq!(ask(&["handshake", &port, name, alpn]), ["silence"], "{name}");
        }
        let told =
            server.child.show_log().matches("QUIC for a name that the certificate does not have").count();
        assert_eq!(told, 1, "{}", server.child.show_log());
    });
}

/// With a website, what nobody's client says is answered as the website answers it.
#[test]
fn what_is_no_handshake_is_answered_as_the_website_does() {
    within(secs(180), || {
        need!("openssl", "caddy", "python-aioquic");
        let certificate = Certificate::new(NAME);
        let site = Site::start(&certificate, NAME, &files(b"big"));
        let echo = Backend::echo();
        let server = in_front_of(&site, &certificate, &echo, &format!("failover-quic={}", site.addr));
        let [unknown, draft] = ["babababa", "ff00001d"].map(|version| {
            format!("c0{version}08{}08{}00449e{}", "11".repeat(8), "22".repeat(8), "00".repeat(1200))
        });
        let short = format!("40{}", "33".repeat(60));
        let noise = "5f".repeat(900);
        for packets in
            [&[unknown.as_str()][..], &[&draft], &[&short], &[&noise], &["00"], &[&unknown, &short]]
        {
            let of = |port: u16| ask(&[&["ask", &port.to_string(), "1"], packets].concat());
            // What is said is what comes back, whatever ids there are in it.
            assert_eq!(of(server.addr.port()), of(site.addr.port()), "{packets:?}");
        }
    });
}

/// Hellos that fill several datagrams, whatever the order, reach whom they are for.
#[test]
fn hellos_in_pieces_reach_whom_they_are_for() {
    within(secs(240), || {
        need!("openssl", "caddy", "python-aioquic");
        let (ours, theirs) = (Certificate::new(NAME), Certificate::new("shop.example"));
        let site = Site::start(&theirs, "shop.example", &files(b"big"));
        let echo = Backend::echo();
        let with = in_front_of(&site, &ours, &echo, &format!("failover-quic={}", site.addr));
        let without = in_front_of(&site, &ours, &echo, "");
        for kind in ["backwards", "shuffled", "overlapping"] {
            let of = |server: &Plugin, name: &str, alpn: &str| {
                ask(&["pieces", &server.addr.port().to_string(), name, kind, alpn])[0].clone()
            };
            for _again in 0..2 {
                assert_eq!(of(&with, NAME, "h2"), format!("{kind} open h2"));
                assert_eq!(of(&without, NAME, "h2"), format!("{kind} open h2"));
                assert_eq!(of(&without, NAME, "h3"), format!("{kind} open h3"));
                assert_eq!(of(&with, "shop.example", "h3"), format!("{kind} open h3"));
            }
            assert_eq!(of(&without, "shop.example", "h3"), format!("{kind} silence"));
        }
        // What never becomes a hello is the website's, to answer or not. Most of the time is waited for answers.
        let (with, site) = (with.addr.port(), site.addr.port());
        std::thread::scope(|scope| {
            for kind in ["hole", "no-hello", "frames", "empty", "far", "endless"] {
                scope.spawn(move || {
                    let of = |port: u16| ask(&["pieces", &port.to_string(), NAME, kind, "h3"]);
                    assert_eq!(of(with), of(site));
                });
            }
        });
    });
}

/// A real browser, whose hello comes in two datagrams and in random order.
#[test]
fn a_browser_opens_the_page_over_http3() {
    within(secs(150), || {
        need!("openssl", "caddy", "chromium");
        let certificate = Certificate::new(NAME);
        let site = Site::start(&certificate, NAME, &files(b"big"));
        let echo = Backend::echo();
        let server = in_front_of(&site, &certificate, &echo, &format!("failover-quic={}", site.addr));
        let tunnel = client(App::Ours, server.addr, &certificate);
        let stream = connect(tunnel.addr);
        assert_echo(&stream, &noise(10_000, 1));
        let port = server.addr.port();
        let trusted = format!("--ignore-certificate-errors-spki-list={}", key_digest(&certificate));
        let forced = format!("--origin-to-force-quic-on={NAME}:{port}");
        let words = ["--enable-quic", &forced, &trusted];
        let seen = browse_with(&words, &format!("https://{NAME}:{port}/browsed.html"));
        assert!(seen.contains("Chairs for gardens") && seen.contains("over h3"), "{seen}");
        assert_echo(&stream, &noise(10_000, 2));
    });
}

/// What Chromium knows a key by: the digest of it, in base64.
fn key_digest(certificate: &Certificate) -> String {
    let openssl = peers::path("openssl");
    let output = Command::new("sh")
        .arg("-c")
        .arg(r#""$0" x509 -in "$1" -pubkey -noout | "$0" pkey -pubin -outform der | "$0" dgst -sha256 -binary | "$0" base64"#)
        .arg(openssl)
        .arg(&certificate.cert)
        .stderr(Stdio::null())
        .output()
        .expect("run openssl");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
