//! What the system says about processes and their sockets (Linux: /proc).

use super::eventually;
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

    pub fn wait_gone(&self, limit: Duration) -> bool {
        eventually(limit, || !self.alive())
    }
}

/// (inode, port) of every listening TCP socket in the network namespace of this thread.
fn listening_sockets() -> Vec<(u64, u16)> {
    let mut found = Vec::new();
    for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
        let Ok(text) = std::fs::read_to_string(file) else {
            continue;
        };
        for line in text.lines().skip(1) {
            let f: Vec<&str> = line.split_whitespace().collect();
            if f.len() < 10 || f[3] != "0A" {
                continue;
            }
            let port = f[1].rsplit_once(':').and_then(|(_, p)| u16::from_str_radix(p, 16).ok());
            if let (Some(port), Ok(inode)) = (port, f[9].parse()) {
                found.push((inode, port));
            }
        }
    }
    found
}

/// Whether anybody listens on the port. Looked up, not tried: a connection would be a visitor,
/// which some tests count.
pub fn port_listens(port: u16) -> bool {
    listening_sockets().iter().any(|&(_, p)| p == port)
}

/// The ports a process listens on.
pub fn listening_ports(pid: i32) -> HashSet<u16> {
    let Ok(fds) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return HashSet::new();
    };
    let inodes: HashSet<u64> = fds
        .filter_map(|e| {
            let target = std::fs::read_link(e.ok()?.path()).ok()?;
            target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
        })
        .collect();
    listening_sockets()
        .into_iter()
        .filter(|(inode, _)| inodes.contains(inode))
        .map(|(_, port)| port)
        .collect()
}
