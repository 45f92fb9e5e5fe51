//! Mux.Cool: several sessions in one byte stream, as v2ray-plugin has them inside WebSocket.
//!
//! The stream is a row of frames. A frame is a [`Head`] and up to 65,535 bytes of data; all numbers
//! are big-endian (source: v2ray-core, `common/mux`):
//!
//! ```text
//! u16  length of the metadata, at most 512
//! u16  session id                                  ┐
//! u8   status: 1 new, 2 keep, 3 end, 4 keep alive  │
//! u8   option: bit 0 data follow, bit 1 error      │ metadata
//!      if new: u8 network, u16 port,               │
//!              u8 address type, address            │
//!      more, which is skipped                      ┘
//!      if data follow: u16 length, and the data
//! ```
//!
//! There is no flow control and no half-close: who has said the end of a session hears no more
//! from it. (v2ray answers each piece that still comes for it with another end.) The two ends of a
//! session need not agree on an order: both say the end.
//!
//! A [`Decoder`] walks the stream, cut anywhere, and lets the data pass in place; an [`Encoder`]
//! puts heads in front of data; [`is_mux_stream`] tells such a stream from a bare Shadowsocks
//! stream.
//!
//! What the peers do, and what follows for what we write:
//!
//! - The **target** of a session is a placeholder, 127.0.0.1 port 0 from v2ray-plugin and mihomo,
//!   `v1.mux.cool` port 666 from sing-box. It is never to be dialled: that would be an open proxy.
//! - mihomo and sing-box have session id 0 and one session a connection, v2ray counts up from 1.
//! - mihomo reads heads that are 6 bytes long (8 with data), so nothing goes into the metadata of
//!   what it gets; and it reads status and option in one go, so a head must not be cut by the end
//!   of a WebSocket message. It takes no notice of the end of a session.

mod decode;
mod detect;
mod encode;

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

pub use decode::{Decoder, Step};
pub use detect::{IsMux, is_mux_message, is_mux_stream};
pub use encode::{Encoder, end, keep_alive};

/// The most metadata in a head, in bytes; more is an error for v2ray too.
const METADATA_MAX: usize = 512;
/// Session id, status, option: the least metadata in a head, in bytes.
const METADATA_MIN: usize = 4;

const OPTION_DATA: u8 = 0x01;
const OPTION_ERROR: u8 = 0x02;

const STATUS_NEW: u8 = 1;
const STATUS_KEEP: u8 = 2;
const STATUS_END: u8 = 3;
const STATUS_KEEP_ALIVE: u8 = 4;

const NETWORK_TCP: u8 = 1;
const NETWORK_UDP: u8 = 2;

const ADDRESS_IPV4: u8 = 1;
const ADDRESS_DOMAIN: u8 = 2;
const ADDRESS_IPV6: u8 = 3;

/// The head of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The session's id. Means nothing with [`Status::KeepAlive`].
    pub id: u16,
    /// What the frame says of the session.
    pub status: Status,
    /// The session has ended by an error. Only meant with [`Status::End`].
    pub error: bool,
    /// How many bytes of data follow, or `None` if that has not been said. The data of a frame
    /// that says the end or keeps the connection alive are to be thrown away, as are those of a
    /// session that is not known. In a UDP session, the data of a frame are one packet.
    pub data: Option<u16>,
}

/// What a frame says of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The session begins.
    New(Target),
    /// The session goes on.
    Keep,
    /// The session ends.
    End,
    /// Nothing, but that the connection is alive.
    KeepAlive,
}

/// Where the peer says that it wants to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// By which protocol.
    pub network: Network,
    /// The port there.
    pub port: u16,
    /// The host.
    pub address: Address,
}

impl Target {
    /// Where v2ray-plugin's client says that it wants to go: TCP to 127.0.0.1, port 0.
    pub const PLACEHOLDER: Self =
        Self { network: Network::Tcp, port: 0, address: Address::V4(Ipv4Addr::LOCALHOST) };
}

/// The protocol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The session is a stream.
    Tcp,
    /// The session is a row of packets.
    Udp,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Address type 1.
    V4(Ipv4Addr),
    /// Address type 2.
    Domain(Domain),
    /// Address type 3.
    V6(Ipv6Addr),
}

/// A host's name: 1 to 255 letters, digits and `-._` (and `[]:`, for an address that is written
/// as text). v2ray refuses others too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(Box<str>);

impl Domain {
    /// The name, if it can be one.
    pub fn new(name: &[u8]) -> Option<Self> {
        let fits = (1..=255).contains(&name.len())
            && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte));
        let name = std::str::from_utf8(name).ok().filter(|_| fits)?;
        Some(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a stream is not Mux.Cool. All of these end the connection, in v2ray too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// The metadata have less than 4 bytes or more than 512.
    #[error("a mux frame has {0} bytes of metadata")]
    MetadataLength(usize),
    /// There is no such status.
    #[error("a mux frame has the unknown status {0}")]
    Status(u8),
    /// There is no such network.
    #[error("a mux session has the unknown network {0}")]
    Network(u8),
    /// There is no such address type.
    #[error("a mux session has the unknown address type {0}")]
    AddressType(u8),
    /// The metadata end before the target does.
    #[error("the target of a mux session is cut short")]
    ShortTarget,
    /// The name is empty or has characters that no name has.
    #[error("the target of a mux session has an impossible name")]
    Domain,
}

