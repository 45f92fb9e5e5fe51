//! `obfs-rs probe` over HTTP/2: in TLS where it is picked, and in the clear.

use crate::probe::{Found, RUN, probe};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, ours, server};
use crate::support::ports::free_port;
use crate::support::tls_site::{PAGE, TlsSite};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::within;
use std::net::SocketAddr;
use std::process::Command;

/// In TLS, and short where nothing happens.
const IN_TLS: &[&str] = &["--tls", "--name", NAME, "--wait", "2"];

/// The probes over HTTP/2 that have this status.
fn over_http2<'a>(found: &'a Found, status: &str) -> Vec<&'a str> {
    found.named(status).into_iter().filter(|name| name.contains("HTTP/2: ")).collect()
}

/// All of HTTP/2 was compared, and nothing of it differs.
#[track_caller]
fn assert_http2_is_the_same(found: &Found) {
    assert_eq!(over_http2(found, "differs"), [""; 0], "{}", found.differing());
    for status in ["unstable", "unfinished", "not compared"] {
        assert_eq!(over_http2(found, status), [""; 0], "{:#}", found.json);
    }
    assert!(over_http2(found, "same").len() > 100, "{:?}", over_http2(found, "same"));
}

/// Two of nginx with one certificate, which speak HTTP/2 in TLS and in the clear.
fn twins() -> (Certificate, [TlsSite; 2]) {
    let certificate = Certificate::new(NAME);
    let sites = [PAGE; 2].map(|page| TlsSite::with(&certificate, page));
    (certificate, sites)
}

#[test]
fn nginx_is_like_nginx_in_tls() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (_certificate, [one, other]) = twins();
        let found = probe(one.addr, other.addr, IN_TLS);
        assert_http2_is_the_same(&found);
        let get = found.probe("in TLS: HTTP/2: GET");
        assert!(get["site"]["answer"].as_str().is_some_and(|told| told.contains(" 200, ")), "{get:#}");
        assert_eq!(found.count("notes"), 0, "{:#}", found.json["notes"]);
    });
}

#[test]
fn nginx_is_like_nginx_in_the_clear() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (_certificate, [one, other]) = twins();
        assert_http2_is_the_same(&probe(one.h2, other.h2, &["--wait", "2"]));
    });
}

/// Caddy with TLS on two ports, and without HTTP/3, of which its answers tell the port.
struct Caddy {
    ports: [SocketAddr; 2],
    _child: Child,
}

impl Caddy {
    #[track_caller]
    fn start(certificate: &Certificate) -> Caddy {
        let ports = [free_port(), free_port()];
        certificate.dir.page("root/index.html", PAGE);
        let (root, [one, two]) = (certificate.dir.path().display(), ports);
        let config = format!(
            "{{\n\tadmin off\n\tauto_https off\n\tservers {{\n\t\tprotocols h1 h2\n\t}}\n}}\n\
             https://{NAME}:{one}, https://{NAME}:{two} {{\n\tbind 127.0.0.1\n\ttls {} {}\n\troot * {root}/root\n\
             \tfile_server\n}}\n",
            certificate.cert.display(),
            certificate.key.display()
        );
        let file = certificate.dir.write("Caddyfile", config);
        let mut command = Command::new(peers::path("caddy"));
        command
            .env("HOME", certificate.dir.path())
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(file);
        let child = Child::spawn("caddy (the website)", command);
        ports.iter().for_each(|port| child.wait_listening(*port));
        Caddy { ports: ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))), _child: child }
    }
}

/// Its frames come from several threads.
#[test]
fn caddy_is_like_caddy() {
    within(RUN, || {
        need!("caddy", "openssl");
        let certificate = Certificate::new(NAME);
        let caddy = Caddy::start(&certificate);
        let found = probe(caddy.ports[0], caddy.ports[1], IN_TLS);
        assert_eq!(over_http2(&found, "differs"), [""; 0], "{}", found.differing());
        // What it says when a connection breaks off may differ from one time to the next.
        assert!(over_http2(&found, "unstable").len() <= 5, "{:?}", over_http2(&found, "unstable"));
        assert!(over_http2(&found, "same").len() > 100, "{:?}", over_http2(&found, "same"));
    });
}

