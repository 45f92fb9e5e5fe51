//! A socket that brings what the test says, and keeps what is sent.

use crate::metrics::{self, Open, VisitorClass};
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// What was sent: to whom, from which address, and the bytes, with the length of each datagram where they are several.
pub(super) type Sent = (SocketAddr, Option<IpAddr>, Vec<u8>, Option<usize>);

#[derive(Debug, Default)]
pub(super) struct TestSocket {
    incoming: Mutex<VecDeque<(RecvMeta, Vec<u8>)>>,
    sent: Mutex<Vec<Sent>>,
    /// How many may be sent before the socket is full.
    room: Mutex<Option<usize>>,
    waker: Mutex<Option<Waker>>,
}

/// An address of documentation, by number.
pub(super) fn address(number: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, (number / 1000) as u8], 1000 + number % 1000))
}

/// The address that all comes to.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// How datagrams of this length come from this address, as many as there are.
pub(super) fn meta(from: SocketAddr, stride: usize, len: usize) -> RecvMeta {
    RecvMeta { addr: from, len, stride, ecn: None, dst_ip: Some(LOCAL) }
}

impl TestSocket {
    /// Datagrams come, which but for the last have this length.
    pub(super) fn bring(&self, from: SocketAddr, stride: usize, bytes: Vec<u8>) {
        self.incoming.lock().unwrap().push_back((meta(from, stride, bytes.len()), bytes));
    }

    /// What was sent since this was asked last.
    pub(super) fn take_sent(&self) -> Vec<Sent> {
        std::mem::take(&mut self.sent.lock().unwrap())
    }

    /// Takes so many datagrams from now on, and then no more.
    pub(super) fn set_room(&self, room: Option<usize>) {
        *self.room.lock().unwrap() = room;
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }
}

#[derive(Debug)]
struct Poller(Arc<TestSocket>);

impl UdpPoller for Poller {
    fn poll_writable(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        *self.0.waker.lock().unwrap() = Some(cx.waker().clone());
        if *self.0.room.lock().unwrap() == Some(0) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncUdpSocket for TestSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Poller(self))
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        match &mut *self.room.lock().unwrap() {
            Some(0) => return Err(io::ErrorKind::WouldBlock.into()),
            Some(room) => *room -= 1,
            None => {}
        }
        let Transmit { destination, src_ip, contents, segment_size, .. } = *transmit;
        self.sent.lock().unwrap().push((destination, src_ip, contents.to_vec(), segment_size));
        Ok(())
    }

    fn poll_recv(
        &self,
        _: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut count = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some((came, bytes)) = self.incoming.lock().unwrap().pop_front() else { break };
            buffer[..bytes.len()].copy_from_slice(&bytes);
            *meta = came;
            count += 1;
        }
        if count == 0 { Poll::Pending } else { Poll::Ready(Ok(count)) }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::new(LOCAL, 443))
    }

    fn max_transmit_segments(&self) -> usize {
        4
    }
}

/// Counts nobody but in the metrics of the test.
pub(super) fn welcome() -> Open {
    metrics::visitor_came(VisitorClass::Quic, metrics::Website::FailoverQuic)
}
