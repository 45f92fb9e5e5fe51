//! On a phone: names without `/etc/resolv.conf`, roots in Android's folders; and what becomes of a start where there are no
//! random bytes.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_to_end, send};
use crate::support::peers::need;
use crate::support::phone::{self, Netd, addresses, failure};
use crate::support::plugin::{Ours, Plugin, Vars, bare, client, our_path, server, start};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, netns, noise, seccomp, secs, within};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::sync::mpsc::TryRecvError;

const RANDOM: [&str; 2] = ["random", "urandom"];

/// A client whose server has a name.
#[track_caller]
fn client_of(name: &str, server: SocketAddr) -> Plugin {
    let port = free_port();
    let vars = Vars {
        remote: (name.to_owned(), server.port()),
        local: ("127.0.0.1".to_owned(), port),
        options: "obfs=http".to_owned(),
    };
    start(&format!("a client of {name}"), our_path(), &vars, port)
}

/// A client that has no roots but the system's, or those that these variables name.
#[track_caller]
fn tls_client(server: SocketAddr, variables: &[(&str, &Path)]) -> Plugin {
    let port = free_port();
    let vars = Vars {
        remote: (server.ip().to_string(), server.port()),
        local: ("127.0.0.1".to_owned(), port),
        options: format!("mode=websocket;tls;mux=0;host={NAME}"),
    };
    let mut command = bare(our_path());
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").envs(variables.iter().copied());
    vars.put(&mut command);
    let child = Child::spawn("a client with TLS", command);
    child.wait_listening(port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}

#[test]
fn names_are_netds_affair_where_there_is_no_resolv_conf() {
    let folder = TempDir::new("phone");
    let root = folder.path().to_owned();
    netns::alone(secs(60), move || {
        phone::enter(&root, &RANDOM);
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "obfs=http");
        let netd = Netd::start(|question| match question.split(' ').nth(1) {
            Some("server.example") => addresses(&[Ipv4Addr::LOCALHOST]),
            Some("strange.example") => b"222\0\0\0\0\x01\xff\xff\xff\xff".repeat(9),
            _ => failure(8),
        });
        let by_name = client_of("server.example", server.addr);
        assert_echo(&connect(by_name.addr), &noise(200_000, 1));
        let question = netd.questions.recv_timeout(STEP).expect("a question");
        assert_eq!(question, "getaddrinfo server.example ^ 0 0 1 0 0\0");
        for (name, said) in [
            ("other.example", "the name is not known"),
            ("strange.example", "the answer has a length that is none"),
        ] {
            let client = client_of(name, server.addr);
            let stream = connect(client.addr);
            send(&stream, b"hello");
            assert_eq!(recv_to_end(&stream, STEP).0, b"", "{name}");
            let said = format!("/dev/socket/dnsproxyd: {said}");
            client.child.wait_line(&said, |line| line.contains(&said));
        }
        // What came of others is nobody else's affair.
        assert_echo(&connect(by_name.addr), b"still there");

        while netd.questions.try_recv().is_ok() {}
        phone::write("/etc/nsswitch.conf", "hosts: files\n");
        phone::write("/etc/hosts", "127.0.0.1 listed.example\n");
        phone::write("/etc/resolv.conf", "nameserver 127.0.0.1\n");
        let listed = client_of("listed.example", server.addr);
        assert_echo(&connect(listed.addr), b"by the system's own way");
        assert_eq!(netd.questions.try_recv(), Err(TryRecvError::Empty), "netd was asked all the same");
    });
}

