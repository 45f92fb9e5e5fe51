//! A connection that begins as the website's: what its client says first goes there, and what the website answers goes
//! back, until the first request tells whose it is. Bytes in, bytes out: no sockets.
//!
//! Clients may wait for a server's settings before they ask for anything, so these are the website's own. Once a
//! connection has been taken over, both ends go on as if the frames that have passed were ours: see [`Taken`].

use super::spoken::Spoken;
use super::taken_over::Taken;
use crate::wire::h2::{END_HEADERS, INITIAL_WINDOW, MOST_WINDOW};
use crate::wire::h2::{FrameHead, PREFACE, frame, kind, setting, settings, window_increment};
use h2::server::Builder;
use http::Request;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most that a client may say up to the end of its first request. (Web servers take heads of 8 to 32 KiB.)
const MOST: usize = 64 * 1024;

/// The most that a first request may have which is held until it is known whose it is: clients of ours ask in less than
/// a hundred bytes.
const MOST_HELD: usize = 8 * 1024;

/// The most of the website's frames that are looked at meanwhile.
const MOST_OF_SITE: usize = 64 * 1024;

/// What is known of whose a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The first request has not come.
    Unknown,
    /// It asks for a tunnel. What the website has said has ended with a frame.
    Ours,
    /// It is one of a visitor, or none.
    Visitors,
}

/// A connection whose first request has not come.
#[derive(Debug, Default)]
pub struct Takeover {
    /// All that the client has said.
    client: Vec<u8>,
    /// How much of it are whole frames that were looked at.
    looked: usize,
    /// How much of it may go to the website, and has.
    may_pass: usize,
    passed: usize,
    /// Where the first request begins.
    request: Option<usize>,
    is_ours: bool,
    is_visitors: bool,
    /// It has begun otherwise than HTTP/2 does.
    lacks_preface: bool,
    /// What the website has said of the frame that has not ended.
    site: Vec<u8>,
    site_len: usize,
    spoken: Spoken,
}

impl Takeover {
    /// A connection in which the website has been told the preface already: what has to come, and what it waits for before
    /// it says a word.
    pub(crate) fn behind_preface() -> Takeover {
        Takeover { passed: PREFACE.len(), ..Takeover::default() }
    }

    /// The client has said this. `is_ours` judges its first request.
    pub fn client_says(&mut self, bytes: &[u8], is_ours: impl Fn(&Request<()>) -> bool) {
        self.client.extend_from_slice(bytes);
        if self.looked == 0 && !self.is_visitors {
            let len = self.client.len().min(PREFACE.len());
            let same = self.client.iter().zip(PREFACE).take_while(|(byte, wanted)| byte == wanted).count();
            if same < len {
                self.is_visitors = true;
                self.lacks_preface = true;
                self.passed = self.passed.min(same);
            } else {
                self.may_pass = len;
                if len == PREFACE.len() {
                    self.looked = len;
                }
            }
        }
        while self.looked > 0 && !self.is_visitors && !self.is_ours {
            let Some((head, _)) = self.client.get(self.looked..).and_then(frame) else { break };
            match (self.request, head.kind) {
                (None, kind::HEADERS) if is_odd(head) => self.is_visitors = true,
                (None, kind::HEADERS) | (Some(_), kind::CONTINUATION) => {
                    let request = *self.request.get_or_insert(self.looked);
                    self.looked += head.frame_len();
                    if head.flags & END_HEADERS != 0 {
                        let whole = self.client.get(..self.looked).unwrap_or_default();
                        self.is_ours = self.looked - request <= MOST_HELD
                            && first_request(whole).as_ref().is_some_and(&is_ours);
                        self.is_visitors = !self.is_ours;
                    }
                }
                // A website has words for what does not belong here.
                (Some(_), _) | (None, kind::CONTINUATION | kind::DATA) => self.is_visitors = true,
                (None, _) => {
                    self.looked += head.frame_len();
                    self.may_pass = self.looked;
                }
            }
        }
        // Of a frame that has not come whole it is known what it is.
        let next = self.client.get(self.looked..).and_then(FrameHead::read);
        let is_held = self.request.is_some() || next.is_none_or(|head| matches!(head.kind, kind::HEADERS));
        let held = self.client.len() - self.may_pass.min(self.client.len());
        self.is_visitors |= !self.is_ours && (next.is_some_and(is_odd) || held > MOST_HELD);
        if !is_held && self.looked > 0 {
            self.may_pass = self.client.len();
        }
        self.is_visitors |= !self.is_ours && self.client.len() > MOST;
    }

    /// The website has said this, which the client has been told.
    pub fn site_says(&mut self, bytes: &[u8]) {
        self.site.extend_from_slice(bytes);
        self.site_len += bytes.len();
        let mut at = 0;
        while let Some((head, payload)) = self.site.get(at..).and_then(frame) {
            at += head.frame_len();
            self.site_frame(head, payload.to_vec());
        }
        self.site.drain(..at);
        self.is_visitors |= self.site_len > MOST_OF_SITE;
        // What is no HTTP/2 begins with no frame of settings.
        let first = FrameHead::read(&self.site).filter(|_| self.spoken.settings == 0);
        self.is_visitors |= first.is_some_and(|head| head.kind != kind::SETTINGS || head.stream != 0);
    }

