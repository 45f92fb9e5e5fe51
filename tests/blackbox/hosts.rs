//! Under the real hosts, with the option strings a README gives.

use crate::support::backend::{Backend, next};
use crate::support::conn::{assert_echo, connect, recv, recv_to_end, send};
use crate::support::hosts::{Family, Host, close, curl, socks};
use crate::support::peers::need;
use crate::support::plugin::our_path;
use crate::support::proc;
use crate::support::site::{self, INDEX, Site};
use crate::support::{assert_same, noise, secs, within};
use rustix::process::Signal;

const CLIENT: &str = "obfs=http;obfs-host=www.bing.com";

/// 20 MB through SOCKS, the plugin on both sides, and the website at the server's public port.
fn download_and_website(family: Family) {
    let site = Site::start();
    let options = format!("obfs=http;failover={}", site.addr);
    let server = Host::server(family, &our_path(), &options);
    let client = Host::client(family, server.addr, &our_path(), CLIENT);

    let proxy = format!("socks5h://{}", client.addr);
    let got = curl(&["-x", &proxy, &format!("http://{}/big.bin", site.addr)]);
    assert_eq!(got.status, "200", "{}\n{}", server.child.show_log(), client.child.show_log());
    assert_same("20 MB through SOCKS", &got.body, &site::big());

    let page = curl(&[&format!("http://{}/", server.addr)]);
    assert_eq!(page.status, "200", "{}", server.child.show_log());
    assert_eq!(String::from_utf8_lossy(&page.body), INDEX);
    let lost = curl(&[&format!("http://{}/no/such/page", server.addr)]);
    assert_eq!(lost.status, "404");
    assert!(String::from_utf8_lossy(&lost.body).contains("nginx"), "the website's own page");
}

#[test]
fn libev_carries_20_mb_and_shows_the_website() {
    within(secs(90), || {
        need!("ss-local", "ss-server", "nginx", "curl");
        download_and_website(Family::Libev);
    });
}

#[test]
fn shadowsocks_rust_carries_20_mb_and_shows_the_website() {
    within(secs(90), || {
        need!("sslocal", "ssserver", "nginx", "curl");
        download_and_website(Family::Rust);
    });
}

/// Uploads, and many tunnels at once, through SOCKS.
fn echoes(family: Family) {
    let echo = Backend::echo();
    let server = Host::server(family, &our_path(), "obfs=http");
    let client = Host::client(family, server.addr, &our_path(), CLIENT);
    std::thread::scope(|scope| {
        for i in 0..8 {
            let (proxy, target) = (client.addr, echo.addr);
            scope.spawn(move || {
                let stream = socks(proxy, target);
                assert_echo(&stream, &noise(1024 * 1024, i));
            });
        }
    });
}

#[test]
fn libev_carries_uploads_on_many_tunnels() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        echoes(Family::Libev);
    });
}

#[test]
fn shadowsocks_rust_carries_uploads_on_many_tunnels() {
    within(secs(60), || {
        need!("sslocal", "ssserver");
        echoes(Family::Rust);
    });
}

/// A target that speaks first, the application silent until then.
fn server_first(family: Family) {
    let smtp = Backend::greeter(b"220 mail.example.com ESMTP\r\n");
    let server = Host::server(family, &our_path(), "obfs=http");
    let client = Host::client(family, server.addr, &our_path(), CLIENT);
    let stream = socks(client.addr, smtp.addr);
    assert_eq!(recv(&stream, 28), b"220 mail.example.com ESMTP\r\n");
    assert_echo(&stream, b"EHLO example.com\r\n");
}

#[test]
fn libev_reaches_a_server_that_speaks_first() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        server_first(Family::Libev);
    });
}

#[test]
fn shadowsocks_rust_reaches_a_server_that_speaks_first() {
    within(secs(60), || {
        need!("sslocal", "ssserver");
        server_first(Family::Rust);
    });
}

#[test]
fn ss_tunnel_to_a_server_that_speaks_first() {
    within(secs(60), || {
        need!("ss-tunnel", "ss-server");
        let ssh = Backend::greeter(b"SSH-2.0-OpenSSH_9.2\r\n");
        let server = Host::server(Family::Libev, &our_path(), "obfs=http");
        let client = Host::tunnel(server.addr, ssh.addr, &our_path(), CLIENT);
        let stream = connect(client.addr);
        assert_eq!(recv(&stream, 21), b"SSH-2.0-OpenSSH_9.2\r\n");
        assert_echo(&stream, &noise(500_000, 5));
    });
}

/// A host whose server listens on all addresses, as most configurations have it.
#[test]
fn a_server_on_the_wildcard_address() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        let echo = Backend::echo();
        let server = Host::server_on("0.0.0.0", Family::Libev, &our_path(), "obfs=http");
        let client = Host::client(Family::Libev, server.addr, &our_path(), CLIENT);
        assert_echo(&socks(client.addr, echo.addr), &noise(200_000, 6));
    });
}