#[test]
fn roots_are_in_the_folder_that_updates_bring_or_else_in_the_systems() {
    let folder = TempDir::new("phone");
    let root = folder.path().to_owned();
    netns::alone(secs(60), move || {
        need!("openssl");
        let (ours, others) = (Certificate::authority("Ours"), Certificate::authority("Others"));
        let certificate = Certificate::signed(NAME, &ours);
        phone::enter(&root, &RANDOM);
        // The way they are kept there: PEM, and behind it the same for people.
        let entry = |of: &Certificate| {
            let pem = std::fs::read_to_string(&of.cert).expect("a certificate");
            format!("{pem}Certificate:\n    Data:\n        Version: 3 (0x2)\nSHA1 Fingerprint=DA:39:A3\n")
        };
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, &format!("mode=websocket;{}", certificate.for_server()));
        let tls = |variables: &[(&str, &Path)]| tls_client(server.addr, variables);
        let trusts = |client: Plugin| assert_echo(&connect(client.addr), b"trusted");

        phone::write("/system/etc/security/cacerts/01234567.0", entry(&others));
        phone::write("/system/etc/security/cacerts/89abcdef.0", entry(&ours));
        trusts(tls(&[]));
        phone::write("/apex/com.android.conscrypt/cacerts/01234567.0", entry(&others));
        let doubts = tls(&[]);
        let stream = connect(doubts.addr);
        send(&stream, b"hello");
        assert_eq!(recv_to_end(&stream, STEP).0, b"");
        let said = "nobody whom this machine trusts";
        doubts.child.wait_line(said, |line| line.contains(said));
        // Who names a place means it.
        trusts(tls(&[("SSL_CERT_FILE", &phone::write("/system/elsewhere.pem", entry(&ours)))]));
        trusts(tls(&[("SSL_CERT_DIR", Path::new("/system/etc/security/cacerts"))]));

        phone::write("/apex/com.android.conscrypt/cacerts/89abcdef.0", entry(&ours));
        trusts(tls(&[]));
    });
}

/// A server half to which the kernel gives no random bytes.
fn without_getrandom(port: u16, backend: SocketAddr) -> Child {
    let mut command = bare(our_path());
    let (remote, local) = (("127.0.0.1".to_owned(), port), (backend.ip().to_string(), backend.port()));
    Vars { remote, local, options: "server;obfs=http".to_owned() }.put(&mut command);
    // SAFETY: it is system calls alone.
    unsafe { command.pre_exec(|| seccomp::fail(libc::SYS_getrandom, libc::ENOSYS)) };
    Child::spawn("a server half without getrandom", command)
}

#[test]
fn without_random_bytes_it_says_so_and_does_not_start() {
    let folder = TempDir::new("phone");
    let root = folder.path().to_owned();
    netns::alone(secs(60), move || {
        phone::enter(&root, &[]);
        let child = without_getrandom(free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        assert_eq!(child.wait_exit(STEP), Exit::Code(1), "{}", child.show_log());
        let lines = child.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("gives no random bytes"), "{lines:?}");
    });
}

#[test]
fn random_bytes_may_come_from_a_device() {
    let folder = TempDir::new("phone");
    let root = folder.path().to_owned();
    netns::alone(secs(60), move || {
        phone::enter(&root, &RANDOM);
        let echo = Backend::echo();
        let port = free_port();
        let child = without_getrandom(port, echo.addr);
        child.wait_listening(port);
        let client = client(Ours, SocketAddr::from(([127, 0, 0, 1], port)), "obfs=http");
        assert_echo(&connect(client.addr), &noise(200_000, 1));
    });
}

/// Android's filter ends apps that open files with `openat2`, which tells more than the call before it.
#[test]
fn a_folder_is_a_website_where_a_call_ends_who_makes_it() {
    within(secs(30), || {
        let folder = TempDir::new("website");
        folder.write("index.html", "as it stands there");
        let port = free_port();
        let mut command = bare(our_path());
        let vars = Vars {
            remote: ("127.0.0.1".to_owned(), port),
            local: ("127.0.0.1".to_owned(), free_port()),
            options: format!("server;obfs=http;failover=dir:{}", folder.path().display()),
        };
        vars.put(&mut command);
        // SAFETY: it is system calls alone.
        unsafe { command.pre_exec(|| seccomp::trap(libc::SYS_openat2)) };
        let child = Child::spawn("a server half under a filter", command);
        child.wait_listening(port);
        let stream = connect(SocketAddr::from(([127, 0, 0, 1], port)));
        send(&stream, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = recv_to_end(&stream, STEP).0;
        assert!(
            answer.ends_with(b"\r\n\r\nas it stands there"),
            "{}\n{}",
            answer.escape_ascii(),
            child.show_log()
        );
    });
}
