//! What of the settings a process cannot change while it runs.

use super::read::{Config, Half};

impl Config {
    /// The settings, as users write them, that differ from these others and that only a restart changes.
    pub fn needs_restart(&self, other: &Config) -> Vec<&'static str> {
        fn listen(config: &Config) -> &[crate::net::addr::HostPort] {
            match &config.half {
                Half::Client(client) => &client.listen,
                Half::Server(server) => &server.listen,
            }
        }
        fn quic(config: &Config) -> Option<(&Option<crate::net::addr::HostPort>, bool)> {
            match &config.half {
                Half::Client(_) => None,
                Half::Server(server) => server.quic.as_ref().map(|quic| (&quic.website, quic.alone)),
            }
        }
        fn udp(config: &Config) -> Option<bool> {
            match &config.half {
                Half::Client(client) => Some(client.udp),
                Half::Server(_) => None,
            }
        }
        let is_server = matches!(self.half, Half::Server(_));
        let (one, two) = (&self.process, &other.process);
        let (sockets, others) = (&self.tunnel.sockets, &other.tunnel.sockets);
        [
            ("the addresses to listen on", listen(self) != listen(other)),
            ("QUIC and `failover-quic`", quic(self) != quic(other)),
            ("`udp`", udp(self) != udp(other)),
            ("`a`", one.user != two.user),
            ("`f`", one.pid_file != two.pid_file),
            ("`n`", one.open_files != two.open_files),
            ("`access-log`", one.access_log != two.access_log),
            ("`metrics`", one.metrics != two.metrics),
            ("`limit-buffers`", one.buffers != two.buffers),
            // On a server they are the listening sockets', on a client those of each connection.
            ("`fast-open`", is_server && sockets.fast_open != others.fast_open),
            ("`mptcp`", is_server && sockets.mptcp != others.mptcp),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}
