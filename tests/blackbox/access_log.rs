//! The access log: a line for each connection, whatever becomes of it, and never at the cost of a tunnel.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, fin, recv_to_end, reset, send};
use crate::support::plugin::{Ours, Plugin, Vars, client, ours, server, start};
use crate::support::ports::free_port;
use crate::support::site::Site;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{eventually, noise, secs, within};
use rustix::process::Signal;
use serde_json::Value;
use std::path::Path;

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the access log")
}

/// The lines of an access log of JSON, once there are so many.
#[track_caller]
fn lines(path: &Path, count: usize) -> Vec<Value> {
    let there = eventually(secs(10), || text(path).lines().count() >= count);
    let text = text(path);
    assert!(there, "{count} lines are not there: {text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(lines.len(), count, "{text}");
    lines
}

/// A tunnel with so many bytes each way, to its end in order.
fn echo(client: &Plugin, bytes: usize) {
    let app = connect(client.addr);
    assert_echo(&app, &noise(bytes, 7));
    fin(&app);
    recv_to_end(&app, secs(10));
}

#[test]
fn each_kind_of_tunnel_has_its_line_on_both_ends() {
    within(secs(120), || {
        let dir = TempDir::new("access-log");
        let certificate = Certificate::new(NAME);
        let (cert, key) = (certificate.cert.display().to_string(), certificate.key.display().to_string());
        let echo_server = Backend::echo();
        let at = |name: &str| dir.path().join(name);
        let log = at("server.log");
        let options = format!(
            "mode=auto;path=/secret-path;tls;cert={cert};key={key};obfs-tls-host=www.bing.com;access-log={}",
            log.display()
        );
        let half = server(Ours, echo_server.addr, &options);
        let tls = format!("tls;host={NAME};cert={cert}");
        let cases = [
            ("obfs=http;obfs-uri=/secret-path;obfs-host=a", "http", "ours", false),
            ("obfs=tls;obfs-host=www.bing.com", "obfs-tls", "", false),
            ("mode=websocket;mux=0;path=/secret-path", "websocket", "ours", false),
            (&format!("mode=websocket;mux=0;path=/secret-path;{tls}"), "websocket", "ours", true),
            ("mode=httpupgrade;path=/secret-path", "httpupgrade", "ours", false),
        ];
        for (number, (options, kind, path, in_tls)) in cases.into_iter().enumerate() {
            let own = at(&format!("client-{number}.log"));
            let client = client(Ours, half.addr, &format!("{options};access-log={}", own.display()));
            echo(&client, 10_000);
            let wanted = |line: &Value, to: &str, address: &str| {
                assert_eq!((&line["kind"], &line["to"]), (&kind.into(), &to.into()), "{line}");
                assert_eq!((&line["up"], &line["down"]), (&10_000.into(), &10_000.into()), "{line}");
                assert_eq!((&line["end"], &line["address"]), (&"closed".into(), &address.into()), "{line}");
                assert!(line["from"].as_str().is_some_and(|from| from.starts_with("127.0.0.1:")), "{line}");
                assert!(line["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{line}");
                assert!(line.get("cause").is_none(), "{line}");
            };
            let line = &lines(&own, 1)[0];
            wanted(line, "server", &half.addr.to_string());
            let line = &lines(&log, number + 1)[number];
            wanted(line, "backend", &echo_server.addr.to_string());
            assert_eq!(
                (line["path"].as_str().unwrap_or_default(), &line["tls"]),
                (path, &in_tls.into()),
                "{line}"
            );
        }
        assert!(!text(&log).contains("secret-path"), "{}", text(&log));
    });
}

#[test]
fn sessions_have_lines_and_so_has_their_connection() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let (log, own) = (dir.path().join("server.log"), dir.path().join("client.log"));
        let echo_server = Backend::echo();
        let half = server(Ours, echo_server.addr, &format!("mode=websocket;access-log={}", log.display()));
        let client = client(Ours, half.addr, &format!("mode=websocket;mux=8;access-log={}", own.display()));
        for _ in 0..3 {
            echo(&client, 5000);
        }
        for path in [&log, &own] {
            for line in lines(path, 3) {
                assert_eq!((&line["kind"], &line["end"]), (&"session".into(), &"closed".into()), "{line}");
                assert_eq!((&line["up"], &line["down"]), (&5000.into(), &5000.into()), "{line}");
            }
        }
        client.child.signal(Signal::TERM);
        let line = &lines(&log, 4)[3];
        assert_eq!((&line["kind"], &line["up"]), (&"mux".into(), &15_000.into()), "{line}");
        assert_eq!(lines(&own, 3).len(), 3);
    });
}

