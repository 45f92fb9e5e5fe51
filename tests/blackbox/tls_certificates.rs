//! TLS: whom a client trusts, which certificate a server has, and what a visitor meets behind it.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, recv_to_end, send};
use crate::support::hosts::curl;
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Plugin, V2ray, Vars, bare, client, our_path, server, start};
use crate::support::ports::free_port;
use crate::support::site::{INDEX, Site, big};
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, assert_same, eventually, noise, secs, within};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

/// The fingerprint of the certificate that a server shows, as openssl sees it.
pub fn shown(addr: SocketAddr) -> String {
    let output = Command::new(peers::path("openssl"))
        .args(["s_client", "-connect", &addr.to_string(), "-servername", NAME])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .expect("run openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let begin = text.find("-----BEGIN CERTIFICATE-----").unwrap_or_default();
    let end = text.find("-----END CERTIFICATE-----").unwrap_or_default();
    text.get(begin..end).unwrap_or_default().to_owned()
}

fn in_pem(certificate: &Certificate) -> String {
    let text = std::fs::read_to_string(&certificate.cert).expect("the certificate");
    text.split("-----END").next().unwrap_or_default().to_owned()
}

#[test]
fn a_certificate_that_does_not_fit_ends_the_tunnel_with_a_line_that_says_why() {
    within(secs(60), || {
        need!("openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let server = server(Ours, echo.addr, &format!("mode=websocket;{}", certificate.for_server()));
        let trusted = format!("cert={}", certificate.cert.display());
        for (options, said) in [
            ("mode=websocket;tls;mux=0;host=live.example.com".to_owned(), "nobody whom this machine trusts"),
            (format!("mode=websocket;tls;mux=0;host=other.example.com;{trusted}"), "it is for"),
            (format!("mode=httpupgrade;tls;sni=other.example.com;{trusted}"), "it is for"),
            (format!("mode=websocket;tls;mux=1;host=other.example.com;{trusted}"), "it is for"),
        ] {
            let client = client(Ours, server.addr, &options);
            let stream = connect(client.addr);
            send(&stream, b"hello");
            let (got, end) = recv_to_end(&stream, STEP);
            assert!(got.is_empty() && end != End::Open, "{options}: {end:?}");
            client.child.wait_line(said, |line| line.contains("certificate") && line.contains(said));
        }
        assert_eq!(echo.accepted(), 0);
    });
}

/// The name of the hello may be another than that of the request; a root may come as text; and a
/// certificate that says it is an authority's is accepted where it is itself the root that is named.
#[test]
fn roots_and_names_may_be_given_in_every_way() {
    within(secs(60), || {
        need!("openssl", "ss-v2ray-plugin");
        let echo = Backend::echo();
        for certificate in [Certificate::new(NAME), Certificate::authority(NAME)] {
            let raw: String = in_pem(&certificate).lines().skip(1).collect();
            let server = server(Ours, echo.addr, &format!("mode=websocket;{}", certificate.for_server()));
            for (make, options) in [
                (Ours, format!("mux=0;tls;host=cdn.example;sni={NAME};cert={}", certificate.cert.display())),
                (Ours, format!("mux=0;tls;host={NAME};certRaw={}", raw.replace('=', "\\="))),
                (Ours, format!("mux=1;{}", certificate.for_client())),
                (V2ray, format!("mux=1;tls;host={NAME};certRaw={}", raw.replace('=', "\\="))),
            ] {
                let client = client(make, server.addr, &options);
                assert_echo(&connect(client.addr), &noise(200_000, 1));
            }
        }
    });
}

#[test]
fn certificates_of_acme_sh_are_found() {
    within(secs(60), || {
        need!("openssl");
        let echo = Backend::echo();
        for folder in [NAME.to_owned(), format!("{NAME}_ecc")] {
            let certificate = Certificate::new(NAME);
            let home = TempDir::new("home");
            let at = |name: &str| format!(".acme.sh/{folder}/{name}");
            home.write(&at("fullchain.cer"), std::fs::read(&certificate.cert).expect("the certificate"));
            home.write(&at(&format!("{NAME}.key")), std::fs::read(&certificate.key).expect("the key"));
            let port = free_port();
            let vars = Vars {
                remote: ("127.0.0.1".into(), port),
                local: (echo.addr.ip().to_string(), echo.addr.port()),
                options: format!("server;mode=websocket;tls;host={NAME}"),
            };
            let mut command = bare(our_path());
            command.env("HOME", home.path());
            vars.put(&mut command);
            let child = Child::spawn("Ours server", command);
            child.wait_listening(port);
            let addr = SocketAddr::from(([127, 0, 0, 1], port));
            let client = client(Ours, addr, &format!("mux=0;{}", certificate.for_client()));
            assert_echo(&connect(client.addr), b"found");
        }
    });
}

#[test]
fn a_server_without_a_usable_certificate_does_not_start() {
    within(secs(60), || {
        need!("openssl");
        let (one, other) = (Certificate::new(NAME), Certificate::new(NAME));
        let cert = one.cert.display();
        let files =
            |key: &std::path::Path| format!("server;mode=websocket;tls;cert={cert};key={}", key.display());
        for (options, said) in [
            (files(&other.key), "key.pem"),
            (files(&one.dir.path().join("missing.pem")), "missing.pem"),
            (files(&one.cert), "cert.pem"),
            ("server;mode=websocket;tls".to_owned(), "cert"),
        ] {
            let vars =
                Vars { remote: ("127.0.0.1".into(), free_port()), local: ("127.0.0.1".into(), 9), options };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = Child::spawn("Ours server", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{}", child.show_log());
            child.wait_text(said);
        }
    });
}

/// A renewal under traffic: two files that are written one after the other. Nobody meets a pair that
/// does not fit, open tunnels go on, and new ones get the new certificate within seconds.
#[test]
fn a_renewed_certificate_is_served_within_seconds() {
    within(secs(90), || {
        need!("openssl");
        let echo = Backend::echo();
        let (old, new) = (Certificate::new(NAME), Certificate::new(NAME));
        let server = server(Ours, echo.addr, &format!("mode=websocket;{}", old.for_server()));
        let both = old.dir.write("roots.pem", [in_file(&old), in_file(&new)].concat());
        let options = format!("mux=0;tls;host={NAME};cert={}", both.display());
        let client = client(Ours, server.addr, &options);
        let before = connect(client.addr);
        assert_echo(&before, b"before");
        assert_eq!(shown(server.addr), in_pem(&old));

        // Only the certificate: no pair. The old one stays, and the log says so.
        std::fs::write(&old.cert, in_file(&new)).expect("write the certificate");
        server.child.wait_text("the old one stays");
        assert_echo(&connect(client.addr), b"in between");
        // The key follows, put in the place of the old one as careful programs do.
        let beside = old.dir.write("key.new", std::fs::read(&new.key).expect("the key"));
        std::fs::rename(beside, &old.key).expect("put the key in place");
        server.child.wait_text("new one is served");
        assert_eq!(shown(server.addr), in_pem(&new));
        assert_echo(&connect(client.addr), b"after");
        assert_echo(&before, b"and before still");

        // A broken file changes nothing.
        std::fs::write(&old.cert, "nonsense").expect("write the certificate");
        let stays = || server.child.lines().iter().filter(|line| line.contains("the old one stays")).count();
        assert!(eventually(STEP, || stays() == 2), "{}", server.child.show_log());
        assert_echo(&connect(client.addr), b"still");
    });
}

fn in_file(certificate: &Certificate) -> Vec<u8> {
    std::fs::read(&certificate.cert).expect("the certificate")
}

/// Whoever is no client of ours meets the website behind the TLS, in the clear there.
#[test]
fn visitors_behind_tls_meet_the_website() {
    within(secs(90), || {
        need!("openssl", "nginx", "curl");
        let site = Site::start();
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let options =
            format!("mode=websocket;path=/tunnel;failover={};{}", site.addr, certificate.for_server());
        let server = server(Ours, echo.addr, &options);
        let url = |path: &str| format!("https://{NAME}:{}{path}", server.addr.port());
        let resolve = format!("{NAME}:{}:127.0.0.1", server.addr.port());
        let cert = certificate.cert.display().to_string();
        let fetch = |path: &str, more: &[&str]| {
            let url = url(path);
            let mut arguments = vec!["--resolve", &resolve, "--cacert", &cert];
            arguments.extend_from_slice(more);
            arguments.push(&url);
            curl(&arguments)
        };
        let page = fetch("/", &[]);
        assert_eq!((page.status.as_str(), page.body.as_slice()), ("200", INDEX.as_bytes()));
        assert_eq!(fetch("/tunnel", &[]).status, "404", "a request for the path, but no upgrade");
        let upgrade =
            ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Version: 13"];
        assert_eq!(fetch("/elsewhere", &upgrade).status, "404");
        assert_eq!(fetch("/", &["--http1.0"]).status, "200");
        assert_same("a big file", &fetch("/big.bin", &[]).body, &big());
        assert_eq!(echo.accepted(), 0);
        // And the tunnel is where it is.
        let client = client(Ours, server.addr, &format!("mux=0;path=/tunnel;{}", certificate.for_client()));
        assert_echo(&connect(client.addr), &noise(100_000, 1));
    });
}

/// The bare page, inside TLS and outside.
#[test]
fn without_a_website_visitors_meet_the_bare_server() {
    within(secs(60), || {
        need!("openssl", "curl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        for tls in [true, false] {
            let options = if tls { certificate.for_server() } else { format!("host={NAME}") };
            let server = server(Ours, echo.addr, &format!("mode=websocket;path=/tunnel;{options}"));
            let scheme = if tls { "https" } else { "http" };
            let page = curl(&["-k", &format!("{scheme}://{}/", server.addr)]);
            assert_eq!(page.status, "404");
            assert!(String::from_utf8_lossy(&page.body).contains("<center>nginx</center>"));
        }
    });
}

/// v2ray-plugin's command line starts the same things without a host.
#[test]
fn its_command_line_starts_both_halves() {
    within(secs(60), || {
        need!("openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let dir = TempDir::new("links");
        let link = dir.path().join("v2ray-plugin");
        std::os::unix::fs::symlink(our_path(), &link).expect("a link");
        let run = |name: &str, port: u16, arguments: &str| {
            let mut command = bare(link.clone());
            command.args(arguments.split(' '));
            let child = Child::spawn(name, command);
            child.wait_listening(port);
            Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
        };
        let (public, local) = (free_port(), free_port());
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let _server = run(
            "the server",
            public,
            &format!(
                "-server --tls -host {NAME} -cert {cert} -key={key} -path /x -localPort {public} -remotePort {}",
                echo.addr.port()
            ),
        );
        let client = run(
            "the client",
            local,
            &format!(
                "-tls -host={NAME} -cert {cert} -path /x -mux 2 -localPort {local} -remotePort {public}"
            ),
        );
        assert_echo(&connect(client.addr), &noise(100_000, 1));
    });
}

/// Two that exclude one another are named both.
#[test]
fn contradictions_are_refused_and_both_are_named() {
    within(secs(60), || {
        for (options, one, other) in [
            ("obfs=http;mode=websocket", "obfs", "mode=websocket"),
            ("obfs=tls;tls", "tls", "obfs=tls"),
            ("mode=httpupgrade;mux=2", "mux", "mode=httpupgrade"),
            ("mode=websocket;handshake=eager", "handshake", "mode=websocket"),
            ("mode=gprc", "mode", "gprc"),
            ("mode=websocket;header=Host: x", "header", "host"),
            ("mode=websocket;header=X: a\rb", "header", "Name: value"),
            ("mode=websocket;mux=-1", "mux", "-1"),
        ] {
            let vars = Vars {
                remote: ("127.0.0.1".into(), 9),
                local: ("127.0.0.1".into(), free_port()),
                options: options.to_owned(),
            };
            let mut command = bare(our_path());
            vars.put(&mut command);
            let child = Child::spawn("Ours client", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{options}: {}", child.show_log());
            child.wait_line(options, |line| line.contains(one) && line.contains(other));
        }
    });
}

/// What the client says of itself.
#[test]
fn headers_and_the_user_agent_are_sent() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let port = free_port();
        let vars = Vars {
            remote: ("127.0.0.1".into(), backend.addr.port()),
            local: ("127.0.0.1".into(), port),
            options: "mode=websocket;mux=0;host=a.example;path=x?ed=4;user-agent=Mozilla/5.0 (X11)\\;;header=X-One: 1;header=X-Two: a=b".into(),
        };
        let client = start("Ours client", our_path(), &vars, port);
        let stream = connect(client.addr);
        send(&stream, b"hello");
        let head = crate::support::conn::recv_head(&crate::support::backend::next(&connections));
        let wanted =
            "GET /x HTTP/1.1\r\nHost: a.example\r\nUser-Agent: Mozilla/5.0 (X11);\r\nConnection: Upgrade\r\n";
        assert!(head.starts_with(wanted), "{head}");
        for line in ["X-One: 1", "X-Two: a=b", "Sec-WebSocket-Protocol: aGVsbA", "Sec-WebSocket-Version: 13"]
        {
            assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
        }
    });
}

/// Runs openssl in a directory.
#[track_caller]
fn openssl(dir: &TempDir, words: &str) {
    let done = Command::new(peers::path("openssl"))
        .args(words.split_whitespace())
        .current_dir(dir.path())
        .output()
        .expect("run openssl");
    assert!(done.status.success(), "openssl {words}: {}", String::from_utf8_lossy(&done.stderr));
}

/// What tutorials for a proxy in front make: version 1, and without names. It is served, and the log says
/// who refuses it.
#[test]
fn a_certificate_without_names_is_served_with_a_warning() {
    within(secs(60), || {
        need!("openssl", "curl");
        let dir = TempDir::new("tutorial");
        openssl(&dir, "genrsa -out r.key 2048");
        openssl(&dir, "req -new -key r.key -subj /CN=example.com -out r.csr");
        openssl(&dir, "x509 -req -in r.csr -signkey r.key -days 9 -out v1.crt");
        openssl(&dir, "req -x509 -key r.key -subj /CN=example.com -days 9 -out nameless.crt");
        let echo = Backend::echo();
        for (file, said) in [("v1.crt", "version 1"), ("nameless.crt", "no names")] {
            let at = dir.path().display();
            let options = format!("mode=websocket;tls;cert={at}/{file};key={at}/r.key");
            let server = server(Ours, echo.addr, &options);
            let line = server.child.wait_text(said);
            assert!(line.contains("WARN") && line.contains("subjectAltName"), "{line}");
            let url = format!("https://{}/", server.addr);
            let got = Command::new(peers::path("curl"))
                .args(["-sk", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", &url])
                .output()
                .expect("run curl");
            assert_eq!(String::from_utf8_lossy(&got.stdout), "404", "{file}: {:?}", server.child.lines());
        }
    });
}

/// What cannot be served is refused with the reason that is true, and with what would do.
#[test]
fn files_that_cannot_be_served_are_refused_with_the_true_reason() {
    within(secs(90), || {
        need!("openssl");
        let dir = TempDir::new("refused");
        let own = |name: &str, kind: &str| {
            let words = format!("req -x509 -nodes -newkey {kind} -keyout {name}.key -out {name}.crt");
            openssl(
                &dir,
                &format!("{words} -subj /CN=a.example -addext subjectAltName=DNS:a.example -days 9"),
            );
        };
        own("p521", "ec -pkeyopt ec_paramgen_curve:secp521r1");
        own("k1", "ec -pkeyopt ec_paramgen_curve:secp256k1");
        own("small", "rsa:1024");
        own("good", "ec -pkeyopt ec_paramgen_curve:P-256");
        own("other", "ec -pkeyopt ec_paramgen_curve:P-256");
        openssl(&dir, "pkey -in good.key -aes128 -passout pass:x -out closed.key");
        openssl(&dir, "x509 -in good.crt -outform der -out der.crt");
        openssl(&dir, "pkey -in good.key -outform der -out der.key");
        let read = |name: &str| std::fs::read(dir.path().join(name)).expect("a file");
        std::fs::write(dir.path().join("chain.crt"), [read("other.crt"), read("good.crt")].concat())
            .expect("written");
        for (certificate, key, words) in [
            ("p521.crt", "p521.key", &["p521.key", "P-521", "P-256"][..]),
            ("k1.crt", "k1.key", &["k1.key", "secp256k1"]),
            ("small.crt", "small.key", &["small.key", "2048"]),
            ("good.crt", "other.key", &["other.key is not the key of the certificate", "good.crt"]),
            ("chain.crt", "good.key", &["chain.crt", "number 2", "first"]),
            ("good.crt", "closed.key", &["closed.key", "encrypted", "openssl pkey"]),
            ("good.key", "good.key", &["good.key", "no certificate is in it, but a key is"]),
            ("good.crt", "good.crt", &["good.crt", "no key is in it, but a certificate is"]),
            ("der.crt", "good.key", &["der.crt", "DER"]),
            ("good.crt", "der.key", &["der.key", "DER"]),
        ] {
            let mut command = bare(our_path());
            let at = dir.path().display();
            Vars {
                remote: ("127.0.0.1".into(), free_port()),
                local: ("127.0.0.1".into(), 1),
                options: format!("server;mode=websocket;tls;cert={at}/{certificate};key={at}/{key}"),
            }
            .put(&mut command);
            let child = Child::spawn(certificate, command);
            assert_eq!(child.wait_exit(secs(20)), Exit::Code(23), "{certificate} {key}: {:?}", child.lines());
            let line = child.lines().join("\n");
            for word in words {
                assert!(line.contains(word), "{certificate} {key} lacks {word}: {line}");
            }
        }
        // Notepad's mark hides nothing.
        let marked = [b"\xef\xbb\xbf", &read("good.crt")[..]].concat();
        std::fs::write(dir.path().join("marked.crt"), marked).expect("written");
        let at = dir.path().display();
        let echo = Backend::echo();
        server(Ours, echo.addr, &format!("mode=websocket;tls;cert={at}/marked.crt;key={at}/good.key"));
    });
}

/// Its clients cannot come, and the server alone says why to who runs it.
#[test]
fn a_certificate_that_has_expired_is_told() {
    within(secs(60), || {
        need!("openssl");
        let backend = Backend::echo();
        let certificate = crate::check::expired();
        let options = format!("mode=websocket;{}", certificate.for_server());
        let server = server(Ours, backend.addr, &options);
        let line = server.child.wait_text("the certificate has expired");
        assert!(line.contains(" WARN ") && line.contains(&certificate.cert.display().to_string()), "{line}");
    });
}
