//! As a server: its port, its certificate, and what is behind it.

use super::check;
use super::client_faults::{expired, not_begun};
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::netns;
use crate::support::peers::need;
use crate::support::plugin::{Ours, server};
use crate::support::ports::free_port;
use crate::support::quic;
use crate::support::site::Site;
use crate::support::tempdir::TempDir;
use crate::support::tls_site::TlsSite;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{secs, within};
use std::net::TcpListener;

/// A run as a server on a free port, for this Shadowsocks.
fn check_server(backend: &Backend, options: &str) -> super::Checked {
    let listen = format!("127.0.0.1:{}", free_port());
    check(&["--listen", &listen, "--backend", &backend.addr.to_string(), options])
}

#[test]
fn a_server_that_lacks_nothing() {
    within(secs(60), || {
        need!("nginx", "openssl");
        let (site, tls_site, backend) = (Site::start(), TlsSite::start(), Backend::echo());
        let certificate = Certificate::new(NAME);
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let dir = TempDir::new("check");
        let options = format!(
            "mode=websocket;path=/x;{};failover={};f={};access-log={}",
            certificate.for_server(),
            site.addr,
            dir.path().join("pid").display(),
            dir.path().join("log").display(),
        );
        let checked = check(&["--listen", &listen, "--backend", &backend.addr.to_string(), &options]);
        checked.is_well().says("ok", "listen", &listen).says("ok", "Shadowsocks", &backend.addr.to_string());
        checked.says("ok", "the website of the option `failover`", "`HTTP/1.1 200 OK`");
        // (it is valid for three days)
        checked.says("odd", "certificate", "for live.example.com, and valid only until");
        assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0, "something was written");
        TcpListener::bind(&listen).expect("the port was given back");
        assert_eq!(backend.accepted(), 0, "Shadowsocks was bothered");

        let checked = check_server(&backend, &format!("obfs=http;failover-tls={}", tls_site.addr));
        checked.is_well();
        for (site, said) in [
            ("redirect:https://www.example.com", "www.example.com"),
            ("status:404", "404"),
            (&format!("dir:{}", dir.path().display()), "check"),
        ] {
            let checked = check_server(&backend, &format!("obfs=http;failover={site}"));
            checked.is_well().says("ok", "website", said);
        }
        check_server(&backend, "obfs=http").is_well().says("ok", "website", "there is none");
    });
}

#[test]
fn a_port_that_is_taken_is_told_with_who_has_it() {
    within(secs(60), || {
        need!("openssl");
        let backend = Backend::echo();
        let running = server(Ours, backend.addr, "obfs=http");
        let (listen, to) = (running.addr.to_string(), backend.addr.to_string());
        let arguments = ["--server", "--listen", &listen, "--backend", &to, "obfs=http"];
        let checked = check(&arguments);
        let who = format!("obfs-rs (process {}): if that is this plugin, it runs", running.child.pid());
        checked.is_well().says("odd", "listen", &who);
        drop(running);
        let certificate = Certificate::new(NAME);
        let running = quic::server(quic::App::Ours, backend.addr, &certificate);
        let at = running.addr.to_string();
        let options = quic::for_server(&certificate);
        let checked = check(&["--server", "--listen", &at, "--backend", &to, &options]);
        let who = format!("obfs-rs (process {}): if that is this plugin, it runs", running.child.pid());
        checked.is_well().says("odd", "listen", &who);
        drop(running);
        let _other = TcpListener::bind(&listen).expect("a port");
        check(&arguments).fails_at("listen", "is taken by blackbox");
    });
}

