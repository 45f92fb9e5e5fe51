//! `deploy/envoy/http.yaml`: ports 80 and 443 are a website and a tunnel.

use super::{MB, carries, shadowsocks_client, shadowsocks_server};
use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{
    End, assert_echo, connect, connect_from, exchange, recv, recv_head, recv_to_end, send,
};
use crate::support::deployed::{Machine, NAME, PATH, file, local, text};
use crate::support::hosts::{curl, socks};
use crate::support::peers::need;
use crate::support::websocket::{PING, Ws};
use crate::support::{STEP, assert_same, digest, eventually, noise, proc, secs};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

/// Envoy with a file of `deploy/envoy`, and with its certificate where the file says.
#[track_caller]
pub(super) fn envoy(machine: &Machine, name: &str, ports: &[u16]) -> Child {
    machine.install("envoy/sds.yaml", "/etc/envoy/sds.yaml");
    envoy_at(machine, &file(&format!("envoy/{name}")), ports)
}

#[track_caller]
fn envoy_at(machine: &Machine, config: &Path, ports: &[u16]) -> Child {
    let config = config.display().to_string();
    let quick = ["--disable-hot-restart", "-l", "warning", "--file-flush-interval-msec", "50"];
    machine.serve("envoy", ports, &[&["envoy", "-c", &config], &quick[..]].concat())
}

/// A Shadowsocks client whose file is that of `deploy/` but for this.
#[track_caller]
pub(super) fn client_with(machine: &Machine, host: &str, name: &str, changes: &[(&str, &str)]) -> Child {
    client_at(1080, machine, host, name, changes)
}

/// The same on another port, beside others.
#[track_caller]
pub(super) fn client_at(
    port: u16,
    machine: &Machine,
    host: &str,
    name: &str,
    changes: &[(&str, &str)],
) -> Child {
    let mut config = text(name);
    for (from, to) in changes.iter().chain(&[("1080", port.to_string().as_str())]) {
        assert!(config.contains(from), "{name} has no {from}");
        config = config.replace(from, to);
    }
    let config = machine.put(&format!("/etc/shadowsocks/client-{port}.json"), config).display().to_string();
    let client = machine.serve(host, &[port], &[host, "-c", &config]);
    proc::wait_listening_child(client.pid());
    client
}

