//! The end of a session that is not disguised.

use super::{Backend, IDLE, Packets, Remote, Source};
use crate::metrics::{self, Direction, Flow, Open, TunnelKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info};

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Nothing has passed for [`IDLE`].
    Idle,
    /// Its source is forgotten: others need its place, or the port is closed.
    Forgotten,
}

/// The end of a session that is not disguised.
#[derive(Debug)]
pub struct Port {
    end: PortEnd,
    /// When something passed last.
    passed: Instant,
    /// What has come from it, and what was sent to it, in bytes.
    from: u64,
    to: u64,
    _open: Open,
}

#[derive(Debug)]
enum PortEnd {
    Source(Source),
    Backend(Box<Backend>),
}

impl From<Source> for Port {
    fn from(source: Source) -> Port {
        Port::new(PortEnd::Source(source))
    }
}

impl From<Backend> for Port {
    fn from(backend: Backend) -> Port {
        Port::new(PortEnd::Backend(Box::new(backend)))
    }
}

impl Port {
    fn new(end: PortEnd) -> Port {
        static IS_FIRST: AtomicBool = AtomicBool::new(true);
        let source = match &end {
            PortEnd::Source(source) => Some(source.remote().address),
            PortEnd::Backend(_) => None,
        };
        // Whether a host passes UDP to its plugin is to be seen without asking for it.
        if IS_FIRST.swap(false, Ordering::Relaxed) {
            info!(?source, "UDP comes through the plugin: this is the first of it");
        } else {
            debug!(?source, "a UDP session begins");
        }
        let open = metrics::tunnel_opened(TunnelKind::Udp, Duration::ZERO);
        Port { end, passed: Instant::now(), from: 0, to: 0, _open: open }
    }

    /// The source, on the client half.
    pub fn source(&self) -> Option<Remote> {
        match &self.end {
            PortEnd::Source(source) => Some(source.remote()),
            PortEnd::Backend(_) => None,
        }
    }

    /// What has come from it and was not taken yet: there is at least one packet. Those that are taken are counted by
    /// [`note_taken`](Self::note_taken).
    ///
    /// # Errors
    ///
    /// Nothing more comes.
    pub fn poll_packets(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Packets, Ended>> {
        match &mut self.end {
            PortEnd::Source(source) => source.poll_packets(cx).map(|packets| packets.ok_or(Ended::Forgotten)),
            PortEnd::Backend(backend) => backend.poll_packets(cx).map(Ok),
        }
    }

    /// So many bytes were taken of what has come.
    pub fn note_taken(&mut self, bytes: usize) {
        self.passed = Instant::now();
        self.from += bytes as u64;
        let direction = match self.end {
            PortEnd::Source(_) => Direction::Up,
            PortEnd::Backend(_) => Direction::Down,
        };
        metrics::moved(Flow::Tunnel, direction, bytes as u64);
    }

    /// Sends it packets. What it does not take now is dropped.
    pub fn send(&mut self, packets: &mut Packets) {
        if packets.is_empty() {
            return;
        }
        self.passed = Instant::now();
        let bytes = packets.bytes() as u64 - packets.unfinished() as u64;
        self.to += bytes;
        let direction = match &self.end {
            PortEnd::Source(source) => {
                source.send(packets);
                Direction::Down
            }
            PortEnd::Backend(backend) => {
                backend.send(packets);
                Direction::Up
            }
        };
        metrics::moved(Flow::Tunnel, direction, bytes);
    }

    /// When it is over, if nothing passes until then.
    pub fn idle_at(&self) -> Instant {
        self.passed + IDLE
    }

    /// How many bytes have gone up, and down.
    pub fn up_and_down(&self) -> (u64, u64) {
        match self.end {
            PortEnd::Source(_) => (self.from, self.to),
            PortEnd::Backend(_) => (self.to, self.from),
        }
    }
}