#[test]
fn what_is_not_there_is_named() {
    within(secs(120), || {
        need!("openssl");
        let backend = Backend::echo();
        let nobody = format!("127.0.0.1:{}", free_port());
        let listen = format!("127.0.0.1:{}", free_port());
        let checked = check(&["--server", "--listen", &listen, "--backend", &nobody, "obfs=http"]);
        checked.fails_at("Shadowsocks", "refused");
        let checked = check_server(&backend, &format!("obfs=http;failover={nobody}"));
        checked.fails_at("the website of the option `failover`", "refused");
        let checked = check_server(&backend, &format!("obfs=http;obfs-uri=/x;route=/y:{nobody}"));
        checked.fails_at("the Shadowsocks server of an option `route`", "refused");
        let checked = check(&["--listen", &listen, "--backend", &listen, "obfs=http"]);
        checked.fails_at("addresses", "leads back");
        let checked = check_server(&backend, "obfs=http;a=no-such-user-here");
        checked.fails_at("user", "no-such-user-here");
        let checked = check_server(&backend, "obfs=http;i=nodevice0");
        assert_eq!(checked.exit, Exit::Code(1));
        checked.says("fails", "interface", "nodevice0");
        let checked = check(&["--server", "--listen", "192.0.2.77:80", "obfs=http"]);
        checked.fails_at("listen", "192.0.2.77:80");
        let checked = check_server(&backend, "mode=websocket;udp");
        checked.is_well().says("odd", "udp", "nobody takes UDP at").says("ok", "Shadowsocks", "listens");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let metrics = taken.local_addr().expect("an address");
        check_server(&backend, &format!("obfs=http;metrics={metrics}")).is_well().says(
            "odd",
            "metrics",
            &metrics.to_string(),
        );
        for (options, step) in [("access-log=/nowhere/x.log", "access log"), ("f=/nowhere/pid", "pid file")] {
            check_server(&backend, &format!("obfs=http;{options}")).fails_at(step, "/nowhere");
        }
        check_server(&backend, "obfs=http;access-log=/tmp").fails_at("access log", "is a folder");
        // Nobody reads from it, and nobody waits for that.
        let dir = TempDir::new("check");
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("mkfifo");
        assert!(made.success());
        check_server(&backend, &format!("obfs=http;access-log={}", pipe.display())).is_well();
        // A website that is none.
        let silent = Backend::manual();
        let began = std::time::Instant::now();
        let checked = check_server(&backend, &format!("obfs=http;failover={}", silent.0.addr));
        checked.fails_at("the website of the option `failover`", "said nothing within 10 s");
        assert!(began.elapsed() < super::SILENT, "{:?}", began.elapsed());
    });
}

#[test]
fn what_is_wrong_with_a_certificate_is_named() {
    within(secs(60), || {
        need!("openssl");
        let backend = Backend::echo();
        let (fine, other) = (Certificate::new(NAME), Certificate::new("other.example.com"));
        let with = |certificate: &Certificate| format!("mode=websocket;{}", certificate.for_server());
        let key = |key: &std::path::Path| {
            format!("mode=websocket;tls;host={NAME};cert={};key={}", fine.cert.display(), key.display())
        };
        for (options, part) in [
            (key(&fine.dir.path().join("missing.pem")), "missing.pem"),
            (key(&other.key), "is not the key of the certificate"),
            (with(&expired()), "has expired at 2021-01-01"),
            (with(&not_begun()), "is not valid before 2090-01-01"),
        ] {
            check_server(&backend, &options).fails_at("certificate", part).says(
                "ok",
                "Shadowsocks",
                "listens",
            );
        }
        let checked = check_server(&backend, &with(&other));
        checked.is_well().says("odd", "certificate", "does not have the name live.example.com");
    });
}

#[test]
fn what_a_website_says_that_visitors_should_not_meet_is_odd() {
    within(secs(60), || {
        need!("nginx", "openssl");
        let (backend, site, tls_site) = (Backend::echo(), Site::start(), TlsSite::start());
        let checked = check_server(&backend, &format!("obfs=http;failover={}", tls_site.addr));
        checked.is_well().says("odd", "the website of the option `failover`", "failover-tls");
        let checked = check_server(
            &backend,
            &format!("obfs=http;failover={};failover-tls={}", site.addr, tls_site.addr),
        );
        checked.is_well().says("ok", "the website of the option `failover-tls`", "speaks TLS");
        let other = site.addr;
        let second = Site::start();
        let checked =
            check_server(&backend, &format!("obfs=http;failover={};failover-tls={other}", second.addr));
        checked.fails_at("the website of the option `failover-tls`", "speaks no TLS");
    });
}