/// A tunnel without a client.
#[track_caller]
fn tunnel() -> Ws {
    let stream = connect(local(80));
    send(&stream, request("GET", PATH, NAME, UPGRADE).as_bytes());
    let head = recv_head(&stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ws::of(stream)
}

const SERVER: &str = "shadowsocks/server-behind-proxy.json";

/// The request of a visitor, or of a client.
fn request(method: &str, path: &str, host: &str, more: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n")
}

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// What a visitor is answered, without the date and with the path that is sent back struck out.
#[track_caller]
fn answer(request: &str, path: &str) -> String {
    let stream = connect(local(80));
    send(&stream, request.as_bytes());
    let head = recv_head(&stream);
    let lines = head.lines().filter(|line| !line.starts_with("date: "));
    let place = "https://www.example.org";
    lines.collect::<Vec<_>>().join("\n").replace(&format!("{place}{path}\n"), &format!("{place}PATH\n"))
}

/// Each kind of client, through the files that are there.
#[test]
fn the_path_is_a_tunnel_for_every_client() {
    Machine::with(secs(120), |machine| {
        need!("envoy", "ssserver", "sslocal", "ss-local", "ss-v2ray-plugin", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let envoy = envoy(machine, "http.yaml", &[80, 443]);
        for name in ["shadowsocks/client-http.json", "shadowsocks/client.json"] {
            let client = shadowsocks_client(machine, name);
            carries(echo.addr);
            drop(client);
            let _client = client_with(machine, "ss-local", name, &[]);
            carries(echo.addr);
        }
        let v2ray = ("\"obfs-rs\"", "\"ss-v2ray-plugin\"");
        let with_tls = format!("tls;host={NAME};path={PATH}");
        let without = format!("host={NAME};path={PATH}");
        let no_mux = format!("{with_tls};mux=0");
        for (name, options, from) in [
            ("shadowsocks/client.json", &with_tls, format!("mode=websocket;{with_tls}")),
            ("shadowsocks/client.json", &no_mux, format!("mode=websocket;{with_tls}")),
            ("shadowsocks/client-http.json", &without, format!("obfs=http;obfs-host={NAME};obfs-uri={PATH}")),
        ] {
            let _client = client_with(machine, "sslocal", name, &[v2ray, (&from, options)]);
            carries(echo.addr);
        }
        for options in ["mode=websocket;mux=0", "mode=httpupgrade"] {
            let _client =
                client_with(machine, "sslocal", "shadowsocks/client.json", &[("mode=websocket", options)]);
            carries(echo.addr);
        }
        // An end of a tunnel is a line of Envoy's, with the status, the bytes and who came.
        envoy.wait_line("a tunnel's end", |line| line.contains(PATH) && line.contains("HTTP/1.1\" 101"));
    });
}

/// Nothing tells the tunnel's path from others, whether the plugin is there or away.
#[test]
fn a_visitor_sees_one_thing() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "curl", "openssl");
        machine.certificate(NAME);
        let envoy = envoy(machine, "http.yaml", &[80, 443, 8080]);
        let other_upgrade = "Connection: upgrade\r\nUpgrade: mqtt\r\n";
        let http2 = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";
        let with_body = format!("{UPGRADE}Content-Length: 0\r\n");
        let website = |seen: &str| {
            for (method, more) in [
                ("GET", ""),
                ("GET", "Connection: upgrade\r\n"),
                ("GET", "Upgrade: websocket\r\n"),
                ("GET", other_upgrade),
                ("GET", http2),
                ("POST", UPGRADE),
                ("PUT", &with_body),
                ("HEAD", ""),
            ] {
                let expected = answer(&request(method, "/another", NAME, more), "/another");
                assert!(
                    expected.starts_with("HTTP/1.1 301 ")
                        && expected.contains("location: https://www.example.orgPATH"),
                    "{seen}: {expected}; {}",
                    envoy.show_log()
                );
                for (path, host) in [(PATH, NAME), (PATH, "other.example"), ("/another", "other.example")] {
                    let got = answer(&request(method, path, host, more), path);
                    assert_eq!(got, expected, "{seen}: {method} {path} {host} {more}");
                }
            }
            let expected = answer(&request("GET", "/another", NAME, UPGRADE), "/another");
            assert!(expected.contains("301"), "{expected}");
            for host in ["other.example", "127.0.0.1", "www.example.com.example"] {
                assert_eq!(answer(&request("GET", PATH, host, UPGRADE), PATH), expected, "{seen}: {host}");
            }
            for path in ["/", "/a-path-of-your-own/", "/a-path-of-your-own/x", "/A-path-of-your-own"] {
                assert_eq!(answer(&request("GET", path, NAME, UPGRADE), path), expected, "{seen}: {path}");
            }
            expected
        };
        let expected = website("without the plugin");
        // Whoever knows the path sees no more of an outage than anybody else.
        assert_eq!(answer(&request("GET", PATH, NAME, UPGRADE), PATH), expected);
        envoy.wait_line("why", |line| line.contains(PATH) && line.contains(" UF "));

        let _server = shadowsocks_server(machine, SERVER, 8388);
        assert_eq!(website("with the plugin"), expected);
        let tunnel = answer(&request("GET", PATH, NAME, UPGRADE), PATH);
        assert!(tunnel.starts_with("HTTP/1.1 101 "), "{tunnel}");

        for version in ["--http1.1", "--http2"] {
            for path in ["/", "/another?q=1", PATH] {
                let out = machine.command(&["curl", "-sSi", version, &format!("https://{NAME}{path}")]);
                let head = output(out).to_lowercase();
                assert!(head.contains(&format!("\nlocation: https://www.example.org{path}\r")), "{head}");
            }
        }
        assert_eq!(curl(&[&format!("http://{NAME}/")]).status, "301");
    });
}

#[track_caller]
pub(super) fn output(mut command: Command) -> String {
    let output = command.stdin(std::process::Stdio::null()).output().expect("run it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A browser is offered HTTP/2 here, and its WebSocket comes through all the same.
#[test]
fn a_browser_opens_a_websocket() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "ssserver", "openssl", "chromium");
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let envoy = envoy(machine, "http.yaml", &[80, 443]);
        let script = format!(
            "<script>const s = new WebSocket('wss://{NAME}{PATH}'); s.onopen = () => s.close();</script>"
        );
        let page = machine.put("/srv/page.html", script).display().to_string();
        let profile = format!("--user-data-dir={}", machine.path().join("profile").display());
        let quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"];
        let rest = ["--disable-dev-shm-usage", "--ignore-certificate-errors", &profile, &page];
        let _browser = machine
            .start("chromium", &[&["chromium", "--headless", "--no-sandbox"], &quiet[..], &rest].concat());
        envoy.wait_line("a browser's tunnel", |line| {
            line.contains(&format!("{PATH} HTTP/1.1\" 101 ")) && line.contains("Chrome")
        });
    });
}

