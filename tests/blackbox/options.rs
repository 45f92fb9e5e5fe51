//! How it takes its settings: what is refused, what is only warned about, what is understood.

use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::plugin::{Ours, Vars, client, ours, server};
use crate::support::ports::free_port;
use crate::support::{proc, secs, within};
use std::time::Instant;

/// Exit code of a configuration error, so that a service manager can tell it from a crash.
const CONFIG_ERROR: i32 = 23;

fn good(port: u16) -> Vars {
    Vars { remote: ("127.0.0.1".into(), 1), local: ("127.0.0.1".into(), port), options: String::new() }
}

/// Starts it on bad input: exit code 23, soon, one line that has all the words, nothing listening.
#[track_caller]
fn assert_refused(what: &str, mut command: std::process::Command, port: u16, words: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    let started = Instant::now();
    // A refusal is short; a plugin that starts anyway must not hold the test up.
    command.env_remove("RUST_BACKTRACE");
    let child = Child::spawn(what, command);
    let Some(exit) = child.exit_within(secs(20)) else {
        problems.push(format!("{what}: it runs (listening: {})", proc::port_listens(port)));
        return problems;
    };
    // Asked for: 100 ms. Allowed here: what a loaded machine may add.
    if started.elapsed() > secs(5) {
        problems.push(format!("{what}: took {:?}", started.elapsed()));
    }
    child.wait_exit(secs(1));
    let lines = child.lines();
    if exit != Exit::Code(CONFIG_ERROR) {
        problems.push(format!("{what}: {exit:?} instead of {CONFIG_ERROR}: {lines:?}"));
    }
    if lines.len() != 1 {
        problems.push(format!("{what}: {} lines instead of one: {lines:?}", lines.len()));
    }
    let line = lines.join("\n");
    for word in words {
        if !line.to_lowercase().contains(&word.to_lowercase()) {
            problems.push(format!("{what}: the line lacks “{word}”: {line:?}"));
        }
    }
    problems
}

/// Option string → the words its error line must have: the option, the value (and what was expected).
const BAD_OPTIONS: &[(&str, &[&str])] = &[
    ("obfs=htpp", &["obfs", "htpp", "http"]),
    ("obfs=", &["obfs", "http"]),
    ("obfs=http;handshake=slow", &["handshake", "slow", "eager", "standard"]),
    ("obfs=http;loglevel=loud", &["loglevel", "loud", "debug"]),
    ("obfs=http;t=soon", &["t", "soon", "second"]),
    ("obfs=http;t=-1", &["t", "-1"]),
    ("mode=websocket;keepalive=soon", &["keepalive", "soon", "seconds", "86400"]),
    ("mode=websocket;keepalive=86401", &["keepalive", "86401", "86400"]),
    ("mode=websocket;keepalive=-1", &["keepalive", "-1"]),
    ("mode=websocket;keep-alive=", &["keep-alive", "seconds"]),
    ("obfs=http;server;keepalive=1.5", &["keepalive", "1.5"]),
    ("obfs=http;server;failover=127.0.0.1", &["failover", "127.0.0.1", "port"]),
    ("obfs=http;server;failover=127.0.0.1:", &["failover", "127.0.0.1:", "port"]),
    ("obfs=http;server;failover=127.0.0.1:99999", &["failover", "99999", "port"]),
    ("obfs=http;server;failover=127.0.0.1:http", &["failover", "http", "port"]),
    ("obfs=http;server;failover=:8080", &["failover", ":8080", "host"]),
    ("obfs=http;server;failover=", &["failover"]),
    (
        "obfs=http;server;failover=dir:/no/such/folder",
        &["failover", "dir:/no/such/folder", "folder", "No such"],
    ),
    ("obfs=http;server;failover=dir:/etc/passwd", &["failover", "dir:/etc/passwd", "folder", "it is a file"]),
    ("obfs=http;server;failover=dir:", &["failover", "dir:", "folder"]),
    ("obfs=http;server;failover=redirect:www.example.com", &["failover", "redirect:www.example.com", "URL"]),
    ("obfs=http;server;failover=redirect:ftp://a/", &["failover", "redirect:ftp://a/", "http or https"]),
    ("obfs=http;server;fallback=redirect:https://a b/", &["fallback", "redirect:https://a b/", "URL"]),
    ("obfs=http;server;failover=redirect:https://a/#b", &["failover", "#b", "URL"]),
    ("obfs=http;server;failover=redirect:https://a/\r\nX: y", &["failover", "URL"]),
    ("obfs=http;server;failover=status:200", &["failover", "status:200", "204", "400"]),
    ("obfs=http;server;failover=status:600", &["failover", "status:600", "599"]),
    ("obfs=http;server;failover=status:none", &["failover", "status:none"]),
    ("obfs=tls;server;failover-tls=dir:/", &["failover-tls", "dir:/", "HOST:PORT"]),
    ("obfs=tls;server;failover-tls=status:404", &["failover-tls", "status:404", "HOST:PORT"]),
    ("obfs=tls;server;failover-tls=redirect:https://a", &["failover-tls", "redirect:https://a", "HOST:PORT"]),
    ("obfs=http;server;failover", &["failover"]),
    ("obfs=http;server;fallback=localhost", &["fallback", "localhost", "port"]),
    ("obfs=http;server;failover-proxy=v1", &["failover-proxy", "`failover`"]),
    ("obfs=http;server;failover=a:1;failover-proxy=v3", &["failover-proxy", "v3", "v1 or v2"]),
    ("obfs=http;server;proxy-protocol=in", &["proxy-protocol", "`trusted`"]),
    ("obfs=http;server;trusted=127.0.0.1;proxy-protocol=out", &["proxy-protocol", "out", "in"]),
    ("obfs=http;server;trusted=10.0.0.0/33", &["trusted", "10.0.0.0/33", "prefix"]),
    ("obfs=http;server;trusted=127.0.0.1,localhost", &["trusted", "localhost", "address"]),
    ("obfs=http;server;trusted=", &["trusted", "address"]),
    ("obfs=http;obfs-host=", &["obfs-host"]),
    ("obfs=http;obfs-host=a b", &["obfs-host", "a b"]),
    ("obfs=http;obfs-host=a\r\nX: y", &["obfs-host"]),
    ("obfs=http;obfs-uri=/a\u{1}b", &["obfs-uri"]),
    ("obfs-host=a.com;obsf=tls", &["obsf", "`obfs`"]),
    ("obfs=http；obfs-host=a.com", &["full-width", "；"]),
    ("tls;obfs=tls", &["`tls` and `obfs=tls`", "exclude"]),
    ("mode=gprc", &["mode", "gprc", "grpc"]),
    ("crypt=aes;datashard=10", &["crypt", "datashard", "another plugin"]),
    ("obfs=http;path=/a\nb", &["path"]),
    ("obfs=http;http-method=GE T", &["http-method", "GE T"]),
    ("obfs=http;http-method=", &["http-method"]),
    ("obfs=http;obfs-host=a\\", &["\\"]),
    ("obfs=http\\", &["\\"]),
    ("obfs=http;server;limit-tunnels=0", &["limit-tunnels", "`0`", "from 1"]),
    ("obfs=http;server;limit-tunnels=", &["limit-tunnels", "number"]),
    ("obfs=http;server;limit-tunnels-per-address=many", &["limit-tunnels-per-address", "many", "number"]),
    ("obfs=http;server;limit-rate-per-address=1.5", &["limit-rate-per-address", "1.5", "number"]),
    ("obfs=http;server;limit-buffers=64M", &["limit-buffers", "64M", "MiB"]),
    ("obfs=http;limit-buffers=-1", &["limit-buffers", "-1", "MiB"]),
    ("obfs=http;limit-tunnels=0", &["limit-tunnels", "`0`"]),
    ("obfs=http;server;client", &["server", "client"]),
];

