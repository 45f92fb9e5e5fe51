//! A client that reaches its server through a proxy: real ones, one that tells what it is asked, and such as do what
//! they should not.

use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{
    self, End, assert_echo, connect, exchange, recv, recv_head, recv_to_end, reset, send,
};
use crate::support::netns;
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, SimpleObfs, Vars, bare, client, our_path, ours, server, start};
use crate::support::ports::free_port;
use crate::support::proxy::{Proxy, Told};
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, digest, millis, noise, secs, within};
use rustix::process::Signal;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Options of a client, and those of its server.
const DISGUISES: [(&str, &str); 7] = [
    ("obfs=http", "obfs=http"),
    ("obfs=http;handshake=standard", "obfs=http"),
    ("obfs=tls", "obfs=tls"),
    ("mode=httpupgrade", "mode=websocket"),
    ("mode=httpupgrade;handshake=eager", "mode=websocket"),
    ("mode=websocket;mux=0;path=/?ed=2048", "mode=websocket"),
    ("mode=websocket;mux=8", "mode=websocket"),
];

/// What a real proxy is told as a login: each character that a URL gives a meaning to.
const LOGIN: (&str, &str) = ("user", "p:@/?#%;ü");
const LOGIN_IN_URL: &str = "user:p%3A%40%2F%3F%23%25%3B%C3%BC@";

/// A client half for a server that only a proxy can reach.
#[track_caller]
fn client_for(host: &str, port: u16, options: &str) -> Plugin {
    let local = free_port();
    let vars = Vars {
        remote: (host.to_owned(), port),
        local: ("127.0.0.1".to_owned(), local),
        options: format!("client;{options}"),
    };
    start("client", our_path(), &vars, local)
}

/// An application that is refused: it gets a reset, and the log says why.
#[track_caller]
fn assert_no_tunnel(client: &Plugin, words: &[&str]) {
    let app = connect(client.addr);
    send(&app, b"hello");
    assert_eq!(recv_to_end(&app, secs(15)), (Vec::new(), End::Reset), "{}", client.child.show_log());
    client.child.wait_line(&format!("{words:?} in a warning"), |line| {
        line.contains("WARN")
            && line.contains("stage=\"proxy\"")
            && words.iter().all(|word| line.contains(word))
    });
}

fn over_all(proxy: &Proxy, login: &str) {
    let echo = Backend::echo();
    let certificate = Certificate::new(NAME);
    let tls = (
        format!("mode=websocket;{}", certificate.for_client()),
        format!("mode=websocket;{}", certificate.for_server()),
    );
    let all = DISGUISES.into_iter().chain([(tls.0.as_str(), tls.1.as_str())]);
    for (for_client, for_server) in all {
        let server = server(Ours, echo.addr, for_server);
        let client = client(Ours, server.addr, &format!("{for_client};proxy={}", proxy.url(login)));
        for size in [1, 20_000, 1 << 20] {
            assert_echo(&connect(client.addr), &noise(size, 1));
        }
        let said = client.child.lines().join("\n");
        assert!(said.contains(&format!("through the proxy {}", proxy.shown())), "{for_client}: {said}");
        assert!(!said.contains("p%3A") && !said.contains(LOGIN.1) && !said.contains("user"), "{said}");
    }
}

#[test]
fn every_disguise_goes_through_microsocks() {
    need!("microsocks", "openssl");
    within(secs(120), || over_all(&Proxy::microsocks(None), ""));
}

#[test]
fn every_disguise_goes_through_microsocks_with_a_password() {
    need!("microsocks", "openssl");
    within(secs(120), || over_all(&Proxy::microsocks(Some(LOGIN)), LOGIN_IN_URL));
}

#[test]
fn every_disguise_goes_through_tinyproxy() {
    need!("tinyproxy", "openssl");
    within(secs(120), || over_all(&Proxy::tinyproxy(""), ""));
}

