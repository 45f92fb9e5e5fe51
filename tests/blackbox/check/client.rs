//! As a client, on ways that are free.

use super::{check, finished, start};
use crate::support::backend::{Backend, next};
use crate::support::child::Exit;
use crate::support::conn::{End, recv_head, recv_to_end};
use crate::support::grpc::{self, Style};
use crate::support::peers::need;
use crate::support::plugin::{Ours, SimpleObfs, V2ray, Vars, bare, client, our_path, server};
use crate::support::ports::free_port;
use crate::support::proxy::Proxy;
use crate::support::quic;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, secs, within};
use std::net::TcpListener;

/// What the tunnels of a check bring to Shadowsocks: a connection at the most, and nothing in it.
fn assert_silent(connections: &std::sync::mpsc::Receiver<std::net::TcpStream>) {
    while let Ok(stream) = connections.try_recv() {
        let (bytes, end) = recv_to_end(&stream, STEP);
        assert!(bytes.is_empty() && end != End::Open, "{bytes:?} {end:?}");
    }
}

#[test]
fn the_way_to_our_own_server_is_free_in_each_disguise() {
    within(secs(240), || {
        need!("openssl");
        let (backend, connections) = Backend::manual();
        let certificate = Certificate::new(NAME);
        let (tls_client, tls_server) = (certificate.for_client(), certificate.for_server());
        let (clear, in_tls) = (Style::clear(), Style::tls(&certificate));
        for (for_client, for_server, steps) in [
            (
                "obfs=http;obfs-uri=/x".to_owned(),
                "obfs=http;obfs-uri=/x".to_owned(),
                &["connect", "upgrade"][..],
            ),
            ("obfs=http;handshake=standard".to_owned(), "obfs=http".to_owned(), &["connect", "upgrade"]),
            ("mode=httpupgrade".to_owned(), "mode=websocket".to_owned(), &["connect", "upgrade"]),
            (
                "mode=httpupgrade;handshake=eager".to_owned(),
                "mode=websocket".to_owned(),
                &["connect", "upgrade"],
            ),
            (
                "mode=websocket;mux=0;path=/?ed=2048".to_owned(),
                "mode=websocket".to_owned(),
                &["connect", "upgrade"],
            ),
            (
                format!("mode=websocket;mux=8;{tls_client}"),
                format!("mode=websocket;{tls_server}"),
                &["connect", "tls", "upgrade"],
            ),
            (quic::for_client(&certificate), quic::for_server(&certificate), &["quic"]),
            (clear.for_client(), clear.for_server(), &["connect", "upgrade"]),
            (in_tls.for_client(), in_tls.for_server(), &["connect", "tls", "upgrade"]),
        ] {
            let port = free_port();
            let vars = Vars {
                remote: ("127.0.0.1".into(), port),
                local: (backend.addr.ip().to_string(), backend.addr.port()),
                options: format!("server;{for_server}"),
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = crate::support::child::Child::spawn("server", command);
            child.wait_text("listening on");
            let checked = check(&["--remote", &format!("127.0.0.1:{port}"), &for_client]);
            checked.is_well();
            for step in steps {
                checked.line("ok", step);
            }
            if steps.contains(&"tls") {
                checked.says("ok", "tls", "TLS 1.3; the server's certificate is valid for live.example.com");
            }
            assert_silent(&connections);
        }
        // No answer before Shadowsocks speaks.
        let server = server(Ours, backend.addr, "obfs=tls");
        let checked = check(&["--remote", &server.addr.to_string(), "obfs=tls"]);
        checked.is_well().says("unknown", "upgrade", "more cannot be known");
        assert_silent(&connections);
    });
}

#[test]
fn servers_of_others_are_known_as_far_as_they_answer() {
    within(secs(120), || {
        need!("obfs-server", "ss-v2ray-plugin", "openssl");
        let (backend, connections) = Backend::manual();
        for disguise in ["obfs=http", "obfs=tls"] {
            let server = server(SimpleObfs, backend.addr, disguise);
            let checked = check(&["--remote", &server.addr.to_string(), disguise]);
            checked.is_well().says("ok", "connect", "takes the connection");
            checked.says("unknown", "upgrade", "more cannot be known without a password");
            assert_silent(&connections);
        }
        let certificate = Certificate::new(NAME);
        for (for_client, for_server) in [
            ("mode=websocket;path=/x".to_owned(), "path=/x".to_owned()),
            (format!("mode=websocket;{}", certificate.for_client()), certificate.for_server()),
        ] {
            let server = server(V2ray, backend.addr, &for_server);
            let remote = server.addr.to_string();
            check(&["--remote", &remote, &for_client]).is_well().says("ok", "upgrade", "grants");
            let wrong = for_client.replace("path=/x", "path=/wrong");
            if wrong != for_client {
                let checked = check(&["--remote", &remote, &wrong]);
                checked.fails_at("upgrade", "HTTP/1.1 4").says("fails", "upgrade", "`path`");
            }
        }
        let server = quic::server(quic::App::Plugin, backend.addr, &certificate);
        let checked = check(&["--remote", &server.addr.to_string(), &quic::for_client(&certificate)]);
        checked.is_well().says("ok", "quic", "valid for live.example.com");
    });
}

/// grpc-go says nothing before the first message, and refuses at once.
#[test]
fn servers_of_grpc_are_known_as_far_as_they_answer() {
    within(secs(120), || {
        need!("v2ray", "openssl");
        let backend = Backend::echo();
        let certificate = Certificate::new(NAME);
        let style = Style::tls(&certificate);
        let server = grpc::server(grpc::App::V2ray, backend.addr, style);
        let remote = server.addr.to_string();
        let checked = check(&["--remote", &remote, &style.for_client()]);
        checked.is_well().says("ok", "tls", "TLS 1.3");
        assert!(checked.lines.iter().any(|line| line.contains(" upgrade: ")), "{:?}", checked.lines);
        let other = Style { service: "Another", ..style };
        check(&["--remote", &remote, &other.for_client()]).fails_at("upgrade", "serviceName");
    });
}

#[test]
fn addresses_come_from_variables_and_files_too_and_one_of_several_is_enough() {
    within(secs(60), || {
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, "obfs=http;obfs-uri=/own");
        let vars = Vars {
            remote: ("127.0.0.1".into(), server.addr.port()),
            local: ("127.0.0.1".into(), free_port()),
            options: "obfs=http;obfs-uri=/own".into(),
        };
        let mut command = bare(our_path());
        vars.put(&mut command);
        command.arg("check");
        let child = crate::support::child::Child::spawn("check", command);
        finished(&child).is_well().says("ok", "listen", "can be had").says("ok", "upgrade", "grants");
        let dir = TempDir::new("check");
        let port = server.addr.port();
        let file = format!(
            "{{\"server\": \"127.0.0.1\", \"server_port\": {port}, \"obfs\": \"http\", \"obfs-uri\": \"/own\"}}"
        );
        let file = dir.write("c.json", file);
        check(&[&format!("c={}", file.display())]).is_well().says("ok", "upgrade", "grants");
        let closed = free_port();
        let several = format!("127.0.0.1:{closed}|127.0.0.1:{port}|localhost:{port}");
        let several = several.strip_suffix(&format!(":{port}")).expect("a port");
        let checked = check(&["--remote", &format!("{several}:{port}"), "obfs=http;obfs-uri=/own"]);
        checked.is_well().says("ok", "connect", &server.addr.to_string()).says(
            "ok",
            "resolve",
            "localhost is",
        );
        checked.says("ok", "server", " or ");
    });
}

