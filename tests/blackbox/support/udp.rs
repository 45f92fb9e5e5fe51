//! UDP: what stands at both ends of it, and our halves with the option `udp`.

use super::backend::Backend;
use super::plugin::{self, Ours, Plugin};
use super::ports::free_port;
use super::quic::{self, wait_bound};
use super::v2ray::{Certificate, NAME};
use super::{STEP, millis, noise, secs};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// What carries packets between the halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Mux.Cool in WebSocket.
    Mux,
    /// A WebSocket connection a source.
    WebSocket,
    /// Mux.Cool in gRPC.
    Grpc,
    /// Datagrams of QUIC.
    Quic,
}

impl Carrier {
    /// The options of both halves, the server's first, without the certificate's.
    fn options(self, certificate: &Certificate) -> [String; 2] {
        match self {
            Carrier::Mux => ["path=/p".to_owned(), "mode=websocket;path=/p;mux=1".to_owned()],
            Carrier::WebSocket => ["path=/p".to_owned(), "mode=websocket;path=/p;mux=0".to_owned()],
            Carrier::Grpc => ["mode=grpc;serviceName=s", "mode=grpc;serviceName=s"].map(str::to_owned),
            Carrier::Quic => [quic::for_server(certificate), quic::for_client(certificate)],
        }
    }
}

/// client → server → Shadowsocks's port.
pub struct Pair {
    pub client: Plugin,
    pub server: Plugin,
    _certificate: Certificate,
}

impl Pair {
    /// Both halves take UDP.
    #[track_caller]
    pub fn start(carrier: Carrier, backend: SocketAddr) -> Pair {
        Pair::with(carrier, backend, ";udp", ";udp")
    }

    /// With more options for the server, and for the client.
    #[track_caller]
    pub fn with(carrier: Carrier, backend: SocketAddr, of_server: &str, of_client: &str) -> Pair {
        let certificate = Certificate::new(NAME);
        let [server, client] = carrier.options(&certificate);
        let server = format!("{server}{of_server}");
        let server = match carrier {
            Carrier::Quic => quic::our_server(backend, &server),
            _ => plugin::server(Ours, backend, &server),
        };
        let client = plugin::client(Ours, server.addr, &format!("{client}{of_client}"));
        if of_client.contains("udp") {
            wait_bound(&client.child, client.addr.port());
        }
        Pair { client, server, _certificate: certificate }
    }

    pub fn logs(&self) -> String {
        [&self.client.child, &self.server.child].map(|child| child.show_log()).join("\n")
    }
}

/// What answers each packet with itself, on a port where TCP is echoed, too.
pub struct Echo {
    pub addr: SocketAddr,
    _tcp: Backend,
    received: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Echo {
    pub fn start() -> Echo {
        Echo::answering(true)
    }

    /// One that takes packets and never answers any.
    pub fn silent() -> Echo {
        Echo::answering(false)
    }

    fn answering(answers: bool) -> Echo {
        // Below the range in which sources come to be.
        let tcp = Backend::echo_on(SocketAddr::from(([127, 0, 0, 1], free_port())));
        let socket = UdpSocket::bind(tcp.addr).expect("the UDP port of that number");
        socket.set_read_timeout(Some(millis(200))).expect("a limit");
        let (received, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (received.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut packet = vec![0; 65_536];
            while !stopped.load(Ordering::SeqCst) {
                let Ok((len, from)) = socket.recv_from(&mut packet) else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                if answers {
                    let _ = socket.send_to(&packet[..len], from);
                }
            }
        });
        Echo { addr: tcp.addr, _tcp: tcp, received, stop }
    }

    /// How many packets came.
    pub fn received(&self) -> usize {
        self.received.load(Ordering::SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// A socket of a source that speaks to this address alone.
#[track_caller]
pub fn source(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a source");
    socket.connect(to).expect("a peer");
    socket.set_read_timeout(Some(STEP)).expect("a limit");
    socket
}

/// The next packet, or why there is none.
pub fn next(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let mut packet = vec![0; 65_536];
    let len = socket.recv(&mut packet)?;
    packet.truncate(len);
    Ok(packet)
}

/// Sends a packet until it is answered with itself: the first ones of a source may come before there is a connection.
/// Answers to earlier attempts may come after it.
#[track_caller]
pub fn reach(socket: &UdpSocket, packet: &[u8]) {
    socket.set_read_timeout(Some(secs(2))).expect("a limit");
    for _ in 0..10 {
        socket.send(packet).expect("send a packet");
        match next(socket) {
            Ok(answer) => {
                assert!(answer == packet, "another packet came back");
                socket.set_read_timeout(Some(STEP)).expect("a limit");
                return;
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(e) => panic!("a source hears {e}"),
        }
    }
    panic!("no packet is answered");
}

/// Sends a packet and takes the answer, which must be the same.
#[track_caller]
pub fn assert_echoed(socket: &UdpSocket, packet: &[u8]) {
    socket.send(packet).expect("send a packet");
    match next(socket) {
        Ok(answer) => super::assert_same(&format!("a packet of {}", packet.len()), &answer, packet),
        Err(e) => panic!("a packet of {} bytes is not answered: {e}", packet.len()),
    }
}

/// A packet of this length, unlike any other.
pub fn packet(len: usize) -> Vec<u8> {
    noise(len, len as u64 + 1)
}
