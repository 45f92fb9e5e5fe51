//! As a client, where something is in the way: the step that fails is named.

use super::{SILENT, check, finished, start};
use crate::log_faults::dated;
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{recv_head, reset};
use crate::support::netns;
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, server};
use crate::support::ports::free_port;
use crate::support::quic;
use crate::support::site::Site;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, secs, within};
use rustix::process::Signal;
use std::io::Write as _;
use std::time::Instant;

#[test]
fn what_is_in_the_way_of_a_connection_is_named() {
    within(secs(120), || {
        let closed = format!("127.0.0.1:{}", free_port());
        for options in ["obfs=http", "obfs=tls", "mode=websocket", "mode=grpc;serviceName=x"] {
            check(&["--remote", &closed, options]).fails_at("connect", "refused");
        }
        check(&["--remote", "no-such-name.invalid:80", "obfs=http"])
            .fails_at("resolve", "no-such-name.invalid");
        check(&["--remote", "127.0.0.1:1984", "--listen", "127.0.0.1:1984", "obfs=http"])
            .fails_at("server", "leads back to this process");
    });
}

#[test]
fn an_address_that_answers_nothing_is_not_waited_for_long() {
    if !netns::may() {
        return peers::skip("a network of its own");
    }
    netns::alone(secs(60), || {
        // Packets to it are dropped.
        netns::run("ip", &["link", "set", "lo", "up"]);
        netns::run("ip", &["link", "add", "veth0", "type", "veth", "peer", "name", "veth1"]);
        netns::run("ip", &["address", "add", "192.0.2.1/24", "dev", "veth0"]);
        netns::run("ip", &["link", "set", "veth0", "up"]);
        netns::run("ip", &["link", "set", "veth1", "up"]);
        netns::run("ip", &["neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", "veth0"]);
        let began = Instant::now();
        check(&["--remote", "192.0.2.2:80", "obfs=http"]).fails_at("connect", "no answer");
        assert!(began.elapsed() < SILENT, "{:?}", began.elapsed());
    });
}

#[test]
fn what_a_website_answers_is_named_with_what_to_look_at() {
    within(secs(60), || {
        need!("nginx");
        let site = Site::start();
        let remote = site.addr.to_string();
        for options in
            ["obfs=http;obfs-uri=/nowhere", "mode=websocket;path=/nowhere", "mode=httpupgrade;path=/nowhere"]
        {
            let checked = check(&["--remote", &remote, options]);
            checked.fails_at("upgrade", "`HTTP/1.1 404 Not Found`").says("fails", "upgrade", "`path`");
        }
        check(&["--remote", &remote, "mode=websocket"]).fails_at("upgrade", "200 OK");
        check(&["--remote", &remote, "mode=grpc;serviceName=x"])
            .fails_at("upgrade", "does not speak HTTP/2, it says `HTTP/1.1 400 Bad Request`");
        let checked = check(&["--remote", &remote, "mode=websocket;tls;host=a.example"]);
        checked.fails_at("tls", "does not speak TLS on this port");
    });
}

fn in_its_folder(from: &str, to: &str) -> Certificate {
    let dir = TempDir::new("dated");
    let certificate = dated(&dir, from, to);
    Certificate { dir, ..certificate }
}

pub fn expired() -> Certificate {
    in_its_folder("20200101000000Z", "20210101000000Z")
}

pub fn not_begun() -> Certificate {
    in_its_folder("20900101000000Z", "20910101000000Z")
}

#[test]
fn what_is_wrong_with_a_servers_certificate_is_named() {
    within(secs(120), || {
        need!("openssl");
        let backend = Backend::echo();
        let fine = Certificate::new(NAME);
        for (certificate, options, step, part) in [
            (&fine, format!("tls;host={NAME}"), "tls", "nobody whom this machine trusts has signed it"),
            (
                &fine,
                format!("tls;host=other.example.com;cert={}", fine.cert.display()),
                "tls",
                "it is for live.example.com",
            ),
            (&expired(), String::new(), "tls", "has expired at 2021-01-01"),
            (&not_begun(), String::new(), "tls", "not valid before 2090-01-01"),
        ] {
            let options = if options.is_empty() { certificate.for_client() } else { options };
            let server = server(Ours, backend.addr, &format!("mode=websocket;{}", certificate.for_server()));
            let checked =
                check(&["--remote", &server.addr.to_string(), &format!("mode=websocket;{options}")]);
            checked.fails_at(step, part).says("ok", "connect", "takes the connection");
        }
        check(&["--remote", "127.0.0.1:9", "mode=websocket;tls;cert=/nowhere.pem"])
            .fails_at("tls", "/nowhere.pem");
        let (server, other) = (quic::server(quic::App::Ours, backend.addr, &fine), Certificate::new(NAME));
        let checked = check(&["--remote", &server.addr.to_string(), &quic::for_client(&other)]);
        checked.fails_at("quic", "has the server another certificate than the file of the option `cert`");
        let nobody = format!("127.0.0.1:{}", free_port());
        let checked = check(&["--remote", &nobody, &quic::for_client(&fine)]);
        checked.fails_at("quic", "no answer over UDP");
    });
}

