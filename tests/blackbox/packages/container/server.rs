//! The image with `ssserver`: a whole server of one container.

use super::archive::Image;
use super::engine::Container;
use super::ssserver;
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{self, End, connect, recv_head, recv_to_end, send};
use crate::support::hosts::{curl, socks};
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::proc;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, netns, secs};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

const PASSWORD: &str = "a-password-of-your-own";
const OPTIONS: &str = "server;path=/a-path-of-your-own;obfs-uri=/a-path-of-your-own;metrics=127.0.0.1:9180";
const ENV: [(&str, &str); 2] = [("SS_SERVER_PASSWORD", PASSWORD), ("SS_PLUGIN_OPTIONS", OPTIONS)];

/// What a client's file says beside the address.
const CLIENT: &str = "mode=websocket;host=www.example.com;path=/a-path-of-your-own";

/// An address out in the Internet, as far as the server can see.
const ELSEWHERE: &str = "198.51.100.7";
const PAGE: &[u8] = b"<!doctype html>\n<title>Chairs</title>\n";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/container")
}

/// Runs a test with the image's files; only what it does has the network of its own.
fn with_image(body: impl FnOnce(&Image, &Path) + Send + 'static) {
    netns::alone(secs(120), || {
        need!("tar", "setpriv", "unshare", "sslocal", "curl", "nsenter");
        netns::ip(&format!("address add {ELSEWHERE}/32 dev lo"));
        let archive = ssserver();
        let image = archive.native();
        let root = archive.unpack(image);
        body(image, root.path());
    });
}

/// A website at that address.
fn website(address: &str) -> Backend {
    Backend::serve_on(SocketAddr::new(address.parse().expect("an address"), 0), |mut stream| {
        recv_head(&stream);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", PAGE.len());
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(PAGE);
        conn::fin(&stream);
    })
}

/// A client of the server, with the program under test as its plugin.
#[track_caller]
fn client(method: &str, password: &str) -> Child {
    let mut command = bare(peers::path("sslocal"));
    command.args(["-b", "127.0.0.1:1080", "-s", "127.0.0.1:8443", "-m", method, "-k", password]);
    command.arg("--plugin").arg(our_path()).args(["--plugin-opts", CLIENT]);
    let child = Child::spawn("sslocal", command);
    child.wait_listening(1080);
    proc::wait_listening_child(child.pid());
    child
}

#[track_caller]
fn fetches_a_page() {
    let site = website(ELSEWHERE);
    let page = curl(&["-x", "socks5h://127.0.0.1:1080", &format!("http://{}/", site.addr)]);
    assert_eq!((page.status.as_str(), &*page.body), ("200", PAGE));
}

/// The processes in it beside the first one, zombies included.
fn others(container: &Container) -> Vec<String> {
    let first = container.first().pid;
    let tasks = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
    let name = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    tasks.split_whitespace().map(name).collect()
}

