//! The PROXY protocol: what a proxy says, in front of the stream, about the connection that it passes
//! on. Both directions, both versions, as pure functions of bytes.
//!
//! Source: HAProxy's `doc/proxy-protocol.txt` ("Versions 1 & 2"); section 2.1 is version 1, a line of
//! text, and section 2.2 is version 2, which is binary.
//!
//! ```text
//! v1   PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n
//! v2   0d0a0d0a000d0a515549540a   21         11         000c     cb007107 c0000201 c822 01bb
//!      signature                  version,   family,    length   source,  desti-   their
//!                                 command    transport  behind   address  nation   ports
//! ```

use super::Reader;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use thiserror::Error;

/// The first bytes of version 1.
const WORD: &[u8] = b"PROXY ";

/// The longest line of version 1 with its end, in bytes (section 2.1).
const MAX_LINE: usize = 107;

/// The first bytes of version 2.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What version 2 begins with: signature, version and command, family and transport, length.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The longest header that is taken, in bytes: nginx's limit. The addresses take 52 at the most (232 for
/// UNIX sockets), and what proxies say beside them (names, certificates) some hundred.
pub const MAX_HEADER: usize = 4096;

/// The two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        })
    }
}

/// A header as it was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The ends of the connection that is passed on. `None` where the proxy speaks for itself (`LOCAL`,
    /// a health check) or does not tell (`UNKNOWN`, UNIX sockets, datagrams): those of the socket count.
    pub addresses: Option<Addresses>,
    /// Its length in bytes; the stream begins there.
    pub len: usize,
}

/// The ends of a connection that is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// Who connected to the proxy.
    pub source: SocketAddr,
    /// The address that it connected to.
    pub destination: SocketAddr,
}

/// Why some bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidHeader {
    /// They begin as neither version does.
    #[error("this is no PROXY header")]
    Other,
    /// The line of version 1 does not end within its limit.
    #[error("its line has more than {MAX_LINE} bytes")]
    LongLine,
    /// The line of version 1 is not as it should be.
    #[error("its line does not have the form of version 1")]
    Line,
    /// A later version, or a command that version 2 does not have.
    #[error("{0:#04x} is no version and command of version 2")]
    Command(u8),
    /// A family or transport that version 2 does not have.
    #[error("{0:#04x} is no family and transport of version 2")]
    Family(u8),
    /// Its addresses do not fit into its length.
    #[error("{0} bytes are too few for its addresses")]
    Short(usize),
    /// It is longer than [`MAX_HEADER`].
    #[error("it has {0} bytes, and {MAX_HEADER} are taken at the most")]
    Long(usize),
}

impl Header {
    /// Reads the header that a stream begins with. `None` if it needs more bytes. As long as it does, all
    /// of `bytes` belong to the header; and more bytes never change any other answer.
    ///
    /// What version 2 carries behind the addresses (TLVs) is skipped, checksums (`PP2_TYPE_CRC32C`)
    /// among it: TCP has its own.
    ///
    /// # Errors
    ///
    /// There is none, or none that section 2 allows.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, InvalidHeader> {
        let begins_like = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
        if begins_like(SIGNATURE) {
            binary(bytes)
        } else if begins_like(WORD) {
            line(bytes)
        } else {
            Err(InvalidHeader::Other)
        }
    }

    /// Whether a stream that begins with these bytes seems to begin with a header: with the signature of version 2,
    /// or with the word of version 1 and nothing else behind it than what stands there, as far as that has come.
    pub fn is_begun_by(bytes: &[u8]) -> bool {
        let Some(rest) = bytes.strip_prefix(WORD) else { return bytes.starts_with(SIGNATURE) };
        let protocols: [&[u8]; 3] = [b"TCP4 ", b"TCP6 ", b"UNKNOWN"];
        protocols.iter().any(|protocol| rest.iter().zip(*protocol).all(|(a, b)| a == b))
    }
}

/// Version 1.
fn line(bytes: &[u8]) -> Result<Option<Header>, InvalidHeader> {
    let most = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = most.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(InvalidHeader::LongLine) };
    };
    let line = most.get(WORD.len()..end).and_then(|line| std::str::from_utf8(line).ok());
    let (protocol, rest) = match line {
        Some(line) => line.split_once(' ').unwrap_or((line, "")),
        // What stands behind UNKNOWN is to be ignored, text or not.
        None if most.starts_with(b"PROXY UNKNOWN ") => ("UNKNOWN", ""),
        None => return Err(InvalidHeader::Line),
    };
    let addresses = match protocol {
        "UNKNOWN" => None,
        "TCP4" => Some(ends::<Ipv4Addr>(rest)?),
        "TCP6" => Some(ends::<Ipv6Addr>(rest)?),
        _ => return Err(InvalidHeader::Line),
    };
    Ok(Some(Header { addresses, len: end + 2 }))
}

