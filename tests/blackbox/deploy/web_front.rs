//! What holds for each front that is a website with a tunnel on one of its paths, whichever program it is.

use super::{carries, shadowsocks_server};
use crate::support::backend::{Backend, next};
use crate::support::child::Child;
use crate::support::conn::{assert_echo, fin, recv, recv_to_end, send};
use crate::support::deployed::{Machine, NAME, PATH, file, local, text};
use crate::support::hosts::{curl, socks};
use crate::support::{STEP, assert_same, digest, eventually, noise, proc, secs};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

const MB: usize = 1024 * 1024;

/// A page and a folder of the website.
const PAGE: &str = "<!doctype html>\n<title>A shop for garden chairs</title>\n<h1>Chairs</h1>\n";

/// Where visitors come from.
const VISITOR: &str = "203.0.113.7";

/// A tunnel, and what a client's file of `deploy/` becomes for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Mux,
    WebSocket,
    HttpUpgrade,
    /// `obfs=http`, on port 80.
    HttpEager,
    HttpStandard,
    /// v2ray-plugin in the client, with mux and without.
    V2rayMux,
    V2ray,
}

use Kind::*;

pub struct WebFront {
    /// Its file of `deploy/`, and where that belongs.
    pub file: (&'static str, &'static str),
    /// Starts it as Debian does, and what it needs beside it.
    pub start: fn(&Machine) -> Vec<Child>,
    pub reload: fn(&Machine, &Child),
    /// What passes.
    pub passes: &'static [Kind],
    /// What it refuses.
    pub refuses: &'static [Kind],
    /// Of what passes, that in which one direction may end alone.
    pub half_closes: &'static [Kind],
    /// Whether tunnels outlive a reload.
    pub reload_keeps_tunnels: bool,
    /// The status with which port 80 sends visitors to 443.
    pub redirects: &'static str,
    /// What the file says of idle tunnels, and the same for two seconds; nothing if they last as long as they like.
    pub two_hours: Option<(&'static str, &'static str)>,
}

impl WebFront {
    fn machine(&self, machine: &Machine) -> Vec<Child> {
        self.machine_with(machine, text(self.file.0))
    }

    fn machine_with(&self, machine: &Machine, content: String) -> Vec<Child> {
        machine.certificate(NAME);
        machine.put(self.file.1, content);
        machine.put("/var/www/html/index.html", PAGE);
        machine.put("/var/www/html/shop/index.html", "the shop\n");
        (self.start)(machine)
    }

    pub fn carries_tunnels(self) {
        Machine::with(secs(120), move |machine| {
            let _front = self.machine(machine);
            let server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
            for kind in self.passes {
                let client = client(machine, *kind);
                self.carries(*kind);
                assert!(!server.lines().iter().any(|line| line.contains("ERROR")), "{}", server.show_log());
                drop(client);
            }
            for kind in self.refuses {
                let client = client(machine, *kind);
                let stream = tunnel(Backend::echo().addr);
                send(&stream, b"hello");
                assert!(recv_to_end(&stream, STEP).0.is_empty(), "{kind:?}");
                client.wait_text("the server did not switch protocols");
            }
        });
    }

    /// Bytes both ways, ends, and who speaks first.
    fn carries(&self, kind: Kind) {
        eprintln!("{kind:?}");
        let echo = Backend::echo();
        std::thread::scope(|scope| {
            for seed in 0..2 {
                let stream = tunnel(echo.addr);
                scope.spawn(move || {
                    assert_echo(&stream, b"hello");
                    assert_echo(&stream, &noise(MB, seed));
                });
            }
        });

        let file = noise(MB, 1);
        let sent = file.clone();
        let source = Backend::serve(move |stream| {
            recv(&stream, 3);
            send(&stream, &sent);
        });
        let stream = tunnel(source.addr);
        send(&stream, b"get");
        assert_same("the download", &recv_to_end(&stream, STEP).0, &file);

        let greeter = Backend::greeter(b"220 ready\r\n");
        let stream = tunnel(greeter.addr);
        assert_eq!(recv(&stream, 11), b"220 ready\r\n");
        assert_echo(&stream, &noise(MB / 4, 2));

        let digester = Backend::digester();
        let stream = tunnel(digester.addr);
        let upload = noise(MB / 4, 3);
        send(&stream, &upload);
        fin(&stream);
        let answer = String::from_utf8(recv_to_end(&stream, STEP).0).expect("a digest");
        if self.half_closes.contains(&kind) {
            assert_eq!(answer, digest(&upload));
        } else {
            assert_eq!(answer, "", "the comment in the file says that no half-close passes");
        }
    }

