//! The threads that serve: how connections are spread over them, whose turn it is, what blocks, who
//! notices when one of them does not go on, how many connections are open
//! and may be, how much they buffer in all, and what they leave in the heap.

pub mod admission;
pub(crate) mod balance;
pub mod blocking;
mod board;
pub mod buffers;
pub(crate) mod drain;
mod heap;
pub(crate) mod turn;
pub mod watchdog;
pub(crate) mod workers;

use std::io;
use tokio::runtime::Builder;

/// Runs a future, and the tasks that it starts, to its end.
///
/// # Errors
///
/// The system has no descriptors or threads left for a runtime.
pub fn block_on<T>(mut builder: Builder, work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = builder.enable_all().build()?;
    let value = runtime.block_on(work);
    // What is still open ends with the process and may not hold it up.
    runtime.shutdown_background();
    Ok(value)
}
