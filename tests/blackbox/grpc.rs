//! `mode=grpc`: with each peer at the other end, in TLS and in the clear, and both of our halves together; names, ends,
//! servers that end or allow little.

use crate::quic::{carrier, carries};
use crate::support::backend::{Backend, next};
use crate::support::conn::{self, End, assert_echo, connect, exchange, fin, recv, recv_to_end, send};
use crate::support::grpc::{
    App, Pair, SERVICE, Style, ask, client, count, python_server, server, wait_count,
};
use crate::support::peers::need;
use crate::support::plugin::{self, Ours};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, digest, noise, secs, within};
use std::net::TcpStream;

const MB: usize = 1024 * 1024;

fn between(client_app: App, server_app: App) {
    within(secs(300), move || {
        need!("v2ray", "sing-box", "mihomo", "openssl");
        let certificate = Certificate::new(NAME);
        for style in [Style::clear(), Style::tls(&certificate)] {
            let backend = carrier();
            let pair = Pair::start(client_app, server_app, backend.addr, style);
            carries(pair.addr, &|| pair.logs());
        }
    });
}

#[test]
fn our_halves_carry_files_and_requests() {
    between(App::Ours, App::Ours);
}

#[test]
fn v2ray_serves_our_client() {
    between(App::Ours, App::V2ray);
}

#[test]
fn sing_box_serves_our_client() {
    between(App::Ours, App::SingBox);
}

#[test]
fn mihomo_serves_our_client() {
    between(App::Ours, App::Mihomo);
}

#[test]
fn our_server_serves_v2ray() {
    between(App::V2ray, App::Ours);
}

#[test]
fn our_server_serves_sing_box() {
    between(App::SingBox, App::Ours);
}

#[test]
fn our_server_serves_mihomo() {
    between(App::Mihomo, App::Ours);
}

/// Mux.Cool inside the hunks: many tunnels in one stream, which our server takes apart as it does in a WebSocket.
#[test]
fn our_server_serves_v2ray_with_mux() {
    between(App::V2rayMux, App::Ours);
}

/// The yardsticks themselves.
#[test]
fn the_peers_pass_the_same_checks() {
    for app in [App::V2ray, App::V2rayMux, App::SingBox, App::Mihomo] {
        within(secs(120), move || {
            need!("v2ray", "sing-box", "mihomo", "openssl");
            let echo = Backend::echo();
            let certificate = Certificate::new(NAME);
            for style in [Style::clear(), Style::tls(&certificate)] {
                let pair = Pair::start(app, app, echo.addr, style);
                assert_echo(&connect(pair.addr), &noise(300_000, 1));
            }
        });
    }
}

