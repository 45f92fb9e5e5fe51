//! What the website is told, to the byte: of visitors in IPv6, of silent ones; and Shadowsocks nothing.

use super::{Behind, SIGNATURE, UPGRADE, V1, VISITOR, v2};
use crate::support::backend::{Backend, next};
use crate::support::conn::{connect, connect_from, recv, recv_head, recv_to_end, send};
use crate::support::plugin::{Ours, Vars, client, our_path, server, start};
use crate::support::ports::free_port;
use crate::support::{STEP, noise, secs, within};
use std::net::{Ipv6Addr, SocketAddr};

/// IPv6 from end to end, and IPv4 on a socket for both.
#[test]
fn ipv6_is_told_and_understood() {
    within(secs(60), || {
        let (site, connections) = Backend::manual();
        let backend = Backend::echo();
        let from: SocketAddr = "[2001:db8::7]:51234".parse().expect("an address");
        let (source, destination) = (
            "2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets(),
            "2001:db8::1".parse::<Ipv6Addr>().expect("an address").octets(),
        );
        let v1 = b"PROXY TCP6 2001:db8::7 2001:db8::1 51234 443\r\n";
        let v2 = v2(&[&[0x21, 0x21, 0, 36], &source, &destination, &[0xc8, 0x22], &[0x01, 0xbb]]);
        for (version, told) in [("v1", v1.to_vec()), ("v2", v2.clone())] {
            let port = free_port();
            let options = format!(
                "server;obfs=http;failover={};failover-proxy={version};loglevel=debug;\
                 proxy-protocol=in;trusted=[::1],127.0.0.0/31",
                site.addr
            );
            let vars = Vars {
                remote: ("::".into(), port),
                local: ("127.0.0.1".into(), backend.addr.port()),
                options,
            };
            let server = start("the server", our_path(), &vars, port);
            for addr in [SocketAddr::from((Ipv6Addr::LOCALHOST, port)), server.addr] {
                for header in [v1.to_vec(), v2.clone()] {
                    let visitor = connect(addr);
                    send(&visitor, &[header.as_slice(), b"GET / HTTP/1.1\r\n\r\n"].concat());
                    let at_site = next(&connections);
                    assert_eq!(recv(&at_site, told.len()), told);
                    assert_eq!(recv_head(&at_site), "GET / HTTP/1.1\r\n\r\n");
                    drop((visitor, at_site));
                    let named =
                        format!("peer={from} via {}:", if addr.is_ipv6() { "[::1]" } else { "127.0.0.1" });
                    server.child.wait_text(&named);
                }
            }
            // IPv4 that is not trusted is told as IPv4.
            let visitor = connect_from(VISITOR, server.addr);
            send(&visitor, b"GET / HTTP/1.1\r\n\r\n");
            let at_site = next(&connections);
            let own = visitor.local_addr().expect("an address");
            let told = match version {
                "v1" => format!("PROXY TCP4 {VISITOR} 127.0.0.1 {} {port}\r\n", own.port()).into_bytes(),
                _ => [
                    SIGNATURE,
                    &[0x21, 0x11, 0, 12, 127, 0, 0, 2, 127, 0, 0, 1],
                    &own.port().to_be_bytes(),
                    &port.to_be_bytes(),
                ]
                .concat(),
            };
            assert_eq!(recv(&at_site, told.len()), told);
            drop((visitor, at_site));
            server.child.wait_text(&format!("peer={own} "));
        }
    });
}

/// A visitor that says nothing: the site is told who it is while nobody knows yet what it wants, so that
/// its clock runs from then. Once only, and Shadowsocks never.
#[test]
fn the_site_is_told_of_a_silent_visitor_at_once() {
    within(secs(60), || {
        let behind = Behind::start("failover-proxy=v1");
        // The proxy's header is all that comes, or a little more.
        for silent_after in [0, 10] {
            let open = || {
                let visitor = connect(behind.server.addr);
                send(&visitor, &[V1, &UPGRADE[..silent_after]].concat());
                let at_site = next(&behind.connections);
                assert_eq!(recv(&at_site, V1.len()), V1);
                (visitor, at_site)
            };
            // A client after all: nothing was decided when the site was told.
            let (client, at_site) = open();
            send(&client, &[&UPGRADE[silent_after..], b"hello"].concat());
            assert!(recv_head(&client).starts_with("HTTP/1.1 101 "));
            assert_eq!(recv(&client, 5), b"hello");
            assert!(recv_to_end(&at_site, STEP).0.is_empty());

            let (visitor, at_site) = open();
            let request = [&UPGRADE[..silent_after], b" HTTP/1.1\r\n\r\n"].concat();
            send(&visitor, &request[silent_after..]);
            assert_eq!(recv(&at_site, request.len()), request);
            send(&at_site, b"HTTP/1.1 204 No Content\r\n\r\n");
            assert_eq!(recv_head(&visitor), "HTTP/1.1 204 No Content\r\n\r\n");
        }
        assert_eq!(behind.shadowsocks.accepted(), 2);
    });
}

/// The website alone is told: through a pair of ours, what arrives is what was sent.
#[test]
fn shadowsocks_is_told_nothing() {
    within(secs(60), || {
        let (site, _connections) = Backend::manual();
        for disguise in ["obfs=http", "obfs=tls", "mode=websocket", "mode=httpupgrade"] {
            let (shadowsocks, connections) = Backend::manual();
            let options = format!("{disguise};failover={};failover-proxy=v1", site.addr);
            let server = server(Ours, shadowsocks.addr, &options);
            let client = client(Ours, server.addr, disguise);
            let application = connect(client.addr);
            let payload = noise(2000, 3);
            send(&application, &payload);
            let at_shadowsocks = next(&connections);
            assert_eq!(recv(&at_shadowsocks, payload.len()), payload, "{disguise}");
        }
        assert_eq!(site.accepted(), 0);
    });
}
