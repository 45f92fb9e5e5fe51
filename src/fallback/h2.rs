//! HTTP/2 and the website: a connection that is the website's until its first request shows that it is a client's, and
//! the single requests of visitors who share a connection with clients.

use super::{Fallback, NoAnswers, NoVisit, Place, Port, Visit};
use crate::detect::{Handoff, UpstreamId};
use crate::metrics::VisitorClass;
use crate::net::conn_info::ConnInfo;
use crate::relay::{Direction, Flows, Identity, Relay, RelayStream as _, SEND_TIMEOUT, read_some};
use crate::telemetry::Answered;
use crate::transport::Stream;
use crate::transport::h2::takeover::{Takeover, Whose};
use crate::transport::h2::{Arrived, Taken, copy_body, is_untouched, send_buffer};
use crate::wire::h2::{MOST_WINDOW, PREFACE};
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::debug;

/// What is read at once until it is known whose a connection is.
const CHUNK: usize = 16 * 1024;

/// How long the website may take to say what it takes, once a client of ours waits for it.
const SITE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the rest of a first request may take: a segment that was lost once comes sooner.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a website is asked that has not touched a question: once more than it goes away.
const ATTEMPTS: usize = 3;

/// The most connections to a website for the visitors of one connection.
const MOST_CONNECTIONS: usize = 16;

/// How long a website may take to take a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose a connection is.
pub enum Begun {
    /// A visitor's, who has been seen through.
    Visit(Visit),
    /// A client's, as far as the website has served it.
    Ours(Box<Handoff<Stream>>, Taken),
    /// Nobody's yet: there is no website at another port.
    Untouched(Box<Handoff<Stream>>),
}

impl Fallback {
    /// Has the website answer what comes before the first request, and all if that is not ours.
    ///
    /// # Errors
    ///
    /// The website cannot be reached.
    pub async fn until_request(
        &self,
        mut c: Handoff<Stream>,
        id: UpstreamId,
        is_ours: impl Fn(&Request<()>) -> bool + Send + Sync,
    ) -> Result<Begun, NoVisit> {
        let Some((Place::Port(port), _)) = self.upstreams.get(id.0) else {
            return Ok(Begun::Untouched(Box::new(c)));
        };
        let mut visit = match self.visits.begin(&c.read_buf).await {
            Ok(visit) => visit,
            Err(NoAnswers) => {
                c.io.abort();
                return Err(NoVisit::Circle);
            }
        };
        let mut site = match Box::pin(port.connect(&mut c)).await {
            Ok(site) => site,
            // A client that does not wait for its settings needs none.
            Err(error) => match Box::pin(decide_alone(&mut c, &is_ours)).await {
                Some(taken) => return Ok(Begun::Ours(Box::new(c), taken)),
                None => {
                    c.io.abort();
                    return Err(error);
                }
            },
        };
        let answers = site.tcp().and_then(|tcp| visit.answers(tcp));
        // In TLS it is known what comes, and a web server that has the TLS itself speaks at once.
        let mut takeover = match c.io.is_tls() && site.write_all(PREFACE).await.is_ok() {
            true => Takeover::behind_preface(),
            false => Takeover::default(),
        };
        takeover.client_says(&std::mem::take(&mut c.read_buf), &is_ours);
        match Box::pin(decide(&mut c.io, &mut site, &mut takeover, &is_ours)).await {
            Ok(Whose::Ours) => return Ok(Begun::Ours(Box::new(c), takeover.into_taken())),
            Ok(Whose::Unknown | Whose::Visitors) => {}
            // Whoever broke, the other one hears of it below.
            Err(error) => debug!(peer = %c.info, %error, "broke off before its first request"),
        }
        let _open = self.visitors.count(VisitorClass::H2, id);
        let said = match takeover.said_too_much().filter(|_| c.io.is_tls()) {
            // It is asked anew, with what has come, and goes on from where it was.
            Some(heard) => {
                site = match port.connect(&mut c).await {
                    Ok(site) => site,
                    Err(error) => {
                        c.io.abort();
                        return Err(error);
                    }
                };
                let client = takeover.into_client();
                if site.write_all(&client).await.is_ok() {
                    skip(&mut site, heard).await;
                }
                Vec::new()
            }
            None => takeover.into_visitors(),
        };
        let flows = Flows::new(Identity).with_payload(Direction::Up, said).modest();
        let relay = Relay::new(c.io, site, flows, self.timeouts);
        Ok(Begun::Visit(Visit::Relayed(visit.run(answers, relay.run()).await)))
    }

