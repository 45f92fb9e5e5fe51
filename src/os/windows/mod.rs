//! Windows: the program that started this one, and the console, which stands where signals are elsewhere.

pub mod console;
pub(super) mod memory;
pub mod parent;
pub mod process;
pub mod shutdown;
