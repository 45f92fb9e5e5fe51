//! Whose tunnels they are, and how fast they come.

use super::{UPGRADE, WAIT, address, ask_from, has_tunnel, tunnel_from};
use crate::fallback::compare::{Probe, Step, play};
use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect, send};
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::site::Site;
use crate::support::{secs, within};
use std::net::TcpStream;
use std::time::Instant;

/// A client behind a proxy that says who it is.
fn ask_by_proxy(server: &Plugin, header: &str, request: &[u8]) -> TcpStream {
    let client = connect(server.addr);
    send(&client, &[header.as_bytes(), request].concat());
    client
}

/// Behind a proxy that is trusted the visitors count, not the proxy; of IPv6 their networks.
#[test]
fn behind_a_proxy_each_visitor_has_places_of_its_own() {
    within(secs(120), || {
        let echo = Backend::echo();
        let by_header = |source: &str| {
            let (family, to) =
                if source.contains(':') { ("TCP6", "2001:db8::1") } else { ("TCP4", "192.0.2.1") };
            (format!("PROXY {family} {source} {to} 1234 443\r\n"), UPGRADE.to_vec())
        };
        let by_forwarded_for = |source: &str| {
            let line = format!("X-Forwarded-For: {source}\r\n\r\n");
            let request = String::from_utf8(UPGRADE.to_vec()).expect("text");
            (
                String::new(),
                format!("{}{line}", request.trim_end_matches("\r\n").to_owned() + "\r\n").into_bytes(),
            )
        };
        type Says<'a> = &'a dyn Fn(&str) -> (String, Vec<u8>);
        let proxies: [(&str, Says); 2] = [("proxy-protocol=in", &by_header), ("", &by_forwarded_for)];
        for (options, says) in proxies {
            let options =
                format!("obfs=http;obfs-uri=/secret;trusted=127.0.0.1;limit-tunnels-per-address=1;{options}");
            let server = server(Ours, echo.addr, &options);
            let ask = |source: &str| {
                let (header, request) = says(source);
                ask_by_proxy(&server, &header, &request)
            };
            let mut tunnels = Vec::new();
            for source in ["203.0.113.1", "203.0.113.2", "2001:db8:1:1::1", "2001:db8:1:2::1"] {
                let client = ask(source);
                assert!(has_tunnel(&client), "{options}: {source}");
                assert_echo(&client, b"hello");
                tunnels.push(client);
            }
            let second = ["203.0.113.1", "2001:db8:1:1:ffff::2"].map(ask);
            for client in &second {
                assert!(!has_tunnel(client), "{options}: a second tunnel of one address");
            }
            server.child.wait_line("the address", |line| {
                line.contains("limit-tunnels-per-address=1 is reached") && line.contains("peer=203.0.113.1")
            });
            tunnels.iter().for_each(|tunnel| assert_echo(tunnel, b"still here"));
            drop(tunnels);
            assert!(has_tunnel(&ask("203.0.113.1")));
        }
    });
}

/// Over the rate clients have their turn one after another, and those for whom that is too late meet the website.
/// Visitors are not limited, and other addresses are not concerned.
#[test]
fn clients_that_come_too_fast_wait_for_their_turn() {
    within(secs(120), || {
        need!("nginx");
        let (site, echo) = (Site::start(), Backend::echo());
        let options = format!(
            "obfs=http;obfs-uri=/secret;limit-rate-per-address=2;loglevel=warning;failover={}",
            site.addr
        );
        let server = server(Ours, echo.addr, &options);
        let began = Instant::now();
        let crowd: Vec<_> = (0..40).map(|_| ask_from(address(1), server.addr)).collect();
        let other = tunnel_from(address(2), server.addr);
        assert_echo(&other, b"hello");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let visitor = Probe { name: "a visitor".to_owned(), steps: vec![Step::Send(request.to_vec())] };
        let (at_site, _) = play(site.addr, &visitor);
        for _ in 0..20 {
            let (at_port, _) = play_at_once(&server, request);
            assert_eq!(at_port, first_bytes(&at_site.bytes), "a visitor that comes too fast");
        }
        let tunnels: Vec<_> = crowd.into_iter().filter(has_tunnel).collect();
        let took = began.elapsed();
        // Four at once, then two a second for five seconds; more where the crowd took its time to come.
        let most = 4 + 2 * (took.as_secs() as usize + 1);
        assert!((14..=most).contains(&tunnels.len()), "{} tunnels in {took:?}", tunnels.len());
        assert!(took >= WAIT, "they had no turns: {took:?}");
        tunnels.iter().for_each(|tunnel| assert_echo(tunnel, b"hello"));
        let line = server.child.wait_text("limit-rate-per-address=2 is reached: a client is refused");
        assert!(line.contains("peer=127.0.1.1:"), "{line}");
    });
}

/// The first line of what a visitor sees.
fn first_bytes(answer: &[u8]) -> Vec<u8> {
    answer.split(|&b| b == b'\n').next().unwrap_or_default().to_vec()
}

/// The same, of a visitor from the crowd's address, and whether its page came.
fn play_at_once(server: &Plugin, request: &[u8]) -> (Vec<u8>, bool) {
    let visitor = crate::support::conn::connect_from(address(1), server.addr);
    send(&visitor, request);
    let head = crate::support::conn::recv_head(&visitor);
    (first_bytes(head.as_bytes()), head.contains("text/html"))
}
