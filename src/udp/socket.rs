//! A UDP socket, several packets of which are sent and received at once where the system can.

use super::{LONGEST, Packets};
use crate::metrics::PacketDropped;
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// How many times the longest packet, or as many bytes of shorter ones in a row, are received at once.
const BUFFERS: usize = 32;

/// Of one buffer: a packet, or several that the system has joined.
const BUFFER: usize = 64 * 1024;

thread_local! {
    /// What is received is passed on at once, so all sockets of a thread share the room for it.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFERS * BUFFER].into());
}

/// Who is at the other end of a socket, and at which address of this machine it said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Remote {
    /// Where it is.
    pub address: SocketAddr,
    /// The address that it has said it to, from which it is answered. `None` where the system does not tell.
    pub local: Option<IpAddr>,
}

/// A UDP socket.
#[derive(Debug)]
pub struct PacketSocket {
    io: UdpSocket,
    state: UdpSocketState,
    /// It is connected, and its system takes no address for what it sends.
    takes_no_address: bool,
}

impl PacketSocket {
    /// To be called in a runtime.
    ///
    /// # Errors
    ///
    /// The runtime cannot watch it, or the system does not know what is asked of it.
    pub fn new(socket: std::net::UdpSocket) -> io::Result<PacketSocket> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        // The library asks for the contrary, as QUIC needs it.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(error) = rustix::net::sockopt::set_ip_mtu_discover(
            &socket,
            rustix::net::sockopt::Ipv4PathMtuDiscovery::DONT,
        ) {
            tracing::debug!(%error, "long UDP packets cannot be sent in fragments");
        }
        Ok(PacketSocket { io: UdpSocket::from_std(socket)?, state, takes_no_address: false })
    }

    /// The same of a socket that is connected.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn connected(socket: std::net::UdpSocket) -> io::Result<PacketSocket> {
        let takes_no_address = !cfg!(any(target_os = "linux", target_os = "android", windows));
        Ok(PacketSocket { takes_no_address, ..PacketSocket::new(socket)? })
    }

    /// Receives what there is, at most `BUFFERS` times. Returns how many packets were given to `take`. Only one task may
    /// wait for them.
    ///
    /// # Errors
    ///
    /// What the system says: of a socket that is connected, that nobody takes what was sent, which is no reason to give
    /// it up.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(Remote, &[u8]),
    ) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut metas = [RecvMeta::default(); BUFFERS];
            let received = loop {
                ready!(self.io.poll_recv_ready(cx))?;
                let mut chunks = scratch.chunks_exact_mut(BUFFER);
                let mut buffers: [IoSliceMut<'_>; BUFFERS] =
                    std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
                let received = self.io.try_io(Interest::READABLE, || {
                    self.state.recv((&self.io).into(), &mut buffers, &mut metas)
                });
                match received {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    received => break received?,
                }
            };
            let mut packets = 0;
            for (buffer, meta) in scratch.chunks_exact(BUFFER).zip(&metas).take(received) {
                let remote = Remote { address: meta.addr, local: meta.dst_ip };
                let bytes = &buffer[..meta.len.min(BUFFER)];
                if bytes.is_empty() {
                    take(remote, bytes);
                    packets += 1;
                }
                for packet in bytes.chunks(meta.stride.max(1)) {
                    take(remote, packet);
                    packets += 1;
                }
            }
            Poll::Ready(Ok(packets))
        })
    }

    /// Sends the packets. What the socket does not take now is dropped: nobody waits for packets. Returns how many that were
    /// sent before were refused, of a socket that is connected.
    ///
    /// # Errors
    ///
    /// What the system says of one of them; those behind it are dropped.
    pub fn send(&self, packets: &mut Packets, to: Remote) -> io::Result<usize> {
        let mut refused = 0;
        let sent = self.try_send(packets, to, &mut refused);
        match sent {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                super::dropped(PacketDropped::Busy, packets.len());
                packets.clear();
                Ok(refused)
            }
            sent => sent.map(|()| refused).inspect_err(|_| packets.clear()),
        }
    }

    fn try_send(&self, packets: &mut Packets, to: Remote, refused: &mut usize) -> io::Result<()> {
        /// So often in a row the system may say that an earlier packet was refused.
        const REFUSALS: usize = 64;
        let mut alone = self.takes_no_address;
        while let Some(run) = packets.run(if alone { 1 } else { self.state.max_gso_segments() }) {
            if run.bytes.len() > LONGEST {
                super::dropped(PacketDropped::TooLong, 1);
                packets.take(1);
                continue;
            }
            let transmit = Transmit {
                destination: to.address,
                ecn: None,
                contents: run.bytes,
                segment_size: (run.count > 1).then_some(run.size),
                src_ip: to.local,
            };
            // (the runtime knows of a new socket only later that it can be written to)
            let sent = if self.takes_no_address {
                SockRef::from(&self.io).send(run.bytes).map(|_| ())
            } else {
                self.state.try_send((&self.io).into(), &transmit)
            };
            let count = run.count;
            match sent {
                Ok(()) => packets.take(count),
                // The system cannot send them at once, which it has only now found out.
                // That was one which was sent before: this one was not sent yet.
                Err(error) if is_refusal(&error) && *refused < REFUSALS => *refused += 1,
                Err(error) if count > 1 && error.kind() != io::ErrorKind::WouldBlock => alone = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The address that it has.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }
}

/// Whether the system tells that nobody takes what was sent before.
fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn socket() -> PacketSocket {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        crate::net::udp::set_buffers(&socket, 4 << 20);
        PacketSocket::new(socket).unwrap()
    }

    /// Receives so many packets.
    async fn received(socket: &PacketSocket, many: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while packets.len() < many {
            poll_fn(|cx| socket.poll_recv(cx, |_, packet| packets.push(packet.to_vec()))).await.unwrap();
        }
        packets
    }

    #[tokio::test]
    async fn packets_of_all_sizes_arrive_one_by_one() {
        let (one, two) = (socket(), socket());
        let to = Remote { address: two.local_addr().unwrap(), local: None };
        let sizes = [0, 1, 1200, 1200, 1200, 0, 0, 700, 65_507, 1200, 1201, 9000, 9000, 3];
        let all: Vec<Vec<u8>> =
            sizes.iter().zip(1..).map(|(size, fill): (&usize, u8)| vec![fill; *size]).collect();
        let mut packets = Packets::default();
        all.iter().for_each(|packet| packets.push(packet));
        assert_eq!(one.send(&mut packets, to).unwrap(), 0);
        assert!(packets.is_empty());
        assert_eq!(received(&two, all.len()).await, all);
    }

    #[tokio::test]
    async fn a_packet_that_is_too_long_goes_nowhere_and_the_others_go_on() {
        let (one, two) = (socket(), socket());
        let to = Remote { address: two.local_addr().unwrap(), local: None };
        let mut packets = Packets::default();
        for size in [4, LONGEST + 1, 4] {
            packets.push(&vec![7; size]);
        }
        assert_eq!(one.send(&mut packets, to).unwrap(), 0);
        assert_eq!(received(&two, 2).await, [[7; 4], [7; 4]]);
    }

    #[tokio::test]
    async fn what_is_sent_after_a_refusal_arrives() {
        let (one, two) = (socket(), socket());
        let address = two.local_addr().unwrap();
        drop(two);
        let near: std::net::UdpSocket = one.io.into_std().unwrap();
        near.connect(address).unwrap();
        let one = PacketSocket::connected(near).unwrap();
        let to = Remote { address, local: None };
        let send = |sizes: &[usize]| {
            let mut packets = Packets::default();
            sizes.iter().for_each(|size| packets.push(&vec![7; *size]));
            one.send(&mut packets, to).unwrap()
        };
        assert_eq!(send(&[1]), 0, "nobody has answered yet");
        let two = PacketSocket::new(std::net::UdpSocket::bind(address).unwrap()).unwrap();
        // Of two sizes, so that they are not sent with one call.
        assert_eq!(send(&[1, 2, 1, 2]), 1);
        assert_eq!(received(&two, 4).await, [&[7_u8][..], &[7, 7], &[7], &[7, 7]]);
    }
}
