//! Real clients and servers at one port.

use super::*;
use crate::net::addr::HostPort;
use crate::net::options::SocketOptions;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, EndpointConfig, Runtime as _, ServerConfig, TokioRuntime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello as Hello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::UdpSocket;

/// Shows some bytes as its certificate, by which the test knows it.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _: Hello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Takes any certificate.
#[derive(Debug)]
struct TakesAny;

impl ServerCertVerifier for TakesAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

fn server_config(certificate: &'static [u8]) -> ServerConfig {
    // An Ed25519 key (RFC 8410) is any bytes behind this.
    let key = [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &[7; 32]].concat();
    let key = ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(key)).unwrap();
    let shown = CertifiedKey::new(vec![CertificateDer::from(certificate)], key);
    let mut tls = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(shown))));
    tls.alpn_protocols = vec![b"h3".to_vec()];
    ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

/// A client whose hello is longer by so much.
fn client_config(padding: usize) -> ClientConfig {
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TakesAny))
        .with_no_client_auth();
    tls.alpn_protocols =
        std::iter::once(b"h3".to_vec()).chain((0..padding / 100).map(|_| vec![b'x'; 99])).collect();
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

fn any_port() -> std::net::UdpSocket {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap()
}

/// Sends back what comes in each stream; where it `retries`, to those alone who are where they say.
fn echo(endpoint: Endpoint, retries: bool) {
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            if retries && !incoming.remote_address_validated() {
                incoming.retry().unwrap();
                continue;
            }
            tokio::spawn(async move {
                let Ok(connection) = incoming.await else { return };
                while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                    tokio::spawn(async move {
                        while let Ok(Some(chunk)) = receive.read_chunk(64 * 1024, true).await {
                            if send.write_all(&chunk.bytes).await.is_err() {
                                return;
                            }
                        }
                        let _ = send.finish();
                    });
                }
            });
        }
    });
}

/// Both servers, at one port. Returns its address.
async fn servers() -> SocketAddr {
    let website = website();
    let target = HostPort::parse(&website.local_addr().unwrap().to_string()).unwrap();
    echo(website, false);
    ours(Some(Arc::new(Dialer::new(vec![target], SocketOptions::default()))), false)
}

fn website() -> Endpoint {
    Endpoint::server(server_config(b"the website's"), "127.0.0.1:0".parse().unwrap()).unwrap()
}

/// Our server, in front of this website. Returns its address.
fn ours(website: Option<Arc<Dialer>>, retries: bool) -> SocketAddr {
    let socket = TokioRuntime.wrap_udp_socket(any_port()).unwrap();
    let ids = ConnectionIds::random();
    let demux = Demux::new(socket, ids.clone(), rules(website));
    let mut config = EndpointConfig::default();
    config.cid_generator(move || Box::new(ids.clone()));
    let ours = Endpoint::new_with_abstract_socket(
        config,
        Some(server_config(b"ours")),
        demux,
        Arc::new(TokioRuntime),
    );
    let ours = ours.unwrap();
    let address = ours.local_addr().unwrap();
    echo(ours, retries);
    address
}

fn client() -> Endpoint {
    Endpoint::new(EndpointConfig::default(), None, any_port(), Arc::new(TokioRuntime)).unwrap()
}

async fn connect(client: &Endpoint, to: SocketAddr, name: &str, padding: usize) -> Connection {
    let connecting = client.connect_with(client_config(padding), to, name).unwrap();
    timeout(Duration::from_secs(60), connecting).await.unwrap().unwrap()
}

/// Sends so many bytes, and gets the same back.
async fn carries(connection: &Connection, length: usize) {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    let data: Vec<u8> = (0..length).map(|n| (n * 31) as u8 ^ (n >> 8) as u8).collect();
    let sending = async {
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
    };
    let both = async { tokio::join!(sending, receive.read_to_end(length)).1.unwrap() };
    assert!(timeout(Duration::from_secs(60), both).await.unwrap() == data);
}

fn certificate(connection: &Connection) -> Vec<u8> {
    let identity = connection.peer_identity().unwrap().downcast::<Vec<CertificateDer<'static>>>().unwrap();
    identity[0].to_vec()
}

const BOTH: [(&str, &[u8]); 2] = [("ours.example", b"ours"), ("others.example", b"the website's")];

