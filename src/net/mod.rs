//! Sockets: addresses, listening, dialling, names, and what is asked of them.

mod accept;
pub mod addr;
pub mod budget;
pub mod conn_info;
pub mod dial;
#[cfg(windows)]
pub(crate) mod exclusive;
pub(crate) mod gate;
pub mod handed_over;
pub mod limits;
pub mod listen;
mod names;
pub mod network;
pub mod options;
mod outgoing;
pub mod own_addresses;
mod protect;
pub mod proxy;
pub mod reached;
pub(crate) mod refused_port;
pub mod resolve;
pub(crate) mod room;
mod tcp;
pub mod udp;

pub use dial::{DialError, Dialer};
pub use listen::Listeners;
pub use names::{Names, look_up};
pub use outgoing::check_device;
pub use tcp::segment_size;
