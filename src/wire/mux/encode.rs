//! From data to frames.

use super::{
    ADDRESS_IPV4, METADATA_MIN, NETWORK_TCP, NETWORK_UDP, Network, OPTION_DATA, OPTION_ERROR, STATUS_END,
    STATUS_KEEP, STATUS_KEEP_ALIVE, STATUS_NEW,
};
use crate::wire::FrameSizeError;

/// The target of a new session as v2ray-plugin's client writes it: port 0, IPv4, 127.0.0.1, behind the network.
const PLACEHOLDER: [u8; 7] = [0, 0, ADDRESS_IPV4, 127, 0, 0, 1];

/// The head of a new session without data: v2ray's client sends it when no data have come for the
/// session in its first 100 ms.
const OPEN: usize = 7 + PLACEHOLDER.len();
/// The head of any later frame with data.
const KEEP: usize = 8;

/// Puts the data of one session into frames.
#[derive(Debug, Clone)]
pub struct Encoder {
    id: u16,
    network: Network,
    opened: bool,
}

impl Encoder {
    /// Bytes to leave free in front of the data: the longest head there is.
    pub const HEAD: usize = OPEN + 2;

    /// The most data in one frame, in bytes. (v2ray writes at most 8192, and reads any number.)
    pub const PAYLOAD: usize = u16::MAX as usize;

    /// An encoder for a session that this end begins: the first frame opens it.
    pub fn client(id: u16) -> Self {
        Self { id, network: Network::Tcp, opened: false }
    }

    /// The same for a session of UDP: each frame is a packet.
    pub fn udp_client(id: u16) -> Self {
        Self { network: Network::Udp, ..Self::client(id) }
    }

    /// An encoder for a session that the peer has begun.
    pub fn server(id: u16) -> Self {
        Self { id, network: Network::Tcp, opened: true }
    }

    /// Makes a frame of the data `frame[HEAD..]`, in place, with the head directly in front of
    /// them: 8 bytes, or 16 if the frame opens the session. Returns where in `frame` it begins.
    ///
    /// # Errors
    ///
    /// `frame` is shorter than [`HEAD`](Self::HEAD), or there are more data than
    /// [`PAYLOAD`](Self::PAYLOAD).
    pub fn encode_in_place(&mut self, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        let size = FrameSizeError(frame.len());
        let (head, data) = frame.split_first_chunk_mut::<{ Self::HEAD }>().ok_or(size)?;
        let length = u16::try_from(data.len()).map_err(|_| size)?;
        head[OPEN..].copy_from_slice(&length.to_be_bytes());
        if self.opened {
            let start = Self::HEAD - KEEP;
            head[start..OPEN].copy_from_slice(&short(self.id, STATUS_KEEP, OPTION_DATA));
            Ok(start)
        } else {
            self.opened = true;
            head[..OPEN].copy_from_slice(&open(self.id, self.network, OPTION_DATA));
            Ok(0)
        }
    }

    /// The frame that opens the session without data, or `None` if it has been opened. It is for
    /// a session in which the other end speaks first.
    pub fn open(&mut self) -> Option<[u8; 14]> {
        let closed = !std::mem::replace(&mut self.opened, true);
        closed.then(|| open(self.id, self.network, 0))
    }
}

/// The frame that ends a session, by an error or in peace. Also the answer to data for a session
/// that is not known.
pub fn end(id: u16, error: bool) -> [u8; 6] {
    short(id, STATUS_END, if error { OPTION_ERROR } else { 0 })
}

/// The frame that says nothing: the peer throws it away.
pub fn keep_alive() -> [u8; 6] {
    short(0, STATUS_KEEP_ALIVE, 0)
}

/// A head without a target.
fn short(id: u16, status: u8, option: u8) -> [u8; 6] {
    let [high, low] = id.to_be_bytes();
    [0, METADATA_MIN as u8, high, low, status, option]
}

/// A head with the placeholder for a target.
fn open(id: u16, network: Network, option: u8) -> [u8; OPEN] {
    let mut head = [0; OPEN];
    head[..6].copy_from_slice(&short(id, STATUS_NEW, option));
    head[6] = match network {
        Network::Tcp => NETWORK_TCP,
        Network::Udp => NETWORK_UDP,
    };
    head[7..].copy_from_slice(&PLACEHOLDER);
    head[1] = (OPEN - 2) as u8;
    head
}
