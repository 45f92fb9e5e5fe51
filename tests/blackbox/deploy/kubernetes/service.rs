//! How pods are reached: what a node or a load balancer does with the connections that come to a Service.

use super::kubelet::Pod;
use super::rendered::{Objects, list, text};
use crate::support::backend::Backend;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Where connections come in.
#[derive(Debug, Clone, Copy)]
pub enum By {
    /// At the ports of every node.
    Node,
    /// At the ports of the Service.
    LoadBalancer,
}

/// A Service whose ports are open on this machine.
pub struct Exposed {
    endpoints: Arc<Mutex<Vec<Vec<SocketAddr>>>>,
    targets: Vec<String>,
    _ports: Vec<Backend>,
}

impl Exposed {
    #[track_caller]
    pub fn new(objects: &Objects, service: &str, by: By, pods: &[&Pod]) -> Exposed {
        let spec = &objects.get("Service", service)["spec"];
        assert_eq!(spec["type"], format!("{by:?}").replace("Node", "NodePort").as_str());
        let (field, ports) = match by {
            By::Node => ("nodePort", list(&spec["ports"])),
            By::LoadBalancer => ("port", list(&spec["ports"])),
        };
        let endpoints = Arc::new(Mutex::new(Vec::new()));
        let open = |(index, port): (usize, &serde_json::Value)| {
            let number = port[field].as_u64().and_then(|it| u16::try_from(it).ok()).expect("a port");
            let (endpoints, turn) = (Arc::clone(&endpoints), AtomicUsize::new(0));
            let address = (IpAddr::from(Ipv4Addr::UNSPECIFIED), number).into();
            Backend::serve_on(address, move |stream| {
                let chosen = {
                    let all: &Vec<Vec<SocketAddr>> = &endpoints.lock().expect("endpoints");
                    let pods: &[SocketAddr] = all.get(index).map_or(&[], Vec::as_slice);
                    let turn = turn.fetch_add(1, Ordering::Relaxed);
                    pods.get(turn % pods.len().max(1)).copied()
                };
                if let Some(dialled) = chosen.and_then(|it| TcpStream::connect(it).ok()) {
                    join(&stream, &dialled);
                }
            })
        };
        let opened = ports.iter().enumerate().map(open).collect();
        let targets = ports.iter().map(|it| text(&it["targetPort"]).to_owned()).collect();
        let exposed = Exposed { endpoints, targets, _ports: opened };
        exposed.lead_to(pods);
        exposed
    }

    /// From now on connections go to these pods: those that are ready and do not end.
    pub fn lead_to(&self, pods: &[&Pod]) {
        let of = |target: &String| pods.iter().map(|pod| pod.port(target)).collect();
        *self.endpoints.lock().expect("endpoints") = self.targets.iter().map(of).collect();
    }
}

/// Both ways, each to its own end.
fn join(one: &TcpStream, other: &TcpStream) {
    let way = |mut from: &TcpStream, mut to: &TcpStream| {
        let how = std::io::copy(&mut from, &mut to).map_or(Shutdown::Both, |_| Shutdown::Write);
        let _ = to.shutdown(how);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| way(one, other));
        way(other, one);
    });
}
