//! Sockets: listening, dialling, their options, and what the process owes its host.

pub(crate) mod balance;
pub mod blocking;
pub mod budget;
pub mod circle;
mod crew;
#[cfg(unix)]
pub mod daemon;
pub mod dial;
pub mod listen;
mod names;
mod outgoing;
#[cfg(unix)]
pub mod pid_file;
#[cfg(unix)]
pub mod privileged;
pub mod process;
mod protect;
#[cfg(unix)]
pub mod signals;
mod tcp;
#[cfg(unix)]
pub mod user;
pub mod watchdog;

pub use dial::{DialError, Dialer};
pub use listen::Listeners;
pub use names::look_up;
pub use outgoing::check_device;
pub use tcp::segment_size;