/// Behind a NodePort, or a port that a router passes on, `Host` has the port that the client knows.
#[test]
fn a_client_may_come_by_another_port() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "sslocal", "socat", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let envoy = envoy(machine, "http.yaml", &[80, 443]);
        let _ports = [(30080, 80), (30443, 443)].map(|(node, port)| {
            let listen = format!("TCP-LISTEN:{node},bind=127.0.0.1,fork,reuseaddr");
            machine.serve("socat", &[node], &["socat", &listen, &format!("TCP:127.0.0.1:{port}")])
        });
        for (name, from, to) in
            [("shadowsocks/client-http.json", "80", "30080"), ("shadowsocks/client.json", "443", "30443")]
        {
            let port = |number: &str| format!("\"server_port\": {number},");
            let _client = client_with(machine, "sslocal", name, &[(&port(from), &port(to))]);
            carries(echo.addr);
        }
        envoy.wait_line("the port in Host", |line| {
            line.contains("\"www.example.com:30080\"") && line.contains(" 101 ")
        });
    });
}

/// simple-obfs's own client asks for `/` alone: for it, that is the path.
#[test]
fn the_path_may_be_that_of_simple_obfs() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "sslocal", "obfs-local", "curl", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let other = |name: &str| text(name).replace(PATH, "/");
        machine.put("/etc/shadowsocks/server.json", other(SERVER));
        let _server = machine.serve("ssserver", &[8388], &["ssserver", "-c", "/etc/shadowsocks/server.json"]);
        machine.install("envoy/sds.yaml", "/etc/envoy/sds.yaml");
        let config = machine.put("/etc/envoy/http.yaml", other("envoy/http.yaml"));
        let _envoy = envoy_at(machine, &config, &[80]);
        let changes = [("\"obfs-rs\"", "\"obfs-local\""), (";obfs-uri=/a-path-of-your-own", "")];
        let _client = client_with(machine, "sslocal", "shadowsocks/client-http.json", &changes);
        carries(echo.addr);
        assert_eq!(curl(&[&format!("http://{NAME}/")]).status, "301");
    });
}

/// A download that the backend ends comes whole; what WebSocket tells in band passes Envoy, too.
#[test]
fn ends_pass() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "ssserver", "sslocal", "openssl");
        let page = noise(3 * MB, 1);
        let sent = page.clone();
        let source = Backend::serve(move |stream| {
            recv(&stream, 3);
            send(&stream, &sent);
        });
        let digester = Backend::digester();
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let _envoy = envoy(machine, "http.yaml", &[80, 443]);
        for name in ["shadowsocks/client-http.json", "shadowsocks/client.json"] {
            let client = shadowsocks_client(machine, name);
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        let stream = socks(local(1080), source.addr);
                        send(&stream, b"get");
                        let (got, end) = recv_to_end(&stream, STEP);
                        assert_same("the download", &got, &page);
                        assert_eq!(end, End::Fin, "{name}: {}", client.show_log());
                    });
                }
            });
            let upload = noise(2 * MB, 2);
            let (got, end) = exchange(&socks(local(1080), digester.addr), &upload, STEP);
            // The end of an upload of obfs=http is that of TCP, which Envoy takes for the end of all.
            let answer = if name == "shadowsocks/client.json" { digest(&upload) } else { String::new() };
            assert_eq!(String::from_utf8_lossy(&got), answer, "{name}: {}", client.show_log());
            assert_ne!(end, End::Open, "{name}");
        }
    });
}

/// More than Envoy lets pass where nothing else is said (1,024).
#[test]
fn there_may_be_many_tunnels() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "ssserver", "openssl");
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let envoy = envoy(machine, "http.yaml", &[80]);
        let tunnels: Vec<_> = std::iter::repeat_with(tunnel).take(1100).collect();
        assert_eq!(tunnels.len(), 1100, "{}", envoy.show_log());
    });
}

