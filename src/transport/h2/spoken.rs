//! What a website has said on a connection that is then taken over.

/// What the website has said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spoken {
    /// Its settings, so often; the client acknowledges each.
    pub(crate) settings: usize,
    /// That it knows the client's settings.
    pub(crate) acks: usize,
    /// How much more than at the beginning may be sent on the connection.
    pub(crate) window: u32,
    /// The window of streams, and the longest frame, where it has said these.
    pub(crate) stream_window: Option<u32>,
    pub(crate) frame_size: Option<u32>,
}
