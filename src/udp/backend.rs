//! A session's socket to Shadowsocks.

use super::{PacketSocket, Packets, Remote};
use crate::metrics::PacketDropped;
use crate::net::dial::DialError;
use crate::net::{Dialer, udp};
use crate::runtime::admission::SessionPlace;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// What the system is asked to keep for one of them.
const BUFFER: usize = 1024 * 1024;

/// A socket to Shadowsocks: each session has one of its own, so that their answers are told apart.
#[derive(Debug)]
pub struct Backend {
    socket: PacketSocket,
    address: SocketAddr,
    dialer: Arc<Dialer>,
    /// What was received and has not been taken yet.
    packets: Packets,
    /// It has answered.
    answers: bool,
    _place: SessionPlace,
}

impl Backend {
    /// A socket to what this dialer dials. Nobody is waited for.
    ///
    /// # Errors
    ///
    /// No address is known, no way leads to one, or there is no descriptor for it.
    pub fn open(dialer: &Arc<Dialer>) -> Result<Backend, DialError> {
        let place = SessionPlace::of_dialled().ok_or(DialError::NoDescriptors)?;
        let (socket, address) = dialer.open_for_datagrams()?;
        udp::set_buffers(&socket, BUFFER);
        let socket =
            PacketSocket::connected(socket).map_err(|error| DialError::Connect(error.to_string()))?;
        let (dialer, packets) = (Arc::clone(dialer), Packets::default());
        Ok(Backend { socket, address, dialer, packets, answers: false, _place: place })
    }

    /// What it has answered and nobody has taken yet.
    pub(super) fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<&mut Packets> {
        /// As many times in a row it may say that nobody takes what was sent.
        const REFUSALS: usize = 16;
        if self.packets.is_empty() {
            let Backend { socket, packets, address, dialer, .. } = &mut *self;
            let mut refusals = 0;
            while packets.is_empty() {
                let received = ready!(socket.poll_recv(cx, |from, packet| {
                    if from.address == *address {
                        packets.push(packet);
                    }
                }));
                if let Err(error) = received {
                    dialer.note_refusal(*address, &error);
                    super::dropped(PacketDropped::Backend, 1);
                    refusals += 1;
                    if refusals == REFUSALS {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                }
            }
            if !self.answers {
                self.answers = true;
                self.dialer.note_answer(self.address);
            }
        }
        Poll::Ready(&mut self.packets)
    }

    /// Sends it packets.
    pub(super) fn send(&self, packets: &mut Packets) {
        let many = packets.len();
        match self.socket.send(packets, Remote { address: self.address, local: None }) {
            Ok(0) => {}
            Ok(refused) => {
                self.dialer.note_refusal(self.address, &io::ErrorKind::ConnectionRefused.into());
                super::dropped(PacketDropped::Backend, refused);
            }
            Err(error) => {
                tracing::debug!(backend = %self.address, %error, "cannot send to Shadowsocks over UDP");
                super::dropped(PacketDropped::Backend, many);
            }
        }
    }
}