    /// The files of a user with shadowsocks-libev.
    pub fn carries_libev(self) {
        Machine::with(secs(120), move |machine| {
            let _front = self.machine(machine);
            let config = file("shadowsocks/server-behind-proxy.json").display().to_string();
            let _server = machine.serve("ss-server", &[8388], &["ss-server", "-c", &config]);
            let config = file("shadowsocks/client.json").display().to_string();
            let client = machine.serve("ss-local", &[1080], &["ss-local", "-c", &config]);
            // It listens before its plugin does.
            proc::wait_listening_child(client.pid());
            carries(Backend::echo().addr);
        });
    }

    pub fn shows_visitors_the_website(self) {
        Machine::with(secs(120), move |machine| {
            let front = self.machine(machine);
            let echo = Backend::echo();
            let _server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);

            for path in ["/", "/some?where=1", PATH] {
                let answer = page(&["http://", path], &[]);
                let to = format!("location: https://{NAME}{path}\r\n");
                assert!(answer.starts_with(&format!("HTTP/1.1 {} ", self.redirects)), "{answer}");
                assert!(answer.to_lowercase().contains(&to.to_lowercase()), "{answer}");
            }
            let answer = page(&["https://", "/"], &["--http2"]);
            assert!(answer.starts_with("HTTP/2 200 ") && answer.ends_with(PAGE), "{answer}");
            let answer = page(&["https://", "/"], &["--http1.1"]);
            assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(PAGE), "{answer}");
            assert_eq!(page(&["http://127.0.0.1:8080", "/"], &[]).split("\r\n\r\n").nth(1), Some(PAGE));

            let upgrade = |more: &[&'static str]| {
                let headers = [
                    "Connection: Upgrade",
                    "Upgrade: websocket",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Version: 13",
                ];
                let headers = headers.into_iter().flat_map(|header| ["-H", header]);
                headers.chain(["--http1.1"]).chain(more.iter().copied()).collect::<Vec<_>>()
            };
            // None of these is a tunnel of ours. The upgrades that are no GET reach the plugin, which hands them to the
            // website.
            let visits = [
                vec!["--http1.1"],
                vec!["--http1.0", "--no-alpn"],
                vec!["--http2"],
                vec!["--http1.1", "--head"],
                vec!["--http1.1", "-H", "Accept-Encoding: gzip"],
                vec!["--http1.1", "--data", "a=b"],
                vec!["--http1.1", "-X", "PUT", "--data", "a=b"],
                vec!["--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: h2c"],
                upgrade(&["-X", "PUT"]),
                upgrade(&["-X", "OPTIONS"]),
                upgrade(&["--head"]),
                upgrade(&["--head", "-H", "Accept-Encoding: gzip"]),
            ];
            for visit in &visits {
                let [there, elsewhere] =
                    [PATH, "/another-of-the-site"].map(|path| page(&["https://", path], visit));
                eprintln!("{visit:?}: {there}");
                assert_eq!(there, elsewhere, "{visit:?}");
            }
            // An upgrade that would do on the right path.
            for path in ["/another-path-of-the-site", "/a-path-of-your-own/", "/A-path-of-your-own"] {
                let answer = page(&["https://", path], &upgrade(&[]));
                assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            }
            assert!(page(&["https://", "/"], &upgrade(&[])).ends_with(PAGE));
            assert_eq!(echo.accepted(), 0);

            // Browsers and networks in front write the words of an upgrade in their own manner.
            let url = format!("https://{NAME}{PATH}");
            let mut words = vec!["curl", "-qs", "--max-time", "2", "--http1.1", "-w", "%{http_code}"];
            words.extend(["-H", "Connection: keep-alive, upgrade", "-H", "Upgrade: WebSocket"]);
            words.extend([
                "-H",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "-H",
                "Sec-WebSocket-Version: 13",
                &url,
            ]);
            assert_eq!(machine.command(&words).output().expect("curl").stdout, b"101");
            drop(front);
        });
    }

    /// With a renewed certificate, as a hook of its renewal reloads it.
    pub fn reloads(self) {
        Machine::with(secs(120), move |machine| {
            let front = self.machine(machine);
            let _server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
            let _client = client(machine, WebSocket);
            let echo = Backend::echo();
            let (open, far) = Backend::manual();
            let stream = tunnel(open.addr);
            send(&stream, b"before");
            let far = next(&far);
            assert_eq!(recv(&far, 6), b"before");

            machine.certificate(NAME);
            let renewed = std::fs::read(format!("/etc/ssl/{NAME}.pem")).expect("a certificate");
            let shows = || {
                let url = format!("https://{NAME}/");
                let words = ["curl", "-qsk", "-o", "/dev/null", "-w", "%{certs}", &url];
                let shown = machine.command(&words).output().expect("curl").stdout;
                shown.windows(renewed.len()).any(|part| part == renewed)
            };
            assert!(!shows(), "it has the old one until it is told");
            (self.reload)(machine, &front[0]);
            assert!(eventually(STEP, shows), "no new certificate; {}", front[0].show_log());

            if self.reload_keeps_tunnels {
                for _ in 0..3 {
                    send(&stream, b"after");
                    assert_eq!(recv(&far, 5), b"after");
                    send(&far, b"back");
                    assert_eq!(recv(&stream, 4), b"back");
                }
            } else {
                assert!(recv_to_end(&stream, STEP).0.is_empty(), "the comment in the file says that it ends");
            }
            carries(echo.addr);
        });
    }

    /// How long a tunnel may be idle is what the file says, and nothing else.
    pub fn keeps_idle_tunnels(self) {
        Machine::with(secs(120), move |machine| {
            let (two_hours, two_seconds) = self.two_hours.expect("a time-out");
            let content = text(self.file.0).replace(two_hours, two_seconds);
            assert_ne!(content, text(self.file.0), "two hours");
            let _front = self.machine_with(machine, content);
            let server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
            let client = client(machine, WebSocket);
            let echo = Backend::echo();
            let stream = tunnel(echo.addr);
            let start = Instant::now();
            assert_echo(&stream, b"hello");
            assert!(recv_to_end(&stream, STEP).0.is_empty());
            let after = start.elapsed();
            assert!(secs(2) <= after && after < secs(10), "after {after:?}: {}", client.show_log());
            drop(server);
        });
    }

    /// Visitors notice nothing of it, clients are told, and it is found as soon as it is back.
    pub fn does_without_the_plugin(self) {
        Machine::with(secs(120), move |machine| {
            let front = self.machine(machine);
            let client = client(machine, WebSocket);
            let echo = Backend::echo();
            let stream = tunnel(echo.addr);
            send(&stream, b"hello");
            assert!(recv_to_end(&stream, STEP).0.is_empty());
            client.wait_text("did not switch protocols, it answered `HTTP/1.1 50");
            let answer = page(&["https://", PATH], &["--http1.1"]);
            assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
            let _server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
            carries(echo.addr);
            drop(front);
        });
    }

    pub fn tells_the_visitors_address(self) {
        Machine::with(secs(120), move |machine| {
            let _front = self.machine(machine);
            machine.address(VISITOR);
            let server = text("shadowsocks/server-behind-proxy.json").replace("\"server;", "\"server;v;");
            let server = machine.put("/etc/server.json", server).display().to_string();
            let server = machine.serve("ssserver", &[8388], &["ssserver", "-c", &server]);
            let config = text("shadowsocks/client.json")
                .replace("mode=websocket", &format!("mode=websocket;b={VISITOR}"));
            let config = machine.put("/etc/client.json", config).display().to_string();
            let _client = machine.serve("sslocal", &[1080], &["sslocal", "-c", &config]);
            let echo = Backend::echo();
            // Who says himself where he comes from is not believed.
            carries(echo.addr);
            server.wait_line("the visitor's address", |line| {
                line.contains(&format!("peer={VISITOR}")) && line.contains("via 127.0.0.1:")
            });
        });
    }
}