/// Two addresses and two ports, one space between each.
fn ends<A: std::str::FromStr + Into<IpAddr>>(text: &str) -> Result<Addresses, InvalidHeader> {
    let mut fields = text.split(' ');
    let mut field = || fields.next().ok_or(InvalidHeader::Line);
    let address = |text: &str| text.parse::<A>().map(Into::into).map_err(|_| InvalidHeader::Line);
    let (source, destination) = (address(field()?)?, address(field()?)?);
    let (from, to) = (port(field()?)?, port(field()?)?);
    if field().is_ok() {
        return Err(InvalidHeader::Line);
    }
    Ok(Addresses { source: SocketAddr::new(source, from), destination: SocketAddr::new(destination, to) })
}

/// A port: digits, the first of several not 0.
fn port(text: &str) -> Result<u16, InvalidHeader> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain).ok_or(InvalidHeader::Line)
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Option<Header>, InvalidHeader> {
    let Some(&command) = bytes.get(12) else { return Ok(None) };
    if !matches!(command, LOCAL | PROXY) {
        return Err(InvalidHeader::Command(command));
    }
    let Some(&family) = bytes.get(13) else { return Ok(None) };
    // Of a LOCAL header all that follows is to be discarded, the family with it.
    if command == PROXY && (family >> 4 > 3 || family & 0xf > 2) {
        return Err(InvalidHeader::Family(family));
    }
    let Some(&length) = bytes.get(14..FIXED).and_then(<[u8]>::first_chunk::<2>) else { return Ok(None) };
    let len = FIXED + usize::from(u16::from_be_bytes(length));
    if len > MAX_HEADER {
        return Err(InvalidHeader::Long(len));
    }
    let too_short = match (command, family) {
        (PROXY, TCP_OVER_IPV4) => len < FIXED + 2 * (4 + 2),
        (PROXY, TCP_OVER_IPV6) => len < FIXED + 2 * (16 + 2),
        _ => false,
    };
    if too_short {
        return Err(InvalidHeader::Short(len));
    }
    let Some(block) = bytes.get(FIXED..len) else { return Ok(None) };
    let addresses = match (command, family) {
        (PROXY, TCP_OVER_IPV4) => block_ends::<4>(block),
        (PROXY, TCP_OVER_IPV6) => block_ends::<16>(block),
        _ => None,
    };
    Ok(Some(Header { addresses, len }))
}

/// Two addresses of `N` bytes, then two ports.
fn block_ends<const N: usize>(block: &[u8]) -> Option<Addresses>
where
    IpAddr: From<[u8; N]>,
{
    let mut block = Reader(block);
    let (source, destination) = (block.array::<N>()?, block.array::<N>()?);
    let (from, to) = (block.u16()?, block.u16()?);
    Some(Addresses {
        source: SocketAddr::new(source.into(), from),
        destination: SocketAddr::new(destination.into(), to),
    })
}

impl Addresses {
    /// The header with these addresses. Where one is IPv4 and the other IPv6, both are written as IPv6.
    pub fn encode(&self, version: Version) -> Vec<u8> {
        let (from, to) = (self.source.port(), self.destination.port());
        let ends = [self.source, self.destination].map(|end| end.ip().to_canonical());
        let is_ipv4 = ends.iter().all(IpAddr::is_ipv4);
        let [source, destination] = ends.map(|ip| match ip {
            IpAddr::V4(ip) if !is_ipv4 => ip.to_ipv6_mapped().into(),
            ip => ip,
        });
        if version == Version::V1 {
            let family = if is_ipv4 { "TCP4" } else { "TCP6" };
            return format!("PROXY {family} {source} {destination} {from} {to}\r\n").into_bytes();
        }
        let (family, length) = if is_ipv4 { (TCP_OVER_IPV4, 12) } else { (TCP_OVER_IPV6, 36) };
        let mut header = [SIGNATURE, &[PROXY, family, 0, length]].concat();
        for address in [source, destination] {
            match address {
                IpAddr::V4(address) => header.extend(address.octets()),
                IpAddr::V6(address) => header.extend(address.octets()),
            }
        }
        header.extend(from.to_be_bytes());
        header.extend(to.to_be_bytes());
        header
    }
}

#[cfg(test)]
mod tests;
