//! Datagrams: there is no handshake that could be raced, so the best address that is known is taken, without a wait.

use super::{DialError, Dialer};
use crate::metrics;
use crate::net::outgoing;
use std::io;
use std::net::{SocketAddr, UdpSocket};

impl Dialer {
    /// A socket for datagrams to one of the hosts, and from it alone, which does not block. Nobody is waited for: a
    /// name that is not known yet is asked for, and whoever comes later profits.
    ///
    /// # Errors
    ///
    /// No address is known, or no way leads to one.
    pub fn open_for_datagrams(&self) -> Result<(UdpSocket, SocketAddr), DialError> {
        let opened = self.open_to_best();
        if opened.is_err() {
            metrics::dial_failed(self.to);
        }
        opened
    }

    fn open_to_best(&self) -> Result<(UdpSocket, SocketAddr), DialError> {
        self.names.refresh();
        let addresses = self.names.addresses();
        if addresses.is_empty() {
            return Err(DialError::Lookup(self.names.errors()));
        }
        let mut failures = Vec::new();
        for address in self.in_order(addresses)? {
            match outgoing::connected_udp(address, &self.options) {
                Ok(socket) => return Ok((socket, address)),
                Err(error) => self.note_failure(address, &error, &mut failures),
            }
        }
        Err(DialError::Connect(failures.join("; ")))
    }

    /// This address has answered a datagram.
    pub fn note_answer(&self, address: SocketAddr) {
        let mut memory = self.memory();
        memory.preferred = Some(address);
        memory.dead.remove(&address);
    }

    /// Nobody takes datagrams at this address: others are better.
    pub fn note_refusal(&self, address: SocketAddr, error: &io::Error) {
        self.note_failure(address, error, &mut Vec::new());
        metrics::dial_failed(self.to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::addr::HostPort;
    use crate::net::options::SocketOptions;
    use crate::net::own_addresses::OwnAddresses;

    fn dialer(targets: &[&str]) -> Dialer {
        let targets = targets.iter().map(|target| HostPort::parse(target).unwrap()).collect();
        Dialer::new(targets, SocketOptions::default())
    }

    #[tokio::test]
    async fn whoever_refuses_stands_behind_the_others_until_it_answers() {
        let dialer = dialer(&["127.0.0.1:9", "127.0.0.2:9"]);
        let best = || dialer.open_for_datagrams().unwrap().1.to_string();
        assert_eq!(best(), "127.0.0.1:9");
        dialer.note_refusal("127.0.0.1:9".parse().unwrap(), &io::ErrorKind::ConnectionRefused.into());
        assert_eq!(best(), "127.0.0.2:9");
        dialer.note_answer("127.0.0.2:9".parse().unwrap());
        assert_eq!(best(), "127.0.0.2:9");
        dialer.note_answer("127.0.0.1:9".parse().unwrap());
        assert_eq!(best(), "127.0.0.1:9");
    }

    #[tokio::test]
    async fn a_name_that_is_not_known_yet_is_not_waited_for() {
        let dialer = dialer(&["localhost:9"]);
        assert!(matches!(dialer.open_for_datagrams(), Err(DialError::Lookup(_))));
        dialer.names().all_answers(std::time::Duration::from_secs(60)).await;
        assert!(dialer.open_for_datagrams().unwrap().1.ip().is_loopback());
    }

    #[tokio::test]
    async fn datagrams_do_not_lead_back() {
        let own = OwnAddresses::to_be(&[HostPort::parse("127.0.0.1:4433").unwrap()]);
        let dialer = dialer(&["127.0.0.1:4433"]).without(own);
        assert!(matches!(dialer.open_for_datagrams(), Err(DialError::Circle(..))));
    }
}
