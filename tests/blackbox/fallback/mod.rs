//! Nobody can tell the server port from the website behind it.

pub mod compare;
pub mod probes;

use crate::support::backend::{Backend, next};
use crate::support::conn::{self, End, connect, exchange, fin, recv, recv_head, recv_to_end, send};
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, SimpleObfs, server};
use crate::support::site::Site;
use crate::support::{STEP, assert_same, millis, noise, secs, within};
use compare::{Probe, Step, differences, play};
use std::time::Instant;

/// The website, a Shadowsocks program that counts, and the server half.
fn start(site: &Site, options: &str) -> (Backend, Plugin) {
    let backend = Backend::echo();
    let server = server(Ours, backend.addr, &format!("obfs=http;failover={}{options}", site.addr));
    (backend, server)
}

fn assert_no_difference(options: &str, probes: &[Probe]) {
    let site = Site::start();
    let (backend, server) = start(&site, options);
    let found = differences(site.addr, server.addr, probes);
    assert!(
        found.is_empty(),
        "{} of {} probes tell the port from the site:\n{}\n",
        found.len(),
        probes.len(),
        found.join("\n")
    );
    assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks; {}", server.child.show_log());
}

#[test]
fn no_probe_tells_the_port_from_the_site() {
    within(secs(150), || {
        need!("nginx");
        let probes = probes::never_ours();
        assert!(probes.len() >= 40);
        assert_no_difference("", &probes);
    });
}

/// A server with a host and a path of its own: also perfect upgrades go to the site when they miss.
#[test]
fn no_probe_tells_a_port_with_host_and_path_from_the_site() {
    within(secs(150), || {
        need!("nginx");
        let mut probes = probes::never_ours();
        probes.extend(probes::wrong_address());
        assert_no_difference(";obfs-host=www.example.com;obfs-uri=/stream", &probes);
    });
}

/// The website that is dialled for a visitor who is slow to speak is the visitor's, whatever it says then: it sees one
/// connection.
#[test]
fn a_slow_visitor_costs_the_site_one_connection() {
    within(secs(60), || {
        for (options, said) in [
            ("obfs=tls", &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
            ("mode=auto;path=/w", b"\x16\x03\x01\x00\x05\x02\x00\x00\x00\x00"),
        ] {
            let (site, connections) = Backend::manual();
            let backend = Backend::echo();
            let server = server(Ours, backend.addr, &format!("{options};failover={}", site.addr));
            let visitor = connect(server.addr);
            let early = next(&connections);
            send(&visitor, said);
            assert_eq!(recv(&early, said.len()), said, "{options}");
            send(&early, b"answer");
            assert_eq!(recv(&visitor, 6), b"answer", "{options}");
            assert_eq!(site.accepted(), 1, "{options}: {}", server.child.show_log());
        }
    });
}

/// The check can fail: simple-obfs is found out by the same list, and by how it treats half-closes.
#[test]
fn the_same_probes_find_simple_obfs_out() {
    within(secs(150), || {
        need!("nginx", "obfs-server");
        let site = Site::start();
        let backend = Backend::echo();
        let server = server(SimpleObfs, backend.addr, &format!("obfs=http;failover={}", site.addr));
        let found = differences(site.addr, server.addr, &probes::never_ours());
        assert!(found.len() >= 5, "only {} probes find simple-obfs out:\n{}", found.len(), found.join("\n"));
        assert!(found.iter().any(|d| d.contains("then the end")), "{}", found.join("\n"));
    });
}

/// And the site compared with itself shows nothing: the probes are not at fault.
#[test]
fn the_site_is_like_itself() {
    within(secs(150), || {
        need!("nginx");
        let site = Site::start();
        let mut probes = probes::never_ours();
        probes.extend(probes::wrong_address());
        let found = differences(site.addr, site.addr, &probes);
        assert!(found.is_empty(), "{}", found.join("\n"));
    });
}

/// The tunnel is still there for those who know how to ask.
#[test]
fn the_tunnel_works_beside_the_site() {
    within(secs(30), || {
        need!("nginx");
        let site = Site::start();
        let (_backend, server) = start(&site, ";obfs-host=www.example.com;obfs-uri=/stream");
        let stream = connect(server.addr);
        send(
            &stream,
            b"GET /stream HTTP/1.1\r\nHost: WWW.example.com:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "));
        conn::assert_echo(&stream, &noise(100_000, 1));
    });
}

