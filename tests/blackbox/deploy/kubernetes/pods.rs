//! The pods of `deploy/kubernetes`, run.

use super::kubelet::Pod;
use super::rendered::{Folder, Objects};
use super::service::{By, Exposed};
use crate::deploy::{carries, shadowsocks_client};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, fin, recv_to_end, send};
use crate::support::deployed::{Machine, NAME, local, text};
use crate::support::hosts::{curl, socks};
use crate::support::peers::need;
use crate::support::{STEP, eventually, noise, secs};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

/// An address of the internet, where pods may go.
pub const FAR: &str = "198.51.100.7";

/// An echo there.
pub fn echo(machine: &Machine) -> Backend {
    machine.address(FAR);
    Backend::echo_on(format!("{FAR}:7").parse().expect("an address"))
}

/// What is rendered, with a certificate in the cluster that this machine trusts.
pub fn with_certificate(machine: &Machine, mut objects: Objects) -> Objects {
    let [cert, key] = certificate(machine);
    objects.add_certificate(&cert, &key);
    objects
}

/// A certificate that this machine trusts, and its key; each time another one.
fn certificate(machine: &Machine) -> [Vec<u8>; 2] {
    machine.certificate(NAME);
    ["pem", "key"].map(|end| std::fs::read(format!("/etc/ssl/{NAME}.{end}")).expect("a file"))
}

#[track_caller]
pub fn ready(objects: &Objects, deployment: &str, number: u8) -> Pod {
    let pod = Pod::start(objects, deployment, number).expect("it starts");
    pod.wait_ready();
    pod
}

/// A client by a file of `deploy/`, whose server is at another port.
pub fn client_at(machine: &Machine, file: &str, from: u16, to: u16) -> Child {
    let config = text(&format!("shadowsocks/{file}"));
    let port = format!("\"server_port\": {from}");
    assert!(config.contains(&port), "{config}");
    let path = machine.put("/run/client.json", config.replace(&port, &format!("\"server_port\": {to}")));
    machine.serve("sslocal", &[1080], &["sslocal", "-c", &path.display().to_string()])
}

/// Visitors are sent to the website, with TLS and without, whatever the path.
pub fn visitors_are_redirected(https: u16, http: u16) {
    for url in [
        format!("https://www.example.com:{https}/"),
        format!("https://www.example.com:{https}/a-path-of-your-own"),
        format!("http://www.example.com:{http}/some?thing"),
        format!("http://www.example.com:{http}/a-path-of-your-own"),
    ] {
        let head = curl(&["--dump-header", "/run/head", &url]);
        assert!(matches!(head.status.as_str(), "301" | "302"), "{url}: {}", head.status);
        let head = std::fs::read_to_string("/run/head").expect("a head").to_ascii_lowercase();
        let path = url.splitn(4, '/').nth(3).expect("a path");
        let location = format!("location: https://www.example.org/{path}\r\n");
        assert!(head.contains(&location), "{url}: {head}");
    }
}

#[test]
fn tunnels_and_visitors_come_by_each_kind_of_service() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver", "sslocal", "curl");
        let folder = Folder::new();
        let objects = with_certificate(machine, folder.render());
        folder.choose("kustomization.yaml", "service-loadbalancer.yaml", "service-nodeport.yaml");
        let balanced = folder.render();
        let echo = echo(machine);
        let pods = [1, 2].map(|number| ready(&objects, "obfs-rs", number));
        let both = [&pods[0], &pods[1]];

        let by_node = Exposed::new(&objects, "obfs-rs", By::Node, &both);
        for (file, from, to) in [("client.json", 443, 30443), ("client-http.json", 80, 30080)] {
            let _client = client_at(machine, file, from, to);
            carries(echo.addr);
        }
        visitors_are_redirected(30443, 30080);
        drop(by_node);

        let _by_load_balancer = Exposed::new(&balanced, "obfs-rs", By::LoadBalancer, &both);
        for file in ["client-http.json", "client.json"] {
            let _client = shadowsocks_client(machine, &format!("shadowsocks/{file}"));
            carries(echo.addr);
        }
        visitors_are_redirected(443, 80);
        for pod in &pods {
            let log = pod.container("obfs-rs").child.show_log();
            assert!(!log.contains("WARN") && !log.contains("a-path-of-your-own"), "{log}");
        }
    });
}

/// Each container is the first process of its own world, as a user without rights; a hundred tunnels at once keep it far
/// below its limit of memory.
#[test]
fn containers_live_within_what_they_are_given() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver", "sslocal");
        let folder = Folder::new();
        folder.choose("kustomization.yaml", "service-loadbalancer.yaml", "service-nodeport.yaml");
        let objects = with_certificate(machine, folder.render());
        let echo = echo(machine);
        let pod = ready(&objects, "obfs-rs", 1);
        let _entry = Exposed::new(&objects, "obfs-rs", By::LoadBalancer, &[&pod]);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        std::thread::scope(|scope| {
            for seed in 0..4 {
                scope.spawn(move || {
                    let tunnels: Vec<TcpStream> = (0..25).map(|_| socks(local(1080), echo_addr())).collect();
                    for tunnel in &tunnels {
                        assert_echo(tunnel, &noise(256 * 1024, seed));
                    }
                });
            }
        });
        assert!(echo.accepted() >= 100);
        for name in ["ssserver", "obfs-rs"] {
            let container = pod.container(name);
            assert_eq!(container.status("NSpid").split_whitespace().last(), Some("1"), "{name}");
            assert_eq!(container.status("Uid"), "65532\t65532\t65532\t65532");
            assert_eq!(container.status("Gid"), "65532\t65532\t65532\t65532");
            assert_eq!(container.status("Groups"), "65532");
            assert_eq!(container.status("NoNewPrivs"), "1");
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                assert_eq!(container.status(set).trim_start_matches('0'), "", "{name}: {set}");
            }
            let root = format!("/proc/{}/root", container.child.pid());
            assert_eq!(std::fs::metadata(&root).expect("a root").uid(), 0);
            assert!(std::fs::write(format!("{root}/a-file"), "").is_err(), "its root is read-only");
            let (peak, limit) = (container.peak(), container.memory_limit);
            assert!(peak < limit * 3 / 4 && !container.was_short_of_memory(), "{name}: {peak} of {limit}");
        }
        // What users of the Shadowsocks server are to reach is the internet, not the pod nor the cluster.
        let metrics = pod.port("metrics");
        for inside in [SocketAddr::from(([127, 0, 0, 1], metrics.port())), metrics] {
            let stream = socks(local(1080), inside);
            send(&stream, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(recv_to_end(&stream, STEP).0, b"", "{inside} was reached");
        }
    });
}