/// A server grants a tunnel before it knows whether its Shadowsocks is there.
#[test]
fn a_tunnel_that_ends_at_once_is_no_tunnel() {
    within(secs(120), || {
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        for (for_client, for_server) in [
            // (with WebSocket, gRPC and QUIC, a server dials with the first bytes, which say whether it is mux)
            ("mode=httpupgrade".to_owned(), "mode=websocket".to_owned()),
            ("obfs=http;handshake=standard".to_owned(), "obfs=http".to_owned()),
        ] {
            let server = server(Ours, nobody, &for_server);
            let checked = check(&["--remote", &server.addr.to_string(), &for_client]);
            assert_eq!(checked.exit, Exit::Code(1), "{for_client}: {:?}", checked.lines);
            // (it may be reset together with its answer)
            let step =
                if checked.lines.iter().any(|line| line.contains("grants")) { "tunnel" } else { "upgrade" };
            checked.line("fails", step);
        }
    });
}

/// The file that the Shadowsocks program is started with.
#[test]
fn options_and_address_come_from_the_file_of_shadowsocks() {
    within(secs(60), || {
        let backend = Backend::echo();
        let server = server(Ours, backend.addr, "obfs=http;obfs-uri=/own");
        let dir = TempDir::new("check");
        let port = server.addr.port();
        let file = |uri: &str, more: &str| {
            let text = format!(
                r#"{{"server": "127.0.0.1", "server_port": {port}, "method": "aes-256-gcm", "password": "S3CRET", {more}
                "plugin": "obfs-rs", "plugin_opts": "obfs=http;obfs-uri={uri}"}}"#
            );
            dir.write("client.json", text).display().to_string()
        };
        let local = r#""local_port": 1080,"#;
        let checked = check(&["--config", &file("/own", local)]);
        checked.is_well().says("ok", "role", "client").says("ok", "upgrade", "grants");
        check(&["--config", &file("/other", local)]).fails_at("upgrade", "did not switch protocols");
        let checked = check(&["--config", &file("/own", "")]);
        checked.says("ok", "role", "server");
        assert!(!checked.lines.join(" ").contains("S3CRET"), "{:?}", checked.lines);
    });
}

