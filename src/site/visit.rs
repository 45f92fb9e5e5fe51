//! A visitor's connection: requests one after another, their bodies thrown away, and the end of it.

use super::answer::{Answer, Content};
use super::body::RequestBody;
use super::buffers::HeaderBuffers;
use super::connection::{Came, Connection};
use super::head::{Refusal, Request, RequestReader, ResponseStyle};
use super::{Here, Site};
use crate::detect::{Detection, Rules};
use crate::fallback::Claimed;
use crate::net::conn_info::ConnInfo;
use crate::transport::Stream;
use crate::wire::http::Upgrade;
use crate::wire::http::chunked::MalformedChunk;
use std::io;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tracing::debug;

/// How long a head may take (`client_header_timeout`).
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection waits for its next request (`keepalive_timeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The most requests of a connection, and how old it may be when it gets another (`keepalive_requests`,
/// `keepalive_time`).
const MAX_REQUESTS: u32 = 1000;
const MAX_AGE: Duration = Duration::from_secs(3600);

/// As many bytes as show that they are no TLS, and as many as OpenSSL reads at once: what the longest
/// record has on the wire.
const RECORD_HEADER: usize = 5;
const RECORD: usize = RECORD_HEADER + 16 * 1024 + 320;

/// A connection, and what is known of it.
pub struct Visit<'a> {
    site: &'a Site,
    rules: &'a Rules,
    connection: Connection,
    here: Here<'a>,
    buffers: HeaderBuffers,
    requests: u32,
    began: Instant,
}

/// What comes next on a connection.
enum Next {
    Request(Box<Request>),
    Refused(Refusal),
    /// Not a request, but a client.
    Claimed(Upgrade),
    /// Nothing.
    Over,
}

/// An answer, and what of the request matters to the connection.
struct Exchange {
    answer: Answer,
    style: ResponseStyle,
    body: RequestBody,
    keep_alive: bool,
    /// The visitor waits for leave to send the body.
    expects: bool,
    /// Where the connection is closed, it is closed so that the visitor can read the answer: there may
    /// be more to come.
    patient: bool,
}

/// How an answer leaves the connection.
enum After {
    /// Ready for the next request.
    Ready,
    /// To be closed; `true` if patiently.
    Close(bool),
    /// To be closed at once.
    Cut,
    /// Not worth a word more.
    Broken,
}

impl<'a> Visit<'a> {
    pub fn new(
        site: &'a Site,
        rules: &'a Rules,
        visitor: Stream,
        origin: &'a ConnInfo,
        bytes: Vec<u8>,
        began: Instant,
    ) -> Visit<'a> {
        let connection = Connection::new(visitor, bytes);
        let here = Here { origin, tls: connection.tls };
        Visit { site, rules, connection, here, buffers: HeaderBuffers::default(), requests: 0, began }
    }

    /// Answers requests until one of the two has had enough, or a client shows itself.
    pub async fn run(mut self) -> Option<Claimed> {
        let mut claimed = None;
        loop {
            let exchange = match self.next().await {
                Next::Over => break,
                Next::Claimed(upgrade) => {
                    claimed = Some(upgrade);
                    break;
                }
                Next::Request(request) => match self.asked(*request).await {
                    Some(exchange) => exchange,
                    None => {
                        self.connection.cut(self.buffers);
                        break;
                    }
                },
                Next::Refused(refusal) => self.refused(refusal),
            };
            match self.exchange(exchange).await {
                After::Ready => {}
                After::Close(patiently) => {
                    self.connection.close(patiently).await;
                    break;
                }
                After::Cut => {
                    self.connection.cut(self.buffers);
                    break;
                }
                After::Broken => break,
            }
        }
        debug!(peer = %self.here.origin, requests = self.requests, "visitor of our own website");
        let Connection { visitor, bytes, .. } = self.connection;
        claimed.map(|upgrade| Claimed { visitor, upgrade, bytes })
    }

    /// Waits for a request and reads its head.
    async fn next(&mut self) -> Next {
        let mut reading = RequestReader::new(self.buffers);
        let now = Instant::now();
        // Where a connection may be idle, the time for a head begins with its first byte.
        let mut idle = self.requests > 0 && self.connection.bytes.is_empty();
        if idle {
            // A connection that waits has no buffer.
            self.connection.bytes = Vec::new();
        }
        let mut deadline = match (self.requests, idle) {
            (0, _) => self.began + HEAD_TIMEOUT,
            (_, true) => now + IDLE_TIMEOUT,
            (_, false) => now + HEAD_TIMEOUT,
        };
        loop {
            if self.is_taken_for_tls() {
                if self.connection.bytes.len() >= RECORD_HEADER {
                    // nginx ends it without a word, when OpenSSL has read so much of it.
                    self.connection.read_up_to(RECORD).await;
                    return Next::Over;
                }
            } else if let Some(next) = self.read(&mut reading) {
                return next;
            }
            match self.connection.read(deadline).await {
                Came::Bytes => {}
                Came::Nothing if idle => {
                    self.connection.part().await;
                    return Next::Over;
                }
                Came::End | Came::Nothing => return Next::Over,
            }
            if std::mem::take(&mut idle) {
                deadline = Instant::now() + HEAD_TIMEOUT;
            }
        }
    }

    /// Reads on in a head that has come, or a part of it.
    fn read(&mut self, reading: &mut RequestReader) -> Option<Next> {
        let blank = reading.skip(&self.connection.bytes);
        self.connection.take(blank);
        let next = match reading.advance(&self.connection.bytes) {
            Ok(None) => return None,
            Ok(Some(request)) => Next::Request(Box::new(request)),
            Err(refusal) => Next::Refused(refusal),
        };
        self.buffers = reading.buffers();
        match self.rules.detect(&self.connection.bytes) {
            Detection::Http(upgrade) => Some(Next::Claimed(upgrade)),
            _ => Some(next),
        }
    }

    /// On a port for TLS nginx takes such a first byte for that of an SSL 2 hello.
    fn is_taken_for_tls(&self) -> bool {
        *self.site == Site::HttpsOnly
            && self.requests == 0
            && self.connection.bytes.first().is_some_and(|&b| b >= 0x80)
    }

    /// What becomes of a request. `None` where the connection ends without an answer.
    async fn asked(&mut self, request: Request) -> Option<Exchange> {
        self.requests += 1;
        self.connection.take(request.length);
        let answer = self.site.answer(&request, &self.here).await?;
        let lasts = self.requests < MAX_REQUESTS && self.began.elapsed() <= MAX_AGE;
        let Request { style, body, keep_alive, expects, .. } = request;
        let patient = !body.is_over();
        Some(Exchange { answer, style, body, keep_alive: keep_alive && lasts, expects, patient })
    }

    fn refused(&mut self, refusal: Refusal) -> Exchange {
        self.requests += 1;
        self.connection.take(refusal.consumed);
        let patient = refusal.is_too_large();
        let Refusal { status, style, body, .. } = refusal;
        let answer = Answer::page(status, style);
        Exchange { answer, style, body, keep_alive: false, expects: false, patient }
    }

    /// Answers. A body is thrown away: what has come of it before, what still comes after the answer.
    async fn exchange(&mut self, exchange: Exchange) -> After {
        let Exchange { mut answer, style, mut body, keep_alive, expects, patient } = exchange;
        let alone = body.is_over();
        if answer.reads_body
            && expects
            && self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err()
        {
            return After::Broken;
        }
        let ended = match self.connection.skip_what_came(&mut body).await {
            Ok(ended) => ended,
            Err(MalformedChunk) => {
                body = RequestBody::NONE;
                if answer.reads_body {
                    answer = Answer::page(400, style);
                }
                answer.ends = true;
                false
            }
        };
        let keep_alive = keep_alive && !answer.ends;
        let patient = patient && !answer.abrupt;
        let cut = answer.cut;
        if self.write(answer, style, keep_alive).await.is_err() {
            return After::Broken;
        }
        if cut {
            return After::Cut;
        }
        let whole = body.is_over();
        if ended || (!whole && !self.connection.skip_the_rest(&mut body).await) {
            return After::Broken;
        }
        if keep_alive {
            self.buffers = if alone && !self.connection.bytes.is_empty() {
                self.buffers.for_next()
            } else {
                HeaderBuffers::default()
            };
            return After::Ready;
        }
        After::Close(whole && patient)
    }

    async fn write(&mut self, answer: Answer, style: ResponseStyle, keep_alive: bool) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "the date in an answer")]
        let mut bytes = if style.bare { Vec::new() } else { answer.head(keep_alive, SystemTime::now()) };
        let content = if style.head_only && !style.bare { Content::Nothing } else { answer.content };
        match content {
            Content::Nothing => self.connection.send(&bytes).await,
            Content::Page(page) => {
                bytes.extend_from_slice(page.as_bytes());
                self.connection.send(&bytes).await
            }
            Content::File(source) => self.connection.send_file(bytes, source).await,
        }
    }
}
