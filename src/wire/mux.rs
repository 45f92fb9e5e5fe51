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
//! puts heads in front of data; [`is_mux_stream`] says whether a stream is one, or a bare
//! Shadowsocks stream.
//!
//! What the peers do, and what follows for what we write:
//!
//! - The **target** of a session is a placeholder, 127.0.0.1 port 0 from v2ray-plugin and mihomo,
//!   `v1.mux.cool` port 666 from sing-box. It is never to be dialled: that would be an open proxy. So it
//!   is checked, and only the network is kept.
//! - mihomo and sing-box have session id 0 and one session a connection, v2ray counts up from 1.
//! - mihomo reads heads that are 6 bytes long (8 with data), so nothing goes into the metadata of
//!   what it gets; and it reads status and option in one go, so a head must not be cut by the end
//!   of a WebSocket message. It takes no notice of the end of a session.

mod decode;
mod detect;
mod encode;
mod head;

pub use decode::Decoder;
pub use detect::{IsMux, is_mux_message, is_mux_stream};
pub use encode::{Encoder, end, keep_alive};
pub use head::{Error, Head, Network, Status};

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

#[cfg(test)]
mod tests;
