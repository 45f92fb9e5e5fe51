//! The sources of a local UDP port: who sends packets to it, and which session carries them.

use super::queue::Queue;
use super::{PacketSocket, Packets, Remote, SOURCES};
use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Instant;

/// One in so many makes room for others when there are as many as there may be.
const MAKE_ROOM: usize = 16;

/// The sources of a port.
#[derive(Debug)]
pub struct Sources {
    socket: Arc<PacketSocket>,
    known: HashMap<Remote, Known>,
    most: usize,
}

#[derive(Debug)]
struct Known {
    queue: Arc<Queue>,
    heard: Instant,
}

/// A source: what it says, and the way back to it. Dropped, it is forgotten, and new with its next packet.
#[derive(Debug)]
pub struct Source {
    socket: Arc<PacketSocket>,
    remote: Remote,
    queue: Arc<Queue>,
    /// What was taken of the queue.
    packets: Packets,
}

impl Sources {
    /// The sources of this port.
    pub fn new(socket: Arc<PacketSocket>) -> Sources {
        Sources { socket, known: HashMap::new(), most: SOURCES }
    }

    /// Takes a packet. Returns its source if that is new: a session is to be begun for it.
    pub fn take(&mut self, from: Remote, packet: &[u8], now: Instant) -> Option<Source> {
        if let Some(known) = self.known.get_mut(&from) {
            known.heard = now;
            if known.queue.push(packet) {
                return None;
            }
        } else if self.known.len() >= self.most {
            self.make_room();
        }
        let queue = Arc::new(Queue::default());
        queue.push(packet);
        self.known.insert(from, Known { queue: Arc::clone(&queue), heard: now });
        let socket = Arc::clone(&self.socket);
        Some(Source { socket, remote: from, queue, packets: Packets::default() })
    }

    /// Forgets those whose sessions are over; and, if there are still too many, those that were silent longest.
    fn make_room(&mut self) {
        self.known.retain(|_, known| !known.queue.is_closed());
        if self.known.len() < self.most {
            return;
        }
        let mut heard: Vec<Instant> = self.known.values().map(|known| known.heard).collect();
        let mut left = self.most.div_ceil(MAKE_ROOM);
        let (_, oldest, _) = heard.select_nth_unstable(left - 1);
        let oldest = *oldest;
        self.known.retain(|_, known| {
            let goes = left > 0 && known.heard <= oldest;
            if goes {
                left -= 1;
                known.queue.close();
            }
            !goes
        });
    }
}

impl Drop for Sources {
    /// Their sessions end.
    fn drop(&mut self) {
        self.known.values().for_each(|known| known.queue.close());
    }
}

impl Source {
    /// Who it is.
    pub fn remote(&self) -> Remote {
        self.remote
    }

    /// What it has said and nobody has taken yet. `Ready(None)` when it is forgotten: others need its place.
    pub(super) fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<Option<&mut Packets>> {
        if self.packets.is_empty() {
            match self.queue.poll_take(cx, &mut self.packets) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => return Poll::Ready(None),
                Poll::Ready(true) => {}
            }
        }
        Poll::Ready(Some(&mut self.packets))
    }

    /// Sends it packets.
    pub(super) fn send(&self, packets: &mut Packets) {
        if let Err(error) = self.socket.send(packets, self.remote) {
            tracing::debug!(source = %self.remote.address, %error, "cannot answer over UDP");
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::net::{SocketAddr, UdpSocket};
    use std::time::Duration;

    fn sources(most: usize) -> Sources {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut sources = Sources::new(Arc::new(PacketSocket::new(socket).unwrap()));
        sources.most = most;
        sources
    }

    fn remote(port: u16) -> Remote {
        Remote { address: SocketAddr::from(([127, 0, 0, 1], port)), local: None }
    }

    async fn next(source: &mut Source) -> Option<Vec<Vec<u8>>> {
        poll_fn(|cx| {
            source.poll_packets(cx).map(|packets| {
                packets.map(|packets| {
                    let all = packets.iter().map(<[u8]>::to_vec).collect();
                    packets.clear();
                    all
                })
            })
        })
        .await
    }

    #[tokio::test]
    async fn a_source_is_new_once_and_again_when_its_session_is_over() {
        let mut sources = sources(8);
        let now = Instant::now();
        let mut one = sources.take(remote(1), b"a", now).unwrap();
        assert!(sources.take(remote(1), b"", now).is_none());
        let mut two = sources.take(remote(2), b"c", now).unwrap();
        assert_eq!(next(&mut one).await.unwrap(), [&b"a"[..], b""]);
        assert_eq!(next(&mut two).await.unwrap(), [b"c"]);
        drop(one);
        let mut again = sources.take(remote(1), b"d", now).unwrap();
        assert_eq!(next(&mut again).await.unwrap(), [b"d"]);
        drop(sources);
        assert_eq!(next(&mut again).await, None);
    }

    #[tokio::test]
    async fn who_was_silent_longest_makes_room() {
        let mut sources = sources(32);
        let began = Instant::now();
        let at = |number: u16| began + Duration::from_millis(number.into());
        let mut held: Vec<Source> =
            (1..=32).map(|port| sources.take(remote(port), b"x", at(port)).unwrap()).collect();
        // The first one goes on to speak.
        assert!(sources.take(remote(1), b"y", at(40)).is_none());
        held.push(sources.take(remote(99), b"z", at(41)).unwrap());
        let mut gone = Vec::new();
        for source in &mut held {
            if next(source).await.is_none() {
                gone.push(source.remote().address.port());
            }
        }
        assert_eq!(gone, [2, 3]);
        assert_eq!(sources.known.len(), 31, "of 32, two have gone for one");
    }

    #[tokio::test]
    async fn sources_that_change_with_each_packet_are_bounded() {
        let mut sources = sources(64);
        let began = Instant::now();
        for port in 1..=20_000 {
            assert!(sources.take(remote(port), b"x", began).is_some());
            assert!(sources.known.len() <= 64);
        }
    }
}
