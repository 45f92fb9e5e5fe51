//! `mode=quic`: with each peer at the other end, and both of our halves together; how tunnels end there, and under real
//! Shadowsocks programs.

use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{self, End, assert_echo, connect, exchange, fin, recv, recv_to_end, send};
use crate::support::hosts::{Family, Host, curl, server_command, socks};
use crate::support::peers::need;
use crate::support::plugin::{self, Ours, Vars, bare, our_path};
use crate::support::ports::free_port;
use crate::support::quic::{self, App, PAIRS, Pair, ask, for_client, for_server, our_server};
use crate::support::site::{INDEX, Site};
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, digest, eventually, noise, proc, secs, within};
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

const MB: usize = 1024 * 1024;

/// What each tunnel carries.
const FILE: usize = 20 * MB;

/// How many do at a time.
const AT_A_TIME: u8 = 3;

/// Takes a file and answers with its digest, or sends one, or echoes: as the first byte says. The second is the seed.
pub fn carrier() -> Backend {
    Backend::serve(|stream| match recv(&stream, 2)[..] {
        [b'u', _] => {
            let file = recv(&stream, FILE);
            send(&stream, digest(&file).as_bytes());
            recv_to_end(&stream, STEP);
        }
        [b'd', seed] => send(&stream, &noise(FILE, seed.into())),
        _ => {
            let _ = io::copy(&mut &stream, &mut &stream);
        }
    })
}

/// Files up and down, some at a time, and many small requests, all through one client.
pub fn carries(client: SocketAddr, logs: &(dyn Fn() -> String + Sync)) {
    let each = |kind: u8, seed: u8| {
        let stream = connect(client);
        send(&stream, &[kind, seed]);
        let file = noise(FILE, seed.into());
        if kind == b'u' {
            send(&stream, &file);
            // Megabytes of it may still be on their way.
            stream.set_read_timeout(Some(secs(100))).expect("a limit");
            let told = recv(&stream, digest(&[]).len());
            assert_eq!(String::from_utf8_lossy(&told), digest(&file), "up; {}", logs());
        } else {
            let (got, end) = recv_to_end(&stream, secs(100));
            assert_same("down", &got, &file);
            assert_eq!(end, End::Fin, "{}", logs());
        }
    };
    for kind in [b'u', b'd'] {
        std::thread::scope(|scope| {
            for seed in 0..AT_A_TIME {
                scope.spawn(move || each(kind, seed));
            }
        });
    }
    std::thread::scope(|scope| {
        for worker in 0..8 {
            scope.spawn(move || {
                for round in 0..6 {
                    let stream = connect(client);
                    send(&stream, b"e?");
                    for request in 0..8 {
                        assert_echo(&stream, &noise(1 + 300 * request, worker + 10 * round));
                    }
                }
            });
        }
    });
}

fn between(client_app: App, server_app: App) {
    within(secs(300), move || {
        need!("ss-v2ray-plugin", "v2ray", "sing-box", "openssl");
        let backend = carrier();
        let pair = Pair::start(client_app, server_app, backend.addr);
        carries(pair.client.addr, &|| pair.logs());
    });
}

#[test]
fn our_halves_carry_files_and_requests() {
    between(App::Ours, App::Ours);
}

#[test]
fn debians_plugin_serves_our_client() {
    between(App::Ours, App::Plugin);
}

#[test]
fn v2ray_serves_our_client() {
    between(App::Ours, App::V2ray);
}

#[test]
fn our_server_serves_debians_plugin() {
    between(App::Plugin, App::Ours);
}

#[test]
fn our_server_serves_v2ray() {
    between(App::V2ray, App::Ours);
}

#[test]
fn our_server_serves_sing_box() {
    between(App::SingBox, App::Ours);
}

/// The yardsticks themselves.
#[test]
fn v2ray_and_debians_plugin_pass_the_same_checks() {
    between(App::V2ray, App::Plugin);
}

#[test]
fn v2ray_alone_passes_the_same_checks() {
    between(App::V2ray, App::V2ray);
}

/// Why our server takes more than they do: sing-box's client offers `h3`, which no server of v2ray's takes.
#[test]
fn sing_box_works_with_no_server_but_ours() {
    within(secs(60), || {
        need!("ss-v2ray-plugin", "v2ray", "sing-box", "openssl");
        let echo = Backend::echo();
        for server_app in [App::Plugin, App::V2ray] {
            let pair = Pair::start(App::SingBox, server_app, echo.addr);
            let stream = connect(pair.client.addr);
            send(&stream, b"hello");
            assert_eq!(recv_to_end(&stream, STEP).0, b"", "{}", pair.logs());
            pair.client.child.wait_text("0x178");
        }
        assert_eq!(echo.accepted(), 0);
    });
}