#[test]
fn every_disguise_goes_through_tinyproxy_with_a_password() {
    need!("tinyproxy", "openssl");
    within(secs(120), || over_all(&Proxy::tinyproxy("BasicAuth user p.w-d_9"), "user:p%2Ew-d_9@"));
}

/// simple-obfs's server damages what it is sent where its hello is cut behind the ticket, and a proxy cuts where it
/// likes.
#[test]
fn the_hello_of_obfs_tls_arrives_whole_at_simple_obfs() {
    need!("microsocks", "tinyproxy", "obfs-server");
    within(secs(120), || {
        /// What many ways carry in a segment.
        const SEGMENT: usize = 1400;
        let echo = Backend::echo();
        let server = server(SimpleObfs, echo.addr, "obfs=tls");
        let server_addr = server.addr;
        let cutting = Backend::serve(move |near| {
            recv_head(&near);
            send(&near, b"HTTP/1.1 200 OK\r\n\r\n");
            let far = connect(server_addr);
            std::thread::scope(|scope| {
                scope.spawn(|| std::io::copy(&mut &far, &mut &near));
                let mut piece = [0; SEGMENT];
                while let Ok(len @ 1..) = (&near).read(&mut piece) {
                    if (&far).write_all(&piece[..len]).is_err() {
                        break;
                    }
                    // For the server to read what it has.
                    std::thread::sleep(millis(10));
                }
                conn::fin(&far);
            });
        });
        let (microsocks, tinyproxy) = (Proxy::microsocks(None), Proxy::tinyproxy(""));
        for url in [microsocks.url(""), tinyproxy.url(""), format!("http://{}", cutting.addr)] {
            let client = client(Ours, server.addr, &format!("obfs=tls;obfs-host=a.example;proxy={url}"));
            for size in (2 * SEGMENT - 600..2 * SEGMENT).step_by(25) {
                assert_echo(&connect(client.addr), &noise(size, 3));
            }
        }
    });
}

#[test]
fn a_login_that_is_wrong_or_missing_is_told() {
    need!("microsocks", "tinyproxy");
    within(secs(120), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        for proxy in [Proxy::microsocks(Some(LOGIN)), Proxy::tinyproxy("BasicAuth user secret")] {
            for (login, words) in [
                ("", "asks for a user and a password"),
                ("user:wrong-one@", "refuses the user and the password"),
            ] {
                let client = client(Ours, server.addr, &format!("obfs=http;v;proxy={}", proxy.url(login)));
                assert_no_tunnel(&client, &[&proxy.shown(), words]);
                assert!(
                    !client.child.lines().join("\n").contains("wrong-one"),
                    "{}",
                    client.child.show_log()
                );
            }
        }
        assert_eq!(echo.accepted(), 0);
    });
}

/// What real proxies say of servers that they do not reach, and of ports that they do not allow; and that a
/// proxy is gone.
#[test]
fn a_server_that_a_real_proxy_does_not_reach_is_told() {
    need!("microsocks", "tinyproxy");
    within(secs(120), || {
        let nobody = SocketAddr::from(([127, 0, 0, 1], free_port()));
        for (proxy, words) in [
            (Proxy::microsocks(None), "the server refuses the connection (SOCKS5 code 5)"),
            (Proxy::tinyproxy(""), "it cannot reach the server: it answers `HTTP/1."),
            (
                Proxy::tinyproxy("ConnectPort 443"),
                "its rules do not allow the connection: it answers `HTTP/1.",
            ),
        ] {
            let client = client(Ours, nobody, &format!("obfs=http;v;proxy={}", proxy.url("")));
            assert_no_tunnel(&client, &[&format!("the proxy {}: to {nobody}: {words}", proxy.shown())]);
            proxy.child.signal(Signal::KILL);
            proxy.child.wait_exit(STEP);
            assert_no_tunnel(&client, &[&format!("the proxy {}: cannot connect to ", proxy.shown())]);
        }
    });
}

