//! A visitor that becomes a client: the upgrade is a later request of a connection that was at the website.

mod boundaries;
mod ends;
mod pools;

use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{End, assert_echo, connect, recv, recv_head, recv_to_end, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::ports::free_port;
use crate::support::site::{BIG, Site, big};
use crate::support::v2ray::Certificate;
use crate::support::websocket::Ws;
use crate::support::{STEP, assert_same, noise, secs, within};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::mpsc::Receiver;

pub const PAGE: &str = "GET / HTTP/1.1\r\nHost: live.example.com\r\n\r\n";
pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage";

/// An upgrade of `obfs=http` and HTTPUpgrade.
pub const UPGRADE: &str =
    "GET /tunnel HTTP/1.1\r\nHost: live.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// How clients ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    ObfsHttp,
    HttpUpgrade,
    WebSocket,
    /// WebSocket in TLS, which something in front of the test takes off.
    WebSocketTls,
}

/// A server half, a website that the test plays, and a Shadowsocks program that echoes and counts.
struct Scene {
    server: Plugin,
    /// Where visitors connect in the clear.
    door: SocketAddr,
    backend: Backend,
    at_site: Receiver<TcpStream>,
    _site: Backend,
    _tls: Option<(Certificate, Child)>,
}

impl Scene {
    fn start(kind: Kind) -> Scene {
        let (site, at_site) = Backend::manual();
        let backend = Backend::echo();
        let more = format!("failover={};loglevel=debug", site.addr);
        match kind {
            Kind::ObfsHttp => {
                let server = server(Ours, backend.addr, &format!("obfs=http;obfs-uri=/tunnel;{more}"));
                Scene { door: server.addr, server, backend, at_site, _site: site, _tls: None }
            }
            Kind::HttpUpgrade | Kind::WebSocket => {
                let server = server(Ours, backend.addr, &format!("mode=websocket;path=/tunnel;{more}"));
                Scene { door: server.addr, server, backend, at_site, _site: site, _tls: None }
            }
            Kind::WebSocketTls => {
                let certificate = Certificate::new("live.example.com");
                let tls = certificate.for_server();
                let server = server(Ours, backend.addr, &format!("mode=websocket;path=/tunnel;{more};{tls}"));
                let port = free_port();
                let mut command = Command::new(peers::path("socat"));
                command.arg(format!("TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,nodelay"));
                command.arg(format!("OPENSSL:{},verify=0,nodelay", server.addr));
                let socat = Child::spawn("socat", command);
                socat.wait_listening(port);
                let door = SocketAddr::from(([127, 0, 0, 1], port));
                Scene { door, server, backend, at_site, _site: site, _tls: Some((certificate, socat)) }
            }
        }
    }

    /// A visitor that has asked, and the website's end, where exactly that has come.
    #[track_caller]
    fn visit(&self, request: &[u8]) -> (TcpStream, TcpStream) {
        let visitor = connect(self.door);
        send(&visitor, request);
        let site = next(&self.at_site);
        assert_same("the request", &recv(&site, request.len()), request);
        (visitor, site)
    }

    /// A visitor whose first request is answered.
    #[track_caller]
    fn answered(&self) -> (TcpStream, TcpStream) {
        let (visitor, site) = self.visit(PAGE.as_bytes());
        send(&site, OK.as_bytes());
        assert_eq!(recv(&visitor, OK.len()), OK.as_bytes());
        (visitor, site)
    }

    /// What is sent now reaches the website, byte for byte, and the connection is its for good.
    #[track_caller]
    fn assert_the_sites(&self, visitor: &TcpStream, site: &TcpStream, bytes: &[u8]) {
        send(visitor, bytes);
        assert_same("what the website gets", &recv(site, bytes.len()), bytes);
        send(site, b"raw");
        assert_eq!(recv(visitor, 3), b"raw");
        send(visitor, UPGRADE.as_bytes());
        assert_eq!(recv(site, UPGRADE.len()), UPGRADE.as_bytes());
        assert_eq!(self.backend.accepted(), 0, "{}", self.server.child.show_log());
    }

