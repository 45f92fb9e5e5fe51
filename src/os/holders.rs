//! Who listens on a port of this machine, as far as the system tells it to this user.

use std::fmt;
use std::net::IpAddr;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::{net::SocketAddr, path::Path};

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

/// The processes that listen on this port, over UDP or over TCP, and so are in the way of one who wants it at the address
/// `ip`, or at any. Those of other users are root's to see.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn holders(ip: Option<IpAddr>, port: u16, udp: bool) -> Vec<Holder> {
    use std::fs::{read_dir, read_link, read_to_string};
    let (tables, states) = match udp {
        true => (["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"], &UDP[..]),
        false => (["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"], &TCP[..]),
    };
    let is_in_the_way = |own: SocketAddr| own.port() == port && ip.is_none_or(|ip| excludes(own.ip(), ip));
    let sockets: Vec<String> = tables
        .iter()
        .filter_map(|table| read_to_string(table).ok())
        .flat_map(|table| {
            let held = table.lines().filter_map(|line| listening(line, states));
            let held = held.filter(|(own, _)| is_in_the_way(*own));
            held.map(|(_, inode)| format!("socket:[{inode}]")).collect::<Vec<_>>()
        })
        .collect();
    if sockets.is_empty() {
        return Vec::new();
    }
    let holds = |folder: &Path| {
        let files = read_dir(folder.join("fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| read_link(file.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    let processes = read_dir("/proc").into_iter().flatten().flatten();
    let holders = processes.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        holds(&entry.path()).then(|| process(id))
    });
    holders.collect()
}

/// Nothing tells it there.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn holders(_: Option<IpAddr>, _: u16, _: bool) -> Vec<Holder> {
    Vec::new()
}

/// The process of this number, which holds something; `None` where the system does not tell of processes.
pub fn holder(id: u32) -> Option<Holder> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        Some(process(id))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = id;
        None
    }
}

/// What there is to say of a process.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn process(id: u32) -> Holder {
    let folder = Path::new("/proc").join(id.to_string());
    // (of one that an update has replaced meanwhile, the name says so)
    let program_of = |folder: &Path| {
        let path = std::fs::read_link(folder.join("exe")).ok()?;
        let path = path.to_str()?;
        Some(path.strip_suffix(" (deleted)").unwrap_or(path).to_owned())
    };
    let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
    let program = program_of(Path::new("/proc/self"));
    let is_this_program = program.is_some() && program_of(&folder) == program;
    Holder { name: name.trim().escape_debug().to_string(), id, is_this_program }
}

/// Whether nobody can listen at `wanted` while somebody does so at `held`, both at the same port. A socket for all addresses
/// of IPv6 takes those of IPv4, too, but where it says that it does not: that is not told here.
pub fn excludes(held: IpAddr, wanted: IpAddr) -> bool {
    let (held, wanted) = (held.to_canonical(), wanted.to_canonical());
    let takes_all = |all: IpAddr, one: IpAddr| all.is_unspecified() && (all.is_ipv6() || one.is_ipv4());
    held == wanted || takes_all(held, wanted) || takes_all(wanted, held)
}

/// The states in which a socket holds its port, as the tables have them: listening; unconnected, or connected, which is in
/// nobody's way over TCP.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TCP: [&str; 1] = ["0A"];
#[cfg(any(target_os = "linux", target_os = "android"))]
const UDP: [&str; 2] = ["07", "01"];

/// The address and the inode of a line of `/proc/net/tcp`, or of its like for UDP, whose socket has one of these states.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn listening<'a>(line: &'a str, wanted: &[&str]) -> Option<(SocketAddr, &'a str)> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.rsplit_once(':')?;
    if !wanted.contains(&fields.nth(1)?) {
        return None;
    }
    let own = SocketAddr::new(address(ip)?, u16::from_str_radix(port, 16).ok()?);
    // Behind the queues, the timer, the retransmissions, the user and the time-out.
    Some((own, fields.nth(5)?))
}

/// An address as the tables have it: words of the machine, in hexadecimal.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..(at + 1) * 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(IpAddr::from(<[u8; 16]>::try_from(words).ok()?))
        }
        _ => None,
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_this_process_while_it_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = holders(None, port, false);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].is_this_program && found[0].id == std::process::id(), "{found:?}");
        drop(listener);
        assert!(holders(None, port, false).iter().all(|holder| holder.id != std::process::id()));
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(holders(None, port, true).iter().any(|holder| holder.id == std::process::id()));
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(other.local_addr().unwrap()).unwrap();
        assert!(holders(None, port, true).iter().any(|holder| holder.id == std::process::id()));
        drop(socket);
        assert!(holders(None, port, true).iter().all(|holder| holder.id != std::process::id()));
    }

    #[test]
    fn a_holder_of_another_address_is_in_nobodys_way() {
        for (held, wanted, is_in_the_way) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.2", "127.0.0.1", false),
            ("0.0.0.0", "127.0.0.1", true),
            ("127.0.0.1", "0.0.0.0", true),
            ("::", "127.0.0.1", true),
            ("127.0.0.1", "::", true),
            ("::", "::1", true),
            ("0.0.0.0", "::1", false),
            ("::1", "0.0.0.0", false),
            ("::1", "127.0.0.1", false),
            ("::ffff:127.0.0.1", "127.0.0.1", true),
            ("::ffff:127.0.0.2", "127.0.0.1", false),
        ] {
            let [held_ip, wanted_ip] = [held, wanted].map(|text| text.parse().unwrap());
            assert_eq!(excludes(held_ip, wanted_ip), is_in_the_way, "{held} {wanted}");
        }
    }

    #[test]
    fn the_address_that_is_held_is_read() {
        for address in ["127.0.0.5:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(address) else { continue };
            let own = listener.local_addr().unwrap();
            let is_held = |ip: &str| {
                let found = holders(Some(ip.parse().unwrap()), own.port(), false);
                found.iter().any(|holder| holder.id == std::process::id())
            };
            assert!(is_held(&own.ip().to_string()), "{address}");
            assert_eq!(is_held("127.0.0.6"), own.ip().is_unspecified(), "{address}");
        }
    }
}
