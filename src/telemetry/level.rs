//! How much is logged.

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing at all.
    None,
    /// What stops the program.
    Error,
    /// And what ends a tunnel that should have worked.
    Warning,
    /// And the start and the stop.
    Info,
    /// And a line a tunnel.
    Debug,
}
