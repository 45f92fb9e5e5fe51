//! Our halves with v2ray-plugin at the other end, and both of ours together, in every combination of
//! its options; and under real Shadowsocks programs with its option strings.

use crate::support::backend::Backend;
use crate::support::conn::{End, assert_echo, connect, exchange, recv, recv_to_end, send};
use crate::support::hosts::{Family, Host, socks};
use crate::support::peers::need;
use crate::support::plugin::{Make, Ours, V2ray, client, our_path, server};
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, MAKES, NAME, Pair, Style};
use crate::support::{STEP, assert_same, digest, noise, secs, within};

const MB: usize = 1024 * 1024;

/// A dozen connections at once, megabytes both ways, and a download that the backend ends.
fn passes(client_make: Make, server_make: Make, style: Style) {
    let echo = Backend::echo();
    let pair = Pair::start(client_make, server_make, style, echo.addr);
    std::thread::scope(|scope| {
        for i in 0..12 {
            let addr = pair.client.addr;
            scope.spawn(move || {
                let stream = connect(addr);
                assert_echo(&stream, &noise(500 + i, i as u64));
                assert_echo(&stream, &noise(MB + 10_007 * i, 50 + i as u64));
            });
        }
    });
    drop(pair);

    let file = noise(3 * MB, 7);
    let sent = file.clone();
    let source = Backend::serve(move |stream| {
        recv(&stream, 3);
        send(&stream, &sent);
    });
    let pair = Pair::start(client_make, server_make, style, source.addr);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let stream = connect(pair.client.addr);
                send(&stream, b"get");
                let (got, end) = recv_to_end(&stream, STEP);
                assert_same("the download", &got, &file);
                assert_eq!(end, End::Fin, "{}", pair.logs());
            });
        }
    });
}

fn combinations(tls: bool, mux: usize) {
    within(secs(150), move || {
        need!("ss-v2ray-plugin", "openssl");
        for (client_make, server_make) in MAKES {
            for more in ["", "path=/stream;host=live.example.com"] {
                passes(client_make, server_make, Style { tls, mux, more });
            }
        }
    });
}

#[test]
fn ws_without_mux() {
    combinations(false, 0);
}

#[test]
fn ws_with_mux_1() {
    combinations(false, 1);
}

#[test]
fn ws_with_mux_8() {
    combinations(false, 8);
}

#[test]
fn wss_without_mux() {
    combinations(true, 0);
}

#[test]
fn wss_with_mux_1() {
    combinations(true, 1);
}

#[test]
fn wss_with_mux_8() {
    combinations(true, 8);
}

/// The yardstick itself.
#[test]
fn v2ray_plugin_alone_passes_the_same_checks() {
    within(secs(90), || {
        need!("ss-v2ray-plugin");
        passes(V2ray, V2ray, Style { tls: false, mux: 1, more: "" });
    });
}

/// WebSocket has no half-close, and between our own halves it works all the same.
#[test]
fn an_upload_is_answered_after_its_end() {
    within(secs(120), || {
        need!("openssl");
        for tls in [false, true] {
            for mux in [0, 1, 8] {
                let backend = Backend::digester();
                let pair = Pair::start(Ours, Ours, Style { tls, mux, more: "" }, backend.addr);
                std::thread::scope(|scope| {
                    for i in 0..4 {
                        let (addr, pair) = (pair.client.addr, &pair);
                        scope.spawn(move || {
                            let file = noise(2 * MB, i);
                            let (answer, end) = exchange(&connect(addr), &file, secs(40));
                            assert_eq!(String::from_utf8_lossy(&answer), digest(&file), "{}", pair.logs());
                            assert_eq!(end, End::Fin);
                        });
                    }
                });
            }
        }
    });
}

/// With v2ray-plugin's server, too, nothing of the answer is lost when the application has ended.
#[test]
fn an_answer_comes_from_v2ray_plugin_after_the_end_of_the_upload() {
    within(secs(120), || {
        need!("ss-v2ray-plugin");
        for mux in [0, 1] {
            let echo = Backend::echo();
            let pair = Pair::start(Ours, V2ray, Style { tls: false, mux, more: "" }, echo.addr);
            let file = noise(3 * MB, 1);
            let (back, end) = exchange(&connect(pair.client.addr), &file, secs(40));
            assert_same("the echo", &back, &file);
            assert_eq!(end, End::Fin);
        }
    });
}

