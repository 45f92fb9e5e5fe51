//! What was said in a tunnel that is over arrives, though its way is slow: quinn sends it on, not the system.

use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{connect, fin, recv_to_end, send};
use crate::support::peers::need;
use crate::support::quic::{App, client, for_server, our_server};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, noise, secs, within};
use rustix::process::Signal;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

/// A way to this server on which some datagrams a millisecond get through, in both directions.
fn slow_way(server: SocketAddr) -> SocketAddr {
    let near = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let far = UdpSocket::bind("127.0.0.1:0").expect("a port");
    far.connect(server).expect("the server's");
    let addr = near.local_addr().expect("its address");
    let (near_too, far_too) = (near.try_clone().expect("a socket"), far.try_clone().expect("a socket"));
    let (client, clients) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok((len, from)) = near.recv_from(&mut bytes) {
            let _ = client.send(from);
            // (the pace of the way is what is tested, and no event)
            std::thread::sleep(Duration::from_millis(2));
            let _ = far.send(&bytes[..len]);
        }
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 65_536];
        let mut to = clients.recv().expect("a client");
        while let Ok(len) = far_too.recv(&mut bytes) {
            to = clients.try_iter().last().unwrap_or(to);
            let _ = near_too.send_to(&bytes[..len], to);
        }
    });
    addr
}

/// The host ends the client when its application has said all: it arrives nevertheless.
#[test]
fn the_tail_of_an_upload_arrives_though_the_client_is_told_to_end() {
    within(secs(60), || {
        need!("openssl");
        let (certificate, (sender, received)) = (Certificate::new(NAME), mpsc::channel());
        // It ends its direction at once, so that the tunnel is over when the application has said all.
        let backend = Backend::serve(move |stream| {
            fin(&stream);
            let _ = sender.send(recv_to_end(&stream, secs(30)).0.len());
        });
        let server = our_server(backend.addr, &for_server(&certificate));
        let client = client(App::Ours, slow_way(server.addr), &certificate);
        let app = connect(client.addr);
        let payload = noise(400_000, 1);
        send(&app, &payload);
        fin(&app);
        assert_eq!(recv_to_end(&app, STEP).0, b"");
        client.child.signal(Signal::TERM);
        assert_eq!(client.child.wait_exit(secs(8)), Exit::Code(0), "{}", client.child.show_log());
        assert_eq!(received.recv_timeout(STEP), Ok(payload.len()), "{}", client.child.show_log());
    });
}