/// A port is a holder's at its own addresses alone.
#[test]
fn a_holder_of_another_address_is_not_named() {
    within(secs(60), || {
        let backend = Backend::echo();
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("an address").port();
        let arguments = |listen: &str| check(&["--server", "--listen", listen, "obfs=http"]);
        // Our own server has the same port of another address.
        let mut command = crate::support::plugin::ours();
        let listen = format!("127.0.0.2:{port}");
        command.args([
            "server",
            "--listen",
            &listen,
            "--backend",
            &backend.addr.to_string(),
            "--obfs",
            "http",
        ]);
        let other = crate::support::child::Child::spawn("a server", command);
        other.wait_text("listening on");
        let checked = arguments(&format!("127.0.0.1:{port}"));
        checked.fails_at("listen", "is taken by blackbox");
        let other_one = format!("(process {})", other.pid());
        assert!(!checked.lines.join(" ").contains(&other_one), "{:?}", checked.lines);
        // Both are in the way of all addresses.
        let checked = arguments(&format!("0.0.0.0:{port}"));
        checked.fails_at("listen", "blackbox").says("fails", "listen", &other_one);
        drop(taken);
        let checked = arguments(&format!("127.0.0.2:{port}"));
        checked.is_well().says("odd", "listen", &format!("obfs-rs {other_one}"));
    });
}

/// Whether Shadowsocks is reached depends on how it is dialled.
#[test]
fn shadowsocks_is_dialled_as_the_server_does_it() {
    if !netns::may() {
        return crate::support::peers::skip("a network of its own");
    }
    netns::alone(secs(60), || {
        let backend = Backend::echo();
        check_server(&backend, "obfs=http;fwmark=7").is_well().says("ok", "Shadowsocks", "listens");
        // (the addresses of this machine come first otherwise)
        netns::ip("rule add priority 2 lookup local");
        netns::ip("rule add fwmark 7 priority 1 unreachable");
        netns::ip("rule del priority 0 lookup local");
        check_server(&backend, "obfs=http").is_well();
        check_server(&backend, "obfs=http;fwmark=7").fails_at("Shadowsocks", "unreachable");
        let checked = check_server(&backend, "obfs=http;b=::1");
        assert_eq!(checked.exit, Exit::Code(1), "{:?}", checked.lines);
        checked.says("fails", "Shadowsocks", "does not answer");
    });
}

/// The metrics may be at a Unix socket.
#[cfg(unix)]
#[test]
fn a_socket_for_metrics_is_tried() {
    use std::os::unix::net::UnixListener;
    within(secs(60), || {
        let backend = Backend::echo();
        let dir = TempDir::new("check");
        let path = dir.path().join("metrics.sock");
        let at = path.display().to_string();
        let with = |path: &str| check_server(&backend, &format!("obfs=http;metrics={path}"));
        with(&at).is_well().says("ok", "metrics", &at);
        assert!(!path.exists(), "it was left there");
        with("/nowhere/at/all.sock").fails_at("metrics", "/nowhere/at/all.sock");
        with(&format!("/tmp/{}", "x".repeat(200))).fails_at("metrics", "xxx");
        let other = UnixListener::bind(&path).expect("a socket");
        with(&at).is_well().says("odd", "metrics", "blackbox");
        // What a process has left there is replaced at a start, and by nobody else.
        drop(other);
        with(&at).is_well().says("ok", "metrics", &at);
        assert!(path.exists(), "it was taken away");
        let mut command = crate::support::plugin::ours();
        let listen = format!("127.0.0.1:{}", free_port());
        command.args([
            "server",
            "--listen",
            &listen,
            "--backend",
            &backend.addr.to_string(),
            "--obfs",
            "http",
        ]);
        command.args(["--metrics", &at]);
        let running = crate::support::child::Child::spawn("a server", command);
        running.wait_text("metrics are at");
        let who = format!("obfs-rs (process {}): a start goes on without metrics", running.pid());
        with(&at).is_well().says("odd", "metrics", &who);
        drop(running);
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, "x").expect("a file");
        with(&at).fails_at("metrics", "a file is there that is no socket");
        assert_eq!(std::fs::read(&path).expect("the file"), b"x");
    });
}