/// It takes the connection and says nothing: where an answer is due, that fails, and elsewhere nobody can know.
#[test]
fn a_silent_server_is_not_waited_for_long() {
    within(secs(120), || {
        let (silent, _connections) = Backend::manual();
        let remote = silent.addr.to_string();
        let runs = [
            ("mode=websocket", Some(("upgrade", "has said nothing"))),
            ("mode=httpupgrade", Some(("upgrade", "has said nothing"))),
            ("mode=websocket;tls;host=a.example", Some(("tls", "the server says nothing"))),
            ("obfs=http", None),
            ("obfs=tls", None),
            ("mode=grpc;serviceName=x", Some(("upgrade", "has said nothing"))),
        ];
        let began = Instant::now();
        let running = runs.map(|(options, fails)| (start(&["--remote", &remote, options]), fails));
        for (run, fails) in &running {
            let checked = finished(run);
            match fails {
                Some((step, part)) => checked.fails_at(step, part),
                None => checked.is_well().says("unknown", "upgrade", "more cannot be known"),
            };
        }
        assert!(began.elapsed() < SILENT, "{:?}", began.elapsed());
    });
}

#[test]
fn an_end_without_an_answer_is_named() {
    within(secs(60), || {
        let resetting = Backend::serve(|stream| {
            let _ = std::io::Read::read(&mut &stream, &mut [0; 4096]);
            reset(stream);
        });
        for options in ["obfs=http", "obfs=tls", "mode=websocket", "mode=httpupgrade"] {
            let checked = check(&["--remote", &resetting.addr.to_string(), options]);
            checked.fails_at("upgrade", "by somebody on the way");
        }
        let other = Backend::serve(|mut stream| {
            let _ = recv_head(&stream);
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n\x1b[31m");
        });
        for options in ["obfs=http", "mode=websocket"] {
            let checked = check(&["--remote", &other.addr.to_string(), options]);
            checked.fails_at("upgrade", "that is not HTTP");
            assert!(!checked.lines.join("").contains('\u{1b}'), "{:?}", checked.lines);
        }
    });
}

#[test]
fn ctrl_c_ends_it() {
    within(secs(60), || {
        let (silent, _connections) = Backend::manual();
        let run = start(&["--remote", &silent.addr.to_string(), "mode=websocket"]);
        run.wait_text("takes the connection");
        run.signal(Signal::INT);
        assert_eq!(run.wait_exit(STEP), Exit::Signal(Signal::INT.as_raw()));
    });
}

/// It answers, slowly, and never says all of it.
#[test]
fn a_server_that_drips_is_told_from_a_silent_one() {
    within(secs(120), || {
        let dripping = |what: &'static [u8]| {
            Backend::serve(move |mut stream| {
                let _ = stream.set_read_timeout(Some(STEP));
                let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
                // (until whoever asked has gone)
                for byte in what.iter().chain(std::iter::repeat(&b'a')) {
                    if stream.write_all(&[*byte]).is_err() {
                        return;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(100));
                }
            })
        };
        let http = dripping(b"HTTP/1.1 200 OK\r\nX: ");
        let tls = dripping(b"\x16\x03\x03\x40\x00");
        let h2 = dripping(b"\x00\x40\x00");
        let line = "has answered slowly, and not with the upgrade: `HTTP/1.1 200 OK`";
        let runs = [
            (&http, "mode=websocket", "upgrade", line),
            (&http, "mode=httpupgrade", "upgrade", line),
            (&http, "obfs=http", "upgrade", line),
            (&tls, "mode=websocket;tls;host=a.example", "tls", "answers slowly"),
            (&h2, "mode=grpc;serviceName=x", "upgrade", "has answered slowly"),
        ];
        let began = Instant::now();
        let running = runs.map(|(server, options, step, part)| {
            (start(&["--remote", &server.addr.to_string(), options]), step, part)
        });
        for (run, step, part) in &running {
            finished(run).fails_at(step, part);
        }
        assert!(began.elapsed() < SILENT, "{:?}", began.elapsed());
    });
}
