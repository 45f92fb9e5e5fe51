//! The pods of `deploy/kubernetes/envoy` in front of those of obfs-rs.

use super::dns::Dns;
use super::kubelet::Pod;
use super::pods::{client_at, echo, ready, renew, visitors_are_redirected, with_certificate};
use super::rendered::Folder;
use super::service::{By, Exposed};
use crate::deploy::{carries, shadowsocks_client};
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::deployed::{Machine, local};
use crate::support::hosts::{curl, socks};
use crate::support::peers::need;
use crate::support::scrape::Metrics;
use crate::support::{STEP, eventually, secs};
use rustix::process::Signal;

fn behind() -> Folder {
    let folder = Folder::new();
    folder.choose("kustomization.yaml", "service-clusterip.yaml", "service-nodeport.yaml");
    folder
}

#[test]
fn the_path_is_a_tunnel_and_everything_else_is_redirected() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "envoy", "ssserver", "sslocal", "curl", "openssl");
        let folder = behind();
        let objects = with_certificate(machine, folder.render());
        let front = with_certificate(machine, folder.render_of("envoy"));
        folder.choose("envoy/kustomization.yaml", "service-loadbalancer.yaml", "service-nodeport.yaml");
        let balanced = folder.render_of("envoy");
        let echo = echo(machine);
        let (one, other) = (ready(&objects, "obfs-rs", 1), ready(&objects, "obfs-rs", 2));
        let dns = Dns::new(machine, "obfs-rs-pods");
        dns.lead_to(&[&one, &other]);
        let envoy = ready(&front, "envoy", 3);
        both_are_healthy(&envoy, &one, &other);

        let by_node = Exposed::new(&front, "envoy", By::Node, &[&envoy]);
        for (file, from, to) in [("client.json", 443, 31443), ("client-http.json", 80, 31080)] {
            let _client = client_at(machine, file, from, to);
            carries(echo.addr);
        }
        visitors_are_redirected(31443, 31080);
        drop(by_node);

        let _by_load_balancer = Exposed::new(&balanced, "envoy", By::LoadBalancer, &[&envoy]);
        for file in ["client-http.json", "client.json"] {
            let _client = shadowsocks_client(machine, &format!("shadowsocks/{file}"));
            carries(echo.addr);
        }
        visitors_are_redirected(443, 80);
        // An upgrade on another path, or for another host, is a visitor's.
        let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "--http1.1"];
        for (url, host) in [("/another-path", "www.example.com"), ("/a-path-of-your-own", "www.example.net")]
        {
            let (url, host) = (format!("https://www.example.com{url}"), format!("Host: {host}"));
            assert_eq!(curl(&[&upgrade[..], &["-H", &host, &url]].concat()).status, "301", "{url} {host}");
        }
        let log = envoy.container("envoy").child.show_log();
        assert!(log.contains(" 101 ") && !log.contains("a-path-of-your-own"), "{log}");

        renew(machine, &envoy);
        let container = envoy.container("envoy");
        assert!(container.peak() < container.memory_limit * 3 / 4 && !container.was_short_of_memory());
    });
}

/// Each pod has been asked whether it is ready, and gets connections.
#[track_caller]
fn both_are_healthy(envoy: &Pod, one: &Pod, other: &Pod) {
    let came = |pod: &Pod| Metrics(pod.port("metrics")).now().get("connections_accepted_total");
    let start = [came(one), came(other)];
    let both = || {
        let _ = upgraded(envoy);
        came(one) > start[0] && came(other) > start[1]
    };
    assert!(eventually(STEP, both), "only one has connections; {}", envoy.log());
}

/// A tunnel by hand: what the answer begins with.
fn upgraded(envoy: &Pod) -> (std::net::TcpStream, String) {
    let stream = connect(envoy.port("http"));
    send(
        &stream,
        b"GET /a-path-of-your-own HTTP/1.1\r\nHost: www.example.com:31080\r\nConnection: Upgrade\r\n\
          Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    let head = recv_head(&stream);
    (stream, head)
}

/// A pod that dies takes its own tunnels with it, and no new one is lost, also before anybody has noticed.
#[test]
fn a_pod_that_dies_costs_no_new_tunnel() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "envoy", "ssserver", "sslocal");
        let folder = behind();
        let objects = with_certificate(machine, folder.render());
        let front = with_certificate(machine, folder.render_of("envoy"));
        let echo = echo(machine);
        let (one, other) = (ready(&objects, "obfs-rs", 1), ready(&objects, "obfs-rs", 2));
        let dns = Dns::new(machine, "obfs-rs-pods");
        dns.lead_to(&[&one, &other]);
        let envoy = ready(&front, "envoy", 3);
        both_are_healthy(&envoy, &one, &other);
        let _client = client_at(machine, "client-http.json", 80, 31080);
        let _by_node = Exposed::new(&front, "envoy", By::Node, &[&envoy]);
        let dead = &one.container("obfs-rs").child;
        dead.signal(Signal::KILL);
        // (until it has gone, its system takes connections for it, and resets them then)
        dead.wait_exit(STEP);
        for _ in 0..20 {
            assert_echo(&socks(local(1080), echo.addr), b"a new one");
        }
        // The Deployment has another one instead.
        let instead = ready(&objects, "obfs-rs", 4);
        dns.lead_to(&[&other, &instead]);
        both_are_healthy(&envoy, &other, &instead);
        // With none left, the path looks like any other.
        for pod in [&other, &instead] {
            pod.container("obfs-rs").child.signal(Signal::KILL);
        }
        let redirected = || upgraded(&envoy).1.starts_with("HTTP/1.1 301 ");
        assert!(eventually(STEP, redirected), "{}", envoy.log());
        assert!(envoy.passes("readinessProbe"), "visitors would meet nobody");
    });
}

/// More tunnels than Envoy's limits, and a container's files, would allow unless told otherwise.
#[test]
fn there_is_room_for_many_tunnels() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "envoy", "ssserver");
        let folder = behind();
        let objects = with_certificate(machine, folder.render());
        let front = with_certificate(machine, folder.render_of("envoy"));
        let one = ready(&objects, "obfs-rs", 1);
        Dns::new(machine, "obfs-rs-pods").lead_to(&[&one]);
        let envoy = ready(&front, "envoy", 3);
        assert!(eventually(STEP, || upgraded(&envoy).1.contains(" 101 ")), "{}", envoy.log());
        let mut tunnels = Vec::new();
        for number in 0..1500 {
            let (stream, head) = upgraded(&envoy);
            assert!(head.starts_with("HTTP/1.1 101 "), "the {number}th: {head}; {}", envoy.log());
            tunnels.push(stream);
        }
        for (pod, name) in [(&envoy, "envoy"), (&one, "obfs-rs"), (&one, "ssserver")] {
            let container = pod.container(name);
            let (peak, limit) = (container.peak(), container.memory_limit);
            assert!(peak < limit && !container.was_short_of_memory(), "{name}: {peak} of {limit}");
        }
    });
}
