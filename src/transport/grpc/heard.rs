//! Tells when a server has said how it begins.

use super::way::Traffic;
use crate::net::reached::{self, Follower, Reached};
use crate::transport::Stream;
use crate::wire::h2::{FrameHead, PREFACE, frame, kind};
use crate::wire::http::first_line;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// So much of what it says first is kept.
const FIRST: usize = 64;

/// A connection to a server of which nothing has been heard.
pub(super) struct Heard {
    io: Stream,
    state: State,
    traffic: Arc<Traffic>,
    first: Arc<FirstBytes>,
    flight: Option<Flight>,
    /// Who is told once the first frame's head is known, and what has come of that.
    follower: Option<(Follower, Vec<u8>)>,
}

/// What is said first, up to the first request, goes out in one piece: a server that is a website's, too, knows at once
/// whose the connection is.
#[derive(Default)]
struct Flight {
    bytes: Vec<u8>,
    written: usize,
}

impl Flight {
    /// More than this is not waited for.
    const MOST: usize = 16 * 1024;

    /// Whether the request is in it.
    fn is_whole(&self) -> bool {
        let mut rest = self.bytes.get(PREFACE.len()..).unwrap_or_default();
        while let Some((head, _)) = frame(rest) {
            if head.kind == kind::HEADERS {
                return true;
            }
            rest = &rest[head.frame_len()..];
        }
        self.bytes.len() >= Flight::MOST
    }
}

/// The first bytes of a server.
#[derive(Debug, Default)]
pub(super) struct FirstBytes(OnceLock<Vec<u8>>);

impl FirstBytes {
    /// What it speaks, where that is not HTTP/2.
    pub(super) fn complaint(&self) -> Option<String> {
        let first = self.0.get()?;
        let head = FrameHead::read(first);
        // (a frame of settings, as far as it has come)
        if head.map_or_else(
            || first.get(3).is_none_or(|&kind| kind == kind::SETTINGS),
            |head| head.kind == kind::SETTINGS && head.stream == 0,
        ) {
            return None;
        }
        let hint = match first.as_slice() {
            // An alert, or a hello (RFC 8446 section 5.1).
            [0x15 | 0x16, 3, ..] => "it speaks TLS on this port; is `tls` missing here?",
            [b'H', b'T', b'T', b'P', ..] => {
                "it is HTTP/1: is `tls` missing here, or `mode=grpc` there, or has its website no HTTP/2 (`failover-h2`)?"
            }
            _ => "is this the server's port, and has it `mode=grpc`?",
        };
        Some(format!("the server does not speak HTTP/2, it says `{}`: {hint}", first_line(first)))
    }
}

enum State {
    Silent(Arc<Notify>),
    /// What it says was read; it is known once the next read is asked for.
    Spoke(Arc<Notify>),
    Told,
}

impl Heard {
    /// `told` is notified once what the server says first is known.
    pub(super) fn new(io: Stream, told: Arc<Notify>, traffic: Arc<Traffic>, first: Arc<FirstBytes>) -> Heard {
        let (state, flight) = (State::Silent(told), Some(Flight::default()));
        Heard {
            io,
            state,
            traffic,
            first,
            flight,
            follower: reached::follower().map(|follower| (follower, Vec::new())),
        }
    }

    /// Tells whoever follows what has come: HTTP/2 begins with settings (RFC 9113 section 3.4).
    fn tell(&mut self, new: &[u8]) {
        let Some((follower, head)) = &mut self.follower else { return };
        head.extend(new.iter().take(FIRST - head.len()));
        match FrameHead::read(head) {
            Some(frame) if frame.kind == kind::SETTINGS && frame.stream == 0 => {
                follower(Reached::Http2);
                self.follower = None;
            }
            // (it is no text)
            _ => follower(Reached::Said(String::new())),
        }
    }

    /// Writes what is said first, once it is whole. Ready where there is nothing more of it.
    fn poll_flight(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(flight) = &mut self.flight else { return Poll::Ready(Ok(())) };
        while let Some(rest @ [_, ..]) = flight.bytes.get(flight.written..) {
            let len = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            flight.written += len;
        }
        self.flight = None;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let State::Spoke(told) = &self.state {
            told.notify_one();
            self.state = State::Told;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        self.traffic.note_received(new.len());
        if let State::Silent(told) = &self.state
            && !new.is_empty()
        {
            let _ = self.first.0.set(new[..new.len().min(FIRST)].to_vec());
            self.state = State::Spoke(Arc::clone(told));
        }
        if !new.is_empty() {
            self.tell(new);
        }
        read
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(flight) = self.flight.as_mut().filter(|flight| !flight.is_whole()) {
            flight.bytes.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_flight(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.flight.is_some() {
            let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
            return self.poll_write(cx, first);
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.flight.as_ref().is_some_and(|flight| !flight.is_whole()) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_flight(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flight(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
