//! `deploy/envoy/sni.yaml`: one port, shared by the name in the TLS hello.

use super::envoy_http::{client_with, envoy, output};
use super::{MB, carries, shadowsocks_client, shadowsocks_server};
use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{End, connect, exchange, recv_to_end, send};
use crate::support::deployed::{Machine, NAME, local};
use crate::support::hosts::socks;
use crate::support::peers::{self, need};
use crate::support::plugin::bare;
use crate::support::{STEP, digest, noise, secs};

/// The website's name, that of a server half which ends TLS itself, and that of one for obfs=tls.
pub(super) const WEBSITE: &str = "www.example.org";
pub(super) const APP: &str = "app.example.com";
pub(super) const CDN: &str = "cdn.example.com";

const PAGE: &str = "a shop for garden chairs\n";

/// All that the file names: three servers, a website, and Envoy.
pub(super) struct Port<Website = Child> {
    pub(super) website: Website,
    pub(super) servers: [Child; 3],
    pub(super) envoy: Child,
}

impl Port {
    #[track_caller]
    fn start(machine: &Machine) -> Port {
        Port::with(machine, website)
    }

    fn logs(&self) -> String {
        self.servers
            .iter()
            .chain([&self.envoy, &self.website])
            .map(Child::show_log)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl<Website> Port<Website> {
    /// With another website.
    #[track_caller]
    pub(super) fn with(machine: &Machine, website: impl FnOnce(&Machine) -> Website) -> Port<Website> {
        for name in [NAME, APP, WEBSITE] {
            machine.certificate(name);
        }
        for name in [APP, CDN, WEBSITE] {
            machine.name("127.0.0.1", name);
        }
        let website = website(machine);
        let servers = [
            ("shadowsocks/server-behind-proxy.json", 8388),
            ("envoy/sni/server-obfs-tls.json", 8389),
            ("envoy/sni/server-tls.json", 8390),
        ]
        .map(|(name, port)| shadowsocks_server(machine, name, port));
        Port { website, servers, envoy: envoy(machine, "sni.yaml", &[443, 8080]) }
    }
}

#[track_caller]
fn website(machine: &Machine) -> Child {
    machine.put("/var/www/html/index.html", PAGE);
    machine.install("envoy/sni/website.conf", "/etc/nginx/sites-enabled/website.conf");
    let around = "worker_processes 1; daemon off; pid /run/nginx.pid; error_log stderr; user root;
        events { worker_connections 500; }
        http { client_header_timeout 2s; access_log /dev/stdout; include /etc/nginx/sites-enabled/website.conf; }";
    let config = machine.put("/etc/nginx/nginx.conf", around).display().to_string();
    machine.serve("nginx (the website)", &[8443], &["nginx", "-e", "stderr", "-c", &config])
}

const FILES: [&str; 3] =
    ["shadowsocks/client.json", "envoy/sni/client-obfs-tls.json", "envoy/sni/client-tls.json"];

/// Each name with the clients that it is for.
#[test]
fn each_name_has_its_tunnels() {
    Machine::with(secs(120), |machine| {
        need!(
            "envoy",
            "ssserver",
            "sslocal",
            "ss-local",
            "obfs-local",
            "ss-v2ray-plugin",
            "nginx",
            "openssl"
        );
        let echo = Backend::echo();
        let port = Port::start(machine);
        for name in FILES {
            let client = shadowsocks_client(machine, name);
            carries(echo.addr);
            drop(client);
            let _client = client_with(machine, "ss-local", name, &[]);
            carries(echo.addr);
        }
        for host in ["sslocal", "ss-local"] {
            let simple_obfs = [("\"obfs-rs\"", "\"obfs-local\"")];
            let _client = client_with(machine, host, "envoy/sni/client-obfs-tls.json", &simple_obfs);
            carries(echo.addr);
        }
        for name in ["shadowsocks/client.json", "envoy/sni/client-tls.json"] {
            let v2ray = [("\"obfs-rs\"", "\"ss-v2ray-plugin\""), ("mode=websocket;", "")];
            let _client = client_with(machine, "sslocal", name, &v2ray);
            carries(echo.addr);
        }
        let both = [("mode=websocket", "mode=httpupgrade")];
        let _client = client_with(machine, "sslocal", "envoy/sni/client-tls.json", &both);
        carries(echo.addr);
        port.envoy.wait_line("a tunnel's end", |line| line.contains(&format!("] {CDN} 127.0.0.1:")));
    });
}

/// A download that the backend ends, and an upload that is answered after its end.
#[test]
fn ends_pass() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "ssserver", "sslocal", "nginx", "openssl");
        let page = noise(3 * MB, 1);
        let sent = page.clone();
        let source = Backend::serve(move |stream| send(&stream, &sent));
        let digester = Backend::digester();
        let port = Port::start(machine);
        for name in FILES {
            let _client = shadowsocks_client(machine, name);
            let (got, end) = recv_to_end(&socks(local(1080), source.addr), STEP);
            assert_eq!((digest(&got), end), (digest(&page), End::Fin), "{name}: {}", port.logs());
            let (got, end) = exchange(&socks(local(1080), digester.addr), &page, STEP);
            let got = String::from_utf8_lossy(&got).into_owned();
            assert_eq!((got, end), (digest(&page), End::Fin), "{name}: {}", port.logs());
        }
    });
}

