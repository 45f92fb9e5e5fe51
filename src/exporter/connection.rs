//! One connection of somebody who asks for metrics, and the answer.

use super::readiness::Readiness;
use crate::metrics;
use crate::runtime::buffers;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tracing::debug;

/// How long a connection may last, from its first byte to the last one that is taken. It carries one request.
const LIMIT: Duration = Duration::from_secs(10);

/// The most that a request's head may have, in bytes: the least that hyper takes.
const HEAD: usize = 8 * 1024;

/// Prometheus's text format, which [`metrics::text`] is in.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers one request, and tells when it is here.
pub async fn serve(connection: impl AsyncRead + AsyncWrite + Unpin, readiness: &Readiness, asked: impl Fn()) {
    let answer = service_fn(async |request| {
        asked();
        Ok::<_, Infallible>(answer(&request, readiness).await)
    });
    let served = http1::Builder::new()
        .keep_alive(false)
        // Who has asked, and says no more (`nc -N`), is answered.
        .half_close(true)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(connection), answer);
    match timeout(LIMIT, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "metrics: a connection ended"),
        Err(_) => debug!("metrics: a connection took more than {} s", LIMIT.as_secs()),
    }
}

async fn answer<B>(request: &Request<B>, readiness: &Readiness) -> Response<String> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return response(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /metrics, /healthz and /readyz\n".to_owned(),
        );
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, String::new());
        refusal.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refusal;
    }
    match path {
        "/metrics" => {
            metrics::note_buffered(buffers::held());
            response(StatusCode::OK, METRICS, metrics::text())
        }
        "/readyz" => match readiness.ask().await {
            Ok(()) => response(StatusCode::OK, TEXT, "ready\n".to_owned()),
            Err(reason) => response(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
        },
        // That this answers at all says that the event loop does.
        _ => response(StatusCode::OK, TEXT, "ok\n".to_owned()),
    }
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
