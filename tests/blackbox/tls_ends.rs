//! Ends of TLS connections: whatever a peer says behind its close_notify, and wherever it says it, everybody
//! else is served on, and the process ends when it is told to.

use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{End, assert_echo, connect, prepare, recv_to_end, send};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, client, server};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, noise, secs, within};
use obfs_rs::transport::tls::NoCertificateVerification;
use obfs_rs::wire::websocket::accept_key;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// More than rustls takes at once, and than anybody's buffer for it.
const BEHIND: usize = 20_000;

/// A peer whose every byte on the wire is the test's to choose.
struct Peer {
    tcp: TcpStream,
    tls: Connection,
}

impl Peer {
    fn client(addr: SocketAddr, versions: &[&'static rustls::SupportedProtocolVersion]) -> Peer {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(NoCertificateVerification))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(NAME).expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a client");
        Peer { tcp: connect(addr), tls: tls.into() }
    }

    fn server(tcp: TcpStream, certificate: &Certificate) -> Peer {
        let chain = CertificateDer::pem_file_iter(&certificate.cert).expect("a file");
        let chain = chain.collect::<Result<Vec<_>, _>>().expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(&certificate.key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a pair");
        let tls = ServerConnection::new(Arc::new(config)).expect("a server");
        prepare(&tcp);
        Peer { tcp, tls: tls.into() }
    }

    /// What there is to say in TLS, and `behind`, in one write.
    fn say(&mut self, behind: &[u8]) {
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).expect("a vector takes all");
        }
        wire.extend_from_slice(behind);
        // A peer that has had enough may have gone.
        let _ = self.tcp.write_all(&wire);
    }

    fn handshake(&mut self) {
        while self.tls.is_handshaking() {
            self.say(&[]);
            if self.tls.wants_read() && self.tls.is_handshaking() {
                assert_ne!(self.tls.read_tls(&mut self.tcp).expect("the peer's words"), 0);
                self.tls.process_new_packets().expect("the peer's TLS");
            }
        }
    }

    /// Reads until something has come inside.
    fn hear(&mut self) -> Vec<u8> {
        let mut inside = vec![0; 16 * 1024];
        loop {
            match self.tls.reader().read(&mut inside) {
                Ok(n) => {
                    inside.truncate(n);
                    return inside;
                }
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            self.say(&[]);
            assert_ne!(self.tls.read_tls(&mut self.tcp).expect("the peer's words"), 0);
            self.tls.process_new_packets().expect("the peer's TLS");
        }
    }

    /// Says close_notify, and more behind it.
    fn close_and_go_on(&mut self) {
        self.tls.send_close_notify();
        self.say(&[0; BEHIND]);
    }

    /// The other end closes.
    fn assert_ends(&self) {
        let (_, end) = recv_to_end(&self.tcp, STEP);
        assert_ne!(end, End::Open);
    }
}

/// The child serves others, and ends when it is asked to.
fn assert_well(plugin: &Plugin, others: impl Fn()) {
    others();
    plugin.child.signal(Signal::TERM);
    let exit = plugin.child.wait_exit(STEP);
    assert_eq!(exit, Exit::Code(0), "{}", plugin.child.show_log());
}

const UPGRADE: &[u8] = b"GET /s3cret HTTP/1.1\r\nHost: live.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

const VISIT: &[u8] = b"GET / HTTP/1.1\r\nHost: live.example.com\r\n\r\n";

#[test]
fn bytes_behind_a_visitors_close_notify_harm_nobody() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let both: [&'static rustls::SupportedProtocolVersion; 2] =
            [&rustls::version::TLS12, &rustls::version::TLS13];
        for version in both {
            for request in [&b""[..], VISIT, UPGRADE] {
                let echo = Backend::echo();
                let options = format!("mode=websocket;path=/s3cret;{}", certificate.for_server());
                let server = server(Ours, echo.addr, &options);
                // With the last words of the handshake, with a request, and after the answer to one.
                for after_answer in [false, true] {
                    if request.is_empty() && after_answer {
                        continue;
                    }
                    let mut peer = Peer::client(server.addr, &[version]);
                    peer.handshake();
                    peer.tls.writer().write_all(request).expect("room");
                    if after_answer {
                        peer.say(&[]);
                        assert!(peer.hear().starts_with(b"HTTP/1.1 "));
                    }
                    peer.close_and_go_on();
                    peer.assert_ends();
                }
                let options = format!("mode=websocket;path=/s3cret;mux=0;{}", certificate.for_client());
                let client = client(Ours, server.addr, &options);
                assert_well(&server, || assert_echo(&connect(client.addr), &noise(100_000, 1)));
            }
        }
    });
}