#[test]
fn the_way_may_lead_through_a_proxy() {
    within(secs(60), || {
        need!("microsocks");
        let backend = Backend::echo();
        let (proxy, server) = (Proxy::microsocks(None), server(Ours, backend.addr, "mode=websocket"));
        let remote = server.addr.to_string();
        let options = format!("mode=websocket;proxy={}", proxy.url(""));
        let checked = check(&["--remote", &remote, &options]);
        checked.is_well().says("ok", "connect", "the proxy").says(
            "ok",
            "proxy",
            &format!("leads to {remote}"),
        );
        checked.says("ok", "upgrade", "grants");
        let closed = format!("127.0.0.1:{}", free_port());
        check(&["--remote", &closed, &options]).fails_at("proxy", "the server refuses the connection");
        let options = format!("mode=websocket;proxy=socks5://127.0.0.1:{}", free_port());
        check(&["--remote", &remote, &options]).fails_at("connect", "refused");
    });
}

/// Whoever watches sees a client whose application has said nothing.
#[test]
fn a_check_says_what_a_client_says() {
    within(secs(120), || {
        for options in ["obfs=http;obfs-uri=/x", "mode=httpupgrade;path=/x", "mode=websocket;mux=0;path=/x"] {
            let (far, connections) = Backend::manual();
            let heads = |stream: &std::net::TcpStream| {
                let head = recv_head(stream);
                let varies =
                    |line: &&str| !line.starts_with("Sec-WebSocket-Key:") && !line.starts_with("User-Agent:");
                let names: Vec<_> =
                    head.lines().map(|line| line.split(':').next().unwrap_or_default().to_owned()).collect();
                (head.lines().filter(varies).map(str::to_owned).collect::<Vec<_>>(), names)
            };
            let running = start(&["--remote", &far.addr.to_string(), options]);
            let of_check = next(&connections);
            let checked = heads(&of_check);
            drop(of_check);
            finished(&running).fails_at("upgrade", "the server closed the connection before it answered");
            let half = client(Ours, far.addr, options);
            let _app = crate::support::conn::connect(half.addr);
            assert_eq!(checked, heads(&next(&connections)), "{options}");
        }
    });
}

#[test]
fn a_local_port_is_tried_and_given_back() {
    within(secs(60), || {
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        check(&["--listen", &listen, "--client", "obfs=http"]).is_well().says("ok", "listen", &listen);
        let _holder = TcpListener::bind(&listen).expect("it was given back");
        let checked = check(&["--listen", &listen, "--client", "obfs=http"]);
        checked.fails_at("listen", "is taken by blackbox");
        let checked = check(&["--listen", &listen, "--client", "mode=websocket;udp"]);
        assert_eq!(checked.exit, Exit::Code(1));
        checked.says("ok", "listen", "UDP").says("ok", "udp", "goes through the plugin");
    });
}