fn echo_addr() -> SocketAddr {
    format!("{FAR}:7").parse().expect("an address")
}

/// A pod is taken away, as in a roll-out or when a node is emptied: who comes meanwhile is served by it or by the others, what
/// it still carries ends whole, and Shadowsocks goes last.
#[test]
fn a_pod_ends_without_cutting_a_tunnel() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver", "sslocal");
        let folder = Folder::new();
        folder.choose("kustomization.yaml", "service-loadbalancer.yaml", "service-nodeport.yaml");
        let objects = with_certificate(machine, folder.render());
        let echo = echo(machine);
        let (old, new) = (ready(&objects, "obfs-rs", 1), ready(&objects, "obfs-rs", 2));
        let entry = Exposed::new(&objects, "obfs-rs", By::LoadBalancer, &[&old]);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        let tunnels: Vec<TcpStream> = (0..8).map(|_| socks(local(1080), echo.addr)).collect();
        tunnels.iter().for_each(|tunnel| assert_echo(tunnel, b"open"));
        std::thread::scope(|scope| {
            let ended = scope.spawn(|| old.end());
            let child = &old.container("obfs-rs").child;
            // Not everybody knows at once that it goes.
            let late = socks(local(1080), echo.addr);
            assert_echo(&late, b"still taken");
            entry.lead_to(&[&new]);
            let line = child.wait_text("draining: ");
            assert!(line.contains("9 connections open"), "{line}");
            assert!(!old.passes("readinessProbe") && old.passes("livenessProbe"), "{}", old.log());
            let gone = || TcpStream::connect_timeout(&old.port("tunnel"), secs(1)).is_err();
            assert!(eventually(STEP, gone), "its port is still open");
            carries(echo.addr);
            let payload = noise(1024 * 1024, 5);
            for tunnel in tunnels.iter().chain([&late]) {
                assert_echo(tunnel, &payload);
                fin(tunnel);
                assert_eq!(recv_to_end(tunnel, STEP).1, End::Fin);
            }
            let ends = ended.join().expect("it ends in time");
            let names: Vec<&str> = ends.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["obfs-rs", "ssserver"]);
            assert_eq!(ends[0].1, Exit::Code(0), "{}", old.log());
            assert!(child.show_log().contains("all connections have ended"), "{}", old.log());
        });
    });
}

/// Shadowsocks ends, and the node starts it anew: meanwhile the pod is not chosen, but lives.
#[test]
fn a_pod_is_ready_as_long_as_shadowsocks_is() {
    Machine::with(secs(60), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver");
        let objects = with_certificate(machine, Folder::new().render());
        let mut pod = ready(&objects, "obfs-rs", 1);
        pod.container("ssserver").child.signal(Signal::KILL);
        assert!(eventually(STEP, || !pod.passes("readinessProbe")), "{}", pod.log());
        assert!(pod.passes("livenessProbe"));
        pod.restart(&objects, "ssserver");
        pod.wait_ready();
        assert_eq!(pod.container("obfs-rs").child.peek_exit(), None, "{}", pod.log());
    });
}

/// The node switches `..data` to a folder with the renewed certificate; what was open goes on.
#[test]
fn a_renewed_certificate_is_served_without_a_restart() {
    Machine::with(secs(60), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver", "sslocal", "openssl");
        let folder = Folder::new();
        folder.choose("kustomization.yaml", "service-loadbalancer.yaml", "service-nodeport.yaml");
        let objects = with_certificate(machine, folder.render());
        let echo = echo(machine);
        let pod = ready(&objects, "obfs-rs", 1);
        let _entry = Exposed::new(&objects, "obfs-rs", By::LoadBalancer, &[&pod]);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        let tunnel = socks(local(1080), echo.addr);
        assert_echo(&tunnel, b"open");
        for _ in 0..2 {
            renew(machine, &pod);
        }
        assert_echo(&tunnel, b"goes on");
    });
}

/// Gives a pod another certificate, as the node does, and waits until it is served at port 443.
pub fn renew(machine: &Machine, pod: &Pod) {
    let [cert, key] = certificate(machine);
    let renewed = String::from_utf8(cert.clone()).expect("PEM");
    pod.renew("tls", &[("tls.crt".to_owned(), cert), ("tls.key".to_owned(), key)].into());
    assert!(eventually(STEP, || served(443) == renewed.trim()), "the old one is served; {}", pod.log());
}

/// The certificate that is served at a port, in PEM.
fn served(port: u16) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", NAME])
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let from = text.find("-----BEGIN CERTIFICATE").unwrap_or(text.len());
    let end = "-----END CERTIFICATE-----";
    let to = text.find(end).map_or(text.len(), |at| at + end.len());
    text[from..to].to_owned()
}
