//! Who listens on a port of this machine, as far as the system tells it to this user.

use std::fmt;

/// A process that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// What it is called.
    pub name: String,
    /// Its number.
    pub id: u32,
    /// Whether it runs the same program as this process.
    pub is_this_program: bool,
}

impl Holder {
    /// Whether it is the system's service manager, which listens for services that it starts later.
    pub fn is_service_manager(&self) -> bool {
        self.id == 1 && self.name == "systemd"
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.id)
    }
}

/// The processes that listen on this port, over UDP or over TCP. Those of other users are root's to see.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn holders(port: u16, udp: bool) -> Vec<Holder> {
    use std::fs::{read_dir, read_link, read_to_string};
    let (tables, state) = match udp {
        true => (["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"], UNCONNECTED),
        false => (["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"], LISTEN),
    };
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| read_to_string(table).ok())
        .flat_map(|table| {
            let inodes = table.lines().filter_map(|line| listening(line, port, state));
            inodes.map(|inode| format!("socket:[{inode}]")).collect::<Vec<_>>()
        })
        .collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    // (of one that an update has replaced meanwhile, the name says so)
    let program_of = |folder: &std::path::Path| {
        let path = read_link(folder.join("exe")).ok()?;
        let path = path.to_str()?;
        Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
    };
    let program = program_of(std::path::Path::new("/proc/self"));
    let holds = |folder: &std::path::Path| {
        let files = read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| read_link(file.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    let processes = read_dir("/proc").into_iter().flatten().flatten();
    let holders = processes.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let folder = entry.path();
        holds(&folder).then(|| {
            let name = read_to_string(folder.join("comm")).unwrap_or_default();
            let is_this_program = program.is_some() && program_of(&folder) == program;
            Holder { name: name.trim().escape_debug().to_string(), id, is_this_program }
        })
    });
    holders.collect()
}

/// Nothing tells it there.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn holders(_: u16, _: bool) -> Vec<Holder> {
    Vec::new()
}

/// The states of sockets that wait for others, as the tables have them.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LISTEN: &str = "0A";
#[cfg(any(target_os = "linux", target_os = "android"))]
const UNCONNECTED: &str = "07";

/// The inode of a line of `/proc/net/tcp`, or of its like for UDP, whose socket has the port and this state.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn listening<'a>(line: &'a str, port: u16, wanted: &str) -> Option<&'a str> {
    let mut fields = line.split_whitespace();
    let own = fields.nth(1)?.rsplit_once(':')?.1;
    let state = fields.nth(1)?;
    let is_it = state == wanted && u16::from_str_radix(own, 16) == Ok(port);
    // Behind the queues, the timer, the retransmissions, the user and the time-out.
    is_it.then(|| fields.nth(5)).flatten()
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_this_process_while_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holders(port, false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].is_this_program && found[0].id == std::process::id(), "{found:?}");
        drop(listener);
        assert!(holders(port, false).iter().all(|holder| holder.id != std::process::id()));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(holders(port, true).iter().any(|holder| holder.id == std::process::id()));
        drop(socket);
        assert!(holders(port, true).iter().all(|holder| holder.id != std::process::id()));
    }
}
