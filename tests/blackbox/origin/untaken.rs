//! PROXY headers that are not taken: the server's log tells of them, and nothing else does.

use super::{Behind, SIGNATURE, UPGRADE, V1, VISITOR, get, v2, v2_ipv4, visit};
use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{connect, connect_from, recv, recv_head, recv_to_end, send};
use crate::support::fronts::Front;
use crate::support::peers::need;
use crate::support::plugin::{Ours, client, server};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, secs, within};
use rustix::process::Signal;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;

/// What says that no header comes from [`VISITOR`]: `proxy-protocol=in` trusts others, or is not there.
const OTHERS: [&str; 3] = [";proxy-protocol=in;trusted=127.0.0.1,10.0.0.0/8", ";trusted=127.0.0.2", ""];

fn warning(from: IpAddr, fronts: &str) -> String {
    match fronts.contains("proxy-protocol") {
        true => format!("a PROXY header came from {from}, which the option `trusted` does not name"),
        false => format!(
            "a PROXY header came from {from}, and this server takes none: `proxy-protocol=in` with `trusted={from}` takes it"
        ),
    }
}

fn about_headers(child: &Child) -> Vec<String> {
    let is_about = |line: &String| line.contains("PROXY header") && !line.contains("listening on");
    child.lines().into_iter().filter(is_about).collect()
}

/// What an operator sees who has forgotten the options, at the default level: no tunnel, and why.
#[test]
fn behind_haproxy_the_log_says_what_is_missing() {
    within(secs(60), || {
        need!("haproxy");
        let backend = Backend::echo();
        for header in ["send-proxy", "send-proxy-v2"] {
            for (disguise, fronts) in [
                ("obfs=http", ""),
                ("obfs=tls", ""),
                ("mode=websocket", ";proxy-protocol=in;trusted=10.0.0.0/8"),
            ] {
                let server = server(Ours, backend.addr, &format!("{disguise}{fronts}"));
                let front = Front::with_proxy_header(header, server.addr);
                let client = client(Ours, front.addr, disguise);
                let application = connect(client.addr);
                send(&application, b"hello");
                assert!(recv_to_end(&application, STEP).0.is_empty());
                let told = format!("WARN {} peer=", warning([127, 0, 0, 1].into(), fronts));
                server.child.wait_text(&told);
            }
        }
        assert_eq!(backend.accepted(), 0);
    });
}

/// A header in these pieces, each of which the site has before the next is sent, and the site's answer: as from the
/// website alone. Returns where the visitor came from.
#[track_caller]
fn pieces(addr: SocketAddr, connections: &Receiver<TcpStream>, pieces: &[&[u8]]) -> SocketAddr {
    let visitor = connect_from(VISITOR, addr);
    let mut at_site = None;
    for piece in pieces {
        send(&visitor, piece);
        let at_site = at_site.get_or_insert_with(|| next(connections));
        assert_eq!(recv(at_site, piece.len()).escape_ascii().to_string(), piece.escape_ascii().to_string());
    }
    let at_site = at_site.expect("a connection");
    send(&at_site, b"HTTP/1.1 400 Bad Request\r\n\r\n");
    drop(at_site);
    assert!(recv_head(&visitor).starts_with("HTTP/1.1 400 "));
    assert!(recv_to_end(&visitor, STEP).0.is_empty());
    visitor.local_addr().expect("an address")
}

