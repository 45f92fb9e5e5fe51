//! How far the way to the server has been gone.

use super::STEP;
use super::report::Report;
use crate::config::{ClientConfig, ClientDisguise};
use crate::net::reached::{Follower, Reached, followed};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Proxy,
    Tls,
    Quic,
    Upgrade,
}

impl Step {
    pub(super) fn name(self) -> &'static str {
        match self {
            Step::Connect => "connect",
            Step::Proxy => "proxy",
            Step::Tls => "tls",
            Step::Quic => "quic",
            Step::Upgrade => "upgrade",
        }
    }
}

/// Tells of each step that is done, and knows the one that is next.
pub(super) struct Progress {
    next: Step,
    granted: bool,
    speaks_http2: bool,
    /// What there is at the far end.
    far: Option<Far>,
    /// The beginning of an answer that is not whole.
    said: Option<String>,
    has_proxy: bool,
    /// The name that the certificate must have, where there is TLS.
    tls_name: Option<String>,
    is_quic: bool,
    follower: Follower,
    reached: UnboundedReceiver<Reached>,
}

/// A server that was reached.
pub(super) enum Far {
    /// At this address.
    At(SocketAddr),
    /// Through the proxy, which knows it so.
    Behind(String),
}

/// The time for a step was over.
#[derive(Debug)]
pub(super) struct Late;

impl Progress {
    pub(super) fn new(config: &ClientConfig) -> Progress {
        let (tell, reached) = unbounded_channel();
        let is_quic = matches!(config.disguise, ClientDisguise::Quic(_));
        Progress {
            next: if is_quic { Step::Quic } else { Step::Connect },
            granted: false,
            speaks_http2: false,
            far: None,
            said: None,
            has_proxy: config.proxy.is_some(),
            tls_name: config.disguise.tls().map(|tls| tls.server_name.clone()),
            is_quic,
            follower: Arc::new(move |step| drop(tell.send(step))),
            reached,
        }
    }

    /// The step that is next.
    pub(super) fn next(&self) -> Step {
        self.next
    }

    /// The server that was reached.
    pub(super) fn reached(&self) -> Option<&Far> {
        self.far.as_ref()
    }

    /// The first line of what the server has said, where that is no answer yet; nothing, where it is no text.
    pub(super) fn said(&self) -> Option<&str> {
        self.said.as_deref()
    }

    /// Whether the server has granted the tunnel.
    pub(super) fn is_granted(&self) -> bool {
        self.granted
    }

    /// Whether the server has shown that it speaks HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        self.speaks_http2
    }

    /// Does a part of the way to its end, for as long as none of its steps takes longer than [`STEP`].
    pub(super) async fn follow_to_end<T>(
        &mut self,
        work: impl Future<Output = T>,
        report: &mut Report,
    ) -> Result<T, Late> {
        let mut work = pin!(followed(Arc::clone(&self.follower), work));
        let mut end = Instant::now() + STEP;
        loop {
            tokio::select! {
                biased;
                done = &mut work => {
                    while let Ok(reached) = self.reached.try_recv() {
                        self.tell(reached, report);
                    }
                    return Ok(done);
                }
                Some(reached) = self.reached.recv() => {
                    // (what is said a byte at a time is no step)
                    let is_step = !matches!(reached, Reached::Said(_));
                    self.tell(reached, report);
                    end = if is_step { Instant::now() + STEP } else { end };
                }
                () = sleep_until(end) => return Err(Late),
            }
        }
    }

    /// Does work that goes on, until the server has granted the tunnel (`None`) or the work is over.
    pub(super) async fn follow_to_grant<T>(
        &mut self,
        work: impl Future<Output = T>,
        patience: Duration,
        report: &mut Report,
    ) -> Result<Option<T>, Late> {
        let mut work = pin!(followed(Arc::clone(&self.follower), work));
        let end = Instant::now() + patience;
        while !self.granted {
            tokio::select! {
                biased;
                Some(reached) = self.reached.recv() => self.tell(reached, report),
                done = &mut work => return Ok(Some(done)),
                () = sleep_until(end) => return Err(Late),
            }
        }
        Ok(None)
    }

    fn tell(&mut self, reached: Reached, report: &mut Report) {
        let behind_the_way = if self.tls_name.is_some() { Step::Tls } else { Step::Upgrade };
        let name = self.tls_name.as_deref().unwrap_or_default();
        match reached {
            Reached::Connected(address) if self.is_quic => {
                self.far = Some(Far::At(address));
                self.next = Step::Upgrade;
                report.ok("quic", format!("{address} answers; its certificate is valid for {name}"));
            }
            Reached::Connected(address) if self.has_proxy => {
                self.next = Step::Proxy;
                report.ok("connect", format!("the proxy {address} takes the connection"));
            }
            Reached::Connected(address) => {
                self.far = Some(Far::At(address));
                self.next = behind_the_way;
                report.ok("connect", format!("{address} takes the connection"));
            }
            Reached::Joined(server) => {
                self.next = behind_the_way;
                report.ok("proxy", format!("it leads to {server}"));
                self.far = Some(Far::Behind(server));
            }
            Reached::Tls(version) => {
                self.said = None;
                self.next = Step::Upgrade;
                report.ok("tls", format!("{version}; the server's certificate is valid for {name}"));
            }
            Reached::Http2 => {
                self.said = None;
                self.speaks_http2 = true;
                report.ok("http2", "the server speaks HTTP/2");
            }
            Reached::Said(line) => self.said = Some(line),
            Reached::Granted => {
                self.granted = true;
                report.ok("upgrade", "the server grants the tunnel");
            }
        }
    }
}
