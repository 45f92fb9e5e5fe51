//! What is counted, for whoever watches many such processes: one function an event, called where it happens.
//!
//! The numbers are the process's. A counter is one atomic addition, without a lock and without a text, so that it
//! may stand beside each read. In a build without the feature `metrics` the functions are there and do nothing, so
//! that nobody who counts has to know.

#[cfg(feature = "metrics")]
mod counted;
#[cfg(not(feature = "metrics"))]
#[path = "not_counted.rs"]
mod counted;
mod labels;
#[cfg(feature = "metrics")]
mod process;
#[cfg(feature = "metrics")]
mod series;

pub use counted::*;
pub use labels::{
    Direction, Dropped, Failure, Flow, PacketDropped, To, TunnelEnd, TunnelKind, Verdict, VisitorClass,
    Website,
};
