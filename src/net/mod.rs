//! Sockets: listening, dialling, their options, and what the process owes its host.

pub(crate) mod balance;
mod crew;
#[cfg(unix)]
pub mod daemon;
pub mod dial;
pub mod listen;
mod outgoing;
pub mod process;
mod protect;
mod tcp;
#[cfg(unix)]
pub mod user;

pub use dial::{DialError, Dialer};
pub use listen::Listeners;
pub use outgoing::check_device;
pub use tcp::segment_size;