/// An alert in the clear needs no keys: everybody on the way can write one.
#[test]
fn close_notify_in_the_clear_with_the_hello_harms_nobody() {
    within(secs(60), || {
        need!("openssl");
        const CLOSE_NOTIFY: &[u8] = &[21, 3, 3, 0, 2, 1, 0];
        let certificate = Certificate::new(NAME);
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, &format!("mode=websocket;{}", certificate.for_server()));
        for (split, length) in [(false, 6_000), (false, BEHIND), (true, BEHIND), (true, 0)] {
            let behind = [CLOSE_NOTIFY, &vec![0; length]].concat();
            let mut peer = Peer::client(server.addr, &[&rustls::version::TLS13]);
            peer.say(if split { &[] } else { &behind });
            if split {
                // The server's flight has come, so the hello has been dealt with alone.
                assert_ne!(peer.tls.read_tls(&mut peer.tcp).expect("a flight"), 0);
                send(&peer.tcp, &behind);
            }
            peer.assert_ends();
        }
        let client = client(Ours, server.addr, &format!("mode=websocket;mux=0;{}", certificate.for_client()));
        assert_well(&server, || assert_echo(&connect(client.addr), &noise(100_000, 1)));
    });
}

/// Serves TLS connections, each on a thread of its own.
fn tls_server(certificate: &Arc<Certificate>, serve: impl Fn(Peer) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (certificate, serve) = (Arc::clone(certificate), Arc::new(serve));
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            let (certificate, serve) = (Arc::clone(&certificate), Arc::clone(&serve));
            std::thread::spawn(move || {
                let mut peer = Peer::server(tcp, &certificate);
                peer.handshake();
                serve(peer);
            });
        }
    });
    addr
}

#[test]
fn bytes_behind_a_servers_close_notify_do_not_hold_up_a_client() {
    within(secs(60), || {
        need!("openssl");
        let certificate = Arc::new(Certificate::new(NAME));
        for (mux, grants) in [(0, false), (0, true), (1, false), (1, true)] {
            let addr = tls_server(&certificate, move |mut peer| {
                let request = String::from_utf8(peer.hear()).expect("a head");
                assert!(request.starts_with("GET "));
                if grants {
                    let key = request.split("Sec-WebSocket-Key: ").nth(1).expect("a key");
                    let accept = accept_key(key.split("\r\n").next().unwrap_or_default().as_bytes());
                    let answer = format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    );
                    peer.tls.writer().write_all(answer.as_bytes()).expect("room");
                    peer.say(&[]);
                    // The app's bytes: the tunnel stands.
                    assert!(!peer.hear().is_empty());
                }
                peer.close_and_go_on();
                let _ = recv_to_end(&peer.tcp, STEP);
            });
            let client =
                client(Ours, addr, &format!("mode=websocket;mux={mux};{}", certificate.for_client()));
            assert_well(&client, || {
                for _ in 0..2 {
                    let app = connect(client.addr);
                    send(&app, b"hello");
                    let (got, end) = recv_to_end(&app, STEP);
                    assert!(got.is_empty() && end != End::Open, "mux={mux}, grants={grants}: {end:?}");
                }
            });
        }
    });
}

#[test]
fn bytes_behind_a_websites_close_notify_do_not_hold_up_its_visitors() {
    within(secs(60), || {
        need!("openssl", "curl");
        const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        let certificate = Arc::new(Certificate::new(NAME));
        let site = tls_server(&certificate, |mut peer| {
            assert!(peer.hear().starts_with(b"GET "));
            peer.tls.writer().write_all(ANSWER).expect("room");
            peer.close_and_go_on();
            let _ = recv_to_end(&peer.tcp, STEP);
        });
        let echo = Backend::echo();
        let options = format!("mode=websocket;path=/s3cret;failover-tls={site};{}", certificate.for_server());
        let server = server(Ours, echo.addr, &options);
        assert_well(&server, || {
            for _ in 0..3 {
                let url = format!("https://{NAME}:{}/", server.addr.port());
                let resolve = format!("{NAME}:{}:127.0.0.1", server.addr.port());
                let page = curl(&["-k", "--http1.1", "--resolve", &resolve, &url]);
                assert_eq!(page.body, b"hi");
            }
        });
    });
}
