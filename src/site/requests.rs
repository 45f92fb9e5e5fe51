//! A visitor's connection: requests one after another, their bodies thrown away, and the end of it.

use super::connection::{Connection, ReadResult};
use super::respond::{ServerAddr, respond};
use super::response::{Content, Response};
use crate::config::Website;
use crate::detect::{Detection, Handoff, Rules, detect};
use crate::runtime::drain;
use crate::telemetry::Answered;
use crate::transport::Stream;
use crate::wire::http::framing::MessageBody;
use crate::wire::http::request::buffers::HeaderBuffers;
use crate::wire::http::request::head::{Refusal, Request, RequestReader, ResponseStyle};
use std::io;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// How long a head may take (`client_header_timeout`).
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a connection waits for its next request (`keepalive_timeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// The most requests of a connection, and how old it may be when it gets another (`keepalive_requests`,
/// `keepalive_time`).
const MAX_REQUESTS: u64 = 1000;
const MAX_AGE: Duration = Duration::from_secs(3600);

/// As many bytes as show that they are no TLS, and as many as OpenSSL reads at once: what the longest
/// record has on the wire.
const RECORD_HEADER: usize = 5;
const RECORD: usize = RECORD_HEADER + 16 * 1024 + 320;

/// The requests of a connection, and what is known of them.
pub struct Requests<'a> {
    website: &'a Website,
    rules: &'a Rules,
    connection: Connection,
    server: ServerAddr,
    buffers: HeaderBuffers,
    count: u64,
}

/// What comes next on a connection.
enum Next {
    Request(Box<Request>),
    Refused(Refusal),
    /// Not a request, but a client.
    Upgrade,
    /// Nothing.
    Over,
}

/// An answer, and what of the request matters to the connection.
struct Exchange {
    answer: Response,
    style: ResponseStyle,
    body: MessageBody,
    keep_alive: bool,
    /// The visitor waits for leave to send the body.
    expects: bool,
    /// Where the connection is closed, it is closed so that the visitor can read the answer: there may
    /// be more to come.
    linger: bool,
}

/// How an answer leaves the connection.
enum After {
    /// Ready for the next request.
    Ready,
    /// To be closed; `lingering`, as long as something comes.
    Close { lingering: bool },
    /// To be closed at once.
    CloseNow,
    /// Not worth a word more.
    Broken,
}

impl<'a> Requests<'a> {
    pub fn new(website: &'a Website, rules: &'a Rules, c: Handoff<Stream>) -> Requests<'a> {
        let server = ServerAddr { address: c.info.local_addr(), tls: c.io.is_tls() };
        let connection = Connection::new(c);
        Requests { website, rules, connection, server, buffers: HeaderBuffers::default(), count: 0 }
    }

    /// Answers requests until one of the two has had enough, or a client shows itself. Returns what has been
    /// done, and the client.
    pub async fn run(mut self) -> (Answered, Option<Handoff<Stream>>) {
        loop {
            let exchange = match self.next().await {
                Next::Over => break,
                Next::Upgrade => return (self.answered(), Some(self.connection.c)),
                Next::Request(request) => self.asked(*request).await,
                Next::Refused(refusal) => Some(self.refused(refusal)),
            };
            let after = match exchange {
                Some(exchange) => self.exchange(exchange).await,
                None => After::CloseNow,
            };
            match after {
                After::Ready => {}
                After::Close { lingering } => {
                    self.connection.close(lingering).await;
                    break;
                }
                After::CloseNow => {
                    self.connection.close_now(self.buffers);
                    break;
                }
                After::Broken => break,
            }
        }
        (self.answered(), None)
    }

    fn answered(&self) -> Answered {
        let Connection { up, down, .. } = self.connection;
        Answered { requests: self.count, up, down }
    }

    /// Waits for a request and reads its head.
    async fn next(&mut self) -> Next {
        let mut reading = RequestReader::new(self.buffers);
        let now = Instant::now();
        // Where a connection may be idle, the time for a head begins with its first byte.
        let mut idle = self.count > 0 && self.connection.c.read_buf.is_empty();
        if idle {
            // A connection that waits has no buffer.
            self.connection.forget();
        }
        let mut deadline = match (self.count, idle) {
            (0, _) => self.connection.c.began + HEAD_TIMEOUT,
            (_, true) => now + IDLE_TIMEOUT,
            (_, false) => now + HEAD_TIMEOUT,
        };
        loop {
            if self.is_taken_for_tls() {
                if self.connection.c.read_buf.len() >= RECORD_HEADER {
                    // nginx ends it without a word, when OpenSSL has read so much of it.
                    self.connection.read_up_to(RECORD).await;
                    return Next::Over;
                }
            } else if let Some(next) = self.read(&mut reading) {
                return next;
            }
            match self.read_on(deadline, idle).await {
                ReadResult::Bytes => {}
                ReadResult::Nothing if idle => {
                    self.connection.close_notify().await;
                    return Next::Over;
                }
                ReadResult::End | ReadResult::Nothing => return Next::Over,
            }
            if std::mem::take(&mut idle) {
                deadline = Instant::now() + HEAD_TIMEOUT;
            }
        }
    }

    /// Waits for bytes: where the connection is idle, no longer than the process has anything else to do.
    async fn read_on(&mut self, deadline: Instant, idle: bool) -> ReadResult {
        if !idle {
            return self.connection.read(deadline).await;
        }
        tokio::select! {
            biased;
            read = self.connection.read(deadline) => read,
            () = drain::begun() => ReadResult::Nothing,
        }
    }

    /// Reads on in a head that has come, or a part of it.
    fn read(&mut self, reading: &mut RequestReader) -> Option<Next> {
        let blank = reading.skip(&self.connection.c.read_buf);
        self.connection.take(blank);
        let next = match reading.advance(&self.connection.c.read_buf) {
            Ok(None) => return None,
            Ok(Some(request)) => Next::Request(Box::new(request)),
            Err(refusal) => Next::Refused(refusal),
        };
        self.buffers = reading.buffers;
        match detect(&self.connection.c.read_buf, self.rules) {
            Detection::Client(_) => Some(Next::Upgrade),
            _ => Some(next),
        }
    }

    /// On a port for TLS nginx takes such a first byte for that of an SSL 2 hello.
    fn is_taken_for_tls(&self) -> bool {
        *self.website == Website::HttpsOnly
            && self.count == 0
            && self.connection.c.read_buf.first().is_some_and(|&b| b >= 0x80)
    }

    /// What becomes of a request. `None` where the connection ends without an answer.
    async fn asked(&mut self, request: Request) -> Option<Exchange> {
        self.count += 1;
        self.connection.take(request.length);
        let answer = respond(self.website, &request, self.server).await?;
        let lasts = self.count < MAX_REQUESTS
            && self.connection.c.began.elapsed() <= MAX_AGE
            && !drain::is_draining();
        let Request { style, body, keep_alive, expects, .. } = request;
        let linger = !body.is_over();
        Some(Exchange { answer, style, body, keep_alive: keep_alive && lasts, expects, linger })
    }

    fn refused(&mut self, refusal: Refusal) -> Exchange {
        self.count += 1;
        self.connection.take(refusal.consumed);
        let linger = refusal.is_too_large();
        let Refusal { status, style, body, .. } = refusal;
        let answer = Response::page(status, style);
        Exchange { answer, style, body, keep_alive: false, expects: false, linger }
    }

    /// Answers. A body is thrown away: what has come of it before, what still comes after the answer.
    async fn exchange(&mut self, exchange: Exchange) -> After {
        let Exchange { mut answer, style, mut body, keep_alive, expects, linger } = exchange;
        let alone = body.is_over();
        if answer.reads_body
            && expects
            && self.connection.send(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err()
        {
            return After::Broken;
        }
        let ended = match self.connection.skip_what_came(&mut body).await {
            Ok(ended) => ended,
            Err(_) => {
                body = MessageBody::Sized(0);
                if answer.reads_body {
                    answer = Response::page(400, style);
                }
                answer.ends = true;
                false
            }
        };
        let keep_alive = keep_alive && !answer.ends;
        let linger = linger && !answer.no_linger;
        let close_now = answer.close_now;
        // The answer may wait for long.
        self.connection.shrink();
        if self.write(answer, style, keep_alive).await.is_err() {
            return After::Broken;
        }
        if close_now {
            return After::CloseNow;
        }
        let whole = body.is_over();
        if ended || (!whole && !self.connection.skip_the_rest(&mut body).await) {
            return After::Broken;
        }
        if keep_alive {
            self.buffers = if alone && !self.connection.c.read_buf.is_empty() {
                self.buffers.for_next()
            } else {
                HeaderBuffers::default()
            };
            return After::Ready;
        }
        After::Close { lingering: whole && linger }
    }

    async fn write(&mut self, answer: Response, style: ResponseStyle, keep_alive: bool) -> io::Result<()> {
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