/// One half cannot have the same port twice.
#[test]
fn addresses_that_exclude_each_other_are_told() {
    within(secs(60), || {
        let backend = Backend::echo();
        let port = free_port();
        let to = backend.addr.to_string();
        let with = |hosts: &str, options: &str| {
            let listen = format!("{hosts}:{port}");
            check(&["--server", "--backend", &to, "--listen", &listen, options])
        };
        let both = "these options ask for both";
        let here = format!("127.0.0.1:{port}");
        let metrics = format!("obfs=http;metrics={here}");
        with("127.0.0.1", &metrics).fails_at("listen", both);
        with("0.0.0.0", &metrics).fails_at("listen", both);
        with("127.0.0.1|0.0.0.0", "obfs=http").fails_at("listen", both);
        // Both halves of everywhere are none, and an address beside is none.
        let everywhere = "0.0.0.0|[::]";
        with(everywhere, "obfs=http").is_well();
        with("127.0.0.2", &metrics).is_well();
        // Nor are names, of which it is not known.
        with("localhost", &metrics).fails_at("listen", both);
        with("localhost|127.0.0.1", "obfs=http").fails_at("listen", both);
        let taken = TcpListener::bind(&here).expect("the port");
        with(everywhere, "obfs=http").fails_at("listen", "is taken by blackbox");
        // Without metrics a start goes on.
        with("127.0.0.2", &metrics).is_well().says("odd", "metrics", "is taken by blackbox");
        drop(taken);
        TcpListener::bind(&here).expect("the port was given back");
    });
}

/// It answers, a byte at a time.
#[test]
fn a_website_that_drips_is_told_from_a_silent_one() {
    within(secs(60), || {
        let backend = Backend::echo();
        let site = Backend::serve(|mut stream| {
            use std::io::{Read as _, Write as _};
            let _ = stream.read(&mut [0; 4096]);
            // (until whoever asked has gone)
            for byte in b"HTTP/1.1 200 ".iter().chain(std::iter::repeat(&b'a')) {
                if stream.write_all(&[*byte]).is_err() {
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(200));
            }
        });
        let checked = check_server(&backend, &format!("obfs=http;failover={}", site.addr));
        let line = "answers slowly: after 10 s its first line has no end: `HTTP/1.1 200 aaa";
        checked.is_well().says("odd", "the website of the option `failover`", line);
    });
}

/// A link to where nothing is yet: the file is made there, or cannot be.
#[cfg(unix)]
#[test]
fn an_access_log_by_a_link_is_looked_at_where_it_leads() {
    within(secs(60), || {
        let backend = Backend::echo();
        let dir = TempDir::new("check");
        let link = dir.path().join("link");
        let options = format!("obfs=http;access-log={}", link.display());
        std::os::unix::fs::symlink("nowhere/at/all", &link).expect("a link");
        check_server(&backend, &options).fails_at("access log", "there is no folder");
        std::fs::remove_file(&link).expect("the link");
        std::os::unix::fs::symlink("later", &link).expect("a link");
        check_server(&backend, &options).is_well().says("ok", "access log", "later), which is not there yet");
        std::fs::remove_file(&link).expect("the link");
        std::os::unix::fs::symlink("link", &link).expect("a link");
        let checked = check_server(&backend, &options);
        checked.fails_at("access log", "link");
    });
}