/// shadowsocks-rust asks whether the plugin is up by connecting and closing: no tunnel is opened.
#[test]
fn the_readiness_probe_of_shadowsocks_rust_opens_no_tunnel() {
    within(secs(60), || {
        need!("sslocal");
        let (remote, connections) = Backend::manual();
        let client = Host::client(Family::Rust, remote.addr, &our_path(), CLIENT);
        // A real connection afterwards: had the probe opened a tunnel, it would have come first.
        let stream = connect(client.addr);
        send(&stream, &[5, 1, 0]);
        assert_eq!(recv(&stream, 2), [5, 0]);
        send(&stream, &[5, 1, 0, 1, 127, 0, 0, 1, 0, 80]);
        recv(&stream, 10);
        send(&stream, b"hello");
        let first = next(&connections);
        let head = crate::support::conn::recv_head(&first);
        assert!(!head.contains("Content-Length: 0"), "an empty tunnel: {head}");
        assert_eq!(remote.accepted(), 1, "{}", client.child.show_log());
    });
}

/// What the host does to its plugin when it stops: none of ours may stay behind.
fn stops_with_its_host(family: Family, signal: Signal) {
    let echo = Backend::echo();
    let server = Host::server(family, &our_path(), "obfs=http");
    let client = Host::client(family, server.addr, &our_path(), CLIENT);
    let tunnel = socks(client.addr, echo.addr);
    assert_echo(&tunnel, b"the tunnel is open");
    for host in [&client, &server] {
        host.child.signal(signal);
        assert!(
            host.child.exit_within(secs(10)).is_some(),
            "the host ignores the signal; {}",
            host.child.show_log()
        );
        assert!(host.plugin.wait_gone(secs(2)), "{:?} outlived its host by 2 s", host.plugin);
    }
}

#[test]
fn plugins_end_with_libev_on_sigterm() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        stops_with_its_host(Family::Libev, Signal::TERM);
    });
}

#[test]
fn plugins_end_with_libev_on_sigkill() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        stops_with_its_host(Family::Libev, Signal::KILL);
    });
}

/// It sends SIGTERM, and SIGKILL 10 ms later.
#[test]
fn plugins_end_with_shadowsocks_rust_on_sigterm() {
    within(secs(60), || {
        need!("sslocal", "ssserver");
        stops_with_its_host(Family::Rust, Signal::TERM);
    });
}

#[test]
fn plugins_end_with_shadowsocks_rust_on_sigkill() {
    within(secs(60), || {
        need!("sslocal", "ssserver");
        stops_with_its_host(Family::Rust, Signal::KILL);
    });
}

/// A host must not go on without its plugin: bad options end the plugin, and that ends the host.
#[test]
fn a_bad_option_stops_the_host() {
    within(secs(60), || {
        need!("ss-server");
        let port = crate::support::ports::free_port();
        let mut command = crate::support::plugin::bare(crate::support::peers::path("ss-server"));
        command.args(["-s", "127.0.0.1", "-p", &port.to_string(), "-k", "x", "-m", "aes-256-gcm"]);
        command.arg("--plugin").arg(our_path());
        command.args(["--plugin-opts", "obfs=http;failover=nowhere"]);
        let host = crate::support::child::Child::spawn("ss-server", command);
        host.wait_text("failover");
        assert!(host.exit_within(secs(10)).is_some(), "{}", host.show_log());
        assert!(!proc::port_listens(port));
    });
}

/// A FIN from the target reaches the application, and nothing lingers.
#[test]
fn the_end_of_a_download_reaches_the_application() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        let file = noise(3_000_000, 9);
        let sent = file.clone();
        let target = Backend::serve(move |stream| {
            recv(&stream, 4);
            send(&stream, &sent);
        });
        let server = Host::server(Family::Libev, &our_path(), "obfs=http");
        let client = Host::client(Family::Libev, server.addr, &our_path(), CLIENT);
        let stream = socks(client.addr, target.addr);
        send(&stream, b"get\n");
        let (got, _) = recv_to_end(&stream, secs(20));
        assert_same("the download", &got, &file);
        close(&stream);
    });
}

/// The plugin of a host that was started under another user-visible name (a link in PATH).
#[test]
fn a_link_named_after_simple_obfs_replaces_it() {
    within(secs(60), || {
        need!("ss-local", "ss-server");
        let dir = crate::support::tempdir::TempDir::new("links");
        let link = |name: &str| {
            let path = dir.path().join(name);
            std::os::unix::fs::symlink(our_path(), &path).expect("a link");
            path
        };
        let echo = Backend::echo();
        let server = Host::server(Family::Libev, &link("obfs-server"), "obfs=http");
        let client = Host::client(Family::Libev, server.addr, &link("obfs-local"), CLIENT);
        assert_echo(&socks(client.addr, echo.addr), &noise(100_000, 10));
    });
}
