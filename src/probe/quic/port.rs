//! UDP ports at which nobody listens: what a server without QUIC is compared with.

use super::{CLOSED, Terms, play};
use crate::probe::judge::ProbeResult;
use crate::probe::script::{Noise, Probe, UdpVisit};
use crate::probe::seen::{End, Seen};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The ports that nobody is assigned (RFC 6335 section 6).
const FIRST_DYNAMIC: u16 = 0xc000;

/// How many ports are tried.
const TRIES: usize = 3;

/// For how long each of them may be silent.
const WATCH: Duration = Duration::from_secs(1);

/// What is known of a port without a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// The system says that nobody listens.
    Closed,
    /// Nothing came back.
    Silent,
    /// Something else came back.
    Other,
}

impl PortState {
    fn of(seen: &Seen) -> PortState {
        match &seen.end {
            End::Unreachable(why) if why == CLOSED => PortState::Closed,
            End::Open if seen.is_silent() => PortState::Silent,
            _ => PortState::Other,
        }
    }

    /// Looks at a port.
    pub async fn find(address: SocketAddr, probe: &Probe) -> PortState {
        let terms = Terms { server_name: None, watch: WATCH, longest: probe.pauses() + WATCH * 4 };
        PortState::of(&play(address, probe, &UdpVisit::Port, &terms).await)
    }
}

/// A port of this address at which nobody listens, beside the one that is looked at: one that says so, or else one
/// that says nothing.
pub async fn with_nobody(ip: IpAddr, beside: u16, probe: &Probe, noise: &mut Noise) -> SocketAddr {
    let mut silent = None;
    let mut last = SocketAddr::new(ip, u16::MAX);
    for _ in 0..TRIES {
        let port = u16::from_be_bytes(noise.array()) | FIRST_DYNAMIC;
        last.set_port(if port == beside { port ^ 1 } else { port });
        match PortState::find(last, probe).await {
            PortState::Closed => return last,
            PortState::Silent => silent = silent.or(Some(last)),
            PortState::Other => {}
        }
    }
    silent.unwrap_or(last)
}

/// What is to be said of a server's port beside one at which nobody listens. A port that is closed is nobody's,
/// whatever a firewall makes of others; two that are silent cannot be told apart from here, and nothing is known.
pub fn judge(verdict: ProbeResult, of_site: &[Seen], of_server: &Seen) -> ProbeResult {
    let is_silent = |seen: &Seen| PortState::of(seen) == PortState::Silent;
    match PortState::of(of_server) {
        PortState::Closed => ProbeResult::Same,
        PortState::Silent if of_site.iter().all(is_silent) => ProbeResult::NotCompared(
            "both are silent, also the port at which nobody listens: a firewall drops what is sent to closed ports, or \
             UDP does not get through. From here nobody can tell whether something listens; on the server's own \
             machine it can be seen"
                .to_owned(),
        ),
        _ => verdict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(what: &[&str], end: End) -> Seen {
        let told = what.iter().map(|what| (Duration::ZERO, (*what).to_owned())).collect();
        Seen { datagrams: Some(told), end, ..Seen::default() }
    }

    #[test]
    fn a_port_is_closed_or_silent_or_answers() {
        let closed = seen(&[], End::Unreachable(CLOSED.into()));
        let (silent, open) = (seen(&[], End::Open), seen(&["Retry"], End::Open));
        let rejected = seen(&[], End::Unreachable("unreachable (no route)".into()));
        for (seen, state) in [
            (&closed, PortState::Closed),
            (&silent, PortState::Silent),
            (&open, PortState::Other),
            (&rejected, PortState::Other),
        ] {
            assert_eq!(PortState::of(seen), state);
        }
        let differs = ProbeResult::Differs(Vec::new());
        let judge = |site: &Seen, server: &Seen| judge(differs.clone(), std::slice::from_ref(site), server);
        for site in [&closed, &silent] {
            assert_eq!(judge(site, &closed), ProbeResult::Same);
            assert_eq!(judge(site, &open), differs);
        }
        assert_eq!(judge(&closed, &silent), differs, "something listens");
        assert!(matches!(judge(&silent, &silent), ProbeResult::NotCompared(_)));
    }

    #[tokio::test]
    async fn a_bound_port_is_told_from_a_closed_one() {
        let probe = crate::probe::probes::port();
        let bound = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let bound_at = bound.local_addr().unwrap();
        assert_eq!(PortState::find(bound_at, &probe).await, PortState::Silent);
        drop(bound);
        assert_eq!(PortState::find(bound_at, &probe).await, PortState::Closed);
        let nobody = with_nobody(bound_at.ip(), 1, &probe, &mut Noise::new(1)).await;
        assert!(nobody.port() >= FIRST_DYNAMIC);
        assert_eq!(PortState::find(nobody, &probe).await, PortState::Closed);
    }
}