/// What is offered decides nothing: each of the protocols that clients offer is taken, and none, too.
#[test]
fn every_alpn_of_clients_is_taken_and_named() {
    within(secs(60), || {
        need!("python-aioquic", "openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let server = our_server(echo.addr, &for_server(&certificate));
        let port = server.addr.port().to_string();
        for (offered, taken) in [
            (&["h2", "http/1.1"][..], "open h2 "),
            (&["http/1.1"], "open http/1.1 "),
            (&["h3"], "open h3 "),
            (&[], "open None "),
        ] {
            let said = ask(&[&["handshake", &port, NAME], offered].concat());
            assert!(said[0].starts_with(taken), "{offered:?}: {said:?}");
        }
        for offered in ["h3-29", "dot"] {
            let said = ask(&["handshake", &port, NAME, offered]);
            assert!(!said[0].starts_with("open"), "{offered}: {said:?}");
        }
    });
}

/// sing-box's transport of its own, at either end: a VLESS client through our server, and through our client a VLESS
/// server that has been told to take what we offer.
#[test]
fn sing_boxes_own_transport_goes_through_either_half() {
    within(secs(300), || {
        need!("sing-box", "openssl");
        let user = "7d2b1e7c-1fc8-4c5a-9d3c-0f0b8d0f4a11";
        let certificate = Certificate::new(NAME);
        let backend = carrier();
        let users = json!([{"uuid": user}]);
        let direct = json!({"type": "direct"});
        let vless =
            |port: u16| json!({"type": "vless", "server": "127.0.0.1", "server_port": port, "uuid": user});
        let inbound =
            |port: u16| json!({"type": "vless", "listen": "127.0.0.1", "listen_port": port, "users": users});

        let port = free_port();
        let plain = quic::sing_box("sing-box, without transport", &inbound(port), &direct, port);
        let server = our_server(plain.addr, &for_server(&certificate));
        let port = free_port();
        let mut outbound = vless(server.addr.port());
        outbound["transport"] = json!({"type": "quic"});
        outbound["tls"] = json!({"enabled": true, "server_name": NAME, "certificate_path": certificate.cert});
        let door = quic::sing_box_door(port, backend.addr.port());
        let client = quic::sing_box("sing-box, client", &door, &outbound, port);
        carries(client.addr, &|| server.child.show_log());

        let port = free_port();
        let mut with_quic = inbound(port);
        with_quic["transport"] = json!({"type": "quic"});
        with_quic["tls"] = json!({
            "enabled": true, "server_name": NAME, "alpn": ["h2"],
            "certificate_path": certificate.cert, "key_path": certificate.key,
        });
        let server = quic::sing_box("sing-box, server", &with_quic, &direct, port);
        let ours = quic::client(App::Ours, server.addr, &certificate);
        let port = free_port();
        let door = quic::sing_box_door(port, backend.addr.port());
        let client = quic::sing_box("sing-box, without transport", &door, &vless(ours.addr.port()), port);
        carries(client.addr, &|| ours.child.show_log());
    });
}

/// Either congestion control, on both halves and on one.
#[test]
fn congestion_control_is_chosen() {
    within(secs(300), || {
        need!("openssl", "ss-v2ray-plugin");
        let certificate = Certificate::new(NAME);
        let backend = carrier();
        for (of_client, of_server) in [("bbr", "bbr"), ("cubic", "bbr")] {
            let with = |options: String, name: &str| format!("{options};quic-congestion={name}");
            let server = our_server(backend.addr, &with(for_server(&certificate), of_server));
            let options = with(for_client(&certificate), of_client);
            let client = plugin::client(Ours, server.addr, &options);
            carries(client.addr, &|| client.child.show_log());
        }
    });
}

/// A FIN is a half-close between our halves: the answer comes after it.
#[test]
fn an_upload_is_answered_after_its_end() {
    within(secs(90), || {
        need!("openssl");
        let backend = Backend::digester();
        let pair = Pair::start(App::Ours, App::Ours, backend.addr);
        std::thread::scope(|scope| {
            for (seed, len) in [1, 1200, 70_000, 3 * MB].into_iter().enumerate() {
                let pair = &pair;
                scope.spawn(move || {
                    let file = noise(len, seed as u64);
                    let (answer, end) = exchange(&connect(pair.client.addr), &file, secs(40));
                    assert_eq!(String::from_utf8_lossy(&answer), digest(&file), "{len}: {}", pair.logs());
                    assert_eq!(end, End::Fin, "{len}");
                });
            }
        });
    });
}

/// The other way round: the backend ends first, and hears what comes later.
#[test]
fn a_backend_that_ends_first_hears_the_rest() {
    within(secs(60), || {
        need!("openssl");
        let (backend, connections) = Backend::manual();
        let pair = Pair::start(App::Ours, App::Ours, backend.addr);
        let app = connect(pair.client.addr);
        send(&app, b"?");
        let behind = next(&connections);
        assert_eq!(recv(&behind, 1), b"?");
        send(&behind, b"that is all");
        fin(&behind);
        assert_eq!(recv_to_end(&app, STEP), (b"that is all".to_vec(), End::Fin));
        let rest = noise(MB, 4);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&app, &rest);
                fin(&app);
            });
            let (got, end) = recv_to_end(&behind, STEP);
            assert_same("the rest", &got, &rest);
            assert_eq!(end, End::Fin, "{}", pair.logs());
        });
    });
}