/// With `mode=auto` gRPC is taken where the service has a name, beside everything else.
#[test]
fn an_automatic_server_takes_grpc_where_a_service_is_named() {
    within(secs(60), || {
        need!("v2ray", "python-h2", "openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let site = python_server("site", None, &[]);
        // Without a website that speaks it HTTP/2 is not offered in TLS.
        let tls = certificate.for_server();
        let options = format!("mode=auto;serviceName=chairs;{tls};failover-h2={}", site.addr);
        let auto = plugin::server(Ours, echo.addr, &options);
        for tls in [None, Some(&certificate)] {
            let style = Style { tls, service: "chairs" };
            for app in [App::Ours, App::V2ray] {
                let grpc = client(app, auto.addr, echo.addr, style);
                assert_echo(&connect(grpc.addr), &noise(50_000, 1));
            }
        }
        let other = plugin::client(Ours, auto.addr, "obfs=http");
        assert_echo(&connect(other.addr), &noise(50_000, 2));

        let without = plugin::server(Ours, echo.addr, "mode=auto");
        let came = echo.accepted();
        let grpc = client(App::Ours, without.addr, echo.addr, Style::clear());
        let stream = connect(grpc.addr);
        send(&stream, b"hello");
        assert_eq!(recv_to_end(&stream, STEP).0, b"");
        assert_eq!(echo.accepted(), came);
    });
}

/// What a server takes, and what a client asks for, by the name that both are given.
#[test]
fn services_are_named_as_v2ray_and_xray_name_them() {
    within(secs(90), || {
        need!("python-h2");
        let echo = Backend::echo();
        for (options, taken, refused) in [
            ("serviceName=", &["//Tun", "//TunMulti"][..], &["/GunService/Tun", "/Tun", "/"][..]),
            (
                "serviceName=chairs",
                &["/chairs/Tun", "/chairs/TunMulti"],
                &["//Tun", "/chairs", "/chairs/tun", "/Chairs/Tun"],
            ),
            (
                "serviceName=one;serviceName=two",
                &["/one/Tun", "/two/Tun", "/two/TunMulti"],
                &["/three/Tun", "//Tun"],
            ),
            (
                "serviceName=/a/b/tun|multi",
                &["/a/b/tun", "/a/b/multi"],
                &["/a/b/Tun", "/a/b/tun|multi", "/a/b"],
            ),
            // As it is, which is v2ray's way, and as one part of the path, which is xray's.
            ("serviceName=a/b", &["/a/b/Tun", "/a%2Fb/Tun"], &["/a/b", "/b/Tun"]),
        ] {
            let server = plugin::server(Ours, echo.addr, &format!("mode=grpc;{options}"));
            let port = server.addr.port().to_string();
            for line in ask(&[&["names", &port, "-"], taken].concat()) {
                assert!(line.contains(" tunnel "), "{options}: {line}; {}", server.child.show_log());
            }
            for line in ask(&[&["names", &port, "-"], refused].concat()) {
                assert!(!line.contains(" tunnel "), "{options}: {line}; {}", server.child.show_log());
            }
        }
        let tunnels = python_server("tunnels", None, &["echo"]);
        for (service, path) in
            [("", "//Tun"), ("chairs", "/chairs/Tun"), ("/a/b/tun|multi", "/a/b/tun"), ("a/b", "/a%2Fb/Tun")]
        {
            let client = client(App::Ours, tunnels.addr, echo.addr, Style { tls: None, service });
            assert_echo(&connect(client.addr), b"hello");
            tunnels.child.wait_text(&format!(" {path} application/grpc trailers"));
        }
    });
}

/// A service without a name is what newer forks of v2ray-plugin ask for, whatever they are told.
#[test]
fn v2ray_and_we_agree_on_names() {
    within(secs(90), || {
        need!("v2ray");
        let echo = Backend::echo();
        for service in ["", "chairs", "a.b.Chairs"] {
            let style = Style { tls: None, service };
            for (client_app, server_app) in [(App::V2ray, App::Ours), (App::Ours, App::V2ray)] {
                let pair = Pair::start(client_app, server_app, echo.addr, style);
                assert_echo(&connect(pair.addr), &noise(20_000, 1));
            }
        }
    });
}

/// Who asks in another way is no client.
#[test]
fn requests_that_clients_may_make_are_taken_and_no_others() {
    within(secs(60), || {
        need!("python-h2");
        let echo = Backend::echo();
        let server = server(App::Ours, echo.addr, Style::clear());
        let said = ask(&["requests", &server.addr.port().to_string(), "-", "/GunService/Tun"]);
        for (kind, tunnel) in [
            ("grpc", true),
            ("proto", true),
            ("no-te", true),
            ("get", false),
            ("no-type", false),
            ("html", false),
        ] {
            let line = said.iter().find(|line| line.starts_with(&format!("{kind} "))).expect("a line of it");
            assert_eq!(line.contains(" tunnel "), tunnel, "{line}; {}", server.child.show_log());
        }
    });
}

/// An end of the application's is passed on, and the answer comes after it.
#[test]
fn an_upload_is_answered_after_its_end() {
    within(secs(120), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        for style in [Style::clear(), Style::tls(&certificate)] {
            let backend = Backend::digester();
            let pair = Pair::start(App::Ours, App::Ours, backend.addr, style);
            std::thread::scope(|scope| {
                for (seed, len) in [1, 16 * 1024, 2 * MB].into_iter().enumerate() {
                    let pair = &pair;
                    scope.spawn(move || {
                        let file = noise(len, seed as u64);
                        let (answer, end) = exchange(&connect(pair.addr), &file, secs(40));
                        let answer = String::from_utf8_lossy(&answer).into_owned();
                        assert_eq!((answer, end), (digest(&file), End::Fin), "{len}: {}", pair.logs());
                    });
                }
            });
            // Who ends without a word has an end for an answer, as with every disguise.
            assert_eq!(exchange(&connect(pair.addr), b"", secs(40)).1, End::Fin, "{}", pair.logs());
        }
    });
}

