//! Packets that a connection brings.

use super::{STREAM_TIME, STREAMS};
use crate::metrics::PacketDropped;
use crate::runtime::buffers::{self, Held};
use crate::udp::{LONGEST, Packets, dropped};
use crate::wire::quic::datagram::{LONGEST_FLOW_ID, split};
use bytes::Bytes;
use quinn::{Connection, ConnectionError, RecvStream};
use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use tokio::task::{JoinSet, consume_budget};
use tokio::time::timeout;

/// So many datagrams are taken at once.
const AT_ONCE: usize = 64;

/// Reads packets from a connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    connection: Connection,
    /// What has come, of all flows.
    datagrams: VecDeque<Bytes>,
    /// Streams with a packet each that are being read.
    streams: JoinSet<Option<Vec<u8>>>,
    /// The packets of one flow that came in a row.
    row: Packets,
    read: u64,
    lost: u64,
}

impl Incoming {
    pub(in super::super) fn new(connection: Connection) -> Incoming {
        let (datagrams, streams, row) = Default::default();
        Incoming { connection, datagrams, streams, row, read: 0, lost: 0 }
    }

    /// Waits for packets: some of one flow that came in a row. What is not taken of them is dropped with the next call.
    ///
    /// # Errors
    ///
    /// The connection has ended.
    pub(crate) async fn next(&mut self) -> Result<(u64, &mut Packets), ConnectionError> {
        loop {
            self.row.clear();
            if let Some(flow) = self.take_row() {
                return Ok((flow, &mut self.row));
            }
            consume_budget().await;
            let (connection, streams) = (&self.connection, &mut self.streams);
            tokio::select! {
                datagram = connection.read_datagram() => {
                    self.datagrams.push_back(datagram?);
                    self.read += 1;
                    self.take_more();
                }
                stream = connection.accept_uni(), if streams.len() < STREAMS as usize => {
                    streams.spawn(read_alone(stream?));
                }
                Some(packet) = streams.join_next() => {
                    self.datagrams.extend(packet.ok().flatten().map(Bytes::from));
                }
            }
        }
    }

    /// Takes the datagrams that are there already.
    fn take_more(&mut self) {
        let came = self.connection.stats().frame_rx.datagram;
        let mut now = Context::from_waker(Waker::noop());
        while self.datagrams.len() < AT_ONCE {
            match pin!(self.connection.read_datagram()).poll(&mut now) {
                Poll::Ready(Ok(datagram)) => self.datagrams.push_back(datagram),
                Poll::Ready(Err(_)) => return,
                // Those that had come and were not there were dropped to make room.
                Poll::Pending => {
                    let lost = came.saturating_sub(self.read).max(self.lost);
                    dropped(PacketDropped::Busy, usize::try_from(lost - self.lost).unwrap_or(usize::MAX));
                    self.lost = lost;
                    return;
                }
            }
            self.read += 1;
        }
    }

    /// Takes packets of one flow, as far as they stand in a row. Returns which one it is.
    fn take_row(&mut self) -> Option<u64> {
        let mut flow = None;
        while let Some(datagram) = self.datagrams.front() {
            match split(datagram) {
                Some((number, packet)) if *flow.get_or_insert(number) == number => self.row.push(packet),
                Some(_) => break,
                None => tracing::debug!("a datagram that ends within the number of its flow"),
            }
            self.datagrams.pop_front();
        }
        flow
    }
}

/// Reads the packet that has a stream for itself, with its flow's number. `None`: there is none.
async fn read_alone(mut stream: RecvStream) -> Option<Vec<u8>> {
    let read = timeout(STREAM_TIME, read_all(&mut stream)).await;
    let why = match read {
        Ok(Ok(bytes)) => return Some(bytes),
        Ok(Err(why)) => why,
        Err(_) => Some(PacketDropped::Busy),
    };
    dropped(why?, 1);
    None
    // (a stream that is dropped before its end is told to stop)
}

/// # Errors
///
/// What its packet counts as, if it was more than broken off by the peer.
async fn read_all(stream: &mut RecvStream) -> Result<Vec<u8>, Option<PacketDropped>> {
    const MOST: usize = LONGEST_FLOW_ID + LONGEST;
    let (mut bytes, mut held) = (Vec::new(), Held::default());
    // In order: the library keeps pieces that come in another one together.
    while let Some(chunk) = stream.read_chunk(MOST + 1, true).await.map_err(|_| None)? {
        if bytes.len() + chunk.bytes.len() > MOST {
            return Err(Some(PacketDropped::TooLong));
        }
        if buffers::are_full() {
            return Err(Some(PacketDropped::Busy));
        }
        bytes.extend_from_slice(&chunk.bytes);
        held.set(bytes.capacity());
    }
    Ok(bytes)
}