/// A client on a bad line: its request comes in pieces seconds apart, and is no visitor's for that.
#[test]
fn a_slow_client_gets_its_tunnel_beside_the_site() {
    within(secs(60), || {
        need!("nginx");
        let site = Site::start();
        let (_backend, server) = start(&site, "");
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        std::thread::scope(|scope| {
            for (at, pause) in
                [(0, 600), (1, 600), (30, 600), (60, 600), (30, 2000), (request.len() - 6, 1000)]
            {
                let addr = server.addr;
                scope.spawn(move || {
                    let stream = connect(addr);
                    send(&stream, &request[..at]);
                    // The gap is the stimulus; the site's own limit for a head is 3 s.
                    std::thread::sleep(millis(pause));
                    send(&stream, &request[at..]);
                    let head = recv_head(&stream);
                    assert!(head.starts_with("HTTP/1.1 101 "), "{pause} ms after {at} bytes: {head}");
                    assert_eq!(recv(&stream, 5), b"hello", "{pause} ms after {at} bytes");
                });
            }
        });
    });
}

/// A head that stops half-way and stays silent: once the head time-out is reached the site has it,
/// and the site's own time-out (3 s here) ends it the site's way.
#[test]
fn a_silent_half_head_is_ended_by_the_site() {
    within(secs(90), || {
        need!("nginx");
        let site = Site::start();
        let (_backend, server) = start(&site, "");
        let long = format!("GET /{}", "a".repeat(9 << 10));
        std::thread::scope(|scope| {
            for bytes in ["", "G", "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upg", long.as_str()]
            {
                let (site, port) = (site.addr, server.addr);
                scope.spawn(move || {
                    let steps = vec![Step::Send(bytes.as_bytes().to_vec())];
                    let probe = Probe { name: format!("{} bytes, then silence", bytes.len()), steps };
                    let (direct, _) = play(site, &probe);
                    let (seen, took) = play(port, &probe);
                    assert_eq!(seen, direct, "{}, after {took:?}", probe.name);
                });
            }
        });
    });
}

/// The head goes on after the time-out: the site answers, as it would have.
#[test]
fn a_head_finished_after_the_head_timeout_is_answered_by_the_site() {
    within(secs(90), || {
        let (site, connections) = Backend::manual();
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=http;failover={}", site.addr));
        let visitor = connect(server.addr);
        send(&visitor, b"GET /la");
        let at_site = connections.recv_timeout(secs(30)).expect("handed over in silence");
        assert_eq!(recv(&at_site, 7), b"GET /la");
        // Even an upgrade: it was decided.
        let rest = b"te HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        send(&visitor, rest);
        assert_eq!(recv(&at_site, rest.len()), rest);
        send(&at_site, b"HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(recv_head(&visitor), "HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(backend.accepted(), 0);
    });
}

/// A site that plays both directions to their own ends, which nginx does not always do.
#[test]
fn half_closes_pass_to_and_from_the_site() {
    within(secs(60), || {
        let (site, connections) = Backend::manual();
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=http;failover={}", site.addr));
        let (page, body) = (noise(9 << 20, 1), noise(5 << 20, 2));
        let question = [b"POST / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), &body].concat();
        // the visitor ends first, then the site speaks
        let visitor = connect(server.addr);
        let (got, (answer, end)) = std::thread::scope(|scope| {
            let answer = scope.spawn(|| exchange(&visitor, &question, STEP));
            let at_site = next(&connections);
            let got = recv_to_end(&at_site, STEP);
            send(&at_site, &page);
            fin(&at_site);
            (got, answer.join().expect("the visitor"))
        });
        assert_eq!(got.1, End::Fin);
        assert_same("the question", &got.0, &question);
        assert_same("the answer", &answer, &page);
        assert_eq!(end, End::Fin);

        // the site ends first, the visitor goes on speaking
        let visitor = connect(server.addr);
        send(&visitor, b"POST / HTTP/1.1\r\nHost: a\r\n\r\n");
        let at_site = next(&connections);
        assert_eq!(recv_head(&at_site), "POST / HTTP/1.1\r\nHost: a\r\n\r\n");
        fin(&at_site);
        assert_eq!(recv_to_end(&visitor, STEP), (Vec::new(), End::Fin));
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&visitor, &body);
                fin(&visitor);
            });
            recv_to_end(&at_site, STEP)
        });
        assert_same("the rest", &got.0, &body);
        assert_eq!(got.1, End::Fin);
    });
}