#[test]
fn visitors_and_failures_have_lines() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("log");
        let site = Site::start();
        let away = free_port();
        let options = format!(
            "obfs=http;obfs-uri=/t;failover={};access-log={};trusted=127.0.0.1;proxy-protocol=in",
            site.addr,
            log.display()
        );
        let half = server(Ours, ([127, 0, 0, 1], away).into(), &options);
        let visit = |head: &str, up: &str| {
            let visitor = connect(half.addr);
            send(&visitor, format!("{head}{up}").as_bytes());
            fin(&visitor);
            recv_to_end(&visitor, secs(10));
        };
        let proxy = "PROXY TCP4 198.51.100.7 192.0.2.1 5 80\r\n";
        visit(proxy, "GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        visit(proxy, "GET /t HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
        visit("", "nonsense\u{1b}[31m\n\"");
        let lines = lines(&log, 3);
        let visitor = &lines[0];
        assert_eq!((&visitor["kind"], &visitor["to"]), (&"visitor".into(), &"failover".into()), "{visitor}");
        assert_eq!((&visitor["from"], &visitor["path"]), (&"198.51.100.7:5".into(), &"other".into()));
        assert!(visitor["via"][0].as_str().is_some_and(|via| via.starts_with("127.0.0.1:")), "{visitor}");
        let failed = &lines[1];
        assert_eq!((&failed["kind"], &failed["end"]), (&"http".into(), &"failed".into()), "{failed}");
        assert!(failed["cause"].as_str().is_some_and(|cause| cause.contains(&away.to_string())), "{failed}");
        let refused = &lines[2];
        assert_eq!((&refused["kind"], &refused["end"]), (&"unknown".into(), &"refused".into()), "{refused}");
    });
}

#[test]
fn text_is_one_line_too() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("log");
        let echo_server = Backend::echo();
        let options = format!("obfs=http;access-log={};access-log-format=text", log.display());
        let half = server(Ours, echo_server.addr, &options);
        let client = client(Ours, half.addr, "obfs=http");
        let app = connect(client.addr);
        assert_echo(&app, &noise(100, 1));
        reset(app);
        assert!(eventually(secs(10), || text(&log).ends_with('\n')), "{}", text(&log));
        let line = text(&log);
        let wanted =
            format!("http path=any to=backend address={} up=100 down=100 seconds=", echo_server.addr);
        assert!(
            line.contains(&wanted) && line.contains(" end=reset cause=\"") && line.lines().count() == 1,
            "{line}"
        );
    });
}

#[test]
fn it_goes_to_stdout() {
    within(secs(60), || {
        let echo_server = Backend::echo();
        let half = server(Ours, echo_server.addr, "obfs=http;access-log=stdout");
        let client = client(Ours, half.addr, "obfs=http");
        echo(&client, 77);
        let line = half.child.wait_text("\"up\":77");
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
    });
}

/// A start with such an access log.
fn started(access_log: &Path, options: &str) -> Child {
    let port = free_port();
    let here = "127.0.0.1".to_owned();
    let options = format!("server;obfs=http;access-log={}{options}", access_log.display());
    let mut command = ours();
    Vars { remote: (here.clone(), port), local: (here, 9), options }.put(&mut command);
    Child::spawn("a server with an access log", command)
}

#[test]
fn one_that_cannot_be_written_is_refused_at_the_start() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let pipe = dir.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("a pipe");
        for path in [&dir.path().join("no/such/folder"), dir.path(), &pipe] {
            let child = started(path, "");
            assert_eq!(child.wait_exit(secs(10)), Exit::Code(23), "{}", child.show_log());
            child.wait_text("option `access-log`: cannot write to ");
        }
        let child = started(Path::new("stdout"), ";f=/tmp/obfs-rs-never.pid");
        assert_eq!(child.wait_exit(secs(10)), Exit::Code(23), "{}", child.show_log());
        child.wait_text("name a file");
    });
}

#[test]
fn a_full_disk_is_told_and_tunnels_go_on() {
    within(secs(60), || {
        let echo_server = Backend::echo();
        let half = server(Ours, echo_server.addr, "obfs=http;access-log=/dev/full");
        let client = client(Ours, half.addr, "obfs=http");
        for _ in 0..5 {
            echo(&client, 1000);
            half.child.wait_text("the access log cannot be written: ");
        }
        let told = half.child.lines().iter().filter(|line| line.contains("access log")).count();
        assert_eq!(told, 1, "{}", half.child.show_log());
    });
}