#[test]
fn bad_options_are_refused_with_one_line() {
    within(secs(120), || {
        let mut problems = Vec::new();
        for (options, words) in BAD_OPTIONS {
            let port = free_port();
            let mut command = ours();
            let server = options.contains("server");
            let (there, here) = (("127.0.0.1".to_owned(), port), ("127.0.0.1".to_owned(), 1));
            let (remote, local) = if server { (there, here) } else { (here, there) };
            Vars { remote, local, options: (*options).to_owned() }.put(&mut command);
            problems.extend(assert_refused(&format!("{options:?}"), command, port, words));
        }
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    });
}

#[test]
fn bad_variables_are_refused_with_one_line() {
    within(secs(120), || {
        let mut problems = Vec::new();
        let cases: &[(&str, Option<&str>, &[&str])] = &[
            ("SS_REMOTE_HOST", None, &["SS_REMOTE_HOST"]),
            ("SS_REMOTE_PORT", None, &["SS_REMOTE_PORT"]),
            ("SS_LOCAL_HOST", None, &["SS_LOCAL_HOST"]),
            ("SS_LOCAL_PORT", None, &["SS_LOCAL_PORT"]),
            ("SS_REMOTE_HOST", Some(""), &["SS_REMOTE_HOST"]),
            ("SS_LOCAL_HOST", Some(""), &["SS_LOCAL_HOST"]),
            ("SS_REMOTE_PORT", Some("http"), &["SS_REMOTE_PORT", "http", "port"]),
            ("SS_REMOTE_PORT", Some("70000"), &["SS_REMOTE_PORT", "70000", "port"]),
            ("SS_REMOTE_PORT", Some("-1"), &["SS_REMOTE_PORT", "-1", "port"]),
            ("SS_REMOTE_PORT", Some(""), &["SS_REMOTE_PORT", "port"]),
            ("SS_REMOTE_PORT", Some("0"), &["SS_REMOTE_PORT", "0", "port"]),
            ("SS_LOCAL_PORT", Some("80 80"), &["SS_LOCAL_PORT", "80 80", "port"]),
            ("SS_LOCAL_PORT", Some("0x50"), &["SS_LOCAL_PORT", "0x50", "port"]),
            ("SS_REMOTE_HOST", Some("[::1"), &["SS_REMOTE_HOST", "[::1"]),
        ];
        for (variable, value, words) in cases {
            let port = free_port();
            let mut command = ours();
            good(port).put(&mut command);
            match value {
                Some(value) => command.env(variable, value),
                None => command.env_remove(variable),
            };
            problems.extend(assert_refused(&format!("{variable}={value:?}"), command, port, words));
        }
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    });
}