/// Resets pass too, both ways.
#[test]
fn resets_pass_to_and_from_the_site() {
    within(secs(30), || {
        let (site, connections) = Backend::manual();
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=http;failover={}", site.addr));
        let open = || {
            let visitor = connect(server.addr);
            send(&visitor, b"HEAD / HTTP/1.1\r\n\r\n");
            let at_site = next(&connections);
            recv_head(&at_site);
            (visitor, at_site)
        };
        let (visitor, at_site) = open();
        conn::reset(visitor);
        assert_eq!(recv_to_end(&at_site, STEP).1, End::Reset);
        let (visitor, at_site) = open();
        conn::reset(at_site);
        assert_eq!(recv_to_end(&visitor, STEP).1, End::Reset);
    });
}

/// The website is down: the visitor is let go and a log line says so; tunnels work.
#[test]
fn a_site_that_is_down_is_logged() {
    within(secs(30), || {
        let nobody = format!("127.0.0.1:{}", crate::support::ports::free_port());
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, &format!("obfs=http;failover={nobody}"));
        let visitor = connect(server.addr);
        send(&visitor, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_ne!(recv_to_end(&visitor, STEP).1, End::Open);
        server.child.wait_text(&nobody);
        let tunnel = connect(server.addr);
        send(&tunnel, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
        conn::assert_echo(&tunnel, b"hello");
        assert_eq!(backend.accepted(), 1);
    });
}

// ---- without a website

/// What a bare web server says, in one style, and never a byte for Shadowsocks.
#[test]
fn without_failover_visitors_get_a_web_servers_error_pages() {
    within(secs(60), || {
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, "obfs=http");
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "404 Not Found"),
            (b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "404 Not Found"),
            // nginx looks for the file before it minds a POST, and minds other methods at once
            (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "404 Not Found"),
            (b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "405 Not Allowed"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03aaaa", "400 Bad Request"),
            (b"\x05\x01\x00", "400 Bad Request"),
            (b"garbage garbage garbage\r\n\r\n", "400 Bad Request"),
            (b"GET / HTTP/1.1\r\nBro ken\r\n\r\n", "400 Bad Request"),
        ] {
            let visitor = connect(server.addr);
            send(&visitor, request);
            fin(&visitor);
            let (page, end) = recv_to_end(&visitor, STEP);
            let page = String::from_utf8_lossy(&page).into_owned();
            let shown = String::from_utf8_lossy(request).into_owned();
            assert!(page.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{shown:?}: {page}");
            assert_eq!(end, End::Fin, "{shown:?}");
            let (head, body) = page.split_once("\r\n\r\n").expect("a head");
            let field = |name: &str| {
                head.lines()
                    .find_map(|l| l.strip_prefix(name))
                    .unwrap_or_else(|| panic!("no {name} in {head}"))
            };
            assert!(field("Server: ").starts_with("nginx"), "{head}");
            assert_eq!(field("Content-Length: "), body.len().to_string(), "{page}");
            assert!(httpdate::parse_http_date(field("Date: ")).is_ok(), "{head}");
            assert!(field("Content-Type: ").starts_with("text/html"), "{head}");
            assert!(body.contains(&format!("<title>{status}</title>")), "{body}");
        }
        assert_eq!(backend.accepted(), 0, "{}", server.child.show_log());
    });
}

/// The random bytes of a Shadowsocks client without disguise (or of a censor replaying one).
#[test]
fn without_failover_no_raw_stream_reaches_shadowsocks() {
    within(secs(60), || {
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, "obfs=http");
        for len in [1, 16, 50, 517, 1500, 16_384, 70_000] {
            for seed in 0..4 {
                let (_, end) = exchange(&connect(server.addr), &noise(len, 900 + seed), STEP);
                assert_ne!(end, End::Open, "{len} bytes");
            }
        }
        assert_eq!(backend.accepted(), 0, "{}", server.child.show_log());
    });
}

/// Silence is ended by us then, after a minute, as nginx ends it; a web server says nothing more either.
#[test]
fn without_failover_a_silent_half_head_is_closed() {
    within(secs(150), || {
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, "obfs=http");
        std::thread::scope(|scope| {
            for bytes in [&b""[..], b"G", b"GET / HTTP/1.1\r\nHost: a\r\nConn"] {
                let addr = server.addr;
                scope.spawn(move || {
                    let started = Instant::now();
                    let visitor = connect(addr);
                    send(&visitor, bytes);
                    let (_, end) = recv_to_end(&visitor, secs(100));
                    assert_eq!(end, End::Fin, "{} bytes, then silence", bytes.len());
                    assert!(started.elapsed() > millis(500), "silence was not even waited for");
                });
            }
        });
        assert_eq!(backend.accepted(), 0);
    });
}
