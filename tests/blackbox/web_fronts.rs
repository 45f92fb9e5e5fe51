//! WebSocket and HTTPUpgrade behind real front proxies, some of which take the TLS off.

use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{assert_echo, connect, recv, recv_to_end, send};
use crate::support::fronts::{Front, Kind};
use crate::support::peers::{self, need};
use crate::support::plugin::{Make, Ours, V2ray, client, server};
use crate::support::ports::free_port;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, noise, secs, within};
use std::net::SocketAddr;
use std::process::Command;

const MB: usize = 1024 * 1024;

fn passes(addr: SocketAddr, make: Make, options: &str, file: &[u8]) {
    let client = client(make, addr, options);
    std::thread::scope(|scope| {
        for i in 0..4 {
            let addr = client.addr;
            scope.spawn(move || {
                let stream = connect(addr);
                send(&stream, b"echo");
                assert_eq!(recv(&stream, 4), b"echo");
                assert_echo(&stream, &noise(MB, i));
            });
        }
    });
    let stream = connect(client.addr);
    send(&stream, b"file");
    let (got, _) = recv_to_end(&stream, STEP);
    assert_same("the download", &got, file);
}

/// An echo, or a file that ends, as the first word asks.
fn backend(file: &[u8]) -> Backend {
    let file = file.to_vec();
    Backend::serve(move |stream| {
        let word = recv(&stream, 4);
        if word == b"file" {
            send(&stream, &file);
            return;
        }
        send(&stream, &word);
        let (mut from, mut to) = (&stream, &stream);
        let _ = std::io::copy(&mut from, &mut to);
    })
}

/// HAProxy wants a `Sec-WebSocket-Key`, which HTTPUpgrade has not: it answers 400, and the log says so.
fn refuses_httpupgrade(front: SocketAddr) {
    let client = client(Ours, front, "mode=httpupgrade;path=/stream");
    let stream = connect(client.addr);
    send(&stream, b"echo");
    assert!(recv_to_end(&stream, STEP).0.is_empty());
    client.child.wait_text("400 Bad request");
}

fn behind(kind: Kind) {
    within(secs(120), move || {
        need!("ss-v2ray-plugin");
        let file = noise(2 * MB, 1);
        let backend = backend(&file);
        let server = server(Ours, backend.addr, "mode=websocket;path=/stream");
        let front = Front::start(kind, server.addr);
        for (make, options) in [
            (Ours, "mode=websocket;mux=0"),
            (Ours, "mode=websocket;mux=4"),
            (Ours, "mode=httpupgrade"),
            (V2ray, "mux=0"),
            (V2ray, "mux=1"),
        ] {
            if kind == Kind::HaProxy && options == "mode=httpupgrade" {
                refuses_httpupgrade(front.addr);
                continue;
            }
            passes(front.addr, make, &format!("{options};path=/stream;host=live.example.com"), &file);
        }
    });
}

#[test]
fn nginx_passes() {
    need!("nginx");
    behind(Kind::Nginx);
}

#[test]
fn caddy_passes() {
    need!("caddy");
    behind(Kind::Caddy);
}

#[test]
fn haproxy_passes() {
    need!("haproxy");
    behind(Kind::HaProxy);
}

#[test]
fn envoy_passes() {
    need!("envoy");
    behind(Kind::Envoy);
}

/// A front that takes the TLS off, with the configuration `text`, in which `@…@` is put in.
fn behind_tls(program: &'static str, text: &'static str, start: fn(&std::path::Path, &mut Command)) {
    within(secs(120), move || {
        need!("openssl", "ss-v2ray-plugin");
        let certificate = Certificate::new(NAME);
        let file = noise(2 * MB, 1);
        let backend = backend(&file);
        let server = server(Ours, backend.addr, "mode=websocket;path=/stream");
        let port = free_port();
        let dir = certificate.dir.path();
        let both =
            [&certificate.cert, &certificate.key].map(|path| std::fs::read(path).expect("a file")).concat();
        certificate.dir.write("both.pem", both);
        let text = text
            .replace("@PORT@", &port.to_string())
            .replace("@UPSTREAM@", &server.addr.port().to_string())
            .replace("@DIR@", &dir.display().to_string());
        let config = certificate.dir.write("front.conf", text);
        let mut command = Command::new(peers::path(program));
        command.env("HOME", dir);
        start(&config, &mut command);
        let front = Child::spawn(program, command);
        front.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        let tls = certificate.for_client();
        for (make, options) in [
            (Ours, "mode=websocket;mux=0"),
            (Ours, "mode=websocket;mux=4"),
            (Ours, "mode=httpupgrade"),
            (V2ray, "mux=1"),
        ] {
            if program == "haproxy" && options == "mode=httpupgrade" {
                continue;
            }
            passes(addr, make, &format!("{options};path=/stream;{tls}"), &file);
        }
    });
}

#[test]
fn nginx_takes_the_tls_off() {
    need!("nginx");
    behind_tls(
        "nginx",
        r#"worker_processes 1; daemon off; pid @DIR@/nginx.pid; error_log @DIR@/nginx.err;
events { worker_connections 500; }
http {
  access_log off;
  client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy; fastcgi_temp_path @DIR@/fcgi;
  uwsgi_temp_path @DIR@/uwsgi; scgi_temp_path @DIR@/scgi;
  server {
    listen 127.0.0.1:@PORT@ ssl;
    ssl_certificate @DIR@/cert.pem; ssl_certificate_key @DIR@/key.pem;
    location / {
      proxy_pass http://127.0.0.1:@UPSTREAM@; proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";
      proxy_set_header Host $host;
    }
  }
}
"#,
        |config, command| {
            command.arg("-e").arg(config.with_file_name("nginx.err")).arg("-c").arg(config);
        },
    );
}

#[test]
fn haproxy_takes_the_tls_off() {
    need!("haproxy");
    behind_tls(
        "haproxy",
        "global\n  maxconn 500\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\n  timeout tunnel 1h\nlisten front\n  \
         bind 127.0.0.1:@PORT@ ssl crt @DIR@/both.pem alpn http/1.1\n  server obfs 127.0.0.1:@UPSTREAM@\n",
        |config, command| {
            command.arg("-f").arg(config);
        },
    );
}

#[test]
fn caddy_takes_the_tls_off() {
    need!("caddy");
    behind_tls(
        "caddy",
        "{\n\tadmin off\n\tauto_https off\n}\nhttps://live.example.com:@PORT@ {\n\tbind 127.0.0.1\n\t\
         tls @DIR@/cert.pem @DIR@/key.pem\n\treverse_proxy 127.0.0.1:@UPSTREAM@\n}\n",
        |config, command| {
            command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config);
        },
    );
}
