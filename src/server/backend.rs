//! Where the sessions of a Mux.Cool connection go.

use crate::mux::{Dial, Fresh, Incoming};
use crate::net::dial::Dialer;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpStream;

/// Shadowsocks, which is dialled for each session.
pub(super) struct Backend {
    pub(super) dialer: Arc<Dialer>,
    /// A connection that was made before it was known what comes.
    pub(super) dialled: Option<TcpStream>,
}

impl Incoming for Backend {
    const SERVER: bool = true;

    fn poll_session(&mut self, _: &mut Context<'_>) -> Poll<Option<Fresh>> {
        Poll::Ready(None)
    }

    fn dial(&mut self) -> Option<Dial> {
        Some(match self.dialled.take() {
            Some(dialled) => Box::pin(ready(Ok(dialled))),
            None => {
                let dialer = Arc::clone(&self.dialer);
                Box::pin(async move { dialer.connect().await })
            }
        })
    }
}