    /// Asks a website what a visitor asks, on this connection to it, and passes the answer on.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) async fn answer(
        &self,
        id: UpstreamId,
        website: &H2Website,
        arrived: Arrived,
    ) -> Result<Answered, NoAnswer> {
        let port = match self.upstreams.get(id.0) {
            Some((Place::Port(port), _)) => Some(&**port),
            _ => None,
        };
        website.answer(port, arrived).await
    }
}

/// Passes on what both say until it is known whose the connection is, or one of them has ended.
async fn decide(
    client: &mut Stream,
    site: &mut Stream,
    takeover: &mut Takeover,
    is_ours: &(impl Fn(&Request<()>) -> bool + Send + Sync),
) -> io::Result<Whose> {
    let (mut from_client, mut from_site) = (Vec::new(), Vec::new());
    let mut patience = None;
    loop {
        match takeover.whose() {
            Whose::Unknown => {}
            Whose::Ours if takeover.waits_for_site() => {}
            whose => return Ok(whose),
        }
        let for_site = takeover.for_site();
        if !for_site.is_empty() {
            site.write_all(for_site).await?;
            site.flush().await?;
        }
        let (waits, holds) = (takeover.waits_for_site(), takeover.holds_request());
        let time = if waits { SITE_TIMEOUT } else { REQUEST_TIMEOUT };
        let due = match patience {
            Some((of_site, due)) if of_site == waits => due,
            _ => Instant::now() + time,
        };
        patience = (waits || holds).then_some((waits, due));
        tokio::select! {
            biased;
            read = read_some(site, &mut from_site, CHUNK) => {
                if read? == 0 {
                    return Ok(if waits { takeover.without_site() } else { Whose::Visitors });
                }
                if takeover.is_ours_alone(&from_site) {
                    return Ok(Whose::Ours);
                }
                client.write_all(&from_site).await?;
                client.flush().await?;
                takeover.site_says(&from_site);
                from_site.clear();
            }
            read = read_some(client, &mut from_client, CHUNK), if !waits => {
                if read? == 0 {
                    return Ok(Whose::Visitors);
                }
                takeover.client_says(&from_client, is_ours);
                from_client.clear();
            }
            () = sleep_until(due), if waits => return Ok(takeover.without_site()),
            () = sleep_until(due), if holds => takeover.give_up(),
        }
    }
}

/// Passes over so much of what a website says, which its visitor has heard.
async fn skip(site: &mut Stream, mut len: usize) {
    let deadline = Instant::now() + SITE_TIMEOUT;
    let mut heard = Vec::new();
    while len > 0 {
        match timeout_at(deadline, read_some(site, &mut heard, len)).await {
            Ok(Ok(some @ 1..)) => len -= some.min(len),
            _ => return,
        }
        heard.clear();
    }
}

/// Looks whether the client asks for what is ours at once, where there is no website that could say a word.
async fn decide_alone(
    c: &mut Handoff<Stream>,
    is_ours: &(impl Fn(&Request<()>) -> bool + Send + Sync),
) -> Option<Taken> {
    let mut takeover = Takeover::default();
    takeover.client_says(&std::mem::take(&mut c.read_buf), is_ours);
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    let mut more = Vec::new();
    while takeover.whose() == Whose::Unknown {
        let read = timeout_at(deadline, read_some(&mut c.io, &mut more, CHUNK)).await;
        read.ok()?.ok().filter(|&len| len > 0)?;
        takeover.client_says(&more, is_ours);
        more.clear();
    }
    (takeover.whose() == Whose::Ours).then(|| takeover.into_taken())
}

