//! `mode=auto`: every kind of client on one port, and visitors with TLS and without.

use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::plugin::{Make, Ours, Plugin, SimpleObfs, V2ray, client, server};
use crate::support::site::{INDEX, Site, big};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{assert_same, noise, secs, within};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

/// Clients of every kind for one server, each with a name for messages. `trusted` are the options of
/// clients with TLS.
fn all_clients(server: SocketAddr, trusted: &str) -> Vec<(String, Plugin)> {
    let kinds: Vec<(Make, String)> = [
        (Ours, "obfs=http;obfs-host=www.bing.com"),
        (Ours, "obfs=http;handshake=standard"),
        (Ours, "obfs=tls;obfs-host=www.bing.com"),
        (Ours, "mode=httpupgrade;path=/stream"),
        (Ours, "mode=websocket;path=/stream;mux=0"),
        (Ours, "mode=websocket;path=/stream;mux=1"),
        (Ours, "mode=websocket;path=/stream;mux=8"),
        (Ours, "mode=websocket;path=/stream?ed=2048;mux=0"),
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
fn options(certificate: &Certificate, more: &str) -> String {
    format!("path=/stream;obfs-uri=/;{};{more}", certificate.for_server())
}

#[test]
fn every_kind_of_client_works_on_one_port_while_visitors_load_pages() {
    within(secs(180), || {
        need!("openssl", "nginx", "curl", "obfs-local", "ss-v2ray-plugin");
        let certificate = Certificate::new(NAME);
        let site = Site::start();
        let echo = Backend::echo();
        let more = format!("failover={}", site.addr);
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
                            let words = ["--resolve", &resolve, "--cacert", &cacert];
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
struct Named<'a>(&'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the client was {}", self.0);
        }
    }
}