/// Both kinds of a proxy that tells what it was asked, joined to that server.
fn told(server: SocketAddr) -> [(&'static str, Told); 2] {
    [("socks5", Told::socks5(server)), ("http", Told::http(server))]
}

/// A name that nobody can look up, and addresses, are handed on as they are.
#[test]
fn the_proxy_is_given_the_servers_name() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        for (kind, proxy) in told(server.addr) {
            for (host, of_socks, of_http) in [
                ("server.invalid", "3 server.invalid 4433", "server.invalid:4433"),
                ("bücher.invalid", "3 xn--bcher-kva.invalid 4433", "xn--bcher-kva.invalid:4433"),
                ("192.0.2.7", "1 192.0.2.7 4433", "192.0.2.7:4433"),
                ("2001:db8::7", "4 2001:db8::7 4433", "[2001:db8::7]:4433"),
                ("fe80::7%lo", "4 fe80::7 4433", "[fe80::7]:4433"),
            ] {
                let client = client_for(host, 4433, &format!("obfs=http;proxy={kind}://{}", proxy.addr));
                assert_echo(&connect(client.addr), b"hello");
                let asked = proxy.asked.recv_timeout(STEP).expect("somebody asked the proxy");
                let http = format!("CONNECT {of_http} HTTP/1.1\r\nHost: {of_http}\r\n\r\n");
                assert_eq!(asked, if kind == "http" { &http } else { of_socks }, "{host}");
            }
            let client = client_for(
                "a.invalid",
                1,
                &format!("obfs=http;proxy={kind}://u:%F0%9F%A6%80%3A@{}", proxy.addr),
            );
            assert_echo(&connect(client.addr), b"hello");
            let asked = proxy.asked.recv_timeout(STEP).expect("somebody asked the proxy");
            let login = if kind == "http" { "Basic dTrwn6aAOg==\r\n" } else { "u:🦀:@3 " };
            assert!(asked.contains(login), "{asked}");
        }
    });
}

/// Of several servers the first that the proxy reaches is taken, and is the first to be tried from then on.
#[test]
fn several_servers_are_tried_through_the_proxy() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        for (kind, proxy) in told(server.addr) {
            let hosts = "refused.invalid|also-refused.invalid|good.invalid";
            let client = client_for(hosts, 80, &format!("obfs=http;proxy={kind}://{}", proxy.addr));
            for wanted in [&["refused", "also-refused", "good"][..], &["good"], &["good"]] {
                assert_echo(&connect(client.addr), b"hello");
                for host in wanted {
                    let asked = proxy.asked.recv_timeout(STEP).expect("somebody asked the proxy");
                    assert!(asked.contains(&format!(" {host}.invalid")), "{asked}");
                }
            }
            let client =
                client_for("refused.a|refused.b", 80, &format!("obfs=http;proxy={kind}://{}", proxy.addr));
            assert_no_tunnel(&client, &["to refused.a:80: ", "; to refused.b:80: "]);
        }
    });
}

/// Half-closes and resets pass in both directions, where the proxy lets them.
#[test]
fn ends_pass_through_a_proxy() {
    within(secs(120), || {
        let digester = Backend::digester();
        let (manual, connections) = Backend::manual();
        for (for_client, for_server) in DISGUISES {
            let (of_digester, of_manual) =
                (server(Ours, digester.addr, for_server), server(Ours, manual.addr, for_server));
            for ((kind, to_digester), (_, to_manual)) in
                told(of_digester.addr).into_iter().zip(told(of_manual.addr))
            {
                let what = format!("{kind}, {for_client}");
                let file = noise(300_000, 5);
                let half =
                    client_for("a.invalid", 80, &format!("{for_client};proxy={kind}://{}", to_digester.addr));
                let (answer, end) = exchange(&connect(half.addr), &file, STEP);
                assert_same(&what, &answer, digest(&file).as_bytes());
                assert_eq!(end, End::Fin, "{what}");

                let half =
                    client_for("a.invalid", 80, &format!("{for_client};proxy={kind}://{}", to_manual.addr));
                let app = connect(half.addr);
                send(&app, b"hello");
                let backend = next(&connections);
                assert_eq!(recv(&backend, 5), b"hello", "{what}");
                reset(backend);
                assert_eq!(recv_to_end(&app, STEP).1, End::Reset, "{what}");

                let app = connect(half.addr);
                send(&app, b"hello");
                let backend = next(&connections);
                assert_eq!(recv(&backend, 5), b"hello", "{what}");
                reset(app);
                assert_eq!(recv_to_end(&backend, STEP).1, End::Reset, "{what}");
            }
        }
    });
}