/// Nobody reads stdout: the pipe is full after 64 KiB, and then the buffer fills.
#[test]
fn a_reader_that_stops_holds_nothing_up() {
    within(secs(60), || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let echo_server = Backend::echo();
        let port = free_port();
        let here = "127.0.0.1".to_owned();
        let options = "server;obfs=http;access-log=stdout".to_owned();
        let mut command = ours();
        let local = (here.clone(), echo_server.addr.port());
        Vars { remote: (here, port), local, options }.put(&mut command);
        command.stdout(writer).stderr(std::process::Stdio::piped());
        let child = Child::spawn_as_is("a server whose stdout is not read", command);
        child.wait_listening(port);
        let client = client(Ours, ([127, 0, 0, 1], port).into(), "obfs=http");
        for _ in 0..600 {
            echo(&client, 10);
        }
        child.signal(Signal::TERM);
        assert_eq!(child.wait_exit(secs(5)), Exit::Code(0), "{}", child.show_log());
        drop(reader);
    });
}

#[test]
fn what_is_not_written_yet_is_written_at_the_end() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("log");
        let echo_server = Backend::echo();
        let port = free_port();
        let options = format!("server;obfs=http;access-log={}", log.display());
        let here = "127.0.0.1".to_owned();
        let local = (here.clone(), echo_server.addr.port());
        let half = start(
            "a server",
            crate::support::plugin::our_path(),
            &Vars { remote: (here, port), local, options },
            port,
        );
        let client = client(Ours, half.addr, "obfs=http");
        let app = connect(client.addr);
        assert_echo(&app, &noise(100, 1));
        echo(&client, 10);
        half.child.signal(Signal::TERM);
        assert_eq!(half.child.wait_exit(secs(5)), Exit::Code(0), "{}", half.child.show_log());
        let lines = lines(&log, 2);
        assert_eq!((&lines[0]["up"], &lines[0]["end"]), (&10.into(), &"closed".into()));
        assert_eq!((&lines[1]["end"], &lines[1]["kind"]), (&"cut".into(), &"http".into()), "{}", lines[1]);
    });
}

/// Whichever thread has them.
#[test]
fn each_tunnel_that_is_open_at_the_end_has_its_line() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("log");
        let echo_server = Backend::echo();
        let half = server(Ours, echo_server.addr, &format!("obfs=http;access-log={}", log.display()));
        let client = client(Ours, half.addr, "obfs=http");
        let open: Vec<_> = std::thread::scope(|scope| {
            let tunnel = || {
                let app = connect(client.addr);
                assert_echo(&app, &noise(2_000_000, 1));
                app
            };
            let threads: Vec<_> = (0..40).map(|_| scope.spawn(tunnel)).collect();
            threads.into_iter().map(|thread| thread.join().expect("a tunnel")).collect()
        });
        half.child.signal(Signal::TERM);
        assert_eq!(half.child.wait_exit(secs(5)), Exit::Code(0), "{}", half.child.show_log());
        assert!(lines(&log, open.len()).iter().all(|line| line["end"] == "cut"), "{}", text(&log));
    });
}

/// As logrotate does it: the file is moved away, and SIGHUP opens another; no line is lost or there twice.
#[test]
fn a_file_that_was_moved_away_is_opened_anew() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let (log, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let echo_server = Backend::echo();
        let half = server(Ours, echo_server.addr, &format!("obfs=http;access-log={}", log.display()));
        let client = client(Ours, half.addr, "obfs=http");
        for _ in 0..5 {
            echo(&client, 10);
        }
        lines(&log, 5);
        std::fs::rename(&log, &old).expect("move it away");
        echo(&client, 20);
        lines(&old, 6);
        half.child.signal(Signal::HUP);
        half.child.wait_text("was opened anew");
        for _ in 0..3 {
            echo(&client, 30);
        }
        assert!(lines(&log, 3).iter().all(|line| line["up"] == 30));
        assert_eq!(lines(&old, 6).len(), 6);
        // Where it cannot be opened anew, lines go on to the old one.
        std::fs::rename(&log, dir.path().join("log.2")).expect("move it away");
        std::fs::create_dir(&log).expect("something in its place");
        half.child.signal(Signal::HUP);
        half.child.wait_text("lines go on to the old file");
        echo(&client, 40);
        assert_eq!(lines(&dir.path().join("log.2"), 4)[3]["up"], 40);
    });
}

#[test]
fn what_our_own_website_answered_has_its_bytes() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("log");
        let echo_server = Backend::echo();
        let options = format!("obfs=http;obfs-uri=/t;failover=status:404;access-log={}", log.display());
        let half = server(Ours, echo_server.addr, &options);
        let request =
            "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let visitor = connect(half.addr);
        send(&visitor, request.as_bytes());
        let answer = recv_to_end(&visitor, secs(10)).0;
        drop(visitor);
        let line = &lines(&log, 1)[0];
        assert_eq!((&line["requests"], &line["kind"]), (&2.into(), &"visitor".into()), "{line}");
        assert_eq!((&line["up"], &line["down"]), (&request.len().into(), &answer.len().into()), "{line}");
    });
}