/// Connections to a website that speaks HTTP/2 in the clear, for the visitors of one connection. They are made once they
/// are needed.
pub struct H2Website {
    /// Who came.
    info: ConnInfo,
    connections: tokio::sync::Mutex<Vec<Connection>>,
}

/// A connection to a website, and how many of its requests are not over.
#[derive(Clone)]
struct Connection {
    requests: SendRequest<Bytes>,
    running: Arc<AtomicUsize>,
}

/// A request that is not over, until this is dropped.
struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a request has no answer. Its stream was reset.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// There is nobody who could.
    #[error("there is no website that speaks HTTP/2")]
    NoWebsite,
    /// The website has as many as it takes.
    #[error("the website takes no more requests")]
    TooMany,
    /// The website cannot be reached.
    #[error(transparent)]
    Website(#[from] NoVisit),
    /// The website's connection, or the visitor's.
    #[error(transparent)]
    Broken(#[from] h2::Error),
    /// One of them takes nothing any more.
    #[error("nothing was taken for {} s", SEND_TIMEOUT.as_secs())]
    Stalled,
}

impl H2Website {
    /// For the visitors of this connection.
    pub fn new(info: ConnInfo) -> H2Website {
        H2Website { info, connections: tokio::sync::Mutex::default() }
    }

    async fn answer(&self, port: Option<&Port>, arrived: Arrived) -> Result<Answered, NoAnswer> {
        let (request, mut respond, _in_use) = arrived.into_parts();
        match self.try_to_answer(port, request, &mut respond).await {
            Ok(answered) => Ok(answered),
            Err(error) => {
                let reason = match &error {
                    // It was not touched, and may be asked again.
                    NoAnswer::Broken(error) if is_untouched(error) => Reason::REFUSED_STREAM,
                    NoAnswer::Broken(error) => error.reason().unwrap_or(Reason::INTERNAL_ERROR),
                    NoAnswer::NoWebsite | NoAnswer::Website(_) | NoAnswer::TooMany => Reason::REFUSED_STREAM,
                    NoAnswer::Stalled => Reason::CANCEL,
                };
                respond.send_reset(reason);
                Err(error)
            }
        }
    }

    async fn try_to_answer(
        &self,
        port: Option<&Port>,
        request: Request<RecvStream>,
        respond: &mut h2::server::SendResponse<Bytes>,
    ) -> Result<Answered, NoAnswer> {
        let (head, body) = request.into_parts();
        let mut head = Request::from_parts(head, ());
        // (only with this are the scheme and the host demanded, which a visitor may leave out)
        *head.version_mut() = http::Version::HTTP_11;
        let ends = body.is_end_stream();
        let mut attempts = 0;
        let (mut up, mut down) = (0, 0);
        let mut body = Some(body);
        let (response, mut upload, mut is_uploaded, _running) = loop {
            attempts += 1;
            let (mut answer, to_site, running) = self.ask(port, head.clone(), ends).await?;
            let body = if ends { None } else { body.take() };
            let mut upload = Box::pin(async {
                match body {
                    Some(body) => copy_body(body, to_site, SEND_TIMEOUT, &mut up).await,
                    None => Ok(()),
                }
            });
            let mut is_uploaded = ends;
            let answered = loop {
                tokio::select! {
                    biased;
                    answered = next_answer(&mut answer, respond) => break answered,
                    uploaded = &mut upload, if !is_uploaded => {
                        // (a website may answer before it has read all, and reset the rest)
                        match uploaded {
                            Ok(()) => is_uploaded = true,
                            Err(None) => return Err(NoAnswer::Stalled),
                            Err(Some(error)) if error.reason() == Some(Reason::NO_ERROR) => is_uploaded = true,
                            Err(Some(error)) => return Err(error.into()),
                        }
                    }
                }
            };
            match answered {
                Ok(response) => break (response, upload, is_uploaded, running),
                // Nothing of the question is lost.
                Err(error) if ends && is_untouched(&error) && attempts < ATTEMPTS => {}
                Err(error) => return Err(error.into()),
            }
        };
        let (head, body) = response.into_parts();
        let ends = body.is_end_stream();
        let to_visitor = respond.send_response(Response::from_parts(head, ()), ends)?;
        if !ends {
            let mut download = pin!(copy_body(body, to_visitor, SEND_TIMEOUT, &mut down));
            loop {
                tokio::select! {
                    biased;
                    done = &mut download => {
                        match done {
                            Ok(()) => break,
                            Err(None) => return Err(NoAnswer::Stalled),
                            Err(Some(error)) => return Err(error.into()),
                        }
                    }
                    // What becomes of the rest of the question is the website's affair.
                    _ = &mut upload, if !is_uploaded => is_uploaded = true,
                }
            }
        }
        drop(upload);
        Ok(Answered { requests: 1, up, down })
    }

    /// Sends a request, on a connection that there is or on a new one.
    async fn ask(
        &self,
        port: Option<&Port>,
        head: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>, Running), NoAnswer> {
        let Some(port) = port else { return Err(NoAnswer::NoWebsite) };
        let mut connections = self.connections.lock().await;
        let mut at = 0;
        while let Some(connection) = connections.get_mut(at) {
            if connection.running.load(Ordering::Relaxed) >= connection.requests.current_max_send_streams() {
                at += 1;
                continue;
            }
            match connection.requests.send_request(head.clone(), ends) {
                Ok((answer, to_site)) => return Ok((answer, to_site, connection.one_more())),
                // It goes away, or has gone.
                Err(_) => drop(connections.remove(at)),
            }
        }
        if connections.len() >= MOST_CONNECTIONS {
            return Err(NoAnswer::TooMany);
        }
        let tcp = port.dial(&self.info).await.map_err(NoVisit::from)?;
        // Each may bring as much as it may at the beginning: what its visitor does not take is to stay with the website, and
        // is to keep no other one waiting.
        let handshake = Builder::new()
            .enable_push(false)
            .initial_connection_window_size(MOST_WINDOW)
            .max_send_buffer_size(send_buffer())
            .handshake::<_, Bytes>(tcp);
        let (mut requests, driven) =
            timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| NoAnswer::Stalled)??;
        tokio::spawn(async move {
            if let Err(error) = driven.await {
                debug!(%error, "the website's HTTP/2 connection broke");
            }
        });
        let (answer, to_site) = requests.send_request(head, ends)?;
        let connection = Connection { requests, running: Arc::default() };
        let running = connection.one_more();
        connections.push(connection);
        Ok((answer, to_site, running))
    }
}

impl Connection {
    fn one_more(&self) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(&self.running))
    }
}

/// Waits for the answer, and passes on what comes before it.
async fn next_answer(
    answer: &mut ResponseFuture,
    respond: &mut h2::server::SendResponse<Bytes>,
) -> Result<Response<RecvStream>, h2::Error> {
    poll_fn(|cx| {
        if let Poll::Ready(reason) = respond.poll_reset(cx) {
            return Poll::Ready(Err(reason.map_or_else(|error| error, h2::Error::from)));
        }
        while let Poll::Ready(Some(informational)) = answer.poll_informational(cx) {
            respond.send_informational(informational?)?;
        }
        pin!(&mut *answer).poll(cx)
    })
    .await
}

impl std::fmt::Debug for H2Website {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("H2Website")
    }
}