/// A reset passes, in either direction, and is the end of one tunnel alone.
#[test]
fn a_reset_passes_and_ends_one_tunnel() {
    within(secs(60), || {
        need!("openssl");
        let (backend, connections) = Backend::manual();
        let pair = Pair::start(App::Ours, App::Ours, backend.addr);
        let tunnel = || {
            let app = connect(pair.client.addr);
            send(&app, b"?");
            let behind = next(&connections);
            assert_eq!(recv(&behind, 1), b"?");
            send(&behind, b"!");
            assert_eq!(recv(&app, 1), b"!");
            (app, behind)
        };
        let other = tunnel();
        let (app, behind) = tunnel();
        conn::reset(app);
        assert_eq!(recv_to_end(&behind, STEP), (Vec::new(), End::Reset), "{}", pair.logs());
        let (app, behind) = tunnel();
        conn::reset(behind);
        assert_eq!(recv_to_end(&app, STEP), (Vec::new(), End::Reset), "{}", pair.logs());
        send(&other.0, b"still here");
        assert_eq!(recv(&other.1, 10), b"still here");
    });
}

/// With v2ray, which knows no half-close, nothing of what came before the end is lost, and both ends see one.
#[test]
fn tunnels_with_every_peer_end() {
    within(secs(150), || {
        need!("ss-v2ray-plugin", "v2ray", "sing-box", "openssl");
        for (client_app, server_app) in PAIRS {
            let (backend, connections) = Backend::manual();
            let pair = Pair::start(client_app, server_app, backend.addr);
            let file = noise(MB, 9);
            let app = connect(pair.client.addr);
            send(&app, &file);
            let behind = next(&connections);
            assert_same("up", &recv(&behind, MB), &file);
            fin(&app);
            let (more, end) = recv_to_end(&behind, STEP);
            assert!(more.is_empty() && end != End::Open, "{end:?}: {}", pair.logs());
            drop(behind);
            assert_ne!(recv_to_end(&app, STEP).1, End::Open, "{}", pair.logs());
        }
    });
}

/// A backend that is not there is the end of the application's connection, at once, and no other's.
#[test]
fn a_backend_that_is_not_there_ends_one_tunnel() {
    within(secs(60), || {
        need!("openssl", "ss-v2ray-plugin");
        let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
        for client_app in [App::Ours, App::Plugin] {
            let pair = Pair::start(client_app, App::Ours, nobody);
            let stream = connect(pair.client.addr);
            send(&stream, b"hello");
            let (got, end) = recv_to_end(&stream, STEP);
            assert!(got.is_empty() && end != End::Open, "{end:?}: {}", pair.logs());
            let listener = TcpListener::bind(nobody).expect("the port is free");
            let stream = connect(pair.client.addr);
            send(&stream, b"hello");
            let (behind, _) = listener.accept().expect("a tunnel");
            conn::prepare(&behind);
            assert_eq!(recv(&behind, 5), b"hello");
        }
    });
}

/// The same option strings as v2ray-plugin's, under Shadowsocks programs.
fn under_hosts(family: Family, program: &std::path::Path) {
    let certificate = Certificate::new(NAME);
    let echo = Backend::echo();
    let port = free_port();
    let options = format!("server;{}", for_server(&certificate));
    let server = Child::spawn("the host", server_command(family, "127.0.0.1", port, program, &options));
    quic::wait_bound(&server, port);
    let public = SocketAddr::from(([127, 0, 0, 1], port));
    let client = Host::client(family, public, program, &for_client(&certificate));
    for i in 0..3 {
        assert_echo(&socks(client.addr, echo.addr), &noise(400_000, i));
    }
}

