//! SIGHUP: settings, certificates and names are read anew, while open connections go on as they are.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv, recv_head, send};
use crate::support::peers::need;
use crate::support::plugin::{Plugin, bare, our_path};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, netns, secs, within};
use crate::tls_certificates::shown;
use rustix::process::{Pid, Signal, kill_process};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A server half without a host, whose settings are in a file; `words` are behind them.
pub fn server_of(dir: &TempDir, port: u16, settings: &str, words: &[&str]) -> Plugin {
    let file = dir.write("config.json", settings);
    let mut command = bare(our_path());
    command.arg("server").arg("-c").arg(file).args(words);
    let child = Child::spawn("a server with a file", command);
    child.wait_listening(port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

/// The settings of a server half: further ones stand in front.
pub fn settings(more: &str, port: u16, backend: SocketAddr) -> String {
    format!(r#"{{ {more} "server": "127.0.0.1", "server_port": {port}, "dst_addr": "{backend}" }}"#)
}

fn upgrade(addr: SocketAddr, path: &str) -> (TcpStream, String) {
    let stream = connect(addr);
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    send(&stream, request.as_bytes());
    let head = recv_head(&stream);
    (stream, head)
}

fn page(addr: SocketAddr) -> String {
    let stream = connect(addr);
    send(&stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    recv_head(&stream)
}

/// Counts lines, since the same one comes at each reload.
fn reload(server: &Plugin, said: &str) -> String {
    let count = || server.child.lines().iter().filter(|line| line.contains(said)).count();
    let before = count();
    server.child.signal(Signal::HUP);
    assert!(eventually(STEP, || count() > before), "not told: {said}; {}", server.child.show_log());
    server.child.lines().iter().rfind(|line| line.contains(said)).expect("a line").clone()
}

/// The path, the backend and the website change; a file with an error changes nothing; an open tunnel sees nothing.
#[test]
fn settings_change_for_new_connections_while_open_ones_go_on() {
    within(secs(90), || {
        let dir = TempDir::new("reload");
        let (echo, port) = (Backend::echo(), free_port());
        let other = Backend::greeter(b"other");
        let site = Backend::serve(|stream| {
            recv_head(&stream);
            send(&stream, b"HTTP/1.1 299 Elsewhere\r\nContent-Length: 0\r\n\r\n");
        });
        let first =
            settings(r#""obfs": "http", "obfs-uri": "/first", "failover": "status:404","#, port, echo.addr);
        let server = server_of(&dir, port, &first, &[]);
        let (tunnel, head) = upgrade(server.addr, "/first");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert_echo(&tunnel, b"before");
        assert!(page(server.addr).starts_with("HTTP/1.1 404 "));

        let more = format!(
            r#""obfs": "http", "obfs-uri": "/second", "failover": "{}", "loglevel": "debug","#,
            site.addr
        );
        dir.write("config.json", settings(&more, port, other.addr));
        let line = reload(&server, "reloaded: ");
        assert!(line.contains("config.json") && line.contains("access log"), "{line}");
        assert!(line.contains(&other.addr.to_string()) && line.contains(&site.addr.to_string()), "{line}");
        assert!(!line.contains("/second"), "a secret: {line}");
        assert_echo(&tunnel, b"still there");
        assert!(upgrade(server.addr, "/first").1.starts_with("HTTP/1.1 299 "));
        let (changed, head) = upgrade(server.addr, "/second");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        send(&changed, b"?");
        assert_eq!(recv(&changed, 5), b"other");
        // The log level has changed, too.
        server.child.wait_text("DEBUG");

        for (wrong, said) in [
            ("{ \"obfs\": \"http\",\n", "config.json:1: the file ends too early"),
            ("{ \"obfs\": \"htpp\" }", "`htpp` is not a disguise"),
        ] {
            dir.write("config.json", wrong);
            let line = reload(&server, said);
            assert!(line.contains("stays as it was"), "{line}");
            assert!(upgrade(server.addr, "/second").1.starts_with("HTTP/1.1 101 "));
        }
        dir.write("config.json", settings(&more, free_port(), other.addr));
        assert!(reload(&server, "needs a restart").contains("the addresses to listen on"));
        std::fs::remove_file(dir.path().join("config.json")).expect("it was there");
        reload(&server, "config.json: No such file");
        assert_echo(&tunnel, b"after all that");
        server.child.signal(Signal::TERM);
        assert_eq!(server.child.wait_exit(secs(5)), Exit::Code(0));
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).expect("a copy");
}

/// A certificate that is half written: the old one stays, that is told with the reason, and it is tried again.
#[test]
fn a_certificate_that_is_half_written_leaves_the_old_one() {
    within(secs(90), || {
        need!("openssl");
        let (echo, port, dir) = (Backend::echo(), free_port(), TempDir::new("half-written"));
        let (pair, next) = (Certificate::new(NAME), Certificate::new(NAME));
        let more = format!(
            r#""mode": "websocket", "tls": true, "cert": "{}", "key": "{}","#,
            pair.cert.display(),
            pair.key.display()
        );
        let server = server_of(&dir, port, &settings(&more, port, echo.addr), &[]);
        let old = shown(server.addr);
        let whole = std::fs::read(&next.cert).expect("a certificate");
        std::fs::write(&pair.cert, &whole[..whole.len() / 2]).expect("written");
        let line = reload(&server, "the old one stays");
        assert!(line.contains("cert"), "{line}");
        assert_eq!(shown(server.addr), old);
        std::fs::write(&pair.cert, &whole).expect("written");
        copy(&next.key, &pair.key);
        assert!(eventually(STEP, || shown(server.addr) != old), "{}", server.child.show_log());
        // At once, where it is whole.
        let next = Certificate::new(NAME);
        let before = shown(server.addr);
        copy(&next.key, &pair.key);
        copy(&next.cert, &pair.cert);
        let line = reload(&server, "reloaded: ");
        assert!(line.contains("certificate and key"), "{line}");
        assert_ne!(shown(server.addr), before);
    });
}

/// A client half: another server, and an open tunnel that goes on with the old one, with mux and without.
#[test]
fn a_client_takes_another_server() {
    within(secs(90), || {
        for disguise in [r#""obfs": "http""#, r#""mode": "websocket", "mux": 4"#] {
            let dir = TempDir::new("reload-client");
            let (echo, other) = (Backend::echo(), Backend::greeter(b"other"));
            let servers = [echo.addr, other.addr]
                .map(|backend| crate::support::plugin::server(crate::support::plugin::Ours, backend, ""));
            let port = free_port();
            let settings = |server: &Plugin| {
                let remote = server.addr.port();
                format!(
                    r#"{{ {disguise}, "server": "127.0.0.1", "server_port": {remote}, "local_address": "127.0.0.1",
                    "local_port": {port} }}"#
                )
            };
            let file = dir.write("config.json", settings(&servers[0]));
            let mut command = bare(our_path());
            command.arg("client").arg("-c").arg(file);
            let child = Child::spawn("a client with a file", command);
            child.wait_listening(port);
            let client = Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) };
            let tunnel = connect(client.addr);
            assert_echo(&tunnel, b"before");
            dir.write("config.json", settings(&servers[1]));
            reload(&client, "reloaded: ");
            assert_echo(&tunnel, b"still there");
            let changed = connect(client.addr);
            send(&changed, b"?");
            assert_eq!(recv(&changed, 5), b"other", "{}", client.child.show_log());
        }
    });
}

/// The file is in a folder that only root enters, and the process is another user's by then.
#[test]
fn the_file_is_read_anew_also_after_giving_up_root() {
    netns::alone(secs(60), || {
        let (dir, echo, port) = (TempDir::new("closed"), Backend::echo(), free_port());
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).expect("close it");
        let of = |more: &str| settings(&format!(r#""a": "nobody", "obfs": "http", {more}"#), port, echo.addr);
        let server = server_of(&dir, port, &of(r#""obfs-uri": "/first","#), &[]);
        assert!(upgrade(server.addr, "/first").1.starts_with("HTTP/1.1 101 "));
        dir.write("config.json", of(r#""obfs-uri": "/second","#));
        reload(&server, "reloaded: ");
        assert!(upgrade(server.addr, "/first").1.starts_with("HTTP/1.1 404 "));
        assert!(upgrade(server.addr, "/second").1.starts_with("HTTP/1.1 101 "));
        // A certificate that was not named at the start is read by nobody for it.
        std::fs::write(dir.path().join("new.pem"), "").expect("written");
        let file = dir.path().join("new.pem").display().to_string();
        let tls =
            format!(r#""a": "nobody", "mode": "websocket", "tls": true, "cert": "{file}", "key": "{file}","#);
        dir.write("config.json", settings(&tls, port, echo.addr));
        let line = reload(&server, "Permission denied");
        assert!(line.contains("new.pem") && line.contains("stays as it was"), "{line}");
    });
}

/// In the background the working directory is another one, and the file's name what it was.
#[test]
fn a_file_with_a_relative_path_is_read_anew_in_the_background() {
    within(secs(60), || {
        let (dir, echo, port) = (TempDir::new("background"), Backend::echo(), free_port());
        let of = |path: &str| {
            settings(&format!(r#""f": "run.pid", "obfs": "http", "obfs-uri": "{path}","#), port, echo.addr)
        };
        dir.write("config.json", of("/first"));
        let mut command = bare(our_path());
        command.args(["server", "-c", "config.json"]).current_dir(dir.path());
        assert_eq!(Child::spawn("a server", command).wait_exit(secs(10)), Exit::Code(0));
        let number = std::fs::read_to_string(dir.path().join("run.pid")).expect("a pid file");
        let pid = Pid::from_raw(number.trim().parse().expect("a number")).expect("a pid");
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        assert!(upgrade(addr, "/first").1.starts_with("HTTP/1.1 101 "));
        dir.write("config.json", of("/second"));
        kill_process(pid, Signal::HUP).expect("signal it");
        let changed = eventually(STEP, || upgrade(addr, "/second").1.starts_with("HTTP/1.1 101 "));
        kill_process(pid, Signal::TERM).expect("signal it");
        assert!(changed, "the old settings are in use");
    });
}