    fn site_frame(&mut self, head: FrameHead, payload: Vec<u8>) {
        match head.kind {
            kind::SETTINGS if head.is_settings_ack() => self.spoken.acks += 1,
            kind::SETTINGS if head.stream == 0 => {
                self.spoken.settings += 1;
                for (number, value) in settings(&payload) {
                    match number {
                        setting::INITIAL_WINDOW_SIZE => {
                            self.spoken.stream_window = Some(value.min(MOST_WINDOW))
                        }
                        setting::MAX_FRAME_SIZE => self.spoken.frame_size = Some(value),
                        _ => {}
                    }
                }
            }
            kind::WINDOW_UPDATE if head.stream == 0 => {
                let more = window_increment(&payload).unwrap_or_default();
                let most = MOST_WINDOW - INITIAL_WINDOW;
                self.spoken.window = self.spoken.window.saturating_add(more).min(most);
            }
            kind::WINDOW_UPDATE | PING => {}
            // It goes away, or answers: not what a website does before it is asked.
            _ => self.is_visitors = true,
        }
    }

    /// Whose it is.
    pub fn whose(&self) -> Whose {
        match () {
            () if self.is_visitors => Whose::Visitors,
            () if self.is_ours && self.site.is_empty() => Whose::Ours,
            () => Whose::Unknown,
        }
    }

    /// Whether a part of the first request has come, which is held.
    pub fn holds_request(&self) -> bool {
        !self.is_ours && !self.is_visitors && self.may_pass < self.client.len()
    }

    /// It has not come to its end in time: a client's does in one piece, or nearly so.
    pub fn give_up(&mut self) {
        self.is_visitors |= !self.is_ours;
    }

    /// Whether the first request is ours, and these are not the first bytes of a website that speaks HTTP/2: then the client
    /// is to hear nothing of it.
    pub fn is_ours_alone(&self, site: &[u8]) -> bool {
        let is_settings = |head: FrameHead| head.kind == kind::SETTINGS && head.stream == 0;
        self.is_ours
            && self.site_len == 0
            && !FrameHead::read(site)
                .map_or_else(|| site.get(3).is_none_or(|&kind| kind == kind::SETTINGS), is_settings)
    }

    /// Whether the first request is ours, and the website is waited for.
    pub(crate) fn waits_for_site(&self) -> bool {
        self.is_ours && !self.is_visitors && (self.spoken.settings == 0 || !self.site.is_empty())
    }

    /// Whose it is where the website says no more, or not in time: none can take over within a frame of it.
    pub(crate) fn without_site(&self) -> Whose {
        if self.is_ours && self.site.is_empty() { Whose::Ours } else { Whose::Visitors }
    }

    /// What the website is to be told now: all, once it is known that the client is its visitor.
    pub fn for_site(&mut self) -> &[u8] {
        let end = if self.is_visitors { self.client.len() } else { self.may_pass };
        let from = self.passed;
        self.passed = from.max(end);
        self.client.get(from..end).unwrap_or_default()
    }

    /// Of a website that was told the preface though none came: how much it has said since.
    pub(crate) fn said_too_much(&self) -> Option<usize> {
        self.lacks_preface.then_some(self.site_len)
    }

    /// All that the client has said.
    pub(crate) fn into_client(self) -> Vec<u8> {
        self.client
    }

    /// The connection of a visitor: how much the website has been told, of all that the client has said.
    pub fn into_visitors(self) -> Vec<u8> {
        let mut client = self.client;
        client.drain(..self.passed.min(client.len()));
        client
    }

    /// The connection taken over.
    pub(crate) fn into_taken(self) -> Taken {
        Taken::new(&self.client, self.looked, self.spoken)
    }
}

/// Whether it is the head of a request on a stream that no client opens. A website judges it before the rest has come.
fn is_odd(head: FrameHead) -> bool {
    head.kind == kind::HEADERS && head.stream.is_multiple_of(2)
}

/// PING (RFC 9113 section 6.7).
const PING: u8 = 6;

/// The first request of a connection whose client has said this, if it is one in order.
fn first_request(bytes: &[u8]) -> Option<Request<()>> {
    let mut cx = Context::from_waker(Waker::noop());
    // (a frame that is too long for us may be none for the website; a first request is shorter)
    let handshake = pin!(Builder::new().enable_connect_protocol().handshake::<_, bytes::Bytes>(Said(bytes)));
    let Poll::Ready(Ok(mut connection)) = handshake.poll(&mut cx) else { return None };
    let Poll::Ready(Some(Ok((request, _)))) = connection.poll_accept(&mut cx) else { return None };
    Some(request.map(|_| ()))
}

/// A client that has said this, and says no more now. What it is told goes nowhere.
struct Said<'a>(&'a [u8]);

impl AsyncRead for Said<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, later) = self.0.split_at(self.0.len().min(buffer.remaining()));
        if now.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Said<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
