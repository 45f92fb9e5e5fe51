//! What helps against a port that is refused.

use std::io;

/// A kind of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    name: &'static str,
    /// Those by which ss shows who has one.
    letters: &'static str,
}

pub(super) const TCP: Kind = Kind { name: "tcp", letters: "ltnp" };
pub(super) const UDP: Kind = Kind { name: "udp", letters: "lunp" };

/// Whether a port was refused because it takes a right to listen there. Which ports these are is a setting
/// on Linux.
pub(super) fn is_low_port_refused(port: u16, error: &io::Error) -> bool {
    cfg!(unix) && port < 1024 && error.kind() == io::ErrorKind::PermissionDenied
}

/// What helps against a port that is refused.
pub(super) fn hint(kind: Kind, port: u16, error: &io::Error) -> String {
    if cfg!(windows)
        && let Some(hint) = of_windows(kind, Some(port), error.raw_os_error())
    {
        return hint;
    }
    if error.kind() == io::ErrorKind::AddrInUse {
        let look = if cfg!(any(target_os = "linux", target_os = "android")) {
            format!(": ss -{} 'sport = :{port}' shows which", kind.letters)
        } else {
            String::new()
        };
        let host = if kind == UDP {
            "; a Shadowsocks host that relays UDP past its plugin has its own port: `plugin_mode` is to be `tcp_and_udp` \
             where UDP is to go through the plugin, and `mode` `tcp_only` where there is to be none; if it is the port \
             that the host has chosen for its plugin, the next start finds another"
        } else {
            "; a Shadowsocks server with `plugin_mode` `udp_only` and `mode` `tcp_and_udp` has it itself"
        };
        return format!(" (another program has this port{look}{host})");
    }
    if !is_low_port_refused(port, error) {
        return String::new();
    }
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return " (ports below 1024 are root's)".to_owned();
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "obfs-rs".into());
    format!(
        " (a port below 1024 takes root, or a capability of the program's file: setcap \
         cap_net_bind_service=p {}; under systemd, AmbientCapabilities=CAP_NET_BIND_SERVICE)",
        program.display()
    )
}

/// The same error with what helps, where it is one of a port over TCP.
#[cfg(windows)]
pub(crate) fn explained(error: io::Error) -> io::Error {
    match of_windows(TCP, None, error.raw_os_error()) {
        Some(hint) => io::Error::new(error.kind(), format!("{error}{hint}")),
        None => error,
    }
}

/// The same on Windows, which reserves ports for some of its parts (Hyper-V, containers), others after each start, and
/// says of them that access is denied. It says so of a port, too, that another program has for itself.
fn of_windows(kind: Kind, port: Option<u16>, code: Option<i32>) -> Option<String> {
    const WSAEACCES: i32 = 10013;
    const WSAEADDRINUSE: i32 = 10048;
    let Kind { name, .. } = kind;
    let port = port.map(|port| format!(" | findstr :{port}")).unwrap_or_default();
    let who = format!("netstat -ano{port}");
    match code? {
        WSAEACCES => Some(format!(
            " (this port is reserved by Windows; see netsh interface ipv4 show excludedportrange protocol={name}; if it \
             is in none of these ranges, another program has it for itself: {who} shows which)"
        )),
        WSAEADDRINUSE => Some(format!(" (another program has this port: {who} shows which)")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_says_of_a_reserved_port_that_access_is_denied() {
        let reserved = of_windows(TCP, Some(50_000), Some(10013)).unwrap();
        assert!(reserved.contains("reserved by Windows"), "{reserved}");
        assert!(reserved.contains("netsh interface ipv4 show excludedportrange protocol=tcp"), "{reserved}");
        let taken = of_windows(UDP, Some(50_000), Some(10048)).unwrap();
        assert!(taken.contains("another program has this port"), "{taken}");
        assert!(taken.contains("netstat -ano | findstr :50000"), "{taken}");
        assert_eq!(of_windows(TCP, Some(50_000), Some(10049)), None);
        assert_eq!(of_windows(TCP, None, None), None);
    }
}