#[test]
fn caddy_is_told_from_nginx() {
    within(RUN, || {
        need!("caddy", "nginx", "openssl");
        let certificate = Certificate::new(NAME);
        let (caddy, nginx) = (Caddy::start(&certificate), TlsSite::with(&certificate, PAGE));
        let found = probe(caddy.ports[0], nginx.addr, &["--tls", "--name", NAME, "--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        let get = found.probe("in TLS: HTTP/2: GET");
        let what = &get["differences"][0];
        assert_eq!(what["what"], "the answer", "{get:#}");
        for end in ["site", "server"] {
            assert!(what[end].as_str().is_some_and(|told| told.starts_with("SETTINGS ")), "{get:#}");
        }
        assert!(over_http2(&found, "differs").len() > 100, "{:?}", over_http2(&found, "same"));
    });
}

/// One that speaks HTTP/2 beside one that does not.
#[test]
fn who_picks_http2_is_told_from_who_does_not() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (_certificate, [one, other]) = twins();
        let found = probe(one.h2, other.plain, &["--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        let get = found.probe("HTTP/2: GET");
        assert_eq!(get["status"], "differs", "{get:#}");
        assert!(
            get["server"]["answer"].as_str().is_some_and(|told| told.starts_with("HTTP/2 SETTINGS")),
            "{get:#}"
        );
        assert!(get["site"]["answer"].as_str().is_some_and(|told| told.starts_with("HTTP/1.1 ")), "{get:#}");

        let (certificate, backend) = (Certificate::new(NAME), Backend::echo());
        let site = TlsSite::with(&certificate, PAGE);
        let options =
            format!("mode=websocket;path=/secret;{};failover={}", certificate.for_server(), site.plain);
        let server = server(Ours, backend.addr, &options);
        let found = probe(server.addr, site.addr, &["--tls", "--name", NAME, "--wait", "1"]);
        for name in ["handshake, ALPN h2 and http/1.1", "in TLS: HTTP/2: GET"] {
            assert_eq!(found.probe(name)["status"], "differs", "{:#}", found.probe(name));
        }
    });
}

/// v2ray's gRPC transport with TLS, and nothing beside it.
#[track_caller]
fn v2ray_grpc(certificate: &Certificate) -> (Child, SocketAddr) {
    let port = free_port();
    let config = serde_json::json!({
        "log": { "loglevel": "warning" },
        "inbounds": [{
            "listen": "127.0.0.1", "port": port, "protocol": "dokodemo-door",
            "settings": { "address": "127.0.0.1", "port": 9, "network": "tcp" },
            "streamSettings": {
                "network": "grpc", "grpcSettings": { "serviceName": "SecretService" },
                "security": "tls", "tlsSettings": {
                    "certificates": [{ "certificateFile": certificate.cert, "keyFile": certificate.key }],
                },
            },
        }],
        "outbounds": [{ "protocol": "freedom" }],
    });
    let file = certificate.dir.write("v2ray.json", config.to_string());
    let mut command = Command::new(peers::path("v2ray"));
    command.arg("-config").arg(file);
    let child = Child::spawn("v2ray (gRPC)", command);
    child.wait_listening(port);
    (child, SocketAddr::from(([127, 0, 0, 1], port)))
}

#[test]
fn v2rays_grpc_is_found_out() {
    within(RUN, || {
        need!("nginx", "openssl", "v2ray");
        let certificate = Certificate::new(NAME);
        let (site, (_v2ray, addr)) = (TlsSite::with(&certificate, PAGE), v2ray_grpc(&certificate));
        let words =
            [&addr.to_string(), "--site", &site.addr.to_string(), "--tls", "--name", NAME, "--wait", "1"];
        let mut command = ours();
        command.arg("probe").args(words);
        let child = Child::spawn("probe", command);
        assert_eq!(child.wait_exit(RUN), Exit::Code(1));
        child.wait_text("were answered by gRPC, which the site does not speak");
        child.wait_text("in TLS: HTTP/2: gRPC, to /x/Tun");
        child.wait_text("in TLS: HTTP/2: GET");
    });
}

/// What nobody can mend who passes HTTP/2 on in the clear: nginx calls a silent visitor's end a protocol error there, since
/// its port in the clear speaks only to those who have begun.
fn is_silence(found: &Found, name: &str) -> bool {
    let differences = found.probe(name)["differences"].as_array().expect("differences");
    let is_code = |difference: &serde_json::Value| {
        difference["site"] == "GOAWAY NO_ERROR, the last stream is 0"
            && difference["server"] == "GOAWAY PROTOCOL_ERROR, the last stream is 0"
    };
    name.ends_with("HTTP/2: silence") && differences.iter().all(is_code)
}

/// HTTP/2 inside our TLS is the website's.
#[test]
fn a_server_with_a_website_that_speaks_http2_is_like_it() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (certificate, backend) = (Certificate::new(NAME), Backend::echo());
        let site = TlsSite::with(&certificate, PAGE);
        let options = format!(
            "mode=auto;path=/secret-path;serviceName=secret-service;{};failover={};failover-h2={}",
            certificate.for_server(),
            site.plain,
            site.h2
        );
        let server = server(Ours, backend.addr, &options);
        let words = [IN_TLS, &["--path", "/secret-path"]].concat();
        let found = probe(server.addr, site.addr, &words);
        for name in over_http2(&found, "differs") {
            assert!(is_silence(&found, name), "{:#}", found.probe(name));
        }
        assert!(over_http2(&found, "same").len() > 100, "{:?}", over_http2(&found, "same"));
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}

/// So is HTTP/2 that comes in the clear.
#[test]
fn a_server_with_a_website_that_speaks_http2_in_the_clear_is_like_it() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (_certificate, [site, _other]) = twins();
        let backend = Backend::echo();
        let options = format!("obfs=http;obfs-uri=/secret-path;failover={}", site.h2);
        let server = server(Ours, backend.addr, &options);
        let found = probe(server.addr, site.h2, &["--wait", "2", "--path", "/secret-path"]);
        assert_http2_is_the_same(&found);
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}