/// What `openssl s_client` sees: the certificate's name, and what an HTTP request is answered.
#[track_caller]
fn visit(machine: &Machine, name: Option<&str>) -> (String, String) {
    let mut command = bare(peers::path("openssl"));
    command.args(["s_client", "-connect", "127.0.0.1:443", "-ign_eof"]);
    match name {
        Some(name) => command.args(["-servername", name]),
        None => command.arg("-noservername"),
    };
    let host = name.unwrap_or(WEBSITE);
    let request =
        machine.put("/run/request", format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    command.stdin(std::fs::File::open(request).expect("a request"));
    let shown = command.output().expect("run openssl").stdout;
    let shown = String::from_utf8_lossy(&shown).into_owned();
    let subject = shown.lines().find_map(|line| line.strip_prefix("subject=CN = "));
    (subject.unwrap_or(&shown).to_owned(), shown)
}

/// Visitors of each name, of others, of none, and without TLS.
#[test]
fn visitors_meet_a_website() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "ssserver", "nginx", "curl", "openssl");
        let port = Port::start(machine);
        let (subject, answer) = visit(machine, Some(NAME));
        assert_eq!(subject, NAME);
        assert!(
            answer.contains("\nHTTP/1.1 301 ") && answer.contains("location: https://www.example.org/"),
            "{answer}"
        );
        let (subject, own) = visit(machine, Some(APP));
        assert_eq!(subject, APP, "{}", port.logs());
        assert!(own.contains(PAGE), "{own}; {}", port.logs());
        for name in [Some(WEBSITE), Some(CDN), Some("another.example"), None] {
            let (subject, answer) = visit(machine, name);
            assert_eq!(subject, WEBSITE, "{name:?}: {}", port.logs());
            assert!(answer.contains(PAGE), "{name:?}: {answer}");
        }
        for (name, seen) in [(NAME, "301"), (APP, "200"), (WEBSITE, "200")] {
            let words = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", &format!("https://{name}/")];
            assert_eq!(output(machine.command(&words)), seen, "{name}: {}", port.logs());
        }
        // What is no TLS goes to the website, byte for byte; so does a hello that never ends.
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"[..],
            b"SSH-2.0-Go\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01",
        ] {
            let of = |at| {
                let stream = connect(local(at));
                if at == 8443 {
                    send(&stream, b"PROXY TCP4 127.0.0.1 127.0.0.1 4000 443\r\n");
                }
                send(&stream, bytes);
                let (got, end) = recv_to_end(&stream, STEP);
                let got = String::from_utf8_lossy(&got).into_owned();
                (
                    got.lines()
                        .filter(|line| !line.starts_with("Date: "))
                        .map(str::to_owned)
                        .collect::<Vec<_>>(),
                    end,
                )
            };
            assert_eq!(of(443), of(8443), "{bytes:?}");
        }
    });
}

/// Raw connections keep their address, on all ways to the website.
#[test]
fn everybody_learns_who_came() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "nginx", "curl", "openssl");
        let port = Port::start(machine);
        for address in ["203.0.113.7", "2001:db8::7"] {
            machine.address(address);
            let to = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
            for (name, version) in
                [(APP, "--http1.1"), (APP, "--http2"), (CDN, "--http1.1"), (WEBSITE, "--http2")]
            {
                let to = format!("{name}:443:{to}:443");
                let url = format!("https://{name}/{name}{version}");
                let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
                let words = ["curl", "-sSk", version, "--connect-to", &to, "--interface", address, &url];
                output(machine.command(&[&words, &upgrade[..]].concat()));
                port.website.wait_line("who came", |line| {
                    line.starts_with(&format!("{address} - ")) && line.contains(&format!("/{name}{version} "))
                });
            }
        }
        // The log of the server half, where its words are no others' (the first of a kind is told).
        port.servers[2].wait_line("who came", |line| {
            line.contains("missed the path")
                && line.contains("peer=203.0.113.7:")
                && line.contains("via 127.0.0.1:")
        });
    });
}