/// A Shadowsocks client and its plugin, by a file of `deploy/` or, where there is none for this kind, by one that
/// differs from it in what the kind is.
#[track_caller]
fn client(machine: &Machine, kind: Kind) -> Child {
    let websocket = "mode=websocket;tls;";
    let v2ray = |options: &str| {
        text("shadowsocks/client.json")
            .replace("\"obfs-rs\"", "\"ss-v2ray-plugin\"")
            .replace(websocket, options)
    };
    let config = match kind {
        Mux => text("shadowsocks/client.json"),
        WebSocket => text("shadowsocks/client.json").replace(websocket, "mode=websocket;mux=0;tls;"),
        HttpUpgrade => text("shadowsocks/client.json").replace(websocket, "mode=httpupgrade;tls;"),
        HttpEager => text("shadowsocks/client-http.json"),
        HttpStandard => {
            text("shadowsocks/client-http.json").replace("obfs=http;", "obfs=http;handshake=standard;")
        }
        V2rayMux => v2ray("tls;"),
        V2ray => v2ray("tls;mux=0;"),
    };
    let config = machine.put(&format!("/etc/{kind:?}.json"), config).display().to_string();
    machine.serve("sslocal", &[1080], &["sslocal", "-c", &config])
}

fn tunnel(target: SocketAddr) -> TcpStream {
    socks(local(1080), target)
}

/// The whole answer to a visitor, head included, but for the time.
#[track_caller]
fn page(url: &[&str; 2], more: &[&str]) -> String {
    let origin = if url[0].ends_with("//") { format!("{}{NAME}", url[0]) } else { url[0].to_owned() };
    let url = format!("{origin}{}", url[1]);
    let answer = curl(&[&["--include", "--raw", "--max-redirs", "0"], more, &[&url]].concat()).body;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let lines = answer.split_inclusive('\n');
    lines.filter(|line| !line.to_lowercase().starts_with("date: ")).collect()
}