/// Bytes that are no UTF-8 occur in environments; a panic is no error message.
#[test]
fn a_variable_that_is_no_text_is_refused() {
    within(secs(30), || {
        use std::os::unix::ffi::OsStrExt;
        let port = free_port();
        let mut command = ours();
        good(port).put(&mut command);
        command.env("SS_PLUGIN_OPTIONS", std::ffi::OsStr::from_bytes(b"obfs=http;obfs-host=\xff\xfe"));
        let problems = assert_refused("no UTF-8", command, port, &["SS_PLUGIN_OPTIONS"]);
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    });
}

/// Each unknown option is warned about with the nearest known name, and everything else works.
#[test]
fn unknown_options_are_warned_about_with_the_nearest_name() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        for (given, nearest) in [
            ("obfs-hots=x", "obfs-host"),
            ("faillover=127.0.0.1:80", "failover"),
            ("obfs-uro=x", "obfs-uri"),
            ("hanshake=standard", "handshake"),
            ("fst-open", "fast-open"),
            ("log-level=info", "loglevel"),
        ] {
            let client = client(Ours, server.addr, &format!("obfs=http;obfs-host=www.bing.com;{given}"));
            let name = given.split('=').next().expect("a name");
            let line = client.child.wait_text(name);
            assert!(line.contains(nearest), "{given}: {line}");
            assert!(line.to_uppercase().contains("WARN"), "{given}: {line}");
            assert_echo(&connect(client.addr), b"it works all the same");
        }
        // Without its website a server would be found for what it is.
        let port = free_port();
        let mut command = ours();
        let options = "server;obfs=http;faillover=127.0.0.1:80".to_owned();
        Vars { options, ..good(port) }.put(&mut command);
        assert_refused("a website", command, port, &["`faillover` is no option", "`failover`"]);
    });
}

/// Options of other programs and of every host: no warning.
#[test]
fn known_options_do_not_warn() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http;reverse_proxy;fast-open;t=60;;v;");
        for options in [
            ";;obfs=http;;obfs-host=www.bing.com;;",
            "obfs=http;obfs-host=www.bing.com;fast-open",
            "obfs=http;obfs-host=www.bing.com;fast-open=true",
            "obfs=http;obfs-host=www.bing.com;loglevel=warning;http-method=GET;t=300",
            "client;obfs-host=www.bing.com",
            "",
        ] {
            let client = client(Ours, server.addr, options);
            assert_echo(&connect(client.addr), b"hello");
            for half in [&client, &server] {
                let lines = half.child.lines().join("\n");
                assert!(!lines.to_uppercase().contains("WARN"), "{options}: {lines}");
            }
        }
    });
}

/// A repeated key: the first counts. An escaped separator belongs to the value.
#[test]
fn repeats_and_escapes() {
    within(secs(60), || {
        for (options, line) in [
            ("obfs-host=first.example;obfs-host=second.example", "first.example"),
            ("obfs-ho\\st=escaped.example", "escaped.example"),
            ("obfs-host=e\\s\\c.example", "esc.example"),
        ] {
            let (remote, connections) = Backend::manual();
            let client = client(Ours, remote.addr, options);
            let app = connect(client.addr);
            send(&app, b"x");
            let head = recv_head(&next(&connections));
            assert!(
                head.contains(&format!("\r\nHost: {line}:{}\r\n", remote.addr.port())),
                "{options}: {head}"
            );
        }
    });
}

/// `loglevel`: nothing at all under `none`, a line for each tunnel under `debug` and `v`.
#[test]
fn loglevel_decides_what_is_written() {
    within(secs(60), || {
        let echo = Backend::echo();
        for (options, expect_any, expect_tunnel) in [
            ("loglevel=none", false, false),
            ("loglevel=error", false, false),
            ("loglevel=info", true, false),
            ("loglevel=debug", true, true),
            ("v", true, true),
        ] {
            let server = server(Ours, echo.addr, &format!("obfs=http;{options}"));
            let tunnel = connect(server.addr);
            let from = tunnel.local_addr().expect("an address").to_string();
            send(&tunnel, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
            recv_head(&tunnel);
            assert_echo(&tunnel, b"not for the log");
            assert_eq!(crate::support::hosts::close(&tunnel), crate::support::conn::End::Fin);
            if expect_tunnel {
                let line = server.child.wait_text(&from);
                assert!(!line.contains("not for the log"), "{line}");
            }
            server.child.signal(rustix::process::Signal::TERM);
            server.child.wait_exit(secs(5));
            let lines = server.child.lines();
            assert_eq!(!lines.is_empty(), expect_any, "{options}: {lines:?}");
            assert_eq!(lines.iter().any(|l| l.contains(&from)), expect_tunnel, "{options}: {lines:?}");
        }
    });
}
