//! The cluster's DNS: the addresses of a headless Service's pods (RFC 1035).

use super::kubelet::Pod;
use crate::support::deployed::Machine;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};

/// Where it is, as kubelet writes it into the pods' `resolv.conf`.
pub const ADDRESS: &str = "10.96.0.10";

pub struct Dns(Arc<Mutex<Vec<Ipv4Addr>>>);

impl Dns {
    /// Answers for one Service, for as long as the machine is there.
    pub fn new(machine: &Machine, service: &str) -> Dns {
        machine.address(ADDRESS);
        let socket = UdpSocket::bind((ADDRESS, 53)).expect("bind");
        let name: Vec<u8> = [service, "obfs-rs", "svc", "cluster", "local", ""]
            .iter()
            .flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat())
            .collect();
        let pods = Arc::new(Mutex::new(Vec::new()));
        let dns = Dns(Arc::clone(&pods));
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                if let Some(answer) = answer(&query[..length], &name, &pods.lock().expect("pods")) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        dns
    }

    /// From now on these are ready.
    pub fn lead_to(&self, pods: &[&Pod]) {
        *self.0.lock().expect("pods") = pods.iter().map(|pod| pod.address).collect();
    }
}

/// The answer to a query; other names do not exist.
fn answer(query: &[u8], name: &[u8], pods: &[Ipv4Addr]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let question = query.get(HEADER..)?;
    let length = question.iter().position(|byte| *byte == 0)? + 1;
    let (asked, kind) = (question.get(..length)?, question.get(length..length + 2)?);
    let known = asked.eq_ignore_ascii_case(name);
    let found = if known && kind == [0, 1] { pods } else { &[] };
    let count = u8::try_from(found.len()).ok()?;
    let mut answer = query.get(..2)?.to_vec();
    // A response, with authority; no error, or no such name. A question, the answers.
    answer.extend([0x85, if known { 0x80 } else { 0x83 }, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question.get(..length + 4)?);
    for address in found {
        // The name of the question, A, IN, for 5 s, four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
