//! A download whose reader pauses for ten minutes lives, whatever the disguise: the clock is the test's.

use obfs_rs::config::{ExtraRoot, TlsClientConfig, TlsServerConfig};
use obfs_rs::detect::Handoff;
use obfs_rs::net::budget::Budget;
use obfs_rs::net::conn_info::ConnInfo;
use obfs_rs::relay::{Flows, Identity, Protocol, Relay, RelayStream, Timeouts};
use obfs_rs::transport::tls::{Acceptor, Connector};
use obfs_rs::transport::websocket::WebSocket;
use obfs_rs::transport::{Stream, fake_tls};
use obfs_rs::wire::fake_tls::ReceivedHello;
use obfs_rs::wire::websocket::Role;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const PAUSE: Duration = Duration::from_secs(600);
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (dialled, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (dialled.unwrap(), accepted.unwrap().0)
}

const PATIENCE: fn() -> Timeouts = || Timeouts::new(Duration::from_secs(7200));

/// A half: passes what comes between two streams.
fn half<A, D, P>(accepted: A, dialled: D, flows: Flows<P>)
where
    A: RelayStream + Send + 'static,
    D: RelayStream + Send + 'static,
    P: Protocol + Send + 'static,
{
    tokio::spawn(Relay::new(accepted, dialled, flows, PATIENCE()).run());
}

fn raw() -> Flows<Identity> {
    Flows::new(Identity)
}

fn frames(role: Role) -> Flows<WebSocket> {
    Flows::new(WebSocket::new(role, b"key"))
}

/// The next bytes of a stream in which nothing can be lost or swapped unseen.
fn noise(state: &mut u64, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// The backend sends until nothing more goes, the reader pauses, and then reads to the end.
async fn assert_a_pause_is_survived(mode: &str, mut reader: TcpStream, mut backend: TcpStream) {
    let mut state = SEED;
    let mut sent = 0;
    loop {
        let piece = noise(&mut state, 65_536);
        sent += piece.len();
        let mut piece = piece.as_slice();
        // Nothing moves for a moment: everything between the two is full.
        while !piece.is_empty() {
            match timeout(Duration::from_millis(500), backend.write(piece)).await {
                Ok(n) => piece = &piece[n.unwrap()..],
                Err(_) => break,
            }
        }
        if !piece.is_empty() {
            let left = piece.to_vec();
            tokio::time::pause();
            tokio::time::sleep(PAUSE).await;
            tokio::time::resume();
            tokio::spawn(async move {
                backend.write_all(&left).await.unwrap();
                backend.shutdown().await.unwrap();
                // The other direction is for the reader to end.
                let _ = backend.read_to_end(&mut Vec::new()).await;
            });
            break;
        }
    }
    let mut got = Vec::new();
    let reading = timeout(Duration::from_secs(60), reader.read_to_end(&mut got)).await;
    reading.unwrap_or_else(|_| panic!("{mode}: {} of {sent} bytes", got.len())).unwrap();
    assert!(got == noise(&mut SEED.clone(), sent), "{mode}: {} of {sent} bytes", got.len());
}

#[tokio::test]
async fn obfs_http_and_httpupgrade() {
    let ((reader, app), (dialled, backend)) = (connection().await, connection().await);
    let (client, server) = connection().await;
    half(app, client, raw());
    half(server, dialled, raw());
    assert_a_pause_is_survived("the raw stream behind an upgrade", reader, backend).await;
}

#[tokio::test]
async fn obfs_tls() {
    let ((reader, app), (dialled, backend)) = (connection().await, connection().await);
    let opening = fake_tls::opening("a", b"first".to_vec(), fake_tls::Cut::Syn).unwrap();
    let (client, mut server) = connection().await;
    let mut hello = vec![0; opening.flight.len()];
    half(app, client, fake_tls::client_flows(opening));
    server.read_exact(&mut hello).await.unwrap();
    let received = ReceivedHello::parse(&hello).unwrap().unwrap();
    half(server, dialled, fake_tls::server_flows(&received, hello));
    assert_a_pause_is_survived("obfs=tls", reader, backend).await;
}

#[tokio::test]
async fn websocket_frames() {
    let ((reader, app), (dialled, backend)) = (connection().await, connection().await);
    let (client, server) = connection().await;
    half(app, client, frames(Role::Client));
    half(server, dialled, frames(Role::Server));
    assert_a_pause_is_survived("WebSocket", reader, backend).await;
}

/// TLS over loopback between an application and what `serve` does with the other end.
async fn in_tls(
    app: TcpStream,
    flows: Flows<impl Protocol + Send + 'static>,
    serve: impl FnOnce(Stream) + Send + 'static,
) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("pauses-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args("req -x509 -nodes -days 3 -newkey ec -pkeyopt ec_paramgen_curve:P-256".split(' '));
    openssl.args(["-subj", "/CN=a.example", "-addext", "subjectAltName=DNS:a.example"]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let pair = TlsServerConfig { candidates: vec![(certificate.clone(), key)], name: None };
    let acceptor = Acceptor::new(&pair, false).unwrap();
    let trusted =
        TlsClientConfig { server_name: "a.example".into(), extra_root: Some(ExtraRoot::File(certificate)) };
    let connector = Connector::new(&trusted).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let (client, server) = connection().await;
    let peer = server.peer_addr().unwrap();
    let handoff = Handoff::new(server.into(), ConnInfo::new(peer), Instant::now());
    tokio::spawn(async move {
        let (done, _) = acceptor.accept(handoff, false, &Budget::new(1 << 20)).await.unwrap();
        serve(done.io);
    });
    // The last words of the handshake go along with the first of the application.
    half(app, connector.connect(client).await.unwrap(), flows);
}

#[tokio::test]
async fn httpupgrade_in_tls() {
    let ((mut reader, app), (dialled, backend)) = (connection().await, connection().await);
    reader.write_all(b"first").await.unwrap();
    in_tls(app, raw(), |server| half(server, dialled, raw())).await;
    assert_a_pause_is_survived("HTTPUpgrade in TLS", reader, backend).await;
}

#[tokio::test]
async fn websocket_frames_in_tls() {
    let ((mut reader, app), (dialled, backend)) = (connection().await, connection().await);
    reader.write_all(b"first").await.unwrap();
    in_tls(app, frames(Role::Client), |server| half(server, dialled, frames(Role::Server))).await;
    assert_a_pause_is_survived("WebSocket in TLS", reader, backend).await;
}
