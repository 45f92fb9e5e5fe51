//! Frames of Mux.Cool that are made by hand, against our server.

use crate::support::plugin::{Ours, Plugin, server};
use crate::support::udp::Echo;
use crate::support::websocket::mux::{self, END, KEEP};
use crate::support::websocket::{Ws, frame};
use crate::support::{STEP, assert_same, eventually, noise, secs, within};

fn echo_server() -> (Echo, Plugin) {
    let echo = Echo::start();
    let server = server(Ours, echo.addr, "mode=websocket;udp");
    (echo, server)
}

fn open_files(plugin: &Plugin) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", plugin.child.pid())).expect("its descriptors").count()
}

/// A new session for packets to an address of these bytes (port, kind, address), with a packet.
fn open_to(id: u16, address: &[u8], data: &[u8]) -> Vec<u8> {
    let mut frame = ((5 + address.len()) as u16).to_be_bytes().to_vec();
    frame.extend_from_slice(&id.to_be_bytes());
    frame.extend_from_slice(&[1, 1, 2]);
    frame.extend_from_slice(address);
    frame.extend_from_slice(&(data.len() as u16).to_be_bytes());
    frame.extend_from_slice(data);
    frame
}

#[test]
fn a_session_without_data_is_taken() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open_udp(1));
        ws.send_mux(&mux::keep(1, b"a packet"));
        assert_eq!(ws.mux().data, b"a packet");
    });
}

/// Whatever a session says of its target, in *new* and in *keep*, packets go to our backend.
#[test]
fn a_target_of_its_own_is_never_followed() {
    within(secs(60), || {
        let (echo, server) = echo_server();
        let elsewhere = Echo::start();
        let port = elsewhere.addr.port().to_be_bytes();
        let mut ws = Ws::open(server.addr, "/");
        let v4 = [&port[..], &[1, 127, 0, 0, 1]].concat();
        let name = [&port[..], &[2, 9], b"localhost"].concat();
        let v6 = [&port[..], &[3], &std::net::Ipv6Addr::LOCALHOST.octets()].concat();
        for (id, address) in [(1, &v4), (2, &name), (3, &v6)] {
            ws.send_mux(&open_to(id, address, b"where am I?"));
            let frame = ws.mux();
            assert_eq!((frame.id, frame.status, &frame.data[..]), (id, KEEP, &b"where am I?"[..]));
        }
        // XUDP: each packet with a target of its own.
        let mut keep = vec![0, (4 + 1 + v4.len()) as u8, 0, 1, KEEP, 1, 2];
        keep.extend_from_slice(&v4);
        keep.extend_from_slice(&[0, 4]);
        keep.extend_from_slice(b"XUDP");
        ws.send_mux(&keep);
        assert_eq!(ws.mux().data, b"XUDP");
        assert_eq!((echo.received(), elsewhere.received()), (4, 0));
    });
}

/// A packet that no UDP carries is dropped, and the connection stays.
#[test]
fn a_packet_that_is_too_long_for_udp_is_dropped() {
    within(secs(60), || {
        let (echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open_udp(1));
        ws.send_mux(&mux::keep(1, &noise(65_535, 1)));
        ws.send_mux(&mux::keep(1, &noise(2000, 2)));
        assert_same("the next", &ws.mux().data, &noise(2000, 2));
        assert_eq!(echo.received(), 1);
    });
}

/// Sessions of one connection, as many as v2ray never has; each is answered, ended, and its socket gone.
#[test]
fn many_sessions_share_a_connection_and_their_ends_free_the_sockets() {
    within(secs(60), || {
        // Ids go to here: a connection has 256 at a time.
        const SESSIONS: u16 = 257;
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open_udp(1));
        ws.send_mux(&mux::keep(1, b"one"));
        assert_eq!(ws.mux().data, b"one");
        let one = open_files(&server);
        for id in 2..SESSIONS {
            ws.send_mux(&mux::open_udp(id));
            ws.send_mux(&mux::keep(id, &id.to_be_bytes()));
            let frame = ws.mux();
            assert_eq!((frame.id, &frame.data[..]), (id, &id.to_be_bytes()[..]));
        }
        assert!(open_files(&server) > one);
        for id in SESSIONS..300 {
            ws.send_mux(&mux::open_udp(id));
            let frame = ws.mux();
            // (an error would say that there is no UDP here)
            assert_eq!((frame.id, frame.status, frame.option), (id, END, 0), "one too many ends alone");
        }
        for id in 2..SESSIONS {
            ws.send_mux(&mux::end(id));
            let frame = ws.mux();
            assert_eq!((frame.id, frame.status), (id, END));
        }
        assert!(eventually(STEP, || open_files(&server) <= one), "{} descriptors", open_files(&server));
        ws.send_mux(&mux::keep(1, b"still"));
        assert_eq!(ws.mux().data, b"still");
    });
}

/// The connection ends within a frame: what is not whole is no packet.
#[test]
fn a_packet_that_is_cut_is_none() {
    within(secs(60), || {
        let (echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::open_udp(1));
        ws.send_mux(&mux::keep(1, b"whole"));
        assert_eq!(ws.mux().data, b"whole");
        let files = open_files(&server);
        let cut = frame(0x82, &mux::keep(1, &noise(1000, 1)));
        ws.send_raw(&cut[..cut.len() / 2]);
        drop(ws);
        assert!(eventually(STEP, || open_files(&server) < files), "{}", server.child.show_log());
        assert_eq!(echo.received(), 1);
    });
}
