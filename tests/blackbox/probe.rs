//! `obfs-rs probe`, the operator's own scanner: it finds what there is to find, and nothing else.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn;
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, SimpleObfs, ours, server};
use crate::support::ports::free_port;
use crate::support::site::Site;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, secs, within};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A run ends by itself after five minutes.
pub const RUN: Duration = Duration::from_secs(320);

/// A path and a name that no visitor guesses.
const HIDDEN: &str = "obfs=http;obfs-host=secret.example;obfs-uri=/secret-path";

/// What a run found.
pub struct Found {
    pub exit: Exit,
    pub json: serde_json::Value,
}

impl Found {
    pub fn count(&self, what: &str) -> u64 {
        self.json["counts"][what].as_u64().expect("a count")
    }

    /// The probes with this status, by their names.
    pub fn named(&self, status: &str) -> Vec<&str> {
        let probes = self.json["probes"].as_array().expect("probes");
        let named = probes.iter().filter(|probe| probe["status"] == status);
        named.map(|probe| probe["name"].as_str().expect("a name")).collect()
    }

    pub fn probe(&self, name: &str) -> &serde_json::Value {
        let probes = self.json["probes"].as_array().expect("probes");
        probes.iter().find(|probe| probe["name"] == name).expect("a probe of this name")
    }

    /// What differs, to be read by people.
    pub fn differing(&self) -> String {
        let probes = self.json["probes"].as_array().expect("probes");
        let differing = probes.iter().filter(|probe| probe["status"] == "differs");
        differing.map(|probe| format!("{probe:#}\n")).collect()
    }

    #[track_caller]
    pub fn assert_the_same(&self) {
        assert_eq!((self.exit, self.count("differ")), (Exit::Code(0), 0), "{}", self.differing());
        assert_eq!((self.count("unstable"), self.count("unfinished")), (0, 0), "{:#}", self.json);
        assert!(self.count("probes") >= 60);
        assert_eq!(self.count("same"), self.count("probes"));
    }
}

fn start(server: SocketAddr, site: SocketAddr, more: &[&str]) -> Child {
    let mut command = ours();
    command.args(["probe", &server.to_string(), "--site", &site.to_string()]).args(more);
    Child::spawn("probe", command)
}

#[track_caller]
pub fn probe(server: SocketAddr, site: SocketAddr, more: &[&str]) -> Found {
    found(&start(server, site, &[&["--json"], more].concat()))
}

/// What a run with `--json` finds.
#[track_caller]
pub fn found(child: &Child) -> Found {
    let exit = child.wait_exit(RUN);
    let line = child.wait_line("JSON", |line| line.starts_with('{'));
    Found { exit, json: serde_json::from_str(&line).expect("JSON") }
}

