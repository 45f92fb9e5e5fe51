//! From the sessions' sockets to the connection.

use super::engine::{Incoming, Mux, ROOM};
use super::session::Socket;
use crate::relay::RelayStream;
use crate::runtime::turn::note_moved;
use crate::transport::websocket::WebSocket;
use crate::wire::FrameSizeError;
use crate::wire::mux::{self, Encoder};
use crate::wire::websocket;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead as _, ReadBuf};

/// Room in front of a session's data for both heads.
pub(super) const HEADS: usize = websocket::Encoder::HEAD + Encoder::HEAD;

/// The least room that is worth reading a socket into.
const LEAST: usize = 4096;

/// Frames that are written with one call.
const FRAMES: usize = 64;

/// Makes a WebSocket message of one mux frame of `frame[HEADS..]`. Returns where it begins.
pub(super) fn frame_up(
    encoder: &mut Encoder,
    websocket: &mut WebSocket,
    frame: &mut [u8],
) -> Result<usize, FrameSizeError> {
    let inner = frame.get_mut(websocket::Encoder::HEAD..).unwrap_or_default();
    let start = encoder.encode_in_place(inner)?;
    Ok(start + websocket.encode_in_place(frame.get_mut(start..).unwrap_or_default())?)
}

impl<S: RelayStream, I: Incoming> Mux<S, I> {
    /// Reads the sessions' sockets in turn, and writes what they have with one call.
    pub(super) fn poll_sessions(&mut self, cx: &mut Context<'_>) -> bool {
        ROOM.with_borrow_mut(|room| {
            let mut frames: [Range<usize>; FRAMES] = std::array::from_fn(|_| 0..0);
            let (mut count, mut used) = (0, 0);
            let sessions = self.sessions.len();
            let mut ends: Vec<(usize, bool)> = Vec::new();
            let begin = self.turn;
            for step in 0..sessions {
                let index = (begin + step) % sessions;
                if count == FRAMES || room.len() - used < HEADS + LEAST {
                    break;
                }
                self.turn = (index + 1) % sessions;
                let Some(session) = self.sessions.get_mut(index) else { break };
                let Socket::Open(socket) = &mut session.socket else { continue };
                if session.socket_ended || session.over {
                    continue;
                }
                let area = room.get_mut(used..).unwrap_or_default();
                let most = area.len().min(HEADS + Encoder::PAYLOAD);
                let Some(space) = area.get_mut(HEADS..most) else { break };
                let mut buffer = ReadBuf::new(space);
                match Pin::new(socket).poll_read(cx, &mut buffer) {
                    Poll::Pending => continue,
                    Poll::Ready(Err(_)) => {
                        ends.push((index, true));
                        continue;
                    }
                    Poll::Ready(Ok(())) => {}
                }
                let len = buffer.filled().len();
                session.moved = true;
                if len == 0 && session.broken {
                    ends.push((index, true));
                    continue;
                }
                if len == 0 {
                    session.socket_ended = true;
                    ends.push((index, false));
                    continue;
                }
                session.down += len as u64;
                session.asking = true;
                let Some(frame) = area.get_mut(..HEADS + len) else { break };
                let start = match frame_up(&mut session.encoder, &mut self.websocket, frame) {
                    Ok(start) => start,
                    Err(error) => {
                        self.broke(io::Error::other(error));
                        break;
                    }
                };
                if let Some(slot) = frames.get_mut(count) {
                    *slot = used + start..used + HEADS + len;
                    count += 1;
                }
                used += HEADS + len;
            }
            let frames = frames.get(..count).unwrap_or_default();
            note_moved(2 * used as u64);
            if count > 0 {
                if !I::SERVER {
                    self.liveness.sent(used);
                }
                self.write(cx, room, frames);
            }
            for (index, error) in &ends {
                if *error { self.abort(*index) } else { self.socket_ended(*index) }
            }
            count > 0 || !ends.is_empty()
        })
    }

    /// Writes frames as far as the connection takes them, and keeps the rest.
    fn write(&mut self, cx: &mut Context<'_>, room: &[u8], frames: &[Range<usize>]) {
        let slice = |range: &Range<usize>| room.get(range.clone()).unwrap_or_default();
        let mut slices = [IoSlice::new(&[]); FRAMES];
        for (to, range) in slices.iter_mut().zip(frames) {
            *to = IoSlice::new(slice(range));
        }
        let slices = slices.get(..frames.len()).unwrap_or_default();
        let mut skip = match Pin::new(&mut self.wire).poll_write_vectored(cx, slices) {
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(error)) => return self.broke(error),
            Poll::Pending => 0,
        };
        for range in frames {
            let bytes = slice(range);
            let written = skip.min(bytes.len());
            skip -= written;
            self.out.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
    }

    /// A session's socket has no more to send.
    fn socket_ended(&mut self, index: usize) {
        let Some(session) = self.sessions.get_mut(index) else { return };
        let id = session.id;
        if I::SERVER || session.wire_ended {
            session.said_end = true;
            self.hang_up |= I::SERVER && id == 0;
            // A peer with id 0 knows the end only by that of the connection.
            session.over = I::SERVER && id == 0 && session.waiting() == 0;
            self.say(&mux::end(id, false));
        } else {
            // The session was begun before its socket could end, so the peer knows it.
            let ping = self.websocket.session_end(id);
            self.out.extend_from_slice(ping.as_bytes());
        }
    }
}