/// Each at the same time, from one socket: data in both directions, and the certificate of who is meant. Then all
/// packets come from another address.
#[tokio::test]
async fn clients_and_visitors_share_the_port_and_move() {
    let (port, client) = (servers().await, client());
    let mut connections = Vec::new();
    for (name, shown) in BOTH {
        let connection = connect(&client, port, name, 0).await;
        assert_eq!(certificate(&connection), shown);
        connections.push(connection);
    }
    tokio::join!(carries(&connections[0], 1 << 20), carries(&connections[1], 1 << 20));
    client.rebind(any_port()).unwrap();
    tokio::join!(carries(&connections[0], 1 << 20), carries(&connections[1], 1 << 20));
}

/// A relay that gives on the first two datagrams in the other order.
async fn turned(to: SocketAddr) -> SocketAddr {
    let relay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = relay.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut first, mut bytes, mut client) = (Vec::new(), vec![0; 65536], None);
        let mut count = 0;
        while let Ok((length, from)) = relay.recv_from(&mut bytes).await {
            if Some(from) != client && from != to {
                client = Some(from);
            }
            let back = if from == to { client.unwrap() } else { to };
            count += usize::from(from != to);
            match count {
                1 if from != to => first = bytes[..length].to_vec(),
                2 if from != to => {
                    relay.send_to(&bytes[..length], to).await.unwrap();
                    relay.send_to(&first, to).await.unwrap();
                }
                _ => drop(relay.send_to(&bytes[..length], back).await),
            }
        }
    });
    address
}

#[tokio::test]
async fn hellos_of_several_datagrams_that_overtake_each_other_arrive() {
    let port = servers().await;
    for (name, shown) in BOTH {
        let client = client();
        let connection = connect(&client, turned(port).await, name, 1500).await;
        assert_eq!(certificate(&connection), shown);
        carries(&connection, 100_000).await;
    }
}

/// What the server asks of a client that may be anywhere has an id of ours, and the same hello once more.
#[tokio::test]
async fn clients_who_are_asked_to_come_again_do() {
    let port = ours(None, true);
    for padding in [0, 1500] {
        let connection = connect(&client(), port, "ours.example", padding).await;
        assert_eq!(certificate(&connection), b"ours");
        carries(&connection, 10_000).await;
    }
}

/// No answer to anybody but clients: neither to another name, nor to other versions, nor to what has no id of ours.
#[tokio::test]
async fn without_a_website_nobody_else_is_answered() {
    let (port, stranger) = (ours(None, false), any_port());
    stranger.set_nonblocking(true).unwrap();
    let mut other_version = whole(b"its choice", "ours.example");
    other_version[4] = 2;
    for datagram in [
        &whole(b"its choice", "others.example"),
        &other_version,
        &handshake(b"its choice"),
        &short(&[7; ID_LENGTH], &[7; 100]),
        &vec![0xff; 1200],
        &Vec::new(),
    ] {
        stranger.send_to(datagram, port).unwrap();
    }
    // All of it has come before this.
    carries(&connect(&client(), port, "ours.example", 0).await, 1000).await;
    let answered = stranger.recv_from(&mut [0; 2048]);
    assert_eq!(answered.unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

/// Beginnings of connections that never go on, and garbage: who is there stays, and who comes is let in.
#[tokio::test]
async fn a_flood_stops_nobody() {
    let (port, client) = (servers().await, client());
    let mut before = Vec::new();
    for (name, _) in BOTH {
        before.push(connect(&client, port, name, 0).await);
    }
    let flood = async {
        let other_address = || std::net::UdpSocket::bind("127.0.0.2:0").unwrap_or_else(|_| any_port());
        let sockets = [any_port(), other_address(), other_address()];
        let hello = hello("ours.example", &[b"h3"], 1000);
        for number in 0..600_u32 {
            let socket = &sockets[number as usize % 3];
            let [half, _] = flight(&number.to_be_bytes().repeat(3), &hello, 70, number % 2 == 0);
            for bytes in [&half[..], &half[..100], &[number as u8; 60]] {
                let _ = socket.send_to(bytes, port);
            }
            if number % 20 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let rest = async {
        for (connection, (name, shown)) in before.iter().zip(BOTH) {
            carries(connection, 300_000).await;
            let late = connect(&client, port, name, 1500).await;
            assert_eq!(certificate(&late), shown);
            carries(&late, 10_000).await;
        }
    };
    tokio::join!(flood, rest);
}
