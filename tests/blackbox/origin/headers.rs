//! Headers by hand: in pieces, too slow, none at all, and from whom they are not believed.

use super::{Behind, UPGRADE, V1, VISITOR, get, v2, v2_ipv4};
use crate::fallback::compare::{Probe, Step, differences};
use crate::support::backend::{Backend, next};
use crate::support::conn::{
    End, assert_echo, connect, connect_from, fin, recv, recv_head, recv_to_end, send,
};
use crate::support::peers::need;
use crate::support::plugin::{Ours, server};
use crate::support::site::Site;
use crate::support::{STEP, secs, within};
use std::net::TcpStream;

/// The same with what proxies put behind it: a name (`PP2_TYPE_AUTHORITY`) and a padding of 1 KiB.
fn v2_with_more() -> Vec<u8> {
    let name: &[u8] = &[2, 0, 7, b'a', b'.', b'e', b'x', b'a', b'm', b'p'];
    let padding = [&[4, 4, 0][..], &[0; 1024]].concat();
    let length = u16::try_from(12 + name.len() + padding.len()).expect("a length").to_be_bytes();
    v2(&[&[0x21, 0x11], &length, &v2_ipv4()[16..], name, &padding])
}

/// Whatever the pieces: the stream begins right behind the header, for tunnels and for visitors.
#[test]
fn a_header_may_come_in_any_pieces() {
    within(secs(90), || {
        let behind = Behind::start("failover-proxy=v1");
        for header in [V1.to_vec(), v2_ipv4(), v2_with_more()] {
            for step in [1, 15, 16, 17, usize::MAX] {
                // A byte at a time of the largest one says nothing new.
                if step == 1 && header.len() > 100 {
                    continue;
                }
                let pieces = |stream: &TcpStream, payload: &[u8]| {
                    let bytes = [header.as_slice(), payload].concat();
                    bytes.chunks(step.min(bytes.len())).for_each(|piece| send(stream, piece));
                };
                let tunnel = connect(behind.server.addr);
                pieces(&tunnel, &[UPGRADE, b"hello"].concat());
                assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
                assert_eq!(recv(&tunnel, 5), b"hello");

                let visitor = connect(behind.server.addr);
                let request = get("/");
                pieces(&visitor, request.as_bytes());
                let at_site = next(&behind.connections);
                assert_eq!(recv(&at_site, V1.len()), V1);
                assert_eq!(recv(&at_site, request.len()), request.as_bytes());
            }
        }
        // A pause within the header, longer than that after which sites are dialled.
        let visitor = connect(behind.server.addr);
        send(&visitor, &V1[..20]);
        std::thread::sleep(secs(1));
        send(&visitor, &[&V1[20..], b"GET / HTTP/1.1\r\n\r\n"].concat());
        let at_site = next(&behind.connections);
        assert_eq!(recv(&at_site, V1.len() + 18), [V1, b"GET / HTTP/1.1\r\n\r\n"].concat());
        behind.server.child.wait_text("tunnel ended");
        behind
            .server
            .child
            .wait_line("the visitor", |line| line.contains("peer=203.0.113.7:51234 via 127.0.0.1:"));
    });
}

/// The proxy speaks for itself, or does not tell: the socket's own ends are the visitor's.
#[test]
fn local_and_unknown_are_the_sockets_own() {
    within(secs(60), || {
        let behind = Behind::start("failover-proxy=v1");
        let local = v2(&[&[0x20, 0x11, 0, 12], &v2_ipv4()[16..]]);
        let unix = v2(&[&[0x21, 0x31, 0, 216], &[b'/'; 216]]);
        for header in [
            v2(&[&[0x20, 0, 0, 0]]),
            local,
            unix,
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN ::1 ::2 3 4\r\n".to_vec(),
        ] {
            let visitor = connect(behind.server.addr);
            send(&visitor, &[header.as_slice(), get("/").as_bytes()].concat());
            let own = visitor.local_addr().expect("an address").port();
            let wanted = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {own} {}\r\n", behind.server.addr.port());
            let at_site = next(&behind.connections);
            assert_eq!(recv(&at_site, wanted.len()), wanted.as_bytes());
        }
    });
}