/// Nobody writes to it, or nobody ends it: neither is waited for without an end.
#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_a_certificate_is_not_waited_for() {
    within(secs(60), || {
        need!("openssl", "mkfifo");
        let backend = Backend::echo();
        let dir = TempDir::new("check");
        let pipe = dir.path().join("pipe");
        netns::run("mkfifo", &[&pipe.display().to_string()]);
        let certificate = Certificate::new(NAME);
        let (pipe, cert, key) = (pipe.display(), certificate.cert.display(), certificate.key.display());
        let with = |cert: &str, key: &str| {
            check_server(&backend, &format!("mode=websocket;tls;cert={cert};key={key}"))
        };
        with(&pipe.to_string(), &key.to_string()).fails_at("certificate", "nothing is in it");
        with(&cert.to_string(), &pipe.to_string()).fails_at("certificate", "nothing is in it");
        let remote = format!("127.0.0.1:{}", free_port());
        check(&["--remote", &remote, &format!("mode=websocket;tls;cert={pipe}")])
            .fails_at("tls", "nothing is in it");
        let writer =
            std::fs::File::options().read(true).write(true).open(dir.path().join("pipe")).expect("a pipe");
        with(&pipe.to_string(), &key.to_string()).fails_at("certificate", "does not end");
        drop(writer);
    });
}

/// What is written is looked at as a start does it.
#[cfg(unix)]
#[test]
fn files_that_cannot_be_written_are_told() {
    use std::os::unix::fs::symlink;
    within(secs(60), || {
        need!("mkfifo");
        let backend = Backend::echo();
        let dir = TempDir::new("check");
        let place = |name: &str| dir.path().join(name).display().to_string();
        dir.write("file", "");
        symlink("file", dir.path().join("link")).expect("a link");
        std::fs::hard_link(dir.path().join("file"), dir.path().join("second")).expect("a name");
        netns::run("mkfifo", &[&place("pipe")]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).expect("a socket");
        let pid_file = |name: &str| check_server(&backend, &format!("obfs=http;pid-file={}", place(name)));
        pid_file("new").is_well().says("ok", "pid file", "which is not there yet");
        for (name, why) in [
            ("link", "it is a link"),
            ("second", "several names"),
            ("pipe", "it is no file"),
            ("new/", "folder"),
        ] {
            pid_file(name).fails_at("pid file", why);
        }
        let log = |name: &str| check_server(&backend, &format!("obfs=http;access-log={}", place(name)));
        log("link").is_well().says("ok", "access log", "a link to");
        log("pipe").is_well().says("odd", "access log", "somebody has to read it");
        log("socket").fails_at("access log", "is a socket");
        log("new/").fails_at("access log", "folder");
        log("file/x").fails_at("access log", "Not a directory");
        // As a half holds it.
        dir.write("held", format!("{}\n", std::process::id()));
        let held = std::fs::File::open(dir.path().join("held")).expect("the file");
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).expect("the lock");
        let who = format!(
            "belongs to a process that runs ({}): if that is this plugin, it runs",
            std::process::id()
        );
        pid_file("held").is_well().says("odd", "pid file", &who);
        drop(held);
        assert!(!dir.path().join("new").exists(), "it was made");
    });
}

/// Who gives no address of Shadowsocks is not told of one.
#[test]
fn a_backend_that_nobody_gave_leads_nowhere() {
    within(secs(60), || {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/shadowsocks/server-behind-proxy.json");
        let checked = check(&["--config", file]);
        checked.says("unknown", "Shadowsocks", "no address of Shadowsocks is given");
        assert!(!checked.lines.join(" ").contains("leads back"), "{:?}", checked.lines);
    });
}

/// Without `cert` and `key` a server looks for acme.sh's files.
#[test]
fn files_that_nobody_named_are_told_as_such() {
    within(secs(60), || {
        let backend = Backend::echo();
        let checked = check_server(&backend, "mode=websocket;tls;host=www.example.com");
        checked.fails_at("certificate", "so acme.sh's files of the option `host` are looked for");
    });
}
