//! Instances for a load balancer in front: each a network of its own with Shadowsocks, a website and obfs-rs, by
//! `deploy/envoy/instance.json`.

use crate::support::child::Child;
use crate::support::deployed::{Machine, file, local};
use crate::support::netns::{self, Other};
use crate::support::scrape::{Metrics, get};
use crate::support::{STEP, eventually};
use std::io;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

/// What the front dials from, where the instances have it as `trusted`.
pub const FRONT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

/// The name in `deploy/envoy/tcp.yaml`.
const INSTANCES: &str = "instances.example.com";

/// What a visitor may load from every instance's website.
pub const PAGE: &str = "/page.bin";

/// One machine with an instance on it.
pub struct Instance {
    pub number: u8,
    net: Other,
    shadowsocks: Option<Child>,
    _website: Child,
}

impl Instance {
    /// `10.0.0.NUMBER`, with everything but obfs-rs.
    #[track_caller]
    pub fn new(machine: &Machine, number: u8) -> Instance {
        let net = Other::new();
        let link = format!("to{number}");
        netns::ip(&format!("link add {link} type veth peer name eth0 netns {}", net.id));
        net.run(move || {
            netns::ip(&format!("address add {}/24 dev eth0", address(number)));
            netns::ip("link set eth0 up");
        });
        machine.address(&FRONT.to_string());
        netns::ip(&format!("link set {link} up"));
        netns::ip(&format!("route add {}/32 dev {link} src {FRONT}", address(number)));
        let website = machine.put(&format!("/etc/website-{number}.conf"), website(number));
        let website = website.display().to_string();
        let shadowsocks = file("shadowsocks/server-alone.json").display().to_string();
        let on = |name: &str, words: &[&str]| on_instance(machine, &net, &format!("{name} {number}"), words);
        let shadowsocks = on("ssserver", &["ssserver", "-c", &shadowsocks]);
        let website = on("website", &["nginx", "-e", "stderr", "-c", &website]);
        Instance { number, shadowsocks: Some(shadowsocks), _website: website, net }
    }

    /// obfs-rs, ready; `words` stand behind the file.
    #[track_caller]
    pub fn start(&self, machine: &Machine, words: &[&str]) -> Child {
        let config = file("envoy/instance.json").display().to_string();
        let command = [&["/usr/local/bin/obfs-rs", "server", "-c", &config], words].concat();
        let child = on_instance(machine, &self.net, &format!("obfs-rs {}", self.number), &command);
        child.wait_text("metrics are at");
        let ready = || get(self.metrics().0, "/readyz").status == "200";
        assert!(eventually(STEP, ready), "it is not ready; {}", child.show_log());
        child
    }

    /// Its Shadowsocks is away from now on.
    pub fn end_shadowsocks(&mut self) {
        self.shadowsocks = None;
    }

    pub fn metrics(&self) -> Metrics {
        Metrics(SocketAddr::from((address(self.number), 9180)))
    }
}

pub fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, number)
}

/// A program on the machine of an instance. It is this test's child.
#[track_caller]
fn on_instance(machine: &Machine, net: &Other, name: &str, words: &[&str]) -> Child {
    let net = format!("--net=/proc/{}/ns/net", net.id);
    machine.start(name, &[&["nsenter", &net], words].concat())
}