    /// Asks for the upgrade as clients of that kind do, and uses it.
    #[track_caller]
    fn upgrade(&self, kind: Kind, visitor: TcpStream) {
        let payload = noise(300_000, 3);
        match kind {
            Kind::ObfsHttp | Kind::HttpUpgrade => {
                // Some of the payload comes with the request.
                send(&visitor, format!("{UPGRADE}hello").as_bytes());
                assert_101(&visitor);
                assert_eq!(recv(&visitor, 5), b"hello");
                assert_echo(&visitor, &payload);
            }
            Kind::WebSocket | Kind::WebSocketTls => {
                let (mut ws, _) = Ws::upgrade(visitor, "/tunnel", "");
                for part in payload.chunks(10_000) {
                    ws.send(crate::support::websocket::BINARY, part);
                    assert_same("the echo", &ws.recv(part.len()), part);
                }
            }
        }
    }
}

#[track_caller]
fn assert_101(stream: &TcpStream) {
    let head = recv_head(stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// What may come before an upgrade: requests, and their answers.
fn exchanges() -> Vec<(String, String)> {
    let pair = |request: &str, answer: &str| (request.to_owned(), answer.to_owned());
    vec![
        pair(PAGE, OK),
        pair(PAGE, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\nX-End: 1\r\n\r\n"),
        pair("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
        pair("GET /x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"),
        pair("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
        pair("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", OK),
        pair(
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n",
            OK,
        ),
        pair(
            "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
        ),
        pair(
            "GET /page HTTP/1.1\r\nHost: a\r\n\r\n",
            &format!("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n{OK}"),
        ),
        // An upgrade that is none of ours, and that the website does not grant.
        pair(
            &UPGRADE.replace("/tunnel", "/other"),
            "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone",
        ),
        pair(&PAGE.repeat(3), &OK.repeat(3)),
    ]
}

fn second_request(kind: Kind) {
    within(secs(120), move || {
        if kind == Kind::WebSocketTls {
            need!("openssl", "socat");
        }
        let scene = Scene::start(kind);
        let exchanges = exchanges();
        for (i, (request, answer)) in exchanges.iter().enumerate() {
            let (visitor, site) = scene.visit(request.as_bytes());
            send(&site, answer.as_bytes());
            assert_eq!(recv(&visitor, answer.len()), answer.as_bytes());
            scene.upgrade(kind, visitor);
            assert_eq!(recv_to_end(&site, STEP), (vec![], End::Fin), "{request:?}: the website is let go");
            assert_eq!(scene.backend.accepted(), i + 1);
        }
        // All of them one after the other on one connection, and the log tells how many came before.
        let (visitor, site) = scene.visit(exchanges[0].0.as_bytes());
        send(&site, exchanges[0].1.as_bytes());
        recv(&visitor, exchanges[0].1.len());
        for (request, answer) in &exchanges[1..] {
            send(&visitor, request.as_bytes());
            assert_eq!(recv(&site, request.len()), request.as_bytes());
            send(&site, answer.as_bytes());
            assert_eq!(recv(&visitor, answer.len()), answer.as_bytes());
        }
        scene.upgrade(kind, visitor);
        assert_eq!(recv_to_end(&site, STEP), (vec![], End::Fin));
        let requests = exchanges.len() + 2;
        scene.server.child.wait_line("how many requests came before", |line| {
            line.contains(&format!("upgrade after {requests} requests to the website"))
        });
    });
}

#[test]
fn an_obfs_http_upgrade_may_come_later() {
    second_request(Kind::ObfsHttp);
}

#[test]
fn an_httpupgrade_may_come_later() {
    second_request(Kind::HttpUpgrade);
}

#[test]
fn a_websocket_upgrade_may_come_later() {
    second_request(Kind::WebSocket);
}

#[test]
fn a_websocket_upgrade_may_come_later_in_tls() {
    second_request(Kind::WebSocketTls);
}

/// The head is cut at every byte, and the whole conversation comes byte by byte.
#[test]
fn pieces_make_no_difference() {
    within(secs(120), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        for cut in (1..UPGRADE.len()).step_by(7) {
            let (visitor, _site) = scene.answered();
            send(&visitor, &UPGRADE.as_bytes()[..cut]);
            send(&visitor, format!("{}hello", &UPGRADE[cut..]).as_bytes());
            assert_101(&visitor);
            assert_eq!(recv(&visitor, 5), b"hello", "cut after {cut} bytes");
        }
        let post = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
        let visitor = connect(scene.door);
        for byte in format!("{PAGE}{post}{UPGRADE}hello").as_bytes() {
            send(&visitor, &[*byte]);
        }
        let site = next(&scene.at_site);
        let both = format!("{PAGE}{post}");
        assert_eq!(recv(&site, both.len()), both.as_bytes());
        for byte in OK.repeat(2).as_bytes() {
            send(&site, &[*byte]);
        }
        assert_eq!(recv(&visitor, 2 * OK.len()), OK.repeat(2).as_bytes());
        assert_101(&visitor);
        assert_eq!(recv(&visitor, 5), b"hello");
        assert_eq!(recv_to_end(&site, STEP), (vec![], End::Fin));
    });
}

/// The upgrade and megabytes of payload stand right behind a request whose answer takes its time: they wait
/// for its last byte, on a connection that holds only so much of them.
#[test]
fn a_pipelined_upgrade_waits_for_the_answer() {
    within(secs(90), || {
        for kind in [Kind::ObfsHttp, Kind::HttpUpgrade] {
            let scene = Scene::start(kind);
            let payload = noise(5 << 20, 1);
            let page = noise(3 << 20, 2);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", page.len());
            let visitor = connect(scene.door);
            std::thread::scope(|scope| {
                let all = [PAGE.as_bytes(), UPGRADE.as_bytes(), &payload].concat();
                let visitor = &visitor;
                scope.spawn(move || send(visitor, &all));
                let site = next(&scene.at_site);
                assert_eq!(recv(&site, PAGE.len()), PAGE.as_bytes());
                send(&site, head.as_bytes());
                send(&site, &page[1..]);
                assert_eq!(recv(visitor, head.len()), head.as_bytes());
                assert_same("the page", &recv(visitor, page.len() - 1), &page[1..]);
                assert_eq!(scene.backend.accepted(), 0, "the answer is not complete");
                send(&site, b"!");
                assert_eq!(recv(visitor, 1), b"!");
                assert_101(visitor);
                assert_same("the echo", &recv(visitor, payload.len()), &payload);
                assert_eq!(recv_to_end(&site, STEP), (vec![], End::Fin), "not a byte more for the website");
            });
        }
    });
}

/// Long bodies both ways, which the kernel may carry, end at the right byte.
#[test]
fn an_upgrade_may_follow_long_bodies() {
    within(secs(90), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let (up, down) = (noise(9_000_001, 1), noise(9_000_003, 2));
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", up.len());
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", down.len());
        let answer = [head.as_bytes(), &down].concat();
        let visitor = connect(scene.door);
        let all = [request.as_bytes(), &up, UPGRADE.as_bytes(), b"hello"].concat();
        std::thread::scope(|scope| {
            scope.spawn(|| send(&visitor, &all));
            let site = next(&scene.at_site);
            assert_eq!(recv(&site, request.len()), request.as_bytes());
            assert_same("the upload", &recv(&site, up.len()), &up);
            std::thread::scope(|scope| {
                scope.spawn(|| send(&site, &answer));
                assert_same("the download", &recv(&visitor, answer.len()), &answer);
            });
            assert_101(&visitor);
            assert_eq!(recv(&visitor, 5), b"hello");
            assert_eq!(recv_to_end(&site, STEP), (vec![], End::Fin));
        });
    });
}

/// The same with a web server that is one.
#[test]
fn an_upgrade_may_follow_a_download_from_nginx() {
    within(secs(60), || {
        need!("nginx");
        // Longer than it takes to compare the file.
        let site = Site::with_keepalive("60s");
        let backend = Backend::echo();
        let options = format!("mode=websocket;path=/tunnel;failover={}", site.addr);
        let server = server(Ours, backend.addr, &options);
        let visitor = connect(server.addr);
        send(&visitor, PAGE.replace("GET /", "GET /big.bin").as_bytes());
        let head = recv_head(&visitor);
        assert!(head.contains(&format!("Content-Length: {BIG}\r\n")), "{head}");
        assert_same("the file", &recv(&visitor, BIG), &big());
        send(&visitor, UPGRADE.as_bytes());
        assert_101(&visitor);
        assert_echo(&visitor, &noise(1 << 20, 1));
    });
}

/// Browsers and proxies connect beforehand: a visitor that has said nothing for so long that the website
/// has it is still nobody in particular.
#[test]
fn an_upgrade_may_come_after_a_long_silence() {
    within(secs(60), || {
        let scene = Scene::start(Kind::HttpUpgrade);
        let visitor = connect(scene.door);
        let site = next(&scene.at_site);
        // The silence is the stimulus; the head time-out is 10 s.
        std::thread::sleep(secs(11));
        send(&visitor, UPGRADE.as_bytes());
        assert_101(&visitor);
        assert_echo(&visitor, b"hello");
        assert_eq!(recv_to_end(&site, STEP), (vec![], End::Fin));
        scene.server.child.wait_text("upgrade after 0 requests");
    });
}
