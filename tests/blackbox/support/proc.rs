//! What the system says about processes and their sockets (Linux: /proc).

use super::eventually;
use rustix::net::netlink::SOCK_DIAG;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use std::collections::HashSet;
use std::time::Duration;

/// A process that is not our child. The start time tells it from a later one with the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proc {
    pub pid: i32,
    started: u64,
    pub name: String,
}

struct Stat {
    name: String,
    state: String,
    parent: i32,
    started: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some(Stat {
        name: head.split_once('(')?.1.to_owned(),
        state: (*fields.first()?).to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
    })
}

/// The living children of a process.
pub fn children_of(parent: i32) -> Vec<Proc> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| {
            let stat = stat(pid)?;
            (stat.parent == parent && stat.state != "Z").then_some(Proc {
                pid,
                started: stat.started,
                name: stat.name,
            })
        })
        .collect()
}

/// Waits until a process has a child that listens somewhere: the plugin of a host.
#[track_caller]
pub fn wait_listening_child(parent: i32) -> Proc {
    let mut found = None;
    let ok = eventually(super::STEP, || {
        found = children_of(parent).into_iter().find(|c| !listening_ports(c.pid).is_empty());
        found.is_some()
    });
    assert!(ok, "process {parent} has no child that listens");
    found.expect("just found")
}

impl Proc {
    /// The one with this id, if it lives.
    pub fn of(pid: i32) -> Option<Proc> {
        let stat = stat(pid)?;
        Some(Proc { pid, started: stat.started, name: stat.name })
    }

    /// A zombie counts as gone: it only waits for a parent that is slow to ask.
    pub fn alive(&self) -> bool {
        stat(self.pid).is_some_and(|s| s.started == self.started && !matches!(s.state.as_str(), "Z" | "X"))
    }

    /// Waits until the process has ended with all its threads: the first of them may show as ended while others
    /// still hold the files.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let tasks = format!("/proc/{}/task", self.pid);
        let others = || std::fs::read_dir(&tasks).is_ok_and(|tasks| tasks.count() > 1);
        eventually(limit, || !self.alive() && !others())
    }
}

/// (inode, port) of every listening TCP socket in the network namespace of this thread.
///
/// Asked by netlink: for its text in /proc the kernel walks its table of all connections, some milliseconds
/// of CPU, and tests ask thousands of times.
fn listening_sockets() -> Vec<(u64, u16)> {
    let families = [(AddressFamily::INET, "tcp"), (AddressFamily::INET6, "tcp6")];
    // Not every kernel has `inet_diag`.
    let of = |(family, file)| listening_by_netlink(family).unwrap_or_else(|_| listening_by_text(file));
    families.into_iter().flat_map(of).collect()
}

/// The answer to a request for a dump of listening sockets (sock_diag(7)).
fn listening_by_netlink(family: AddressFamily) -> rustix::io::Result<Vec<(u64, u16)>> {
    const HEADER: usize = 16;
    const DUMP: u16 = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
    const BY_FAMILY: u16 = 20; // SOCK_DIAG_BY_FAMILY
    const LISTEN: u32 = 1 << 10;
    const TCP: u8 = 6;
    let socket =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    const LENGTH: usize = HEADER + 56;
    let mut request = [0; LENGTH];
    request[..4].copy_from_slice(&(LENGTH as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&DUMP.to_ne_bytes());
    request[HEADER] = family.as_raw() as u8;
    request[HEADER + 1] = TCP;
    request[HEADER + 4..][..4].copy_from_slice(&LISTEN.to_ne_bytes());
    send(&socket, &request, SendFlags::empty())?;
    let mut found = Vec::new();
    let mut buffer = [0; 32 * 1024];
    loop {
        let (_, length) = recv(&socket, &mut buffer, RecvFlags::empty())?;
        let mut rest = &buffer[..length];
        while rest.len() >= HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let (message, others) = rest.split_at(length.next_multiple_of(4).clamp(HEADER, rest.len()));
            rest = others;
            match u16::from_ne_bytes([message[4], message[5]]) {
                BY_FAMILY if message.len() >= HEADER + 72 => {
                    let port = u16::from_be_bytes([message[HEADER + 4], message[HEADER + 5]]);
                    let inode = message[HEADER + 68..][..4].try_into().expect("four bytes");
                    found.push((u32::from_ne_bytes(inode).into(), port));
                }
                // NLMSG_DONE
                3 => return Ok(found),
                _ => return Err(rustix::io::Errno::OPNOTSUPP),
            }
        }
    }
}

fn listening_by_text(file: &str) -> Vec<(u64, u16)> {
    let text = std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let listening = text.lines().skip(1).filter_map(|line| {
        let f: Vec<&str> = line.split_whitespace().collect();
        if *f.get(3)? != "0A" {
            return None;
        }
        let (_, port) = f[1].rsplit_once(':')?;
        Some((f.get(9)?.parse().ok()?, u16::from_str_radix(port, 16).ok()?))
    });
    listening.collect()
}

/// Whether anybody listens on the port. Looked up, not tried: a connection would be a visitor,
/// which some tests count.
pub fn port_listens(port: u16) -> bool {
    listening_sockets().iter().any(|&(_, p)| p == port)
}

/// (inode, port) of every UDP socket in the network namespace of this thread that is bound and not connected.
fn udp_sockets() -> Vec<(u64, u16)> {
    let text = |file| std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let sockets = [text("udp"), text("udp6")];
    let lines = sockets.iter().flat_map(|text| text.lines().skip(1));
    let unconnected = lines.filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        if *fields.get(3)? != "07" {
            return None;
        }
        let (_, port) = fields[1].rsplit_once(':')?;
        Some((fields.get(9)?.parse().ok()?, u16::from_str_radix(port, 16).ok()?))
    });
    unconnected.collect()
}

/// Whether anybody has the UDP port.
pub fn udp_port_bound(port: u16) -> bool {
    udp_sockets().iter().any(|&(_, bound)| bound == port)
}

/// The UDP ports that a process has bound.
pub fn udp_ports(pid: i32) -> HashSet<u16> {
    let inodes = socket_inodes(pid);
    let its = udp_sockets().into_iter().filter(|(inode, _)| inodes.contains(inode));
    its.map(|(_, port)| port).collect()
}

/// The ports a process listens on.
pub fn listening_ports(pid: i32) -> HashSet<u16> {
    let inodes = socket_inodes(pid);
    let its = listening_sockets().into_iter().filter(|(inode, _)| inodes.contains(inode));
    its.map(|(_, port)| port).collect()
}

fn socket_inodes(pid: i32) -> HashSet<u64> {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    fds.filter_map(|e| {
        let target = std::fs::read_link(e.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    })
    .collect()
}
