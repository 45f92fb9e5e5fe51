//! The first bytes of a connection to the server half, read until it is known what they are.

use crate::detect::{Detection, Detector, GuessedProtocol, Rules};
use crate::fallback::{Fallback, Place};
use crate::net::budget::Share;
use crate::net::conn_info::ConnInfo;
use crate::relay;
use crate::wire::fake_tls::ReceivedHello;
use crate::wire::http::Upgrade;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// How long a head may take. A visitor that stays silent is the website's after this, whose own
/// time-out decides.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A client's head comes in one go, or nearly so. Who takes longer is likely a visitor, so the website
/// is dialled: its time-outs begin then, as if the visitor had come to it.
const HESITATION: Duration = Duration::from_millis(250);

/// Bytes that are read at once, or as many as are there already.
const CHUNK: usize = 4096;

/// What a connection costs beside its bytes.
const BESIDE: usize = 4096;

/// What came.
#[derive(Debug)]
pub enum Arrival {
    /// A client of ours that asks for an upgrade, and all bytes that were read.
    Http(Upgrade, Vec<u8>),
    /// A client of ours with a hello of `obfs=tls`, and all bytes that were read.
    FakeTls(ReceivedHello, Vec<u8>),
    /// Real TLS: all bytes that were read, a complete hello in front, and the connection to the website
    /// for TLS if it was dialled already.
    Tls(Vec<u8>, Option<TcpStream>),
    /// Anybody else, all bytes that were read, and the connection to the website if it was dialled
    /// already.
    Visitor(Vec<u8>, Option<TcpStream>),
    /// The connection broke.
    Gone(io::Error),
}

impl Arrival {
    /// All bytes that were read, if there is still somebody.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Arrival::Http(_, bytes)
            | Arrival::FakeTls(_, bytes)
            | Arrival::Tls(bytes, _)
            | Arrival::Visitor(bytes, _) => bytes,
            Arrival::Gone(_) => &[],
        }
    }
}

/// Reads until it is known what the connection is. `place` says where a visitor goes by what it speaks.
pub async fn read<V: AsyncRead + Unpin>(
    visitor: &mut V,
    peer: &ConnInfo,
    rules: &Rules,
    fallback: &Fallback,
    place: impl Fn(GuessedProtocol) -> Place,
) -> Arrival {
    let share = fallback.undecided().share();
    let mut first = FirstBytes { visitor, rules, bytes: Vec::new(), detector: Detector::default(), share };
    let deadline = Instant::now() + HEAD_TIMEOUT;
    let seen = match timeout(HESITATION, first.decide()).await {
        Ok(seen) => seen,
        Err(_) => {
            let dialling = fallback.dial_early(place(rules.speech(&first.bytes)), peer);
            let mut dialling = pin!(timeout_at(deadline, dialling));
            // A website that is slow to answer, or dead, keeps no client waiting.
            let dialled = tokio::select! {
                biased;
                seen = first.decide() => {
                    let site = match seen {
                        Seen::Detection(Detection::Visitor) => dialling.await.ok().flatten(),
                        _ => None,
                    };
                    return first.arrived(seen, site);
                }
                dialled = &mut dialling => dialled.ok().flatten(),
            };
            match dialled {
                None => {
                    timeout_at(deadline, first.decide()).await.unwrap_or(Seen::Detection(Detection::Visitor))
                }
                Some(site) => {
                    let seen = tokio::select! {
                        biased;
                        seen = first.decide() => seen,
                        // The website has had enough of the silence, or greets: it is its visitor then.
                        _ = site.readable() => Seen::Detection(Detection::Visitor),
                        () = sleep_until(deadline) => Seen::Detection(Detection::Visitor),
                    };
                    return first.arrived(seen, Some(site));
                }
            }
        }
    };
    first.arrived(seen, None)
}

/// What the bytes turned out to be.
enum Seen {
    Detection(Detection),
    Broken(io::Error),
}

struct FirstBytes<'a, V> {
    visitor: &'a mut V,
    rules: &'a Rules,
    bytes: Vec<u8>,
    detector: Detector,
    /// What it holds of that which all may hold.
    share: Share<'a>,
}

impl<V: AsyncRead + Unpin> FirstBytes<'_, V> {
    /// Reads on until there is a verdict. Nothing is lost when it is dropped and called again.
    async fn decide(&mut self) -> Seen {
        loop {
            // Few steps, or the allocator is left with holes between the sizes of many connections.
            let most = CHUNK.max(self.bytes.len());
            match relay::read_some(self.visitor, &mut self.bytes, most).await {
                // A head that ends before its end is for the website to judge.
                Ok(0) => return Seen::Detection(Detection::Visitor),
                Ok(_) => {}
                Err(error) => return Seen::Broken(error),
            }
            match self.rules.detect_next(&mut self.detector, &self.bytes) {
                Detection::NeedMore if self.share.grow_to(self.bytes.len() + BESIDE) => {}
                // It might be a client's, but then it would have come in one go, or nearly so.
                Detection::NeedMore => return Seen::Detection(Detection::Visitor),
                verdict => return Seen::Detection(verdict),
            }
        }
    }

    fn arrived(self, seen: Seen, site: Option<TcpStream>) -> Arrival {
        match seen {
            Seen::Detection(Detection::Http(upgrade)) => Arrival::Http(upgrade, self.bytes),
            Seen::Detection(Detection::FakeTls(hello)) => Arrival::FakeTls(hello, self.bytes),
            Seen::Detection(Detection::Tls) => Arrival::Tls(self.bytes, site),
            Seen::Detection(Detection::Visitor | Detection::NeedMore) => Arrival::Visitor(self.bytes, site),
            Seen::Broken(error) => Arrival::Gone(error),
        }
    }
}