/// The other way round. (A client of gRPC's cannot go on once the server has ended: nothing of what came before is lost.)
#[test]
fn a_download_that_ends_is_whole() {
    within(secs(200), || {
        need!("v2ray", "sing-box", "mihomo", "openssl");
        let certificate = Certificate::new(NAME);
        for (client_app, server_app) in [
            (App::Ours, App::Ours),
            (App::V2ray, App::Ours),
            (App::SingBox, App::Ours),
            (App::Mihomo, App::Ours),
            (App::Ours, App::V2ray),
            (App::Ours, App::SingBox),
            (App::Ours, App::Mihomo),
        ] {
            // As much as the application asks for.
            let source = Backend::serve(|stream| {
                let len = u32::from_be_bytes(recv(&stream, 4).try_into().expect("four bytes"));
                send(&stream, &noise(len as usize, 7));
                fin(&stream);
                recv_to_end(&stream, STEP);
            });
            let pair = Pair::start(client_app, server_app, source.addr, Style::tls(&certificate));
            for len in [0, 1, 16 * 1024, 2 * MB] {
                let stream = connect(pair.addr);
                send(&stream, &u32::try_from(len).expect("a length").to_be_bytes());
                let (got, end) = recv_to_end(&stream, STEP);
                assert_same(&format!("{client_app:?} {server_app:?}: {}", pair.logs()), &got, &noise(len, 7));
                assert_ne!(end, End::Open, "{client_app:?} {server_app:?} {len}: {}", pair.logs());
            }
        }
    });
}