/// Says who came, and has a file.
fn website(number: u8) -> String {
    format!(
        "worker_processes 1; daemon off; user root; pid /run/website-{number}.pid; events {{}}
http {{
  access_log off;
  server {{
    listen 127.0.0.1:8080 proxy_protocol;
    root /srv/website;
    location = {PAGE} {{ }}
    location / {{ return 200 \"$proxy_protocol_addr at {number}\\n\"; }}
  }}
}}
"
    )
}

/// A name server for the name of the instances: whose they are may change.
#[derive(Clone)]
pub struct Names(Arc<Mutex<Vec<u8>>>);

impl Names {
    /// This machine asks it from now on.
    #[track_caller]
    pub fn serve(machine: &Machine, numbers: &[u8]) -> Names {
        machine.put("/etc/resolv.conf", "nameserver 127.0.0.1\n");
        let socket = UdpSocket::bind(local(53)).expect("the port of a name server");
        let names = Names(Arc::new(Mutex::new(numbers.to_vec())));
        let served = names.clone();
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(answer) = served.answer(&query[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        names
    }

    pub fn set(&self, numbers: &[u8]) {
        *self.0.lock().expect("the instances") = numbers.to_vec();
    }

    /// With the addresses of all instances, good for a second; there are none of IPv6 (RFC 1035, 4.1).
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        const HEADER: usize = 12;
        let mut name = Vec::new();
        let mut at = HEADER;
        while let Some(length) = query.get(at).copied().map(usize::from).filter(|length| *length > 0) {
            name.push(std::str::from_utf8(query.get(at + 1..=at + length)?).ok()?);
            at += 1 + length;
        }
        let question = query.get(HEADER..at + 5)?;
        let numbers = match question[question.len() - 4..] {
            [0, 1, 0, 1] if name.join(".") == INSTANCES => self.0.lock().expect("the instances").clone(),
            _ => Vec::new(),
        };
        let mut answer =
            [&query[..2], &[0x81, 0x80, 0, 1, 0, u8::try_from(numbers.len()).ok()?, 0, 0, 0, 0]].concat();
        answer.extend_from_slice(question);
        for number in numbers {
            answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            answer.extend_from_slice(&address(number).octets());
        }
        Some(answer)
    }
}

/// Envoy by `deploy/envoy/tcp.yaml`, which takes over from the one with the epoch before.
#[track_caller]
pub fn envoy(machine: &Machine, epoch: usize) -> Child {
    if epoch == 0 {
        // Two Envoys that hand over find each other there, as would those of other tests.
        netns::run("mount", &["-t", "tmpfs", "tmpfs", "/dev/shm"]);
    }
    let (config, epoch) = (file("envoy/tcp.yaml").display().to_string(), epoch.to_string());
    let words = ["-l", "warning", "--parent-shutdown-time-s", "86400", "--restart-epoch", &epoch];
    let child = machine.serve("envoy", &[443, 80], &[&["envoy", "-c", &config], &words[..]].concat());
    let there = || admin("/server_info").contains(&format!("\"restart_epoch\": {epoch},"));
    assert!(eventually(STEP, there), "it has not taken over; {}", child.show_log());
    child
}

/// What Envoy's port for its operators says.
#[track_caller]
pub fn admin(path: &str) -> String {
    get(local(9901), path).body
}

/// One of Envoy's numbers.
#[track_caller]
pub fn stat(name: &str) -> f64 {
    let stats = admin("/stats");
    let value = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {stats}"))
}

/// Waits until Envoy sends new connections to these instances and no others.
#[track_caller]
pub fn wait_healthy(numbers: &[u8]) {
    let mut wanted: Vec<String> = numbers.iter().map(|number| format!("{}:443", address(*number))).collect();
    wanted.sort();
    let mut found = Vec::new();
    let there = eventually(STEP, || {
        let clusters = admin("/clusters");
        let healthy = clusters
            .lines()
            .filter_map(|line| line.strip_prefix("instances::")?.strip_suffix("::health_flags::healthy"));
        found = healthy.map(str::to_owned).collect();
        found.sort();
        found == wanted
    });
    assert!(there, "{found:?} are healthy, not {wanted:?}: {}", admin("/clusters"));
}

/// A tunnel to `target` through a SOCKS5 proxy, which says first which instance it goes through.
pub fn try_tunnel(proxy: SocketAddr, target: SocketAddr) -> io::Result<(TcpStream, u8)> {
    let SocketAddr::V4(target) = target else { unreachable!("the target is IPv4") };
    let mut stream = TcpStream::connect_timeout(&proxy, STEP)?;
    crate::support::conn::prepare(&stream);
    stream.write_all(&[5, 1, 0])?;
    stream.read_exact(&mut [0; 2])?;
    let (ip, port) = (target.ip().octets(), target.port().to_be_bytes());
    stream.write_all(&[&[5, 1, 0, 1], &ip[..], &port].concat())?;
    stream.read_exact(&mut [0; 10])?;
    let mut number = [0];
    stream.read_exact(&mut number)?;
    Ok((stream, number[0]))
}
