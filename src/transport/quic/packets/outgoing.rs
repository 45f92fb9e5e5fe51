//! Packets that a connection is to send.

use super::super::CODE;
use super::{BUFFER, STREAM_TIME, STREAMS};
use crate::metrics::PacketDropped;
use crate::runtime::buffers;
use crate::udp::{LONGEST, Packets, dropped};
use crate::wire::quic::datagram::FlowId;
use bytes::{Bytes, BytesMut};
use quinn::{Connection, SendDatagramError, SendStream};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// What the library counts of a datagram that waits beside its bytes.
const BESIDE: usize = size_of::<Bytes>();

/// Sends packets on a connection.
#[derive(Debug)]
pub(crate) struct Outgoing {
    connection: Connection,
    /// One at a time: nobody takes the room that another has found, since the library makes room by dropping the oldest.
    turn: Mutex<()>,
    /// For packets that wait for the room of their streams.
    streams: Arc<Semaphore>,
}

impl Outgoing {
    pub(in super::super) fn new(connection: Connection) -> Outgoing {
        Outgoing { connection, turn: Mutex::default(), streams: Arc::new(Semaphore::new(STREAMS as usize)) }
    }

    /// Whether the peer takes datagrams.
    pub(super) fn is_possible(&self) -> bool {
        self.connection.max_datagram_size().is_some()
    }

    /// Sends packets in a flow, and drops those that the connection does not take now.
    pub(crate) fn send(&self, flow: u64, packets: &mut Packets) {
        match self.connection.max_datagram_size() {
            Some(longest) => self.send_some(FlowId::new(flow), packets, longest),
            None => dropped(PacketDropped::NotTaken, packets.len()),
        }
        packets.clear();
    }

    fn send_some(&self, flow: FlowId, packets: &Packets, longest: usize) {
        let flow = flow.as_bytes();
        let (mut busy, mut too_long) = (0, 0);
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let space = self.connection.datagram_send_buffer_space();
        // (less where the process buffers much)
        let mut room = (space + buffers::room(BUFFER)).saturating_sub(BUFFER);
        // In one piece of memory, of which each has a part.
        let all = packets.bytes() + packets.len() * flow.len();
        let mut memory = BytesMut::with_capacity(all.min(room));
        for packet in packets.iter() {
            let length = flow.len() + packet.len();
            if packet.len() > LONGEST {
                too_long += 1;
            } else if length > longest {
                busy += usize::from(!self.send_alone(flow, packet));
            } else if length > room {
                busy += 1;
            } else {
                memory.extend_from_slice(flow);
                memory.extend_from_slice(packet);
                match self.connection.send_datagram(memory.split().freeze()) {
                    Ok(()) => room = room.saturating_sub(length + BESIDE),
                    // The path has just been found to be narrower.
                    Err(SendDatagramError::TooLarge) => busy += usize::from(!self.send_alone(flow, packet)),
                    Err(_) => busy += 1,
                }
            }
        }
        drop(turn);
        dropped(PacketDropped::Busy, busy);
        dropped(PacketDropped::TooLong, too_long);
    }

    /// Sends a packet in a stream of its own, if the peer takes one more now.
    fn send_alone(&self, flow: &[u8], packet: &[u8]) -> bool {
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else { return false };
        let mut now = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(stream)) = pin!(self.connection.open_uni()).poll(&mut now) else { return false };
        let mut sending = Box::pin(send_all(stream, [flow, packet].concat().into(), place));
        if sending.as_mut().poll(&mut now).is_pending() {
            tokio::spawn(sending);
        }
        true
    }
}

/// Says this in a stream, and ends it; or resets it, so that nobody takes a part for the whole.
async fn send_all(mut stream: SendStream, bytes: Bytes, _place: OwnedSemaphorePermit) {
    let sent = timeout(STREAM_TIME, stream.write_chunk(bytes)).await;
    if matches!(sent, Ok(Ok(()))) && stream.finish().is_ok() {
        return;
    }
    let _ = stream.reset(CODE);
    dropped(PacketDropped::Busy, 1);
}
