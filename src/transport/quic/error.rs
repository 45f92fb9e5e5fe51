//! Why there is no tunnel.

use thiserror::Error;

/// Why there is no stream.
#[derive(Debug, Error)]
pub enum QuicError {
    /// The server takes no stream on a connection that has none.
    #[error("the server takes no streams")]
    NoStreams,
    /// The connection ended at once.
    #[error(transparent)]
    Ended(#[from] quinn::ConnectionError),
}
