//! Free ports, for programs that must be told a number.

use rustix::fs::{FlockOperation, flock};
use socket2::{Domain, Socket, Type};
use std::collections::HashSet;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

/// A port nobody listens on.
///
/// It lies below the ephemeral range, so that no outgoing connection takes it before the child
/// binds it, and starts at a random place, since each test may be a process of its own. As long as this
/// process lives no other test's takes it, nor tries whether it could.
pub fn free_port() -> u16 {
    static USED: OnceLock<Mutex<HashSet<u16>>> = OnceLock::new();
    let low = 10_000;
    let high = ephemeral_start().clamp(low + 5_000, 65_000);
    let mut used = USED.get_or_init(Mutex::default).lock().expect("ports");
    let mut state = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64)
        ^ (u64::from(std::process::id()) << 32);
    for _ in 0..10_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let port = low + ((state >> 33) % u64::from(high - low)) as u16;
        if used.contains(&port) {
            continue;
        }
        let Some(reservation) = reserve(port) else { continue };
        if bindable(port) {
            // Held until the process ends.
            std::mem::forget(reservation);
            used.insert(port);
            return port;
        }
    }
    panic!("no free port between {low} and {high}");
}

/// The lock by which a port is this process's among the tests'; `None` if another has it.
fn reserve(port: u16) -> Option<File> {
    let folder = std::env::temp_dir().join("obfs-rs-test-ports");
    std::fs::create_dir_all(&folder).expect("a folder for locks");
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(port.to_string()));
    let file = file.expect("a file to lock");
    flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file)
}

/// Both families, all addresses: a child may bind any of them.
fn bindable(port: u16) -> bool {
    binds((Ipv4Addr::UNSPECIFIED, port).into()).is_ok()
        && match binds((Ipv6Addr::UNSPECIFIED, port).into()) {
            Ok(()) => true,
            // a machine without IPv6 has no collision there
            Err(e) => e.kind() != std::io::ErrorKind::AddrInUse,
        }
}

/// Binds without listening. A child that another thread starts at this moment has a copy of the socket
/// until it executes its program: if that listened, the port would seem served and its visitors be reset.
fn binds(address: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())
}

fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|s| s.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}