#[test]
fn a_server_with_a_path_of_its_own_is_like_its_site() {
    within(RUN, || {
        need!("nginx");
        let (site, backend) = (Site::start(), Backend::echo());
        let server = server(Ours, backend.addr, &format!("{HIDDEN};failover={}", site.addr));
        let child = start(server.addr, site.addr, &["--path", "/secret-path"]);
        let exit = child.wait_exit(RUN);
        assert_eq!(exit, Exit::Code(0), "{}", child.show_log());
        let last = child.wait_line("a summary", |line| line.contains(" probes, "));
        assert!(last.ends_with(" probes, 0 differ"), "{last}");
        assert_eq!(child.lines().len(), 3, "{}", child.show_log());
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}

#[test]
fn a_server_is_like_caddy_too() {
    within(RUN, || {
        need!("caddy");
        let dir = TempDir::new("caddy");
        let port = free_port();
        let root = dir.path().display();
        dir.page("root/index.html", "<!doctype html><title>A shop</title>\n");
        let file = dir.write(
            "Caddyfile",
            format!(
                "{{\n\tadmin off\n\tauto_https off\n}}\nhttp://:{port} {{\n\tbind 127.0.0.1\n\troot * {root}/root\n\tfile_server\n}}\n"
            ),
        );
        let mut command = Command::new(peers::path("caddy"));
        command.env("HOME", dir.path()).args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
        let child = Child::spawn("caddy (the website)", command);
        child.wait_listening(port);
        let (site, backend) = (SocketAddr::from(([127, 0, 0, 1], port)), Backend::echo());
        let server = server(Ours, backend.addr, &format!("{HIDDEN};failover={site}"));
        probe(server.addr, site, &[]).assert_the_same();
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}

/// The check can fail.
#[test]
fn simple_obfs_is_found_out() {
    within(RUN, || {
        need!("nginx", "obfs-server");
        let (site, backend) = (Site::start(), Backend::echo());
        let server = server(SimpleObfs, backend.addr, &format!("obfs=http;failover={}", site.addr));
        let found = probe(server.addr, site.addr, &["--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        assert!(found.count("differ") >= 10, "{:?}", found.named("differs"));
        let asked = "simple-obfs's request, to a random path";
        assert_eq!(found.probe(asked)["upgrade_granted"], true, "{:#}", found.probe(asked));
    });
}

/// Who asks for any path is let in: that is found, and nothing else.
#[test]
fn a_server_that_takes_any_path_shows_its_tunnel() {
    within(RUN, || {
        need!("nginx");
        let (site, backend) = (Site::start(), Backend::echo());
        let server = server(Ours, backend.addr, &format!("obfs=http;failover={}", site.addr));
        let found = probe(server.addr, site.addr, &[]);
        assert_eq!(found.exit, Exit::Code(1));
        let asked = found.probe("v2ray-plugin's request, to a random path");
        assert_eq!(asked["status"], "differs");
        assert_eq!(asked["upgrade_granted"], true);
        assert!(
            asked["server"]["answer"].as_str().is_some_and(|a| a.starts_with("HTTP/1.1 101 ")),
            "{asked}"
        );
        assert!(asked["site"]["answer"].as_str().is_some_and(|a| a.starts_with("HTTP/1.1 404 ")), "{asked}");
        for name in found.named("differs") {
            assert_eq!(found.probe(name)["upgrade_granted"], true, "{:#}", found.probe(name));
        }
        let child = start(server.addr, site.addr, &["--wait", "1"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(1));
        child.wait_text("whoever asks finds the tunnel");
        child.wait_text("v2ray-plugin's request, to a random path");
    });
}

/// A website of one page, which closes behind it.
fn page(page: impl Fn() -> String + Send + Sync + 'static) -> Backend {
    Backend::serve(move |mut stream| {
        let mut request = [0; 1024];
        if stream.read(&mut request).is_ok_and(|n| n > 0) {
            let _ = stream.write_all(page().as_bytes());
        }
    })
}

fn answer(headers: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn another_site_is_told_from_the_site() {
    within(RUN, || {
        let (site, other) = (page(|| answer("", "one")), page(|| answer("", "two")));
        let found = probe(other.addr, site.addr, &["--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        let get = found.probe("GET");
        assert_eq!(get["differences"][0]["kind"], "answer", "{get:#}");
        assert_eq!(get["differences"][0]["site"], "\"one\"", "{get:#}");
        assert_eq!(get["differences"][0]["server"], "\"two\"", "{get:#}");
    });
}

/// A header that counts is not compared; a page that counts cannot be.
#[test]
fn what_the_site_itself_varies_is_no_difference() {
    within(RUN, || {
        let counter = || {
            let count = AtomicUsize::new(0);
            move || count.fetch_add(1, Ordering::SeqCst)
        };
        let (in_header, in_page) = (counter(), counter());
        let header = Arc::new(move || answer(&format!("X-Count: {}\r\n", in_header()), "page"));
        let again = Arc::clone(&header);
        let (header, again) = (page(move || header()), page(move || again()));
        let found = probe(header.addr, again.addr, &["--wait", "1"]);
        assert_eq!((found.exit, found.count("differ"), found.count("unstable")), (Exit::Code(0), 0, 0));

        let body = Arc::new(move || answer("", &format!("page {:06}", in_page())));
        let again = Arc::clone(&body);
        let (one, other) = (page(move || body()), page(move || again()));
        let found = probe(one.addr, other.addr, &["--wait", "1"]);
        assert_eq!((found.exit, found.count("differ")), (Exit::Code(0), 0), "{}", found.differing());
        assert!(found.named("unstable").contains(&"GET"), "{:?}", found.named("unstable"));
    });
}

/// nginx with TLS on two ports.
struct TlsSite {
    ports: [SocketAddr; 2],
    _child: Child,
    _certificate: Certificate,
}

impl TlsSite {
    #[track_caller]
    fn start() -> TlsSite {
        TlsSite::with("TLSv1.2 TLSv1.3")
    }

    #[track_caller]
    fn with(versions: &str) -> TlsSite {
        let certificate = Certificate::new(NAME);
        let ports = [free_port(), free_port()];
        let dir = &certificate.dir;
        dir.page("root/index.html", "<!doctype html><title>A shop</title>\n");
        let root = dir.path().display();
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let [one, two] = ports;
        let config = format!(
            r#"
worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log; {user}
events {{ worker_connections 900; }}
http {{
  access_log off;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  types {{ text/html html; }}
  ssl_certificate {root}/cert.pem; ssl_certificate_key {root}/key.pem; ssl_protocols {versions}; ssl_ciphers ALL:@SECLEVEL=0;
  server {{ listen 127.0.0.1:{one} ssl backlog=1024; listen 127.0.0.1:{two} ssl backlog=1024; root {root}/root; }}
}}
"#
        );
        let file = dir.write("nginx.conf", config);
        let mut command = Command::new(peers::path("nginx"));
        command.arg("-c").arg(file).arg("-e").arg(dir.path().join("error.log"));
        let child = Child::spawn("nginx (the website with TLS)", command);
        ports.iter().for_each(|port| child.wait_listening(*port));
        let ports = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        TlsSite { ports, _child: child, _certificate: certificate }
    }
}

#[test]
fn a_tls_site_is_like_itself() {
    within(RUN, || {
        need!("nginx", "openssl");
        let site = TlsSite::start();
        let found = probe(site.ports[0], site.ports[1], &["--tls", "--name", NAME]);
        found.assert_the_same();
        assert_eq!(found.count("notes"), 0, "{:#}", found.json["notes"]);
    });
}

#[test]
fn a_server_that_passes_tls_on_is_like_its_site() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (site, backend) = (TlsSite::start(), Backend::echo());
        let [site_addr, _] = site.ports;
        let options = format!("obfs=tls;obfs-host=secret.example;failover={site_addr}");
        let server = server(Ours, backend.addr, &options);
        let found = probe(server.addr, site_addr, &["--tls", "--name", NAME]);
        found.assert_the_same();
        assert_eq!(found.count("notes"), 0, "{:#}", found.json["notes"]);
        assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
    });
}

/// What an operator runs who has a website with TLS, and clients of every kind.
#[test]
fn a_server_for_every_client_is_like_its_tls_site() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (site, backend) = (TlsSite::start(), Backend::echo());
        for_every_client(site.ports[0], &site._certificate, &backend);
    });
}

#[test]
fn a_server_for_every_client_is_like_apache_too() {
    within(RUN, || {
        need!("apache2", "openssl");
        // With RSA there is more than one way to sign.
        let (certificate, backend) = (Certificate::rsa(NAME), Backend::echo());
        let (_apache, site) = apache(&certificate);
        for_every_client(site, &certificate, &backend);
    });
}

#[track_caller]
fn for_every_client(site: SocketAddr, certificate: &Certificate, backend: &Backend) {
    let options = format!(
        "{};path=/secret-path;obfs-tls-host=secret.example;failover-tls={site}",
        certificate.for_server()
    );
    let server = server(Ours, backend.addr, &options);
    let found = probe(server.addr, site, &["--tls", "--name", NAME]);
    found.assert_the_same();
    assert_eq!(backend.accepted(), 0, "a visitor reached Shadowsocks");
}

/// A website of Apache's, with TLS.
#[track_caller]
fn apache(certificate: &Certificate) -> (Child, SocketAddr) {
    let port = free_port();
    let root = certificate.dir.path().display();
    certificate.dir.page("root/index.html", "<!doctype html><title>A shop</title>\n");
    // As root, Apache goes on as a user who must be able to read the files.
    let user = if rustix::process::geteuid().is_root() {
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(certificate.dir.path(), everybody).expect("open the folder");
        "User nobody"
    } else {
        ""
    };
    let modules: String = ["mpm_event", "ssl", "socache_shmcb", "authz_core", "dir", "mime"]
        .map(|module| format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n"))
        .concat();
    let config = format!(
        "ServerRoot {root}\nServerName {NAME}\nPidFile {root}/pid\nErrorLog {root}/apache.log\n{user}\n{modules}\
         TypesConfig /etc/mime.types\nListen 127.0.0.1:{port}\nMutex file:{root}\nDocumentRoot {root}/root\n\
         <Directory {root}/root>\nRequire all granted\n</Directory>\n\
         SSLEngine on\nSSLSessionCache none\nSSLProtocol -all +TLSv1.2 +TLSv1.3\n\
         SSLCertificateFile {root}/cert.pem\nSSLCertificateKeyFile {root}/key.pem\n"
    );
    let file = certificate.dir.write("apache.conf", config);
    let mut command = Command::new(peers::path("apache2"));
    command.arg("-f").arg(file).args(["-D", "FOREGROUND"]);
    let child = Child::spawn("Apache (the website with TLS)", command);
    child.wait_listening(port);
    (child, SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Another certificate, another library: the one counts, the other is noted.
#[test]
fn another_tls_library_is_noted_and_another_certificate_counts() {
    within(RUN, || {
        need!("nginx", "openssl");
        let (site, backend) = (TlsSite::start(), page(|| answer("", "one")));
        let certificate = Certificate::new(NAME);
        let options =
            format!("mode=websocket;path=/secret;failover={};{}", backend.addr, certificate.for_server());
        let server = server(Ours, backend.addr, &options);
        let found = probe(server.addr, site.ports[0], &["--tls", "--name", NAME, "--wait", "1"]);
        assert_eq!(found.exit, Exit::Code(1));
        let handshake = found.probe("handshake");
        assert_eq!(handshake["differences"][0]["what"], "certificate", "{handshake:#}");
        let notes = found.json["notes"].as_array().expect("notes");
        let about: Vec<_> = notes.iter().map(|note| note["what"].as_str().unwrap_or_default()).collect();
        assert!(about.contains(&"the ServerHello's extensions"), "{notes:?}");
    });
}

/// What both ends do is a likeness only where there is something to be alike in: why there was not.
#[track_caller]
fn compares_nothing(one: &Backend, other: &Backend, more: &[&str]) -> String {
    let found = probe(one.addr, other.addr, &[&["--wait", "1"], more].concat());
    assert_eq!(found.exit, Exit::Code(2), "{}", found.differing());
    assert_eq!(found.count("differ"), 0);
    let why = found.json["moot"].to_string();
    assert!(why.len() > 10, "{:#}", found.json);
    assert_eq!(found.count("not_compared"), found.count("probes"), "{:?}", found.named("same"));
    why
}

/// A reset for everybody, as where a censor answers.
fn resetting() -> Backend {
    Backend::serve(|mut stream| {
        let _ = stream.read(&mut [0; 4096]);
        conn::reset(stream);
    })
}

#[test]
fn a_run_that_meets_only_resets_says_so() {
    within(RUN, || {
        let why = compares_nothing(&resetting(), &resetting(), &[]);
        assert!(why.contains("RST"), "{why}");
    });
}

#[test]
fn a_run_that_meets_only_resets_for_tls_says_so() {
    within(RUN, || {
        let why = compares_nothing(&resetting(), &resetting(), &["--tls", "--name", NAME]);
        assert!(why.contains("TLS"), "{why}");
    });
}

/// As where packets are dropped.
#[test]
fn a_run_that_meets_only_silence_says_so() {
    within(RUN, || {
        let silent =
            || Backend::serve(|mut stream| while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {});
        compares_nothing(&silent(), &silent(), &[]);
    });
}

#[test]
fn a_server_that_is_the_site_is_refused() {
    within(secs(60), || {
        let site = page(|| answer("", "one"));
        let (exit, line) = refused(&[&site.addr.to_string(), "--site", &site.addr.to_string()]);
        assert_eq!(exit, Exit::Code(2), "{line}");
        assert!(line.contains("one and the same"), "{line}");
    });
}

/// No version of TLS that a visitor speaks.
#[test]
fn a_run_without_a_version_of_tls_says_so() {
    within(RUN, || {
        need!("nginx", "openssl");
        let old = TlsSite::with("TLSv1.1");
        let found = probe(old.ports[0], old.ports[1], &["--tls", "--name", NAME, "--wait", "1"]);
        assert_eq!((found.exit, found.count("differ")), (Exit::Code(2), 0), "{}", found.differing());
        assert!(found.json["moot"].to_string().contains("TLS 1.2 or 1.3"), "{:#}", found.json["moot"]);
        assert!(found.count("not_compared") > 60, "{:#}", found.json["counts"]);
    });
}

/// Both go away in the middle: the connections that they do not take are alike, and show nothing.
#[test]
fn two_that_vanish_on_the_way_are_not_alike() {
    within(RUN, || {
        let listen = || TcpListener::bind("127.0.0.1:0").expect("bind");
        let (one, other) = (listen(), listen());
        let address = |listener: &TcpListener| listener.local_addr().expect("an address");
        let addresses = [address(&one), address(&other)];
        let serve = |listener: TcpListener| {
            // Enough visitors that the run has begun, and not all.
            for _ in 0..40 {
                let (mut stream, _) = listener.accept().expect("a visitor");
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 1024]);
                    let _ = stream.write_all(answer("", "one").as_bytes());
                });
            }
        };
        let servers = [one, other].map(|listener| std::thread::spawn(move || serve(listener)));
        let child = start(addresses[0], addresses[1], &["--wait", "1"]);
        assert_eq!(child.wait_exit(RUN), Exit::Code(2), "{}", child.show_log());
        let last = child.wait_line("a summary", |line| line.contains(" probes, "));
        assert!(last.contains(" 0 differ") && last.contains("found nothing to compare"), "{last}");
        child.wait_text("This run shows nothing: both went away");
        for server in servers {
            server.join().expect("a server");
        }
    });
}

/// Listens to what each visitor says first, and turns it away.
fn doorkeeper() -> (Backend, Arc<Mutex<BTreeSet<Vec<u8>>>>) {
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let hearing = Arc::clone(&heard);
    let backend = Backend::serve(move |mut stream| {
        let mut first = [0; 100];
        // (who says nothing goes away by itself)
        if let Ok(n) = stream.read(&mut first) {
            hearing.lock().expect("heard").insert(first[..n].to_vec());
        }
        conn::reset(stream);
    });
    (backend, heard)
}

#[test]
fn both_hear_the_same_and_a_seed_repeats_it() {
    within(RUN, || {
        let run = |seed: &str| {
            let ((server, by_server), (site, by_site)) = (doorkeeper(), doorkeeper());
            let more = ["--wait", "1", "--name", "www.example.com", "--seed", seed];
            let found = probe(server.addr, site.addr, &more);
            assert_eq!(found.json["seed"].to_string(), seed);
            // Those that waited for silent visitors hear only now that these are gone.
            let both = || [&by_server, &by_site].map(|heard| heard.lock().expect("heard").clone());
            eventually(STEP, || both()[0] == both()[1]);
            let [heard, by_site] = both();
            assert_eq!(heard, by_site);
            // One that finds the way, one that asks for HTTP/2, one before all and one behind, and at most eight for a probe.
            let most = 8 + 8 * found.count("probes") as usize;
            assert!(server.accepted() + site.accepted() <= most, "too many connections");
            assert!(server.accepted() as u64 > found.count("probes"), "one for each probe");
            heard
        };
        let [heard, again, other] = std::thread::scope(|scope| {
            ["5", "5", "6"].map(|seed| scope.spawn(move || run(seed))).map(|run| run.join().expect("a run"))
        });
        assert!(heard.len() >= 60, "{}", heard.len());
        assert_eq!(heard, again);
        assert_ne!(heard, other);
    });
}

pub fn refused(words: &[&str]) -> (Exit, String) {
    let mut command = ours();
    command.arg("probe").args(words);
    let child = Child::spawn("probe", command);
    let exit = child.wait_exit(secs(30));
    assert_eq!(child.lines().len(), 1, "{}", child.show_log());
    (exit, child.lines().concat())
}

#[test]
fn an_address_that_cannot_be_reached_is_named() {
    within(secs(90), || {
        let site = page(|| answer("", "one"));
        let (there, nobody) = (site.addr.to_string(), format!("127.0.0.1:{}", free_port()));
        for (server, site, what) in [(&nobody, &there, "the server"), (&there, &nobody, "the site")] {
            let (exit, line) = refused(&[server, "--site", site]);
            assert_eq!(exit, Exit::Code(2), "{line}");
            assert!(line.contains(what) && line.contains(&nobody) && line.contains("refused"), "{line}");
        }
    });
}

#[test]
fn a_bad_command_line_is_refused_in_one_line() {
    within(secs(90), || {
        for (words, told) in [
            (&[][..], &["--site"][..]),
            (&["127.0.0.1:1"], &["--site"]),
            (&["127.0.0.1", "--site", "127.0.0.1:2"], &["the server", "127.0.0.1"]),
            (&["127.0.0.1:1", "--site", "nowhere"], &["--site", "nowhere"]),
            (&["127.0.0.1:1", "--site", "127.0.0.1:2", "--quic", "--tls"], &["--quic", "--tls"]),
            (&["127.0.0.1:1", "--quic", "--path", "/x"], &["--quic", "--path"]),
            (&["127.0.0.1:1", "--site", "127.0.0.1:2", "--path", "x"], &["--path", "`x`"]),
            (&["127.0.0.1:1", "--site", "127.0.0.1:2", "--seed", "x"], &["--seed", "`x`"]),
            (&["127.0.0.1:1", "--site", "127.0.0.1:2", "--fast"], &["--fast"]),
        ] {
            let (exit, line) = refused(words);
            assert_eq!(exit, Exit::Code(23), "{words:?}: {line}");
            for word in told {
                assert!(line.contains(word), "{words:?}: {line}");
            }
        }
    });
}

#[test]
fn the_help_tells_the_bounds() {
    within(secs(30), || {
        let mut command = ours();
        command.args(["probe", "--help"]);
        let child = Child::spawn("probe --help", command);
        assert_eq!(child.wait_exit(secs(20)), Exit::Code(0));
        let text = child.lines().join(" ");
        for words in ["at most 10 probes", "3 connections", "256 KiB", "300 s", "Exit code", "Notes"] {
            assert!(text.contains(words), "{words}: {text}");
        }
    });
}
