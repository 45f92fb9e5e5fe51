//! `deploy/envoy/tcp.yaml`: a load balancer that looks at no byte.

use super::carries;
use super::instance::{FRONT, Instance, Names, admin, envoy, stat, wait_healthy};
use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::deployed::{Machine, NAME, PASSWORD, PATH, file};
use crate::support::hosts::curl;
use crate::support::peers::{self, need};
use crate::support::{eventually, secs};
use std::net::SocketAddr;

/// A client of Shadowsocks at 1080 with any plugin.
#[track_caller]
fn client_with(machine: &Machine, plugin: &str, port: u16, options: &str) -> Child {
    let plugin = peers::find(plugin).unwrap_or_else(|| plugin.into()).display().to_string();
    let server = format!("{NAME}:{port}");
    let words = ["-b", "127.0.0.1:1080", "-s", &server, "-k", PASSWORD, "-m", "aes-256-gcm"];
    let plugin = ["--plugin", &plugin, "--plugin-opts", options];
    machine.serve(&format!("sslocal with {options}"), &[1080], &[&["sslocal"], &words[..], &plugin].concat())
}

/// Those that look whether an instance is ready are no visitors, and no line in its log.
#[track_caller]
fn nobody_notices_the_health_checks(instance: &Instance, obfs: &Child, before: usize) {
    let checks = || stat("cluster.instances.health_check.success");
    assert!(eventually(secs(20), || checks() >= 3.0), "{}", admin("/stats?filter=health_check"));
    assert_eq!(obfs.lines().len(), before, "{}", obfs.show_log());
    let numbers = instance.metrics().now();
    assert_eq!(numbers.get("connections_accepted_total"), 0.0);
    assert_eq!(numbers.sum("connections_failed_total"), 0.0);
}

#[test]
fn all_clients_and_visitors_come_through_by_their_own_addresses() {
    Machine::with(secs(120), |machine| {
        need!("envoy", "ssserver", "sslocal", "nginx", "curl", "openssl", "obfs-local", "ss-v2ray-plugin");
        let certificate = machine.certificate(NAME);
        let cert = certificate.cert.display().to_string();
        let instance = Instance::new(machine, 1);
        let obfs = instance.start(machine, &["--access-log", "stdout"]);
        let began = obfs.lines().len();
        let _names = Names::serve(machine, &[1]);
        let envoy = envoy(machine, 0);
        wait_healthy(&[1]);
        nobody_notices_the_health_checks(&instance, &obfs, began);

        let echo = Backend::echo_on(SocketAddr::from((FRONT, 0)));
        let [home, away] = ["198.51.100.7", "198.51.100.8"];
        for address in [home, away] {
            machine.address(address);
        }
        for config in ["shadowsocks/client.json", "shadowsocks/client-http.json"] {
            let config = file(config).display().to_string();
            let _client = machine.serve("sslocal", &[1080], &["sslocal", "-c", &config]);
            carries(echo.addr);
        }
        let tls = format!("tls;host={NAME};path={PATH};cert={cert}");
        for (plugin, port, options) in [
            ("obfs-rs", 443, format!("mode=websocket;mux=8;{tls};b={home}")),
            ("obfs-rs", 80, format!("mode=httpupgrade;path={PATH};b={home}")),
            ("ss-v2ray-plugin", 443, tls.clone()),
            ("ss-v2ray-plugin", 80, format!("mux=0;path={PATH}")),
        ] {
            let _client = client_with(machine, plugin, port, &options);
            carries(echo.addr);
        }
        obfs.wait_line("who opened a tunnel", |line| {
            line.contains(&format!("\"from\":\"{home}:")) && line.contains("\"kind\":\"httpupgrade\"")
        });

        // The website hears it, too.
        for url in [format!("http://{NAME}/"), format!("http://{NAME}:443/"), format!("https://{NAME}/")] {
            let page = curl(&["--interface", away, "--cacert", &cert, &url]);
            assert_eq!(
                (&*page.status, &*String::from_utf8_lossy(&page.body)),
                ("200", "198.51.100.8 at 1\n")
            );
        }
        obfs.wait_line("who visited", |line| {
            line.contains(&format!("\"from\":\"{away}:")) && line.contains("\"kind\":\"visitor\"")
        });
        envoy.wait_line("a line for a visitor", |line| {
            line.contains(&format!(" {away}:"))
                && line.contains(" by 10.0.0.1:443 ")
                && line.contains("attempts 1")
        });
        assert_eq!(instance.metrics().now().get("connections_failed_total{cause=\"proxy-header\"}"), 0.0);
        drop(obfs);

        // simple-obfs asks for `/` alone, and its TLS is none: a server has to be told to take them.
        let _obfs = instance.start(machine, &["--obfs-uri", "/", "--obfs-tls-host", "cdn.example.com"]);
        wait_healthy(&[1]);
        for (plugin, options) in [
            ("obfs-local", format!("obfs=http;obfs-host={NAME}")),
            ("obfs-local", "obfs=tls;obfs-host=cdn.example.com".to_owned()),
            ("obfs-rs", "obfs=tls;obfs-host=cdn.example.com".to_owned()),
        ] {
            let _client = client_with(machine, plugin, 443, &options);
            carries(echo.addr);
        }
    });
}

/// Its Shadowsocks is away, or nobody is there at all: those that are ready take all tunnels, and where nobody is
/// ready a visitor still meets the website.
#[test]
fn who_is_not_ready_takes_no_tunnels() {
    Machine::with(secs(120), |machine| {
        need!("envoy", "ssserver", "sslocal", "nginx", "curl", "openssl");
        let _certificate = machine.certificate(NAME);
        let mut instances = [1, 2].map(|number| Instance::new(machine, number));
        let _obfs = instances.each_ref().map(|instance| instance.start(machine, &[]));
        let _names = Names::serve(machine, &[1, 2, 3]);
        let envoy = envoy(machine, 0);
        wait_healthy(&[1, 2]);
        instances[0].end_shadowsocks();
        wait_healthy(&[2]);
        let echo = Backend::echo_on(SocketAddr::from((FRONT, 0)));
        let config = file("shadowsocks/client.json").display().to_string();
        let _client = machine.serve("sslocal", &[1080], &["sslocal", "-c", &config]);
        for _ in 0..4 {
            carries(echo.addr);
        }
        instances[1].end_shadowsocks();
        wait_healthy(&[]);
        for _ in 0..4 {
            // (each of Envoy's threads learns in its own time that a machine is not ready, and resets what it has open there)
            let page = curl(&["--retry", "5", "--retry-all-errors", &format!("http://{NAME}/")]);
            assert_eq!(page.status, "200", "{}", envoy.show_log());
        }
    });
}
