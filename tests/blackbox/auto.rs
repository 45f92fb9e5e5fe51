//! `mode=auto`: every kind of client on one port, and visitors with TLS and without.

use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{assert_echo, connect};
use crate::support::hosts::curl;
use crate::support::peers::{self, need};
use crate::support::plugin::{Make, Ours, Plugin, SimpleObfs, V2ray, bare, client, server};
use crate::support::site::{INDEX, Site, big};
use crate::support::tempdir::TempDir;
use crate::support::tls_site::TlsSite;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{assert_same, noise, secs, within};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

/// Clients of every kind for one server, each with a name for messages. `trusted` are the options of
/// clients with TLS.
pub fn all_clients(server: SocketAddr, trusted: &str) -> Vec<(String, Plugin)> {
    let kinds: Vec<(Make, String)> = [
        (Ours, "obfs=http;obfs-host=www.bing.com"),
        (Ours, "obfs=http;handshake=standard"),
        (Ours, "obfs=tls;obfs-host=www.bing.com"),
        (Ours, "mode=httpupgrade;path=/stream"),
        (Ours, "mode=websocket;path=/stream;mux=0"),
        (Ours, "mode=websocket;path=/stream;mux=1"),
        (Ours, "mode=websocket;path=/stream;mux=8"),
        (Ours, "mode=websocket;path=/stream?ed=2048;mux=0"),
        (Ours, "mode=grpc;serviceName=chairs"),
        (Ours, "mode=grpc;serviceName=chairs;@"),
        (Ours, "mode=httpupgrade;path=/stream;@"),
        (Ours, "mode=websocket;path=/stream;mux=0;@"),
        (Ours, "mode=websocket;path=/stream;mux=8;@"),
        (Ours, "mode=websocket;path=/stream?ed=2048;mux=0;@"),
        (SimpleObfs, "obfs=http;obfs-host=www.bing.com"),
        (SimpleObfs, "obfs=tls;obfs-host=www.bing.com"),
        (V2ray, "path=/stream;mux=0"),
        (V2ray, "path=/stream;mux=1"),
        (V2ray, "path=/stream;mux=8"),
        (V2ray, "path=/stream;mux=0;@"),
        (V2ray, "path=/stream;mux=4;@"),
    ]
    .map(|(make, options)| (make, options.replace('@', trusted)))
    .into();
    kinds
        .into_iter()
        .map(|(make, options)| (format!("{make:?} {options}"), client(make, server, &options)))
        .collect()
}

/// The options of a server for all of them: simple-obfs's clients only ever ask for `/`.
pub fn options(certificate: &Certificate, more: &str) -> String {
    let tls = certificate.for_server();
    format!("path=/stream;serviceName=chairs;obfs-uri=/;obfs-tls-host=www.bing.com;{tls};{more}")
}

