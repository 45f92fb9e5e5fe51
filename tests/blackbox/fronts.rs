//! Behind real front proxies, with each handshake that can pass them.

use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect, recv, recv_head, recv_to_end, send};
use crate::support::fronts::{Front, Kind};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, SimpleObfs, client, server};
use crate::support::{STEP, assert_same, noise, secs, within};

const MB: usize = 1024 * 1024;

/// client half → front proxy → server half → backend.
struct Chain {
    client: Plugin,
    front: Front,
    server: Plugin,
}

impl Chain {
    fn start(kind: Kind, handshake: &str, backend: &Backend) -> Chain {
        let server = server(Ours, backend.addr, "obfs=http");
        let front = Front::start(kind, server.addr);
        // Envoy's configuration is the one deployment that has a host and a path of its own.
        let options = format!("obfs=http;obfs-host=live.example.com;obfs-uri=/stream{handshake}");
        let client = client(Ours, front.addr, &options);
        Chain { client, front, server }
    }

    fn logs(&self) -> String {
        [&self.client.child, &self.front.child, &self.server.child].map(|child| child.show_log()).join("\n")
    }
}

fn passes(kind: Kind, handshake: &'static str) {
    within(secs(90), move || {
        let echo = Backend::echo();
        let chain = Chain::start(kind, handshake, &echo);
        // Short, then megabytes both ways at once, on several tunnels.
        std::thread::scope(|scope| {
            for i in 0..3 {
                let addr = chain.client.addr;
                scope.spawn(move || {
                    let stream = connect(addr);
                    assert_echo(&stream, b"hello");
                    assert_echo(&stream, &noise(4 * MB, i));
                });
            }
        });
        // A first flight of many segments. (Caddy 2.6 drops what it has read between the request's body
        // and the 101: simple-obfs's client loses kilobytes that way. Who waits for the 101 loses nothing.)
        let eager_caddy = kind == Kind::Caddy && handshake == EAGER;
        assert_echo(&connect(chain.client.addr), &noise(if eager_caddy { 1000 } else { MB }, 9));
        assert_eq!(echo.accepted(), 4, "{}", chain.logs());

        // A download that the backend ends.
        let file = noise(5 * MB, 10);
        let sent = file.clone();
        let source = Backend::serve(move |stream| {
            recv(&stream, 3);
            send(&stream, &sent);
        });
        let chain = Chain::start(kind, handshake, &source);
        let stream = connect(chain.client.addr);
        send(&stream, b"get");
        let (got, _) = recv_to_end(&stream, STEP);
        assert_same("the download", &got, &file);

        // A backend that speaks first, the application silent.
        let greeter = Backend::greeter(b"220 ready\r\n");
        let chain = Chain::start(kind, handshake, &greeter);
        let stream = connect(chain.client.addr);
        assert_eq!(recv(&stream, 11), b"220 ready\r\n", "{}", chain.logs());
        assert_echo(&stream, &noise(MB, 11));
    });
}

const EAGER: &str = "";
const STANDARD: &str = ";handshake=standard";

#[test]
fn nginx_passes_eager() {
    need!("nginx");
    passes(Kind::Nginx, EAGER);
}

#[test]
fn nginx_passes_standard() {
    need!("nginx");
    passes(Kind::Nginx, STANDARD);
}

#[test]
fn caddy_passes_eager() {
    need!("caddy");
    passes(Kind::Caddy, EAGER);
}

#[test]
fn caddy_passes_standard() {
    need!("caddy");
    passes(Kind::Caddy, STANDARD);
}

#[test]
fn haproxy_passes_standard() {
    need!("haproxy");
    passes(Kind::HaProxy, STANDARD);
}

#[test]
fn envoy_passes_eager() {
    need!("envoy");
    passes(Kind::Envoy, EAGER);
}

#[test]
fn envoy_passes_standard() {
    need!("envoy");
    passes(Kind::Envoy, STANDARD);
}

/// HAProxy takes no upgrade with a body: the tunnel ends at once, and the log says what came back.
#[test]
fn haproxy_refuses_eager_and_the_log_shows_its_answer() {
    within(secs(60), || {
        need!("haproxy");
        let echo = Backend::echo();
        let chain = Chain::start(Kind::HaProxy, EAGER, &echo);
        let stream = connect(chain.client.addr);
        send(&stream, b"hello");
        let (got, _) = recv_to_end(&stream, STEP);
        assert!(got.is_empty(), "an error page is no payload: {:?}", String::from_utf8_lossy(&got));
        chain
            .client
            .child
            .wait_line("HAProxy's status line", |l| l.contains("HTTP/1.") && !l.contains(" 101 "));
    });
}

/// The deployment this comes from: one host name is a tunnel at one path and a website elsewhere.
#[test]
fn envoy_shows_visitors_the_website() {
    within(secs(60), || {
        need!("envoy", "curl");
        let echo = Backend::echo();
        let chain = Chain::start(Kind::Envoy, EAGER, &echo);
        let url = format!("http://{}/stream", chain.front.addr);
        let page = curl(&["-H", "Host: live.example.com", &url]);
        assert_eq!(page.status, "301", "{}", chain.logs());
        assert_eq!(echo.accepted(), 0);
    });
}

/// simple-obfs's own client behind a front: clients in the field stay as they are.
#[test]
fn simple_obfs_client_passes_nginx_to_our_server() {
    within(secs(60), || {
        need!("obfs-local", "nginx");
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let front = Front::start(Kind::Nginx, server.addr);
        let client = client(SimpleObfs, front.addr, "obfs=http;obfs-host=live.example.com");
        let stream = connect(client.addr);
        assert_echo(&stream, b"hello");
        assert_echo(&stream, &noise(2 * MB, 12));
    });
}

/// The 101 comes through Envoy before any payload went up or down.
#[test]
fn the_101_passes_envoy_at_once() {
    within(secs(60), || {
        need!("envoy");
        let (backend, _connections) = Backend::manual();
        let server = server(Ours, backend.addr, "obfs=http");
        let front = Front::start(Kind::Envoy, server.addr);
        let stream = connect(front.addr);
        send(
            &stream,
            b"GET /stream HTTP/1.1\r\nHost: live.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        );
        let head = recv_head(&stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    });
}