impl Head {
    /// Reads the head at the front of `bytes`, with the length of the data if data follow. Returns
    /// it and its size in bytes, or `None` if there is more of it to come.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let size = Self::size(bytes)?;
        let Some(head) = bytes.get(..size) else {
            return Ok(None);
        };
        // `size` is that of the whole head as soon as these six bytes are there.
        let [_, _, high, low, status, option, rest @ ..] = head else {
            return Ok(None);
        };
        let (data, rest) = match rest.split_last_chunk() {
            Some((rest, length)) if option & OPTION_DATA != 0 => (Some(u16::from_be_bytes(*length)), rest),
            _ => (None, rest),
        };
        let status = match *status {
            STATUS_NEW => Status::New(Target::read(rest)?),
            STATUS_KEEP => Status::Keep,
            STATUS_END => Status::End,
            STATUS_KEEP_ALIVE => Status::KeepAlive,
            other => return Err(Error::Status(other)),
        };
        let head =
            Self { id: u16::from_be_bytes([*high, *low]), status, error: option & OPTION_ERROR != 0, data };
        Ok(Some((head, size)))
    }

    /// Appends the head to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.push(match self.status {
            Status::New(_) => STATUS_NEW,
            Status::Keep => STATUS_KEEP,
            Status::End => STATUS_END,
            Status::KeepAlive => STATUS_KEEP_ALIVE,
        });
        let data = if self.data.is_some() { OPTION_DATA } else { 0 };
        let error = if self.error { OPTION_ERROR } else { 0 };
        out.push(data | error);
        if let Status::New(target) = &self.status {
            target.write(out);
        }
        let metadata = (out.len() - start - 2) as u16;
        out[start..start + 2].copy_from_slice(&metadata.to_be_bytes());
        if let Some(length) = self.data {
            out.extend_from_slice(&length.to_be_bytes());
        }
    }

    /// How many bytes are wanted to get on with the head that begins with `bytes`: its size as soon
    /// as the first 6 bytes are there, and less before.
    fn size(bytes: &[u8]) -> Result<usize, Error> {
        let Some(length) = bytes.first_chunk() else {
            return Ok(2);
        };
        let metadata = usize::from(u16::from_be_bytes(*length));
        if !(METADATA_MIN..=METADATA_MAX).contains(&metadata) {
            return Err(Error::MetadataLength(metadata));
        }
        let Some(option) = bytes.get(5) else {
            return Ok(6);
        };
        let data = if option & OPTION_DATA != 0 { 2 } else { 0 };
        Ok(2 + metadata + data)
    }
}

impl Target {
    /// Reads a target at the front of `bytes`; what follows it means nothing (xray puts an id of
    /// its own there for UDP).
    fn read(bytes: &[u8]) -> Result<Self, Error> {
        let [network, high, low, kind, rest @ ..] = bytes else {
            return Err(Error::ShortTarget);
        };
        let network = match *network {
            NETWORK_TCP => Network::Tcp,
            NETWORK_UDP => Network::Udp,
            other => return Err(Error::Network(other)),
        };
        let address = match *kind {
            ADDRESS_IPV4 => {
                let octets = rest.first_chunk::<4>().ok_or(Error::ShortTarget)?;
                Address::V4((*octets).into())
            }
            ADDRESS_IPV6 => {
                let octets = rest.first_chunk::<16>().ok_or(Error::ShortTarget)?;
                Address::V6((*octets).into())
            }
            ADDRESS_DOMAIN => {
                let (length, rest) = rest.split_first().ok_or(Error::ShortTarget)?;
                let name = rest.get(..(*length).into()).ok_or(Error::ShortTarget)?;
                Address::Domain(Domain::new(name).ok_or(Error::Domain)?)
            }
            other => return Err(Error::AddressType(other)),
        };
        Ok(Self { network, port: u16::from_be_bytes([*high, *low]), address })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(match self.network {
            Network::Tcp => NETWORK_TCP,
            Network::Udp => NETWORK_UDP,
        });
        out.extend_from_slice(&self.port.to_be_bytes());
        match &self.address {
            Address::V4(address) => {
                out.push(ADDRESS_IPV4);
                out.extend_from_slice(&address.octets());
            }
            Address::V6(address) => {
                out.push(ADDRESS_IPV6);
                out.extend_from_slice(&address.octets());
            }
            Address::Domain(Domain(name)) => {
                // A `Domain` has at most 255 bytes.
                out.extend_from_slice(&[ADDRESS_DOMAIN, name.len() as u8]);
                out.extend_from_slice(name.as_bytes());
            }
        }
    }
}

#[cfg(test)]
mod tests;