/// What stands right behind a proxy's answer is the server's, in one piece with it or not.
#[test]
fn what_comes_right_behind_the_answer_is_the_tunnels() {
    within(secs(60), || {
        const TUNNEL: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nhello";
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1500));
        let socks = [&b"\x05\0\0\x03\xff"[..], &[b'x'; 255], b"\0\x50"].concat();
        for (kind, pieces) in [
            ("http", &[&b"HTTP/1.0 200 OK\r\n\r\n"[..]][..]),
            ("http", &[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 99\r\n\r\n"]),
            ("http", &[b"HTTP/1.1 2", b"00 OK\r\nVia: a\r\n", b"\r", b"\n"]),
            ("http", &[long.as_bytes()]),
            ("socks5", &[b"\x05\0\0\x01\x7f\0\0\x01\0\x50"]),
            ("socks5", &[b"\x05\0\0\x04", &[0; 18]]),
            ("socks5", &[&socks]),
        ] {
            let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
            let proxy = Backend::serve(move |stream| {
                asked(&stream, kind == "http");
                let (last, first) = pieces.split_last().expect("an answer");
                for piece in first {
                    send(&stream, piece);
                    std::thread::sleep(millis(30));
                }
                send(&stream, &[last, TUNNEL].concat());
                recv_to_end(&stream, STEP);
            });
            for handshake in ["eager", "standard"] {
                let options = format!("obfs=http;handshake={handshake};proxy={kind}://{}", proxy.addr);
                let client = client_for("a.invalid", 80, &options);
                let app = connect(client.addr);
                send(&app, b"x");
                assert_eq!(recv(&app, 5), b"hello", "{kind}, {handshake}: {}", client.child.show_log());
            }
        }
    });
}

/// Reads what a client asks of a proxy for `a.invalid`, without a login.
fn asked(stream: &TcpStream, http: bool) {
    if http {
        recv_head(stream);
        return;
    }
    assert_eq!(recv(stream, 3), [5, 1, 0]);
    send(stream, &[5, 0]);
    recv(stream, 5 + "a.invalid".len() + 2);
}