#[test]
fn sessions_that_break_off_say_so() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let (log, own) = (dir.path().join("server.log"), dir.path().join("client.log"));
        let (backend, connections) = Backend::manual();
        let half = server(Ours, backend.addr, &format!("mode=websocket;access-log={}", log.display()));
        let client = client(Ours, half.addr, &format!("mode=websocket;mux=8;access-log={}", own.display()));
        let open = || {
            let app = connect(client.addr);
            send(&app, b"hello");
            let far = crate::support::backend::next(&connections);
            assert_eq!(crate::support::conn::recv(&far, 5), b"hello");
            (app, far)
        };
        let ends_of = |line: &Value| (line["kind"].clone(), line["end"].clone(), line["up"].clone());
        let wanted = |end: &str| (Value::from("session"), Value::from(end), Value::from(5));
        // The application resets, then the backend.
        let (app, _far) = open();
        reset(app);
        for path in [&log, &own] {
            assert_eq!(ends_of(&lines(path, 1)[0]), wanted("reset"), "{}", text(path));
        }
        let (_app, far) = open();
        reset(far);
        for path in [&log, &own] {
            let lines = lines(path, 2);
            assert_eq!(ends_of(&lines[1]), wanted("reset"), "{}", text(path));
            assert!(lines[1]["cause"].is_string(), "{}", text(path));
        }
    });
}

#[test]
fn sessions_that_are_open_at_the_end_have_their_lines() {
    within(secs(60), || {
        for of_client in [false, true] {
            let dir = TempDir::new("access-log");
            let (log, own) = (dir.path().join("server.log"), dir.path().join("client.log"));
            let echo_server = Backend::echo();
            let options = |path: &Path| format!("mode=websocket;mux=8;access-log={}", path.display());
            let half = server(Ours, echo_server.addr, &options(&log));
            let client = client(Ours, half.addr, &options(&own));
            let open: Vec<_> = (0..3).map(|_| connect(client.addr)).collect();
            open.iter().for_each(|app| assert_echo(app, b"hello"));
            let (ends, path) = if of_client { (&client, &own) } else { (&half, &log) };
            ends.child.signal(Signal::TERM);
            assert_eq!(ends.child.wait_exit(secs(5)), Exit::Code(0), "{}", ends.child.show_log());
            let is_cut = |line: &Value| {
                (line["kind"] == "session" && line["up"] == 5 && line["down"] == 5 && line["end"] == "cut")
                    || (line["kind"] == "mux" && !of_client)
            };
            assert!(lines(path, if of_client { 3 } else { 4 }).iter().all(is_cut), "{}", text(path));
        }
    });
}

#[test]
fn a_session_without_a_backend_has_failed() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("server.log");
        let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let half = server(Ours, nobody, &format!("mode=websocket;access-log={}", log.display()));
        let client = client(Ours, half.addr, "mode=websocket;mux=8");
        let app = connect(client.addr);
        send(&app, b"hello");
        recv_to_end(&app, secs(10));
        let line = &lines(&log, 1)[0];
        assert_eq!((&line["kind"], &line["end"]), (&"session".into(), &"failed".into()), "{line}");
        assert!(line["cause"].as_str().is_some_and(|cause| cause.contains(&nobody.to_string())), "{line}");
    });
}

/// What a trusted proxy's connection begins with instead of a header may be a client's request.
#[test]
fn a_path_is_in_no_line_though_a_header_is_missing() {
    within(secs(60), || {
        let dir = TempDir::new("access-log");
        let log = dir.path().join("log");
        let echo_server = Backend::echo();
        let options = format!(
            "obfs=http;obfs-uri=/s3cr3t;access-log={};trusted=127.0.0.1;proxy-protocol=in",
            log.display()
        );
        let half = server(Ours, echo_server.addr, &options);
        for request in ["GET /s3cr3t HTTP/1.1\r\nHost: h1dden.example\r\n\r\n", "GET /s3cr3t"] {
            let visitor = connect(half.addr);
            send(&visitor, request.as_bytes());
            fin(&visitor);
            recv_to_end(&visitor, secs(10));
        }
        lines(&log, 2);
        half.child.wait_text("a trusted address must send a PROXY header first");
        let told = format!("{}{}", text(&log), half.child.show_log());
        assert!(!told.contains("s3cr") && !told.contains("h1dden"), "{told}");
    });
}