/// Whatever the server takes for a client, and whatever the pieces, as long as the first has what tells a header.
#[test]
fn an_untaken_header_is_told_in_every_mode_and_passed_on() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let (site, connections) = Backend::manual();
        let shadowsocks = Backend::echo();
        for mode in [
            "obfs=http".to_owned(),
            "obfs=http;obfs-uri=/a;obfs-host=a.example".to_owned(),
            "obfs=tls".to_owned(),
            "mode=auto;path=/a".to_owned(),
            format!("mode=auto;path=/a;obfs-tls-host=a.example;{}", certificate.for_server()),
            format!("mode=websocket;path=/a;failover-http={};{}", site.addr, certificate.for_server()),
            format!("mode=httpupgrade;path=/a;failover-http={};{}", site.addr, certificate.for_server()),
        ] {
            for fronts in OTHERS {
                let options = format!("{mode}{fronts};failover={}", site.addr);
                let server = server(Ours, shadowsocks.addr, &format!("{options};loglevel=debug"));
                let mut first = true;
                for (header, least) in [
                    (V1.to_vec(), 6),
                    (b"PROXY UNKNOWN\r\n".to_vec(), 6),
                    (b"PROXY TCP6 ::1 ::2 3 4\r\n".to_vec(), 6),
                    (v2_ipv4(), SIGNATURE.len()),
                    (v2(&[&[0x20, 0, 0, 0]]), SIGNATURE.len()),
                ] {
                    let whole = [&header[..], UPGRADE].concat();
                    for at in [whole.len(), header.len(), least + 1, least] {
                        let (one, other) = whole.split_at(at);
                        let sent: &[&[u8]] = if other.is_empty() { &[one] } else { &[one, other] };
                        let from = pieces(server.addr, &connections, sent);
                        let told = format!("DEBUG a PROXY header came that is not taken peer={from}");
                        server.child.wait_text(&told);
                        if std::mem::take(&mut first) {
                            let told = format!("WARN {} peer={from}", warning(VISITOR, fronts));
                            server.child.wait_text(&told);
                        }
                    }
                    // Less than that may be anything.
                    let (one, other) = whole.split_at(least - 1);
                    let from = pieces(server.addr, &connections, &[one, other]);
                    let ended = server.child.wait_text(&format!("peer={from} "));
                    assert!(!ended.contains("PROXY"), "{mode}: {ended}");
                }
                let lines = about_headers(&server.child);
                assert_eq!(lines.len(), 1 + 5 * 4, "{mode}{fronts}: {lines:#?}");
            }
        }
        assert_eq!(shadowsocks.accepted(), 0);
    });
}

/// The level is the default one.
#[test]
fn a_stranger_who_sends_a_hundred_headers_fills_no_log() {
    within(secs(60), || {
        let backend = Backend::echo();
        for fronts in OTHERS {
            // Its own website answers.
            let server = server(Ours, backend.addr, &format!("obfs=http{fronts}"));
            for turn in 0..50_u8 {
                for header in [V1.to_vec(), v2_ipv4()] {
                    // The last comes from another one.
                    let from = if turn < 49 { VISITOR } else { [127, 0, 0, 3].into() };
                    let stranger = connect_from(from, server.addr);
                    send(&stranger, &[&header[..], get("/").as_bytes()].concat());
                    assert!(recv_head(&stranger).starts_with("HTTP/1.1 400 "));
                }
            }
            server.child.signal(Signal::TERM);
            assert_eq!(server.child.wait_exit(secs(10)), Exit::Code(0));
            let lines = about_headers(&server.child);
            assert_eq!(lines.len(), 2, "{lines:#?}");
            let first = format!("WARN {} peer={VISITOR}:", warning(VISITOR, fronts));
            assert!(lines[0].contains(&first), "{lines:#?}");
            let more =
                "WARN 99 more PROXY headers that are not taken came within 60 s, the last from 127.0.0.3";
            assert!(lines[1].ends_with(more), "{lines:#?}");
        }
    });
}

/// Whose header is taken may say what it likes behind it; and what only looks like a header is none.
#[test]
fn nothing_is_told_of_headers_that_are_taken_nor_of_other_bytes() {
    within(secs(60), || {
        let behind = Behind::start("");
        let local = v2(&[&[0x20, 0, 0, 0]]);
        for header in [V1.to_vec(), v2_ipv4(), local] {
            for inner in [V1.to_vec(), v2_ipv4()] {
                let visitor = connect(behind.server.addr);
                send(&visitor, &[&header[..], &inner].concat());
                let at_site = next(&behind.connections);
                assert_eq!(recv(&at_site, inner.len()), inner);
                drop((visitor, at_site));
            }
            let tunnel = connect(behind.server.addr);
            send(&tunnel, &[&header[..], UPGRADE].concat());
            assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
        }
        for bytes in [&b"PROXY / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"PROXYING", b"\r\n\r\n\0\r\nQUIZ\n!"] {
            let from = pieces(behind.server.addr, &behind.connections, &[bytes]);
            behind.server.child.wait_text(&format!("peer={from} "));
        }
        assert_eq!(about_headers(&behind.server.child), Vec::<String>::new());
    });
}

/// The remedy that the line names is one.
#[test]
fn the_options_that_the_warning_names_take_the_header() {
    within(secs(60), || {
        let backend = Backend::echo();
        let without = server(Ours, backend.addr, "obfs=http");
        let (refused, own) = visit(without.addr, &String::from_utf8_lossy(&[V1, UPGRADE].concat()));
        assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
        let line = without.child.wait_text(&format!(" peer={own}"));
        let mut named = line.split('`').skip(1).step_by(2);
        let options = format!("obfs=http;{};{}", named.next().expect(&line), named.next().expect(&line));
        let with = server(Ours, backend.addr, &options);
        let tunnel = connect_from(VISITOR, with.addr);
        send(&tunnel, &[V1, UPGRADE].concat());
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
    });
}
