//! The threads that serve: how connections are spread over them, whose turn it is, what blocks, and who
//! notices when one of them does not go on.

pub(crate) mod balance;
pub mod blocking;
mod board;
pub(crate) mod turn;
pub mod watchdog;
pub(crate) mod workers;
