//! Tunnels in gRPC, as v2ray has them ("gun"): a stream of messages `Hunk { bytes data = 1; }`, each behind five bytes
//! of its own (gRPC over HTTP/2, "Length-Prefixed-Message").
//!
//! ```text
//! 00          not compressed
//! len32       bytes of the message
//!   0a        field 1, bytes
//!   varint    bytes of data
//!   data
//! ```
//!
//! The readers of sing-box and mihomo skip six bytes and read the varint, whatever these are: a hunk is never empty
//! when it is sent, and never has two fields.

mod decode;
mod encode;
mod names;
#[cfg(test)]
mod tests;

pub use decode::{Error, HunkDecoder};
pub use encode::HunkEncoder;
pub use names::{Method, Service};

/// The first byte of a field with the number 1 that is bytes.
const FIELD: u8 = 0x0a;

/// The longest message that is taken, in bytes: grpc-go's limit.
const MOST_MESSAGE: u32 = 4 * 1024 * 1024;