/// Both kinds of clients on one port: v2ray-plugin's own server takes one or the other.
#[test]
fn one_port_takes_clients_with_mux_and_without() {
    within(secs(60), || {
        need!("ss-v2ray-plugin");
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "mode=websocket");
        for options in ["mux=0", "mux=1", "mux=8", "mux=0;host=other.example"] {
            let client = client(V2ray, server.addr, options);
            assert_echo(&connect(client.addr), &noise(300_000, 3));
        }
        let raw = client(Ours, server.addr, "mode=httpupgrade");
        assert_echo(&connect(raw.addr), &noise(300_000, 4));
    });
}

#[test]
fn backends_that_speak_first_are_heard() {
    within(secs(90), || {
        need!("ss-v2ray-plugin", "openssl");
        for (client_make, server_make) in MAKES {
            for mux in [0, 1] {
                let greeter = Backend::greeter(b"220 ready\r\n");
                let style = Style { tls: false, mux, more: "" };
                let pair = Pair::start(client_make, server_make, style, greeter.addr);
                let stream = connect(pair.client.addr);
                assert_eq!(recv(&stream, 11), b"220 ready\r\n", "{}", pair.logs());
                assert_echo(&stream, &noise(10_000, 5));
            }
        }
    });
}

#[test]
fn early_data_and_httpupgrade_pass_between_our_halves() {
    within(secs(60), || {
        need!("openssl");
        let certificate = Certificate::new(NAME);
        let (for_server, for_client) = (certificate.for_server(), certificate.for_client());
        for (server_options, client_options) in [
            ("mode=websocket;path=/x".to_owned(), "mux=0;path=/x?ed=2048".to_owned()),
            ("mode=websocket;path=/x".to_owned(), "mux=1;path=/x?ed=100".to_owned()),
            ("mode=httpupgrade".to_owned(), "mode=httpupgrade".to_owned()),
            ("mode=httpupgrade".to_owned(), "mode=httpupgrade;handshake=eager".to_owned()),
            (format!("mode=httpupgrade;{for_server}"), format!("mode=httpupgrade;{for_client}")),
            (format!("obfs=ws;{for_server}"), format!("obfs=websocket;mux=0;path=/?ed=64;{for_client}")),
        ] {
            let echo = Backend::echo();
            let server = server(Ours, echo.addr, &server_options);
            let client = client(Ours, server.addr, &client_options);
            let stream = connect(client.addr);
            assert_echo(&stream, &noise(1500, 6));
            assert_echo(&stream, &noise(2 * MB, 7));
        }
    });
}

/// v2ray-plugin's own option strings, under Shadowsocks programs, with a link of its name in place of
/// the program.
fn under_hosts(family: Family) {
    let dir = TempDir::new("links");
    let link = dir.path().join("v2ray-plugin");
    std::os::unix::fs::symlink(our_path(), &link).expect("a link");
    let certificate = Certificate::new(NAME);
    let tls = format!("server;{}", certificate.for_server());
    let tls_client = certificate.for_client();
    for (program, server_options, client_options) in [
        (&link, "server", ""),
        (&link, "server;path=/v2;host=a.example", "path=/v2;host=a.example;mux=4"),
        (&link, tls.as_str(), tls_client.as_str()),
        (&our_path(), "server;mode=websocket;fast-open", "mode=websocket;host=a.example;fast-open"),
    ] {
        let echo = Backend::echo();
        let server = Host::server(family, program, server_options);
        let client = Host::client(family, server.addr, program, client_options);
        for i in 0..3 {
            assert_echo(&socks(client.addr, echo.addr), &noise(400_000, i));
        }
    }
}

#[test]
fn its_option_strings_work_under_libev() {
    within(secs(90), || {
        need!("ss-local", "ss-server", "openssl");
        under_hosts(Family::Libev);
    });
}

#[test]
fn its_option_strings_work_under_shadowsocks_rust() {
    within(secs(90), || {
        need!("sslocal", "ssserver", "openssl");
        under_hosts(Family::Rust);
    });
}