/// A reset passes, in either direction, and is the end of one tunnel alone.
#[test]
fn a_reset_passes_and_ends_one_tunnel() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let pair = Pair::start(App::Ours, App::Ours, backend.addr, Style::clear());
        let tunnel = || {
            let app = connect(pair.addr);
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

/// Each peer's way to end a tunnel arrives, and so does ours there.
#[test]
fn tunnels_with_every_peer_end() {
    within(secs(150), || {
        need!("v2ray", "sing-box", "mihomo");
        for (client_app, server_app) in [
            (App::Ours, App::Ours),
            (App::V2ray, App::Ours),
            (App::SingBox, App::Ours),
            (App::Mihomo, App::Ours),
            (App::Ours, App::V2ray),
            (App::Ours, App::SingBox),
            (App::Ours, App::Mihomo),
        ] {
            let (backend, connections) = Backend::manual();
            let pair = Pair::start(client_app, server_app, backend.addr, Style::clear());
            let file = noise(MB, 9);
            let app = connect(pair.addr);
            send(&app, &file);
            let behind = next(&connections);
            assert_same("up", &recv(&behind, MB), &file);
            send(&behind, b"done");
            assert_eq!(recv(&app, 4), b"done");
            drop(app);
            let (more, end) = recv_to_end(&behind, STEP);
            assert!(
                more.is_empty() && end != End::Open,
                "{client_app:?} {server_app:?} {end:?}: {}",
                pair.logs()
            );
        }
    });
}

/// The application is silent, and the backend is not.
#[test]
fn a_backend_that_speaks_first_is_heard() {
    within(secs(150), || {
        need!("v2ray", "sing-box", "mihomo", "python-h2");
        let greeter = Backend::greeter(b"220 ready\r\n");
        for (client_app, server_app) in [
            (App::Ours, App::Ours),
            (App::V2ray, App::Ours),
            (App::SingBox, App::Ours),
            (App::Ours, App::V2ray),
        ] {
            let pair = Pair::start(client_app, server_app, greeter.addr, Style::clear());
            let stream = connect(pair.addr);
            assert_eq!(recv(&stream, 11), b"220 ready\r\n", "{}", pair.logs());
            assert_echo(&stream, &noise(100_000, 1));
        }
        let server = server(App::Ours, greeter.addr, Style::clear());
        let said = ask(&["greeted", &server.addr.port().to_string(), "-", "/GunService/Tun", "11"]);
        assert_eq!(
            (&*said[0], said.last().map(|line| &**line)),
            ("said 220 ready", Some("stream ended 200 0"))
        );
    });
}

#[test]
fn a_hundred_tunnels_stand_at_once() {
    within(secs(120), || {
        need!("v2ray", "sing-box", "python-h2");
        let echo = Backend::echo();
        for (client_app, server_app) in [
            (App::Ours, App::Ours),
            (App::V2ray, App::Ours),
            (App::Ours, App::V2ray),
            (App::SingBox, App::Ours),
        ] {
            let pair = Pair::start(client_app, server_app, echo.addr, Style::clear());
            let streams: Vec<TcpStream> = (0..100).map(|_| connect(pair.addr)).collect();
            for (seed, stream) in streams.iter().enumerate() {
                send(stream, &noise(3000, seed as u64));
            }
            for (seed, stream) in streams.iter().enumerate() {
                assert_same("the echo", &recv(stream, 3000), &noise(3000, seed as u64));
            }
        }
        let server = server(App::Ours, echo.addr, Style::clear());
        let said = ask(&["many", &server.addr.port().to_string(), "-", "/GunService/Tun", "100"]);
        assert_eq!(said, ["echoed 100", "ends stream ended 200 0"], "{}", server.child.show_log());
    });
}

/// Each way in which a client may end its tunnel, the connection being used on.
#[test]
fn ends_of_a_stream_are_told_with_trailers() {
    within(secs(60), || {
        need!("python-h2");
        let echo = Backend::echo();
        let server = server(App::Ours, echo.addr, Style::clear());
        let port = server.addr.port().to_string();
        for (kind, end) in
            [("fin", "stream ended 200 0"), ("trailers", "stream ended 200 0"), ("cancel", "open")]
        {
            let said = ask(&["ends", &port, "-", "/GunService/Tun", kind]);
            assert_eq!(said, ["tunnel True", end, "another True"], "{kind}; {}", server.child.show_log());
        }
        let said = ask(&["ends", &port, "-", "/GunService/Tun", "half-message"]);
        assert!(said[1].starts_with("stream "), "{said:?}");
        assert_eq!(said[2], "another True", "{said:?}");
    });
}

/// A server that says that it will end serves the tunnels that it has; the next one has a connection of its own.
#[test]
fn after_a_goaway_tunnels_go_on_and_new_ones_go_elsewhere() {
    within(secs(60), || {
        need!("python-h2");
        // When the second tunnel of the first connection has sent something.
        let tunnels = python_server("tunnels", None, &["goaway", "2"]);
        let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
        let first = connect(client.addr);
        assert_echo(&first, &noise(10_000, 1));
        let second = connect(client.addr);
        assert_echo(&second, &noise(10_000, 2));
        tunnels.child.wait_text("goaway 1");
        let third = connect(client.addr);
        assert_echo(&third, &noise(10_000, 3));
        tunnels.child.wait_text("stream 2 1 ");
        for stream in [&first, &second, &third] {
            assert_echo(stream, &noise(200_000, 4));
        }
        assert_eq!(count(&tunnels.child, "stream 1 "), 2, "{}", tunnels.child.show_log());
    });
}

/// Four streams to a connection, and nobody waits for another one's end.
#[test]
fn a_server_that_allows_few_streams_is_not_asked_for_more() {
    within(secs(60), || {
        need!("python-h2");
        let tunnels = python_server("tunnels", None, &["few", "4"]);
        let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
        let streams: Vec<TcpStream> = (0..14).map(|_| connect(client.addr)).collect();
        for (seed, stream) in streams.iter().enumerate() {
            assert_echo(stream, &noise(5000, seed as u64));
        }
        for stream in &streams {
            assert_echo(stream, &noise(5000, 99));
        }
        wait_count(&tunnels.child, "stream ", 14);
        let most = |line: &String| line.rsplit(' ').next().and_then(|n| n.parse::<usize>().ok());
        let lines = tunnels.child.lines();
        let open = lines.iter().filter(|line| line.starts_with("open ")).filter_map(most).max();
        assert!(open <= Some(4), "{}", tunnels.child.show_log());
        assert!(!lines.iter().any(|line| line.starts_with("error")), "{}", tunnels.child.show_log());
    });
}

/// Streams that a server has not taken may be asked for again, and are.
#[test]
fn a_refused_stream_is_tried_elsewhere() {
    within(secs(60), || {
        need!("python-h2");
        let tunnels = python_server("tunnels", None, &["refuse", "1"]);
        let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
        let stream = connect(client.addr);
        send(&stream, b"hello");
        // This one or the next: a connection that refuses is not kept for good.
        if recv_to_end(&stream, secs(3)).0 != b"hello" {
            assert_echo(&connect(client.addr), b"hello");
        }
    });
}

/// Servers with manners of their own, all of which are right.
#[test]
fn whatever_a_server_may_send_is_understood() {
    within(secs(60), || {
        need!("python-h2");
        for kind in ["echo", "empties", "bytes"] {
            let tunnels = python_server("tunnels", None, &[kind]);
            let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
            let stream = connect(client.addr);
            assert_echo(&stream, &noise(700, 1));
            assert_echo(&stream, &noise(900, 2));
            fin(&stream);
            assert_eq!(recv_to_end(&stream, STEP), (Vec::new(), End::Fin), "{kind}");
        }
        for kind in ["no-trailers", "trailers"] {
            let tunnels = python_server("tunnels", None, &[kind]);
            let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
            let stream = connect(client.addr);
            send(&stream, b"hello");
            let (got, end) = recv_to_end(&stream, STEP);
            assert_eq!(got, b"hello", "{kind}: {}", client.child.show_log());
            assert_ne!(end, End::Open, "{kind}");
        }
    });
}

/// Answers that are no tunnel end the application's connection, are none of its bytes, and are told.
#[test]
fn what_is_no_tunnel_is_told() {
    within(secs(90), || {
        need!("python-h2");
        for (kind, number, words) in [
            ("status", "404", "404"),
            ("html", "0", "a page of its website"),
            ("grpc-status", "12", "no such gRPC service"),
            ("rst", "8", ""),
            ("compressed", "0", ""),
            ("lies", "0", ""),
            ("huge", "0", ""),
        ] {
            let tunnels = python_server("tunnels", None, &[kind, number]);
            let client = client(App::Ours, tunnels.addr, tunnels.addr, Style::clear());
            let stream = connect(client.addr);
            send(&stream, b"hello");
            let (got, end) = recv_to_end(&stream, STEP);
            assert!(
                got.is_empty() && end != End::Open,
                "{kind}: {got:?} {end:?}; {}",
                client.child.show_log()
            );
            if !words.is_empty() {
                client.child.wait_text(words);
            }
            assert_eq!(client.child.peek_exit(), None, "{kind}");
        }
    });
}

/// What a client asks for: the headers of v2ray's client.
#[test]
fn a_client_asks_as_v2ray_does() {
    within(secs(60), || {
        need!("python-h2", "v2ray", "openssl");
        let certificate = Certificate::new(NAME);
        for style in [Style::clear(), Style::tls(&certificate)] {
            let seen: Vec<Vec<String>> = [App::Ours, App::V2ray]
                .into_iter()
                .map(|app| {
                    let tunnels = python_server("tunnels", style.tls, &["headers"]);
                    let client = client(app, tunnels.addr, tunnels.addr, style);
                    assert_echo(&connect(client.addr), b"hello");
                    let line = tunnels.child.wait_text(":path=");
                    let words = line.split(' ').filter(|word| !word.starts_with(":authority="));
                    words.map(str::to_owned).collect()
                })
                .collect();
            assert_eq!(seen[0], seen[1]);
            assert!(seen[0].contains(&format!(":path=/{SERVICE}/Tun")), "{seen:?}");
        }
    });
}