/// As `docker run -p 443:8443 -e SS_SERVER_PASSWORD=… -e SS_PLUGIN_OPTIONS=… IMAGE`.
#[test]
fn two_variables_make_a_whole_server() {
    with_image(|image, root| {
        let container = Container::start("the server", image, root, &ENV, &[], &[]);
        container.child.wait_listening(8443);
        let _client = client("aes-256-gcm", PASSWORD);
        fetches_a_page();

        // Who has the password reaches the Internet alone, not what is beside the server.
        let beside = website("127.0.0.1");
        let stream = socks(SocketAddr::from(([127, 0, 0, 1], 1080)), beside.addr);
        send(&stream, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (bytes, end) = recv_to_end(&stream, STEP);
        assert!(bytes.is_empty() && end != End::Open && beside.accepted() == 0, "{end:?}");

        // A visitor sees a web server.
        let visit = curl(&["http://127.0.0.1:8443/"]);
        assert!(
            visit.status.parse::<u16>().is_ok_and(|status| (200..500).contains(&status)),
            "{}",
            visit.status
        );
        assert_eq!(others(&container).len(), 1, "the plugin: {:?}", others(&container));
    });
}

/// What the README tells to ask it, without a shell.
#[test]
fn it_says_whether_it_serves() {
    with_image(|image, root| {
        let container = Container::start("the server", image, root, &ENV, &[], &[]);
        container.child.wait_listening(8443);
        let check = ["/usr/local/bin/obfs-rs", "ready", "127.0.0.1:9180"];
        assert!(eventually(STEP, || container.exec(&check)), "{}", container.child.show_log());
        let readme = std::fs::read_to_string(folder().join("README.md")).expect("the README");
        assert!(
            readme.contains(&format!("[\"CMD\", \"{}\"]", check.join("\", \""))),
            "the README's check is another"
        );
        assert!(!container.exec(&["/usr/local/bin/obfs-rs", "ready", "127.0.0.1:9181"]));
    });
}

/// Two programs, of which one is the first process: both end at once when it is asked to, with nothing left of either.
#[test]
fn it_ends_when_it_is_asked_to() {
    with_image(|image, root| {
        let container = Container::start("the server", image, root, &ENV, &[], &[]);
        container.child.wait_listening(8443);
        let first = container.first();
        let plugin = proc::wait_listening_child(first.pid);
        container.stop();
        assert_eq!(container.child.wait_exit(secs(5)), Exit::Code(0), "{}", container.child.show_log());
        assert!(plugin.wait_gone(secs(1)) && first.wait_gone(secs(1)));
        assert!(!proc::port_listens(8443));
    });
}

/// Without its plugin a server is none: it ends, and whoever runs it (`--restart`) starts another.
#[test]
fn it_ends_with_its_plugin() {
    with_image(|image, root| {
        let container = Container::start("the server", image, root, &ENV, &[], &[]);
        container.child.wait_listening(8443);
        let plugin = proc::wait_listening_child(container.first().pid);
        kill_process(Pid::from_raw(plugin.pid).expect("a number"), Signal::KILL).expect("a signal");
        let exit = container.child.wait_exit(secs(10));
        assert_ne!(exit, Exit::Code(0), "{}", container.child.show_log());
    });
}

/// No password that everybody knows, and none at all: it does not start.
#[test]
fn without_a_password_it_does_not_start() {
    with_image(|image, root| {
        let container = Container::start("the server", image, root, &[ENV[1]], &[], &[]);
        let exit = container.child.wait_exit(secs(10));
        assert_ne!(exit, Exit::Code(0), "{}", container.child.show_log());
        container.child.wait_text("password");
        // (it says so by a panic)
        container.child.discard();
    });
}

/// The commands of the README for other ciphers and for settings in a file.
#[test]
fn other_settings_are_words_or_a_file() {
    with_image(|image, root| {
        let words = |method: &str| {
            let words = image.config["config"]["Cmd"].as_array().expect("words").clone();
            let words: Vec<_> = words.iter().map(|word| word.as_str().expect("a word").to_owned()).collect();
            words.iter().map(|word| word.replace("aes-256-gcm", method)).collect::<Vec<_>>()
        };
        for (method, password) in [
            ("chacha20-ietf-poly1305", PASSWORD),
            ("2022-blake3-aes-256-gcm", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
        ] {
            let env = [("SS_SERVER_PASSWORD", password), ENV[1]];
            let words = words(method);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            let container = Container::start(method, image, root, &env, &[], &words);
            container.child.wait_listening(8443);
            // The tests' own sslocal has no ciphers of 2022.
            if !method.starts_with("2022") {
                let _client = client(method, password);
                fetches_a_page();
            }
            container.stop();
            assert_eq!(container.child.wait_exit(secs(5)), Exit::Code(0), "{}", container.child.show_log());
        }

        let file = folder().join("config.json");
        let path = "/etc/shadowsocks-rust/config.json";
        // Who copies it with `install -m 640 -g 65532` has it for that group; here it is for all.
        let dir = TempDir::new("settings");
        let copy = dir.write("config.json", std::fs::read(file).expect("the example"));
        let container = Container::start("a file", image, root, &[], &[(&copy, path)], &["-c", path]);
        container.child.wait_listening(8443);
        let _client = client("aes-256-gcm", PASSWORD);
        fetches_a_page();
        let _ = connect(SocketAddr::from(([127, 0, 0, 1], 8443)));
    });
}