/// What a proxy does that is asked for a tunnel.
#[derive(Clone, Copy)]
enum Does {
    /// Says this, and ends.
    Says(&'static [u8]),
    /// Says this, again and again, as fast as it can.
    Repeats(&'static [u8], &'static [u8]),
    /// Says this, and then one byte after the other, a second apart.
    Dribbles(&'static [u8]),
    /// Breaks off.
    Resets,
}
use Does::{Dribbles, Repeats, Resets, Says};

fn act(stream: TcpStream, does: Does) {
    match does {
        Says(bytes) => {
            send(&stream, bytes);
            conn::fin(&stream);
            recv_to_end(&stream, STEP);
        }
        Repeats(first, bytes) => {
            let mut writer = &stream;
            let _ = writer.write_all(first);
            while writer.write_all(bytes).is_ok() {}
        }
        Dribbles(bytes) => {
            let mut writer = &stream;
            let _ = writer.write_all(bytes);
            while recv_to_end(&stream, secs(1)).1 == End::Open && writer.write_all(b"x").is_ok() {}
        }
        Resets => reset(stream),
    }
}

/// Behind a login without password, each with what the log says; the slow ones not here.
const HOSTILE: &[(&str, Does, &str)] = &[
    ("socks5", Says(b"\x05\x01\0\x01\0\0\0\0\0\0"), "general failure (SOCKS5 code 1)"),
    ("socks5", Says(b"\x05\x02\0\x01\0\0\0\0\0\0"), "its rules do not allow the connection (SOCKS5 code 2)"),
    ("socks5", Says(b"\x05\x03\0\x01\0\0\0\0\0\0"), "network unreachable (SOCKS5 code 3)"),
    (
        "socks5",
        Says(b"\x05\x04\0\x01\0\0\0\0\0\0"),
        "host unreachable, or its name is not known there (SOCKS5 code 4)",
    ),
    ("socks5", Says(b"\x05\x05\0\x01\0\0\0\0\0\0"), "the server refuses the connection (SOCKS5 code 5)"),
    ("socks5", Says(b"\x05\x06\0\x01\0\0\0\0\0\0"), "time to live expired (SOCKS5 code 6)"),
    ("socks5", Says(b"\x05\x07\0\x01\0\0\0\0\0\0"), "it makes no connections for others (SOCKS5 code 7)"),
    ("socks5", Says(b"\x05\x08\0\x01\0\0\0\0\0\0"), "it does not know this type of address (SOCKS5 code 8)"),
    ("socks5", Says(b"\x05\x63\0\x01\0\0\0\0\0\0"), "it does not speak SOCKS5"),
    ("socks5", Says(b"\x04\x5a\0\0\0\0\0\0\0\0"), "it does not speak SOCKS5"),
    ("socks5", Says(b"\x05\0\0\x02\0\0\0\0\0\0"), "it does not speak SOCKS5"),
    ("socks5", Says(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "it does not speak SOCKS5"),
    ("socks5", Says(b"\x05\0\0\x03\x04a\xff\xff\xff\0\x50"), "it does not speak SOCKS5"),
    ("socks5", Says(b""), "it closed the connection before it had answered"),
    ("socks5", Says(b"\x05\0\0\x01\0\0"), "it closed the connection before it had answered"),
    ("socks5", Resets, "the connection to it broke"),
    (
        "http",
        Says(b"HTTP/1.1 403 Forbidden\r\n\r\nno"),
        "its rules do not allow the connection: it answers `HTTP/1.1 403 Forbidden`",
    ),
    (
        "http",
        Says(b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n"),
        "it answers `HTTP/1.1 302 Found`",
    ),
    (
        "http",
        Says(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\r\n"),
        "it asks for a user and a password",
    ),
    (
        "http",
        Says(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"),
        "it asks for a login by Negotiate, NTLM, and only Basic is possible",
    ),
    (
        "http",
        Says(b"HTTP/1.1 405 Not Allowed\r\nServer: nginx\r\n\r\n"),
        "it makes no connections for others (is it a web server?)",
    ),
    (
        "http",
        Says(b"HTTP/1.1 504 Late\r\n\r\n"),
        "it cannot reach the server: it answers `HTTP/1.1 504 Late`",
    ),
    (
        "http",
        Says(b"HTTP/1.1 504 \x1b[31m\r\n\r\n"),
        "it does not speak HTTP: it answers `HTTP/1.1 504 \\u{1b}[31m`",
    ),
    ("http", Says(b"SSH-2.0-OpenSSH_9.2\r\n"), "it does not speak HTTP: it answers `SSH-2.0-OpenSSH_9.2`"),
    ("http", Says(b"\x05\xff\x05\xff\x05\xff\x05\xff"), "it does not speak HTTP: it answers"),
    ("http", Says(b""), "it closed the connection before it had answered"),
    (
        "http",
        Says(b"HTTP/1.1 200 OK\r\nX: "),
        "it closed the connection before it had answered (after `HTTP/1.1 200 OK`)",
    ),
    ("http", Resets, "the connection to it broke"),
    ("http", Repeats(b"HTTP/1.1 200 OK\r\nX: ", b"xxxxxxxxxxxxxxxxxxxxxxx"), "its answer is too long"),
    ("http", Repeats(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"), "its answer is too long"),
    ("http", Repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), "its answer is too long"),
];

#[test]
fn a_proxy_that_refuses_or_talks_nonsense_is_told() {
    within(secs(200), || {
        for (kind, does, words) in HOSTILE.iter().copied() {
            let proxy = Backend::serve(move |stream| {
                asked(&stream, kind == "http");
                act(stream, does);
            });
            for options in ["obfs=http", "mode=websocket"] {
                let client = client_for("a.invalid", 80, &format!("{options};proxy={kind}://{}", proxy.addr));
                let shown = format!("the proxy {kind}://{}: ", proxy.addr);
                assert_no_tunnel(&client, &[&shown, words]);
                assert!(!client.child.lines().join("\n").contains('\x1b'), "{}", client.child.show_log());
            }
        }
    });
}

/// Before any login: a proxy of another kind, and ways to log in that nobody asked for.
#[test]
fn a_greeting_that_is_none_is_told() {
    within(secs(60), || {
        for (login, greeting, words) in [
            ("", &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it does not speak SOCKS5"),
            ("", b"\x05\x01", "it does not speak SOCKS5"),
            ("", b"\x05\x02", "it asks for a user and a password"),
            ("", b"\x05\xff", "it asks for a user and a password"),
            ("u:p@", b"\x05\xff", "it takes no login by user and password"),
            ("u:p@", b"\x05", "it closed the connection before it had answered"),
            ("u:p@", b"\x05\x02\x01\x01", "it refuses the user and the password"),
            ("u:p@", b"\x05\x02\x07\x00", "it does not speak SOCKS5"),
        ] {
            let proxy = Backend::serve(move |stream| act(stream, Says(greeting)));
            let client =
                client_for("a.invalid", 80, &format!("obfs=http;proxy=socks5://{login}{}", proxy.addr));
            assert_no_tunnel(&client, &[&format!("the proxy socks5://{}: ", proxy.addr), words]);
        }
    });
}

/// One that never answers, and such as never end: 10 s.
#[test]
fn a_proxy_that_is_late_is_told_after_ten_seconds() {
    within(secs(60), || {
        let cases = [
            ("socks5", None),
            ("socks5", Some(&b"\x05\0\0\x03\xff"[..])),
            ("http", None),
            ("http", Some(b"HTTP/1.1 200 OK\r\nX: ")),
        ];
        std::thread::scope(|scope| {
            for (kind, said) in cases {
                let proxy = Backend::serve(move |stream| match said {
                    None => drop(recv_to_end(&stream, STEP)),
                    Some(said) => {
                        asked(&stream, kind == "http");
                        act(stream, Dribbles(said));
                    }
                });
                let client = client_for("a.invalid", 80, &format!("obfs=http;proxy={kind}://{}", proxy.addr));
                scope.spawn(move || {
                    let (proxy, began) = (proxy, Instant::now());
                    let shown = format!("the proxy {kind}://{}: ", proxy.addr);
                    assert_no_tunnel(&client, &[&shown, "it did not answer within 10 s"]);
                    assert!(began.elapsed() >= secs(10), "{kind} {said:?}: {:?}", began.elapsed());
                });
            }
        });
    });
}

/// Starts a client that must not start: its exit code and what it says.
#[track_caller]
fn refused(local: u16, options: &str) -> String {
    let mut command = ours();
    let vars = Vars {
        remote: ("server.invalid".to_owned(), 80),
        local: ("127.0.0.1".to_owned(), local),
        options: format!("client;obfs=http;{options}"),
    };
    vars.put(&mut command);
    let child = Child::spawn("a client that is refused", command);
    assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{options}: {}", child.show_log());
    child.lines().join("\n")
}

#[test]
fn a_url_that_is_none_is_refused_without_its_password() {
    within(secs(60), || {
        let long = format!("socks5://secret:secret{}@127.0.0.1", "x".repeat(250));
        for (url, words) in [
            ("https://user:secret@127.0.0.1", "TLS to the proxy is not possible"),
            ("ftp://user:secret@127.0.0.1", "socks5://[USER:PASSWORD@]HOST[:PORT] or http://"),
            ("user:secret@127.0.0.1:1080", "is not a proxy's URL"),
            ("socks5://user:secret@", "the host is missing"),
            ("http://user:secret@127.0.0.1/path", "a proxy has no path"),
            ("http://user:secret@127.0.0.1:99999", "the port is no number from 1 to 65535"),
            (&long, "1 to 255 bytes"),
            ("", "has no value"),
        ] {
            let said = refused(free_port(), &format!("proxy={url}"));
            assert!(said.contains("option `proxy`") && said.contains(words), "{url}: {said}");
            assert!(!said.contains("secret") && !said.contains('\n'), "{url}: {said}");
        }
        // A slip elsewhere in the string shows it as little.
        let said = refused(free_port(), "proxy=http://user:secret@127.0.0.1；mux=0");
        assert!(said.contains("full-width") && !said.contains("secret"), "{said}");
        let client = client_for("a.invalid", 80, "obfs=http;proxy:http://user:secret@127.0.0.1");
        let said = client.child.wait_text("unknown option");
        assert!(!said.contains("secret"), "{said}");
    });
}

#[test]
fn a_proxy_that_leads_back_is_refused() {
    within(secs(60), || {
        for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
            let port = free_port();
            let said = refused(port, &format!("proxy=socks5://{host}:{port}"));
            let words = format!("the proxy {host}:{port} leads back to this process");
            assert!(said.contains(&words), "{said}");
        }
    });
}

/// What a name leads to shows when it is dialled: then nothing is.
#[test]
fn a_proxy_whose_name_leads_back_is_not_dialled() {
    netns::alone(secs(60), || {
        let dir = TempDir::new("hosts");
        let hosts = dir.write("hosts", "127.0.0.1 proxy.test\n");
        netns::run("mount", &["--bind", hosts.to_str().expect("a path of ASCII"), "/etc/hosts"]);
        let port = free_port();
        let vars = Vars {
            remote: ("server.invalid".to_owned(), 80),
            local: ("127.0.0.1".to_owned(), port),
            options: format!("client;obfs=http;proxy=http://proxy.test:{port}"),
        };
        let client = start("client", our_path(), &vars, port);
        assert_no_tunnel(
            &client,
            &[&format!("the proxy http://proxy.test:{port}: "), "leads back to this process"],
        );
    });
}

/// Variables for browsers are not for tunnels.
#[test]
fn variables_name_no_proxy() {
    within(secs(30), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let (proxy, came) = Backend::manual();
        let port = free_port();
        let mut command = bare(our_path());
        let remote = ("127.0.0.1".to_owned(), server.addr.port());
        Vars { remote, local: ("127.0.0.1".to_owned(), port), options: "obfs=http".into() }.put(&mut command);
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env(name, format!("http://{}", proxy.addr));
        }
        let client = Child::spawn("client", command);
        client.wait_listening(port);
        assert_echo(&connect(SocketAddr::from(([127, 0, 0, 1], port))), b"hello");
        assert!(came.try_recv().is_err(), "somebody came to the proxy");
    });
}

/// With mux, sessions that wait for a connection which the proxy refuses are reset, and a later one works.
#[test]
fn sessions_behind_a_proxy_that_refuses_are_reset() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "mode=websocket");
        let proxy = Told::http(server.addr);
        let client =
            client_for("refused.invalid", 80, &format!("mode=websocket;mux=8;proxy=http://{}", proxy.addr));
        let apps: Vec<TcpStream> = (0..4).map(|_| connect(client.addr)).collect();
        apps.iter().for_each(|app| send(app, b"hello"));
        for app in &apps {
            assert_eq!(recv_to_end(app, STEP).1, End::Reset);
        }
        let client =
            client_for("a.invalid", 80, &format!("mode=websocket;mux=8;proxy=http://{}", proxy.addr));
        let apps: Vec<TcpStream> = (0..4).map(|_| connect(client.addr)).collect();
        apps.iter().for_each(|app| assert_echo(app, &noise(10_000, 2)));
    });
}
