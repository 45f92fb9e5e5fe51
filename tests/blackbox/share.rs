//! What `obfs-rs share` prints, in the programs that it is for: each is started with it, as it stands, and carries bytes.

use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::assert_echo;
use crate::support::hosts::socks;
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path, ours};
use crate::support::ports::free_port;
use crate::support::proc;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, noise, secs, within};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

mod methods;
mod printed;

const PASSWORD: &str = "p:@/#\"'\\ é%;=&";

/// Runs `obfs-rs share` with nothing on standard input.
#[track_caller]
fn share(words: &[&str]) -> Output {
    ours()
        .arg("share")
        .args(words)
        .env_remove("OBFS_RS_PASSWORD")
        .stdin(Stdio::null())
        .output()
        .expect("share")
}

/// What it prints where all is well.
#[track_caller]
fn shared(words: &[&str]) -> String {
    let output = share(words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// ssserver with our server half, both started from a file.
struct Server {
    _child: Child,
    _certificate: Certificate,
    dir: TempDir,
    file: PathBuf,
    cert: PathBuf,
}

impl Server {
    /// With these options, and `TLS` in them for those of TLS.
    #[track_caller]
    fn start(options: &str) -> Server {
        let dir = TempDir::new("share");
        let certificate = Certificate::new(NAME);
        let port = free_port();
        let settings = json!({
            "server": "127.0.0.1", "server_port": port, "method": "aes-256-gcm", "password": PASSWORD,
            "plugin": our_path(), "plugin_opts": options.replace("TLS", &certificate.for_server()),
        });
        let file = dir.write("server.json", settings.to_string());
        let mut command = bare(peers::path("ssserver"));
        command.arg("-c").arg(&file);
        let child = Child::spawn("ssserver", command);
        let listens = || proc::port_listens(port) || proc::udp_port_bound(port);
        assert!(eventually(STEP, listens), "{options}: {}", child.show_log());
        let cert = certificate.cert.clone();
        Server { _child: child, _certificate: certificate, dir, file, cert }
    }

    /// What its users are told.
    #[track_caller]
    fn shared(&self, words: &[&str]) -> String {
        let file = self.file.to_str().expect("a path");
        let mut all = vec!["--config", file, "--host", "127.0.0.1", "--name", "mine"];
        all.extend(words);
        shared(&all)
    }

    /// A program that trusts the certificate, and finds plugins under these names.
    fn client(&self, program: &str, plugins: &[(&str, &Path)]) -> Command {
        for (name, path) in plugins {
            let _ = std::os::unix::fs::symlink(path, self.dir.path().join(name));
        }
        let mut command = bare(peers::path(program));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", self.dir.path().display()));
        command.env("SSL_CERT_FILE", &self.cert).env("HOME", self.dir.path()).current_dir(self.dir.path());
        command
    }
}

/// Echoes through the SOCKS port of a client that has just been started.
#[track_caller]
fn carries(child: &Child, port: u16, what: &str) {
    let echo = Backend::echo();
    let proxy = SocketAddr::from(([127, 0, 0, 1], port));
    child.wait_listening(port);
    // mihomo listens before it serves, and ends who comes until then.
    let [high, low] = echo.addr.port().to_be_bytes();
    let serves = || {
        let Ok(mut stream) = TcpStream::connect(proxy) else { return false };
        let _ = stream.set_read_timeout(Some(STEP));
        let mut answer = [0; 17];
        stream.write_all(&[5, 1, 0]).is_ok()
            && stream.read_exact(&mut answer[..2]).is_ok()
            && stream.write_all(&[5, 1, 0, 1, 127, 0, 0, 1, high, low]).is_ok()
            && stream.read_exact(&mut answer[2..12]).is_ok()
            && stream.write_all(b"hello").is_ok()
            && stream.read_exact(&mut answer[12..]).is_ok()
            && answer.ends_with(b"hello")
    };
    assert!(eventually(STEP, serves), "{what}: {}", child.show_log());
    assert_echo(&socks(proxy, echo.addr), &noise(200_000, 7));
}

/// Each of our disguises, as `plugin_opts` of a server.
const SERVERS: &[&str] = &[
    "mode=websocket;TLS;path=/a-path",
    "mode=websocket;path=/a b;obfs-host=other.example",
    "mode=httpupgrade;TLS;path=/a-path",
    "obfs=http;obfs-uri=/a\\;b\\=c",
    "obfs=http",
    "obfs=tls;obfs-host=other.example",
    "mode=grpc;TLS;serviceName=a service",
    "mode=grpc;serviceName=/a/b",
    "mode=quic;TLS",
    "TLS;path=/a-path",
];

#[test]
fn sslocal_starts_with_the_json() {
    within(secs(240), || {
        need!("sslocal", "ssserver", "openssl");
        for options in SERVERS {
            let server = Server::start(options);
            let mut settings: Value =
                serde_json::from_str(&server.shared(&["--format", "json"])).expect("JSON");
            assert_eq!(settings["plugin"], "obfs-rs");
            let port = free_port();
            settings["local_port"] = json!(port);
            let mut command = server.client("sslocal", &[("obfs-rs", &our_path())]);
            command.arg("-c").arg(server.dir.write("client.json", settings.to_string()));
            carries(&Child::spawn("sslocal", command), port, options);
        }
    });
}

#[test]
fn every_disguise_of_one_port_can_be_chosen() {
    within(secs(200), || {
        need!("sslocal", "ssserver", "openssl");
        let server = Server::start("TLS;path=/a-path;obfs-tls-host=other.example");
        for disguise in ["websocket", "httpupgrade", "http", "tls"] {
            let text = server.shared(&["--format", "json", "--disguise", disguise]);
            let mut settings: Value = serde_json::from_str(&text).expect("JSON");
            let port = free_port();
            settings["local_port"] = json!(port);
            let mut command = server.client("sslocal", &[("obfs-rs", &our_path())]);
            command.arg("-c").arg(server.dir.write("client.json", settings.to_string()));
            carries(&Child::spawn("sslocal", command), port, disguise);
        }
    });
}

#[test]
fn simple_obfs_and_v2ray_plugin_start_with_their_json() {
    within(secs(200), || {
        need!("sslocal", "ssserver", "openssl", "obfs-local", "ss-v2ray-plugin");
        for (plugin, program, options) in [
            ("obfs-local", "obfs-local", "obfs=http"),
            ("obfs-local", "obfs-local", "obfs=tls;obfs-host=other.example"),
            ("v2ray-plugin", "ss-v2ray-plugin", "mode=websocket;TLS;path=/a-path"),
            ("v2ray-plugin", "ss-v2ray-plugin", "mode=websocket;path=/a\\;b\\=c"),
            ("v2ray-plugin", "ss-v2ray-plugin", "mode=quic;TLS"),
        ] {
            let server = Server::start(options);
            let text = server.shared(&["--format", "json", "--plugin", plugin]);
            let mut settings: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(settings["plugin"], plugin);
            let port = free_port();
            settings["local_port"] = json!(port);
            let mut command = server.client("sslocal", &[(plugin, &peers::path(program))]);
            command.arg("-c").arg(server.dir.write("client.json", settings.to_string()));
            carries(&Child::spawn("sslocal", command), port, options);
        }
    });
}

#[test]
fn mihomo_starts_with_the_yaml() {
    within(secs(200), || {
        need!("mihomo", "ssserver", "openssl");
        for (options, plugin) in [
            ("mode=websocket;TLS;path=/a-path", "v2ray-plugin"),
            ("mode=websocket;path=/a b;obfs-host=other.example", "v2ray-plugin"),
            ("obfs=http", "obfs"),
            ("obfs=tls;obfs-host=other.example", "obfs"),
            ("TLS;path=/a-path", "v2ray-plugin"),
        ] {
            let server = Server::start(options);
            start_mihomo(&server, options, &server.shared(&["--format", "mihomo"]), plugin);
        }
        let server = Server::start("mode=httpupgrade;TLS;path=/a-path");
        let yaml = server.shared(&["--format", "mihomo", "--disguise", "httpupgrade"]);
        start_mihomo(&server, "httpupgrade", &yaml, "v2ray-http-upgrade: true");
    });
}

#[track_caller]
fn start_mihomo(server: &Server, what: &str, yaml: &str, wanted: &str) {
    assert!(yaml.contains(wanted), "{yaml}");
    let port = free_port();
    let text =
        format!("{yaml}socks-port: {port}\nbind-address: 127.0.0.1\nmode: rule\nrules:\n  - MATCH,mine\n");
    let mut command = server.client("mihomo", &[]);
    command.arg("-d").arg(server.dir.path()).arg("-f").arg(server.dir.write("config.yaml", text));
    carries(&Child::spawn("mihomo", command), port, what);
}

#[test]
fn sing_box_starts_with_the_outbound() {
    within(secs(200), || {
        need!("sing-box", "ssserver", "openssl");
        for (options, plugin) in [
            ("mode=websocket;TLS;path=/a-path", "v2ray-plugin"),
            ("mode=websocket;path=/a\\;b\\=c;obfs-host=other.example", "v2ray-plugin"),
            ("mode=quic;TLS", "v2ray-plugin"),
            ("obfs=http", "obfs-local"),
            ("obfs=tls;obfs-host=other.example", "obfs-local"),
            ("TLS;path=/a-path", "v2ray-plugin"),
        ] {
            let server = Server::start(options);
            let outbound: Value =
                serde_json::from_str(&server.shared(&["--format", "sing-box"])).expect("JSON");
            assert_eq!(outbound["plugin"], plugin);
            let port = free_port();
            let inbound = json!({"type": "socks", "listen": "127.0.0.1", "listen_port": port});
            let settings = json!({"log": {"level": "warn"}, "inbounds": [inbound], "outbounds": [outbound]});
            let mut command = server.client("sing-box", &[]);
            command.args(["run", "-c"]).arg(server.dir.write("config.json", settings.to_string()));
            carries(&Child::spawn("sing-box", command), port, options);
        }
    });
}