#[test]
fn every_kind_of_client_works_on_one_port_while_visitors_load_pages() {
    within(secs(180), || {
        need!("openssl", "nginx", "curl", "obfs-local", "ss-v2ray-plugin");
        let certificate = Certificate::new(NAME);
        let site = Site::start();
        let over_h2 = TlsSite::with(&certificate, BROWSED);
        let echo = Backend::echo();
        let more = format!("failover={};failover-h2={}", site.addr, over_h2.h2);
        let server = server(Ours, echo.addr, &options(&certificate, &more));
        let clients = all_clients(server.addr, &certificate.for_client());
        let done = AtomicBool::new(false);
        let port = server.addr.port();
        let resolve = format!("{NAME}:{port}:127.0.0.1");
        let cacert = certificate.cert.display().to_string();
        let http = format!("http://{NAME}:{port}/");
        let https = format!("https://{NAME}:{port}/");
        let (done, clients) = (&done, &clients);
        let visits = std::thread::scope(|scope| {
            let visitors: Vec<_> = [http, https]
                .into_iter()
                .map(|url| {
                    let (resolve, cacert) = (resolve.clone(), cacert.clone());
                    scope.spawn(move || {
                        let mut visits = 0;
                        while visits < 3 || !done.load(Ordering::Relaxed) {
                            let words = ["--http1.1", "--resolve", &resolve, "--cacert", &cacert];
                            let page = curl(&[&words[..], &[&url]].concat());
                            assert_eq!((page.status.as_str(), page.body), ("200", INDEX.as_bytes().to_vec()));
                            let big_url = format!("{url}big.bin");
                            let file = curl(&[&words[..], &[&big_url]].concat());
                            assert_same("a big file", &file.body, &big());
                            visits += 1;
                        }
                        visits
                    })
                })
                .collect();
            let tunnels: Vec<_> = (0..16)
                .flat_map(|round| clients.iter().enumerate().map(move |(kind, client)| (round, kind, client)))
                .collect();
            // Sixteen times every kind, eight at a time.
            let next = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|workers| {
                for _ in 0..8 {
                    workers.spawn(|| {
                        while let Some((round, kind, (name, client))) =
                            tunnels.get(next.fetch_add(1, Ordering::Relaxed))
                        {
                            let payload = noise(1 + 7_001 * round, (*kind + 20 * round) as u64);
                            let stream = connect(client.addr);
                            // The name shows which one it was.
                            let _named = Named(name);
                            assert_echo(&stream, &payload);
                        }
                    });
                }
            });
            done.store(true, Ordering::Relaxed);
            visitors.into_iter().map(|visitor| visitor.join().expect("a visitor")).collect::<Vec<_>>()
        });
        assert!(visits.iter().all(|&visits| visits >= 3), "{visits:?}");
    });
}

/// Says in a failure which client it was.
pub struct Named<'a>(pub &'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the client was {}", self.0);
        }
    }
}

/// A real browser, over HTTP, HTTPS and HTTP/2, beside a tunnel on the same port.
#[test]
fn a_browser_opens_the_page_through_the_port() {
    within(secs(180), || {
        need!("openssl", "nginx", "chromium");
        let certificate = Certificate::new(NAME);
        let site = TlsSite::with(&certificate, BROWSED);
        let echo = Backend::echo();
        for (scheme, more, protocol) in [
            ("http", String::new(), "http/1.1"),
            ("https", String::new(), "http/1.1"),
            ("https", format!("failover-h2={}", site.h2), "h2"),
            ("https", format!("failover-tls={}", site.addr), "h2"),
        ] {
            let more = format!("failover={};{more}", site.plain);
            let server = server(Ours, echo.addr, &options(&certificate, &more));
            let tunnel = client(Ours, server.addr, "obfs=http");
            let stream = connect(tunnel.addr);
            assert_echo(&stream, &noise(10_000, 1));
            let seen = browse(&format!("{scheme}://{NAME}:{}/", server.addr.port()));
            // The page's script writes down what the browser says of it.
            assert!(seen.contains("Chairs for gardens"), "{scheme} {more}: {seen}");
            assert!(seen.contains(&format!("over {protocol}")), "{scheme} {more}: {seen}");
            assert_echo(&stream, &noise(10_000, 2));
        }
    });
}

pub const BROWSED: &str = "<!doctype html><title>Chairs</title><h1>Chairs for gardens</h1><p id=how>\n\
    <script>how.textContent = 'over ' + performance.getEntriesByType('navigation')[0].nextHopProtocol</script>\n";

/// The page as Chromium has it after its scripts have run.
#[track_caller]
fn browse(url: &str) -> String {
    browse_with(&["--disable-quic", "--ignore-certificate-errors"], url)
}

#[track_caller]
pub fn browse_with(words: &[&str], url: &str) -> String {
    let profile = TempDir::new("chromium");
    let mut command = bare(peers::path("chromium"));
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]).args(words);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
    command.args(["--disable-dev-shm-usage", "--dump-dom"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    command.arg(format!("--host-resolver-rules=MAP {NAME} 127.0.0.1")).arg(url);
    command.env("HOME", profile.path());
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let child = Child::spawn_as_is("chromium", command);
    child.wait_exit(secs(60));
    child.lines().join("\n")
}