#[test]
fn it_works_under_libev() {
    within(secs(90), || {
        need!("ss-local", "ss-server", "openssl");
        under_hosts(Family::Libev, &our_path());
    });
}

#[test]
fn it_works_under_shadowsocks_rust_and_in_the_place_of_v2ray_plugin() {
    within(secs(90), || {
        need!("sslocal", "ssserver", "openssl");
        let dir = TempDir::new("links");
        let link = dir.path().join("v2ray-plugin");
        std::os::unix::fs::symlink(our_path(), &link).expect("a link");
        under_hosts(Family::Rust, &link);
    });
}

/// UDP on the public port is bound where QUIC is asked for, and nowhere else: the host may want it. With `mode=quic`,
/// TCP is the website's.
#[test]
fn udp_is_bound_only_when_it_is_asked_for() {
    within(secs(90), || {
        need!("openssl", "nginx", "curl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let tls = certificate.for_server();
        for (options, tcp, udp) in [
            (format!("mode=auto;{tls}"), true, false),
            (format!("mode=websocket;{tls}"), true, false),
            (format!("mode=auto;{tls};quic"), true, true),
            (for_server(&certificate), false, true),
        ] {
            let port = free_port();
            let vars = Vars {
                remote: ("127.0.0.1".into(), port),
                local: (echo.addr.ip().to_string(), echo.addr.port()),
                options: format!("server;{options}"),
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = Child::spawn("Ours server", command);
            let of = || (proc::listening_ports(child.pid()), proc::udp_ports(child.pid()));
            assert!(
                eventually(STEP, || of().0.contains(&port) == tcp && of().1.contains(&port) == udp),
                "{options}: {:?}; {}",
                of(),
                child.show_log()
            );
            if !tcp {
                let site =
                    Backend::serve_on(SocketAddr::from(([127, 0, 0, 1], port)), |stream: TcpStream| {
                        send(&stream, b"HTTP/1.1 299 Elsewhere\r\nContent-Length: 0\r\n\r\n");
                    });
                assert_eq!(curl(&[&format!("http://{}/", site.addr)]).status, "299");
            }
            if udp {
                let addr = SocketAddr::from(([127, 0, 0, 1], port));
                let client = quic::client(App::Ours, addr, &certificate);
                assert_echo(&connect(client.addr), &noise(10_000, 1));
            } else {
                // Who serves has bound what it will.
                assert_ne!(curl(&[&format!("http://127.0.0.1:{port}/")]).status, "000");
                assert_eq!(of().1, [].into(), "{options}");
            }
        }
    });
}

/// With `mode: tcp_and_udp` the host binds UDP on the public port itself, after it has started the plugin.
#[test]
fn a_certificate_alone_leaves_udp_to_the_host() {
    within(secs(90), || {
        need!("ssserver", "sslocal", "openssl", "nginx");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let site = Site::start();
        let port = free_port();
        let options = format!("server;mode=auto;{};failover={}", certificate.for_server(), site.addr);
        let mut command = server_command(Family::Rust, "127.0.0.1", port, &our_path(), &options);
        command.arg("-U");
        let host = Child::spawn("ssserver with UDP", command);
        quic::wait_bound(&host, port);
        host.wait_listening(port);
        assert!(proc::udp_ports(host.pid()).contains(&port), "{}", host.show_log());
        let public = SocketAddr::from(([127, 0, 0, 1], port));
        let options = format!("mode=websocket;mux=0;{}", certificate.for_client());
        let client = Host::client(Family::Rust, public, &our_path(), &options);
        assert_echo(&socks(client.addr, echo.addr), &noise(100_000, 1));
        let page = curl(&[&format!("http://{public}/")]);
        assert_eq!(page.body, INDEX.as_bytes());
        assert_eq!(host.peek_exit(), None, "{}", host.show_log());
    });
}

/// What cannot be is refused before anything starts, and named.
#[test]
fn contradictions_are_refused_and_named() {
    within(secs(90), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let (tls, ours) = (certificate.for_server(), for_server(&certificate));
        let missing = certificate.dir.path().join("missing.pem");
        for (options, words) in [
            ("server;mode=quic".to_owned(), &["`mode=quic` on a server", "cert=FILE", "key=FILE"][..]),
            (format!("server;mode=quic;host={NAME};cert={}", missing.display()), &["key"]),
            (format!("server;{}", ours.replace("cert.pem", "missing.pem")), &["missing.pem"]),
            ("server;mode=auto;quic".to_owned(), &["`quic`", "`tls`"]),
            (format!("server;mode=auto;{tls};failover-quic=127.0.0.1:443"), &["failover-quic", "quic"]),
            (format!("server;mode=websocket;{tls};failover-quic=127.0.0.1:443"), &["failover-quic", "quic"]),
            (format!("server;mode=auto;{tls};quic;failover-quic=nowhere"), &["failover-quic", "nowhere"]),
            (format!("server;{ours};quic-congestion=reno2"), &["quic-congestion", "reno2", "cubic", "bbr"]),
            (format!("{};quic-congestion=fast", for_client(&certificate)), &["quic-congestion", "fast"]),
            ("obfs=http;mode=quic".to_owned(), &["obfs", "mode=quic"]),
        ] {
            let vars = Vars {
                remote: ("127.0.0.1".into(), free_port()),
                local: ("127.0.0.1".into(), free_port()),
                options: options.clone(),
            };
            let mut command = bare(our_path());
            command.env("HOME", certificate.dir.path());
            vars.put(&mut command);
            let child = Child::spawn("ours", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{options}: {}", child.show_log());
            let said = child.lines().join("\n");
            for word in words {
                assert!(said.contains(word), "{options} lacks {word}: {said}");
            }
        }
    });
}

/// A certificate that does not fit ends the tunnel with the line that TLS has for it.
#[test]
fn a_certificate_that_does_not_fit_is_told() {
    within(secs(90), || {
        need!("openssl", "ss-v2ray-plugin");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        for server_app in [App::Ours, App::Plugin] {
            let server = quic::server(server_app, echo.addr, &certificate);
            let cert = certificate.cert.display();
            for (options, said) in [
                (format!("mode=quic;host={NAME}"), "nobody whom this machine trusts"),
                (format!("mode=quic;host=other.example.com;cert={cert}"), "it is for"),
            ] {
                let client = plugin::client(Ours, server.addr, &options);
                let stream = connect(client.addr);
                send(&stream, b"hello");
                let (got, end) = recv_to_end(&stream, STEP);
                assert!(got.is_empty() && end != End::Open, "{options}: {end:?}");
                // Without `failover-quic` our server says nothing to a name that is not its own.
                if server_app == App::Plugin || !options.contains("other") {
                    client.child.wait_line(said, |line| line.contains("certificate") && line.contains(said));
                }
            }
        }
        assert_eq!(echo.accepted(), 0);
    });
}

/// A website's port for HTTP/3, which no client of v2ray-plugin's can use.
#[test]
fn a_port_that_speaks_another_protocol_inside_is_told() {
    within(secs(60), || {
        need!("openssl", "caddy");
        let certificate = Certificate::new(NAME);
        let site = quic::Site::start(&certificate, NAME, &[("index.html", b"a page")]);
        let client = quic::client(App::Ours, site.addr, &certificate);
        let stream = connect(client.addr);
        send(&stream, b"hello");
        let (got, end) = recv_to_end(&stream, STEP);
        assert!(got.is_empty() && end != End::Open, "{end:?}");
        client.child.wait_text("takes none of `h2` and `http/1.1` inside QUIC");
    });
}

/// A certificate that says of itself that it is an authority's is taken as over TCP, where it is the root that is named.
#[test]
fn the_certificate_of_an_authority_is_taken_as_over_tcp() {
    within(secs(60), || {
        need!("openssl");
        let echo = Backend::echo();
        let certificate = Certificate::authority(NAME);
        let server = quic::server(App::Ours, echo.addr, &certificate);
        let client = quic::client(App::Ours, server.addr, &certificate);
        assert_echo(&connect(client.addr), &noise(100_000, 1));
    });
}

/// IPv6 at both ends.
#[test]
fn it_works_over_ipv6() {
    within(secs(60), || {
        need!("openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        for host in ["::1", "::"] {
            let port = free_port();
            let vars = Vars {
                remote: (host.into(), port),
                local: (Ipv4Addr::LOCALHOST.to_string(), echo.addr.port()),
                options: format!("server;{}", for_server(&certificate)),
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let server = Child::spawn("Ours server", command);
            quic::wait_bound(&server, port);
            let remote = SocketAddr::new("::1".parse().expect("an address"), port);
            let client = quic::client(App::Ours, remote, &certificate);
            assert_echo(&connect(client.addr), &noise(300_000, 6));
        }
    });
}
