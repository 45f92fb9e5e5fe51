//! The head of a frame.

use super::{
    ADDRESS_DOMAIN, ADDRESS_IPV4, ADDRESS_IPV6, METADATA_MAX, METADATA_MIN, NETWORK_TCP, NETWORK_UDP,
    OPTION_DATA, OPTION_ERROR, STATUS_END, STATUS_KEEP, STATUS_KEEP_ALIVE, STATUS_NEW,
};
use thiserror::Error;

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The session begins, by this protocol.
    New(Network),
    /// The session goes on.
    Keep,
    /// The session ends.
    End,
    /// Nothing, but that the connection is alive.
    KeepAlive,
}

/// The protocol of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The session is a stream.
    Tcp,
    /// The session is a row of packets.
    Udp,
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
            STATUS_NEW => Status::New(network(rest)?),
            STATUS_KEEP => Status::Keep,
            STATUS_END => Status::End,
            STATUS_KEEP_ALIVE => Status::KeepAlive,
            other => return Err(Error::Status(other)),
        };
        let head =
            Self { id: u16::from_be_bytes([*high, *low]), status, error: option & OPTION_ERROR != 0, data };
        Ok(Some((head, size)))
    }

    /// How many bytes are wanted to get on with the head that begins with `bytes`: its size as soon
    /// as the first 6 bytes are there, and less before.
    pub(super) fn size(bytes: &[u8]) -> Result<usize, Error> {
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

/// Checks the target of a new session at the front of `bytes`. What follows it means nothing (xray puts an
/// id of its own there for UDP).
fn network(bytes: &[u8]) -> Result<Network, Error> {
    let [network, _, _, kind, address @ ..] = bytes else {
        return Err(Error::ShortTarget);
    };
    let network = match *network {
        NETWORK_TCP => Network::Tcp,
        NETWORK_UDP => Network::Udp,
        other => return Err(Error::Network(other)),
    };
    let (length, address) = match *kind {
        ADDRESS_IPV4 => (4, address),
        ADDRESS_IPV6 => (16, address),
        ADDRESS_DOMAIN => {
            let (length, name) = address.split_first().ok_or(Error::ShortTarget)?;
            (usize::from(*length), name)
        }
        other => return Err(Error::AddressType(other)),
    };
    let address = address.get(..length).ok_or(Error::ShortTarget)?;
    if *kind == ADDRESS_DOMAIN && !is_name(address) {
        return Err(Error::Domain);
    }
    Ok(network)
}

/// Whether this can be the name of a host: letters, digits and `-._` (and `[]:`, for an address that is
/// written as text). v2ray refuses others too.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(byte))
}