/// From a trusted address there is a header or there is nothing: the connection is closed, and the log
/// says what came in its stead.
#[test]
fn without_a_header_a_trusted_connection_is_closed() {
    within(secs(60), || {
        let behind = Behind::start("");
        for (bytes, told) in [
            (get("/").into_bytes(), "begins with `GET /…`"),
            (UPGRADE.to_vec(), "begins with `GET /…`"),
            (b"\x16\x03\x01\x02\x00\x01".to_vec(), r"\x16\x03\x01"),
            (b"\r\n\r\n\0\r\nQUIZ\n".to_vec(), r"\r\n\r\n\x00\r\nQUIZ\n"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 9 65536\r\n".to_vec(), "PROXY TCP4 1.2.3.4 5.6.7.8 9 65536"),
            (b"PROXY TCP5 1.2.3.4 5.6.7.8 9 10\r\n".to_vec(), "PROXY TCP5"),
            (format!("PROXY UNKNOWN {}", "x".repeat(200)).into_bytes(), "more than 107 bytes"),
            (v2(&[&[0x22, 0x11, 0, 0]]), "0x22"),
            (v2(&[&[0x21, 0x11, 0, 11]]), "too few"),
            (v2(&[&[0x21, 0x11, 0xff, 0xff]]), "4096"),
        ] {
            let visitor = connect(behind.server.addr);
            send(&visitor, &bytes);
            let (answer, end) = recv_to_end(&visitor, STEP);
            assert!(answer.is_empty() && end != End::Open, "{told}: {end:?} after {answer:?}");
            let own = visitor.local_addr().expect("an address");
            let line = behind.server.child.wait_line(told, |line| line.contains(&format!("peer={own} ")));
            assert!(line.contains("WARN") && line.contains(told), "{told}: {line}");
            assert!(line.contains("proxy-protocol"), "{line}");
        }
        // Half a header, and no more to come.
        let visitor = connect(behind.server.addr);
        send(&visitor, &V1[..20]);
        fin(&visitor);
        assert_ne!(recv_to_end(&visitor, STEP).1, End::Open);
        behind
            .server
            .child
            .wait_line("the cut", |line| line.contains("WARN") && line.contains("after `PROXY TCP4"));
        // Somebody only looks whether the port answers: not worth a warning.
        let look = connect(behind.server.addr);
        let own = look.local_addr().expect("an address");
        drop(look);
        let line = behind.server.child.wait_text(&format!("peer={own} "));
        assert!(line.contains("DEBUG"), "{line}");

        assert_eq!(behind.shadowsocks.accepted(), 0);
        assert!(behind.connections.try_recv().is_err(), "the site was dialled");
        // And with one all is well.
        let tunnel = connect(behind.server.addr);
        send(&tunnel, &[V1, UPGRADE].concat());
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
        assert_echo(&tunnel, b"hello");
    });
}

/// Headers that never end, byte by byte or not at all.
#[test]
fn a_header_that_does_not_end_is_not_waited_for() {
    within(secs(90), || {
        let behind = Behind::start("");
        std::thread::scope(|scope| {
            for (start, trickle) in [
                (Vec::new(), 0),
                (b"PROXY ".to_vec(), 0),
                (b"PROXY UNKNOWN ".to_vec(), 60),
                (v2(&[&[0x21, 0x11, 0x0f, 0xf0]]), 1000),
            ] {
                let addr = behind.server.addr;
                scope.spawn(move || {
                    let visitor = connect(addr);
                    send(&visitor, &start);
                    let writer = visitor.try_clone().expect("the same connection");
                    let (trickling, done) = std::sync::mpsc::channel::<()>();
                    std::thread::spawn(move || {
                        for _ in 0..trickle {
                            // The pace is the stimulus: one who goes on and on.
                            let pause = done.recv_timeout(std::time::Duration::from_millis(500));
                            if pause == Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
                                || std::io::Write::write_all(&mut &writer, b"x").is_err()
                            {
                                return;
                            }
                        }
                    });
                    let (answer, end) = recv_to_end(&visitor, secs(45));
                    assert!(
                        answer.is_empty() && end != End::Open,
                        "{:?}: {end:?}",
                        start.escape_ascii().to_string()
                    );
                    drop(trickling);
                    let own = visitor.local_addr().expect("an address");
                    (own, start)
                });
            }
        });
        for told in ["`` came within", "`PROXY ` came", "`PROXY UNKNOWN xx", r"QUIT\n!\x11\x0f\xf0xx"] {
            behind.server.child.wait_line(told, |line| line.contains("WARN") && line.contains(told));
        }
        assert_eq!(behind.shadowsocks.accepted(), 0);
        assert!(behind.connections.try_recv().is_err(), "the site was dialled");
    });
}

/// To everybody else the option is not there: a header is what a website makes of those bytes.
#[test]
fn a_header_from_elsewhere_is_a_visitors() {
    within(secs(90), || {
        need!("nginx");
        let (site, backend) = (Site::start(), Backend::echo());
        // Trusted are others, near as they may be.
        let trusted = "trusted=127.0.0.2,127.0.0.8/29|::1;trusted=10.0.0.0/8";
        let options = format!("obfs=http;failover={};proxy-protocol=in;{trusted}", site.addr);
        let server = server(Ours, backend.addr, &options);
        let mut probes = Vec::new();
        let mut probe = |name: &str, bytes: &[u8]| {
            probes.push(Probe { name: name.to_owned(), steps: vec![Step::Send(bytes.to_vec()), Step::Fin] });
            probes.push(Probe { name: format!("{name}, open"), steps: vec![Step::Send(bytes.to_vec())] });
        };
        for (name, header) in [("v1", V1.to_vec()), ("v2", v2_ipv4()), ("v2, half", v2_ipv4()[..14].to_vec())]
        {
            probe(name, &header);
            probe(&format!("{name} and a request"), &[header.as_slice(), get("/").as_bytes()].concat());
            probe(&format!("{name} and an upgrade"), &[header.as_slice(), UPGRADE].concat());
        }
        probe("the word", b"PROXY");
        probe("LOCAL", &v2(&[&[0x20, 0, 0, 0]]));
        let found = differences(site.addr, server.addr, &probes);
        assert!(found.is_empty(), "{}", found.join("\n"));
        assert_eq!(backend.accepted(), 0);
        // Who is trusted is believed, at the same port; who is not needs no header.
        for source in [VISITOR, [127, 0, 0, 15].into()] {
            let tunnel = connect_from(source, server.addr);
            send(&tunnel, &[V1, UPGRADE].concat());
            assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "), "{source}");
        }
        let tunnel = connect(server.addr);
        send(&tunnel, UPGRADE);
        assert!(recv_head(&tunnel).starts_with("HTTP/1.1 101 "));
    });
}