/// The plugin's log has the visitor, whatever a stranger writes into the header.
#[test]
fn the_plugin_learns_who_came() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "openssl");
        machine.certificate(NAME);
        let _envoy = envoy(machine, "http.yaml", &[80, 8080]);
        for address in ["203.0.113.7", "2001:db8::7"] {
            let server = shadowsocks_server(machine, SERVER, 8388);
            machine.address(address);
            let from: IpAddr = address.parse().expect("an address");
            let to = if from.is_ipv4() { local(80) } else { "[2001:db8::7]:80".parse().expect("an address") };
            let stream = connect_from(from, to);
            let spoofed = format!("X-Forwarded-For: 198.51.100.1\r\n{UPGRADE}");
            send(&stream, request("POST", PATH, NAME, &spoofed).as_bytes());
            assert!(recv_head(&stream).starts_with("HTTP/1.1 301 "));
            server.wait_line("who came", |line| {
                line.contains("missed the method") && line.contains(&format!("peer={address} via 127.0.0.1:"))
            });
        }
    });
}

/// Renewed as sds.yaml says, file by file: tunnels go on, and who comes meets the new certificate.
#[test]
fn a_certificate_is_renewed_without_a_restart() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "ssserver", "sslocal", "openssl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let envoy = envoy(machine, "http.yaml", &[443]);
        let client = shadowsocks_client(machine, "shadowsocks/client.json");
        let tunnel = socks(local(1080), echo.addr);
        assert_echo(&tunnel, b"before");
        let serial = || {
            let words = ["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", NAME];
            let shown = output(machine.command(&words));
            let pem = shown.find("-----BEGIN").zip(shown.find("-----END")).map(|(from, to)| &shown[from..to]);
            pem.expect("a certificate").to_owned()
        };
        let before = serial();
        let [cert, key] = ["pem", "key"].map(|end| format!("/etc/ssl/{NAME}.{end}"));
        let old_key = std::fs::read(&key).expect("a key");
        machine.certificate(NAME);
        let renewed = std::fs::read_to_string(&cert).expect("a certificate");
        let new_key = std::fs::read(&key).expect("a key");
        machine.put(&key, old_key);
        let moved = |to: &str, content: &[u8]| {
            let beside = machine.put("/etc/ssl/new", content);
            std::fs::rename(beside, to).expect("move it there");
        };
        moved(&cert, renewed.as_bytes());
        envoy.wait_line("that this is no pair", |line| line.contains("KEY_VALUES_MISMATCH"));
        assert_eq!(serial(), before, "{}", envoy.show_log());
        moved(&key, &new_key);
        assert!(
            eventually(STEP, || {
                let now = serial();
                now != before && renewed.contains(&now)
            }),
            "{}",
            envoy.show_log()
        );
        assert_echo(&tunnel, b"after");
        drop(client);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        carries(echo.addr);
    });
}

/// The time-out for requests is no tunnel's.
#[test]
fn a_tunnel_may_be_idle() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "openssl");
        machine.certificate(NAME);
        let _server = shadowsocks_server(machine, SERVER, 8388);
        let config = text("envoy/http.yaml");
        for changed in ["stream_idle_timeout: 300s", "idle_timeout: 75s", "request_headers_timeout: 10s"] {
            assert!(config.contains(changed), "{changed}");
        }
        let hurried = config
            .replace("stream_idle_timeout: 300s", "stream_idle_timeout: 1s")
            .replace("idle_timeout: 75s", "idle_timeout: 1s")
            .replace("request_headers_timeout: 10s", "request_headers_timeout: 1s");
        machine.install("envoy/sds.yaml", "/etc/envoy/sds.yaml");
        let envoy = envoy_at(machine, &machine.put("/etc/envoy/http.yaml", hurried), &[80]);
        let mut idle = tunnel();
        for beginning in ["", "GET / HTTP/1.1\r\nHo"] {
            let visitor = connect(local(80));
            send(&visitor, beginning.as_bytes());
            assert_eq!(recv_to_end(&visitor, STEP).1, End::Fin, "{beginning}: who does not go on is let go");
        }
        idle.send(PING, b"still there?");
        assert_eq!(idle.frame().payload, b"still there?", "{}", envoy.show_log());
    });
}
