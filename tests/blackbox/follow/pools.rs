//! Real front proxies that send the requests of all their users on a few connections: visitors and
//! tunnels come on the same ones.

use super::*;
use crate::support::conn::fin;
use crate::support::fronts::{self, Front};
use crate::support::plugin::client;
use crate::support::site::INDEX;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Loads a few pages over one connection to the front, and looks at every byte of them.
#[track_caller]
fn browse(front: SocketAddr, round: usize) {
    let visitor = connect(front);
    let style = "h1 { color: green }\n".repeat(400);
    let body = noise(20_000 + round, round as u64);
    let post = |headers: &str| format!("POST /made HTTP/1.1\r\nHost: live.example.com\r\n{headers}\r\n");
    let chunked = format!("{}{:x}\r\n", post("Transfer-Encoding: chunked\r\n"), body.len());
    let chunked = [chunked.as_bytes(), &body, b"\r\n0\r\n\r\n"];
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: live.example.com\r\n\r\n").into_bytes();
    for (request, status, page) in [
        (get("/"), "200", INDEX),
        (get("/style.css"), "200", &style),
        ([post(&format!("Content-Length: {}\r\n", body.len())).as_bytes(), &body].concat(), "201", "made\n"),
        (get("/empty.txt"), "200", ""),
        (chunked.concat(), "201", "made\n"),
        (get("/shop/"), "200", "the shop\n"),
        (get("/tunnel"), "404", ""),
    ] {
        send(&visitor, &request);
        let head = recv_head(&visitor).to_lowercase();
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.unwrap_or_else(|| panic!("no length in {head}")).parse().expect("a length");
        let got = recv(&visitor, length);
        if status != "404" {
            assert_same("the page", &got, page.as_bytes());
        }
    }
}

fn mixes(kind: fronts::Kind, server_options: &'static str, client_options: &'static str) {
    within(secs(150), move || {
        need!("nginx");
        let site = Site::with_keepalive("75s");
        let backend = Backend::echo();
        let options = format!("{server_options};failover={};loglevel=debug", site.addr);
        let server = server(Ours, backend.addr, &options);
        let front = Front::start(kind, server.addr);
        let client = client(Ours, front.addr, client_options);
        let tunnel = |seed: usize| {
            let stream = connect(client.addr);
            assert_echo(&stream, b"hello");
            assert_echo(&stream, &noise(100_000, seed as u64));
            fin(&stream);
            let end = recv_to_end(&stream, STEP);
            assert_eq!(end, (vec![], End::Fin), "tunnel {seed}");
        };
        // One after the other: the front has a connection that was used, and uses it again.
        for i in 0..5 {
            browse(front.addr, i);
            tunnel(i);
        }
        // And all at once.
        let (tunnels, over) = (AtomicUsize::new(5), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let visitors: Vec<_> = (0..3)
                .map(|i| {
                    let over = &over;
                    scope.spawn(move || {
                        let mut round = 100 * (i + 1);
                        while !over.load(Ordering::SeqCst) {
                            browse(front.addr, round);
                            round += 1;
                        }
                    })
                })
                .collect();
            let clients: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for _ in 0..15 {
                            tunnel(tunnels.fetch_add(1, Ordering::SeqCst));
                        }
                    })
                })
                .collect();
            let ended: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            over.store(true, Ordering::SeqCst);
            for result in ended.into_iter().chain(visitors.into_iter().map(|visitor| visitor.join())) {
                if let Err(panic) = result {
                    std::panic::resume_unwind(panic);
                }
            }
        });
        assert_eq!(backend.accepted(), 35, "each tunnel came to Shadowsocks once, and no visitor did");
        let later = server
            .child
            .lines()
            .iter()
            .filter(|line| line.contains("upgrade after ") && !line.contains("upgrade after 0 requests"))
            .count();
        assert!(later >= 5, "only {later} of 35 upgrades came later; {}", server.child.show_log());
    });
}

#[test]
fn envoy_mixes_visitors_and_obfs_http() {
    need!("envoy");
    mixes(
        fronts::Kind::EnvoyPool,
        "obfs=http;obfs-uri=/tunnel",
        "obfs=http;obfs-host=live.example.com;obfs-uri=/tunnel",
    );
}

#[test]
fn envoy_mixes_visitors_and_websocket() {
    need!("envoy");
    mixes(
        fronts::Kind::EnvoyPool,
        "mode=websocket;path=/tunnel",
        "mode=websocket;mux=0;path=/tunnel;host=live.example.com",
    );
}

#[test]
fn envoy_mixes_visitors_and_httpupgrade() {
    need!("envoy");
    mixes(
        fronts::Kind::EnvoyPool,
        "mode=websocket;path=/tunnel",
        "mode=httpupgrade;path=/tunnel;host=live.example.com",
    );
}

#[test]
fn nginx_mixes_visitors_and_obfs_http() {
    mixes(
        fronts::Kind::NginxPool,
        "obfs=http;obfs-uri=/tunnel",
        "obfs=http;obfs-host=live.example.com;obfs-uri=/tunnel",
    );
}

#[test]
fn nginx_mixes_visitors_and_websocket() {
    mixes(
        fronts::Kind::NginxPool,
        "mode=websocket;path=/tunnel",
        "mode=websocket;mux=0;path=/tunnel;host=live.example.com",
    );
}
