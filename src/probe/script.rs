//! What a visitor does on one connection, as data.

use std::time::Duration;

/// One thing that a visitor does, after the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sends this, in a segment of its own where that is possible.
    Send(Vec<u8>),
    /// Is silent for so long, whatever comes.
    Pause(Duration),
    /// Waits for an answer, until nothing more of it comes. What comes later counts as another answer.
    Listen,
    /// Ends its direction; in TLS with a `close_notify` before it.
    Fin,
    /// Leaves. How the connection would have ended is not seen.
    Leave,
}

/// How a connection begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The steps are what goes over the wire.
    Wire,
    /// A TLS handshake comes first, and is what the probe is about.
    Handshake(Offer),
    /// A TLS handshake comes first, and the probe is about what goes inside. What was agreed on is not
    /// compared again.
    Inside(Offer),
    /// There is no connection: the probe goes over UDP.
    Udp(UdpVisit),
}

/// How a visit over UDP begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpVisit {
    /// What is sent are datagrams, to see whether anything listens: the only visit that tells what the network
    /// says of the port.
    Port,
    /// What is sent are datagrams.
    Datagrams(Datagrams),
    /// A client of QUIC says this and nothing more.
    FirstFlight(FirstFlight),
    /// A QUIC handshake.
    Handshake(QuicOffer),
}

/// The connection ids in datagrams that are QUIC packets, which an answer repeats: the server's and the client's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Datagrams {
    pub destination: Vec<u8>,
    pub source: Vec<u8>,
}

/// What a client of QUIC says first: Initial packets, each in a datagram of its own. It has no connection id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstFlight {
    /// One of which the keys are known.
    pub version: u32,
    /// How long the id is by which it calls the server.
    pub id: usize,
    /// What it pretends to have from a Retry.
    pub token: Vec<u8>,
    /// The frames of each packet, and the size of the datagram that they are padded to.
    pub datagrams: Vec<Vec<u8>>,
    pub size: usize,
    /// The bits that have to be zero.
    pub reserved: u8,
    /// The seal is broken.
    pub broken: bool,
}

/// What the hello of a QUIC handshake offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicOffer {
    pub name: OfferedName,
    /// The application protocols, none: without the extension.
    pub alpn: Vec<&'static str>,
    /// The handshake is enough: what the server says then is not waited for.
    pub brief: bool,
}

/// The protocol name of HTTP/2 in TLS (RFC 9113 section 3.2).
pub const HTTP2: &str = "h2";

/// What the hello of a TLS handshake offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub name: OfferedName,
    /// The application protocols (RFC 7301), none: without the extension.
    pub alpn: Vec<&'static str>,
    /// TLS 1.2 and no more.
    pub only_tls12: bool,
}

/// The server name in a hello (RFC 6066 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferedName {
    /// The one that the site is asked by, if it is a name.
    Own,
    /// No such extension.
    None,
    /// A name that no site has.
    Foreign,
}

impl Offer {
    /// What a program offers that wants a page over HTTP/1.1.
    pub fn usual() -> Offer {
        Offer { name: OfferedName::Own, alpn: vec!["http/1.1"], only_tls12: false }
    }

    /// What a browser offers, which speaks HTTP/2 where it can.
    pub fn http2() -> Offer {
        Offer { alpn: vec![HTTP2, "http/1.1"], ..Offer::usual() }
    }
}

/// A visitor, and a name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub name: String,
    pub entry: Entry,
    pub steps: Vec<Action>,
    /// It is about what happens when nothing happens: watched for twice as long.
    pub patient: bool,
}

impl Probe {
    /// A visitor of the bare port.
    pub fn new(name: impl Into<String>, steps: Vec<Action>) -> Probe {
        Probe { name: name.into(), entry: Entry::Wire, steps, patient: false }
    }

    /// The same, watched for longer.
    pub fn patiently(self) -> Probe {
        Probe { patient: true, ..self }
    }

    /// The same inside TLS.
    pub fn inside(self, offer: Offer) -> Probe {
        Probe { name: format!("in TLS: {}", self.name), entry: Entry::Inside(offer), ..self }
    }

    /// A visitor over UDP.
    pub fn over_udp(name: impl Into<String>, visit: UdpVisit, steps: Vec<Action>) -> Probe {
        Probe { entry: Entry::Udp(visit), ..Probe::new(name, steps) }
    }

    /// How long the steps take by themselves.
    pub fn pauses(&self) -> Duration {
        self.steps
            .iter()
            .map(|step| match step {
                Action::Pause(length) => *length,
                _ => Duration::ZERO,
            })
            .sum()
    }
}

/// A visitor who says one thing and waits.
pub fn says(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Probe {
    Probe::new(name, vec![Action::Send(bytes.as_ref().to_vec())])
}

/// One who says one thing and ends its direction.
pub fn says_and_ends(name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Probe {
    Probe::new(name, vec![Action::Send(bytes.as_ref().to_vec()), Action::Fin])
}

/// One who says it in pieces of so many bytes, with a pause after each.
pub fn says_slowly(name: impl Into<String>, bytes: impl AsRef<[u8]>, piece: usize, pause: Duration) -> Probe {
    let pieces = bytes.as_ref().chunks(piece.max(1));
    Probe::new(name, pieces.flat_map(|piece| [Action::Send(piece.to_vec()), Action::Pause(pause)]).collect())
}

/// Bytes that look random and are the same for the same seed, in every version of this program:
/// SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(length + 8);
        while out.len() < length {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(length);
        out
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.bytes(N));
        out
    }

    /// A word of so many lower-case letters.
    pub fn word(&mut self, length: usize) -> String {
        self.bytes(length).into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_the_same_for_the_same_seed() {
        // The first outputs of SplitMix64 for the seed 0, as its authors' own code gives them.
        let mut noise = Noise::new(0);
        assert_eq!(noise.next(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(noise.next(), 0x6e78_9e6a_a1b9_65f4);
        assert_eq!(Noise::new(7).bytes(20), Noise::new(7).bytes(20));
        assert_ne!(Noise::new(7).bytes(20), Noise::new(8).bytes(20));
        assert_eq!(Noise::new(7).bytes(3).len(), 3);
        assert!(Noise::new(1).word(12).bytes().all(|byte| byte.is_ascii_lowercase()));
    }
}
