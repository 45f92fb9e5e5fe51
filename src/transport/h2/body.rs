//! The body of a request or an answer, from one connection to another.

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use std::future::poll_fn;
use std::time::Duration;
use tokio::time::timeout;

/// Passes on all of a body, and what stands behind it. `passed` grows with it. Nobody is waited for who takes nothing
/// for the time of `patience`.
///
/// # Errors
///
/// One of the two broke off; `None` if the receiver has taken nothing for too long.
pub(crate) async fn copy_body(
    mut from: RecvStream,
    mut to: SendStream<Bytes>,
    patience: Duration,
    passed: &mut u64,
) -> Result<(), Option<h2::Error>> {
    while let Some(chunk) = from.data().await {
        let mut chunk = chunk?;
        let len = chunk.len();
        while !chunk.is_empty() {
            let room = timeout(patience, room(&mut to, chunk.len())).await.map_err(|_| None)??;
            to.send_data(chunk.split_to(room), false)?;
        }
        *passed += len as u64;
        from.flow_control().release_capacity(len)?;
    }
    match from.trailers().await? {
        Some(trailers) => to.send_trailers(trailers)?,
        None => to.send_data(Bytes::new(), true)?,
    }
    Ok(())
}

/// Waits for room for so many bytes, or fewer.
async fn room(to: &mut SendStream<Bytes>, wanted: usize) -> Result<usize, h2::Error> {
    to.reserve_capacity(wanted);
    loop {
        let room = to.capacity();
        if room > 0 {
            return Ok(room.min(wanted));
        }
        match poll_fn(|cx| to.poll_capacity(cx)).await {
            Some(room) => {
                room?;
            }
            None => return Err(h2::Reason::CANCEL.into()),
        }
    }
}
