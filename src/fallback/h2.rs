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
use crate::transport::h2::{Arrived, Taken, copy_body};
use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;
use thiserror::Error;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

/// What is read at once until it is known whose a connection is.
const CHUNK: usize = 16 * 1024;

/// How long the website may take to say what it takes, once a client of ours waits for it.
const SITE_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a website may take to take a connection.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whose a connection is.
pub enum Begun {
    /// A visitor's, who has been seen through.
    Visit(Visit),
    /// A client's, as far as the website has served it.
    Ours(Box<Handoff<Stream>>, Taken),
}

impl Fallback {
    /// Has the website answer what comes before the first request, and all if that is not ours. Returns the connection
    /// where there is no website at another port.
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
            return Ok(Begun::Ours(Box::new(c), Taken::default()));
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
            Err(error) => {
                c.io.abort();
                return Err(error);
            }
        };
        let answers = site.tcp().and_then(|tcp| visit.answers(tcp));
        let mut takeover = Takeover::default();
        takeover.client_says(&std::mem::take(&mut c.read_buf), &is_ours);
        match Box::pin(decide(&mut c.io, &mut site, &mut takeover, &is_ours)).await {
            Ok(Whose::Ours) => return Ok(Begun::Ours(Box::new(c), takeover.into_taken())),
            Ok(Whose::Unknown | Whose::Visitors) => {}
            // Whoever broke, the other one hears of it below.
            Err(error) => debug!(peer = %c.info, %error, "broke off before its first request"),
        }
        let _open = self.visitors.count(VisitorClass::H2, id);
        let flows = Flows::new(Identity).with_payload(Direction::Up, takeover.into_visitors()).modest();
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
        let waits = takeover.waits_for_site();
        let due = *patience.get_or_insert_with(|| Instant::now() + SITE_TIMEOUT);
        if !waits {
            patience = None;
        }
        tokio::select! {
            biased;
            read = read_some(site, &mut from_site, CHUNK) => {
                if read? == 0 {
                    return Ok(if waits { Whose::Ours } else { Whose::Visitors });
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
            () = sleep_until(due), if waits => return Ok(Whose::Ours),
        }
    }
}

/// A connection to a website that speaks HTTP/2 in the clear, for the visitors of one connection. It is made once it is
/// needed.
pub struct H2Website {
    /// Who came.
    info: ConnInfo,
    connection: tokio::sync::Mutex<Option<SendRequest<Bytes>>>,
}

/// Why a request has no answer. Its stream was reset.
#[derive(Debug, Error)]
pub enum NoAnswer {
    /// There is nobody who could.
    #[error("there is no website that speaks HTTP/2")]
    NoWebsite,
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
        H2Website { info, connection: tokio::sync::Mutex::default() }
    }

    async fn answer(&self, port: Option<&Port>, arrived: Arrived) -> Result<Answered, NoAnswer> {
        let (request, mut respond, _in_use) = arrived.into_parts();
        match self.try_to_answer(port, request, &mut respond).await {
            Ok(answered) => Ok(answered),
            Err(error) => {
                let reason = match &error {
                    NoAnswer::Broken(error) => error.reason().unwrap_or(Reason::INTERNAL_ERROR),
                    NoAnswer::NoWebsite | NoAnswer::Website(_) => Reason::REFUSED_STREAM,
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
        let (mut answer, to_site) = self.ask(port, head, ends).await?;
        let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut upload = pin!(async {
            if !ends {
                copy_body(body, to_site, SEND_TIMEOUT, &up).await?;
            }
            Ok::<_, Option<h2::Error>>(())
        });
        let mut is_uploaded = ends;
        let response = loop {
            tokio::select! {
                biased;
                answered = next_answer(&mut answer, respond) => break answered?,
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
        let (head, body) = response.into_parts();
        let ends = body.is_end_stream();
        let to_visitor = respond.send_response(Response::from_parts(head, ()), ends)?;
        if !ends {
            let mut download = pin!(copy_body(body, to_visitor, SEND_TIMEOUT, &down));
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
        let passed = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Answered { requests: 1, up: passed(&up), down: passed(&down) })
    }

    /// Sends a request, on the connection that there is or on a new one.
    async fn ask(
        &self,
        port: Option<&Port>,
        head: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, h2::SendStream<Bytes>), NoAnswer> {
        let Some(port) = port else { return Err(NoAnswer::NoWebsite) };
        let mut connection = self.connection.lock().await;
        if let Some(known) = connection.take()
            && let Ok(mut ready) = known.ready().await
            && let Ok(asked) = ready.send_request(head.clone(), ends)
        {
            *connection = Some(ready);
            return Ok(asked);
        }
        let tcp = port.dial(&self.info).await.map_err(NoVisit::from)?;
        // (a small window: what its visitor does not take is to stay with the website)
        let handshake = Builder::new().enable_push(false).handshake::<_, Bytes>(tcp);
        let (new, driven) = timeout(HANDSHAKE_TIMEOUT, handshake).await.map_err(|_| NoAnswer::Stalled)??;
        tokio::spawn(async move {
            if let Err(error) = driven.await {
                debug!(%error, "the website's HTTP/2 connection broke");
            }
        });
        let mut ready = new.ready().await?;
        let asked = ready.send_request(head, ends)?;
        *connection = Some(ready);
        Ok(asked)
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
