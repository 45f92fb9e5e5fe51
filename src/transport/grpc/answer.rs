//! What a server says to a request for a tunnel, and at its end.

use crate::transport::h2::{self as transport_h2, is_grpc_type};
use h2::RecvStream;
use h2::client::ResponseFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Response, StatusCode};
use std::io;
use thiserror::Error;
use tracing::warn;

/// Why there is no stream.
#[derive(Debug, Error)]
pub(super) enum Refusal {
    /// The answer grants nothing.
    #[error("{0}")]
    Answer(String),
    /// The stream, or its connection, has ended before.
    #[error("{}", transport_h2::described(.0))]
    Ended(#[from] h2::Error),
}

impl Refusal {
    /// Whether the server has not looked at the request, so that it may be sent again (RFC 9113 section 8.7).
    pub(super) fn is_untouched(&self) -> bool {
        matches!(self, Refusal::Ended(error) if transport_h2::is_untouched(error))
    }

    /// Whether it is of this stream alone.
    pub(super) fn is_of_stream(&self) -> bool {
        match self {
            Refusal::Answer(_) => true,
            Refusal::Ended(error) => error.is_reset() && error.is_remote(),
        }
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> io::Error {
        match refusal {
            Refusal::Answer(why) => io::Error::other(why),
            Refusal::Ended(error) => transport_h2::io_error(error),
        }
    }
}

/// The stream behind the answer that grants it.
///
/// # Errors
///
/// It is none that does, or none comes.
pub(super) async fn judge(answer: &mut ResponseFuture) -> Result<RecvStream, Refusal> {
    let answer = answer.await?;
    match refusal(&answer) {
        Some(why) => Err(Refusal::Answer(why)),
        None => Ok(answer.into_body()),
    }
}

/// Why this answer grants nothing.
fn refusal<B>(answer: &Response<B>) -> Option<String> {
    const NAME: &str =
        "is `serviceName` the server's, and is a proxy in front one that it trusts (`trusted`)?";
    let content_type = answer.headers().get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    match (answer.status(), status(answer.headers())) {
        // (an unknown service)
        (StatusCode::OK, Some("12")) => Some(format!("the server has no such gRPC service: {NAME}")),
        (StatusCode::OK, Some(status)) if status != "0" => {
            Some(format!("the server answered with gRPC status {}", status.escape_debug()))
        }
        (StatusCode::OK, _) if is_grpc_type(content_type) => None,
        (StatusCode::OK, _) => Some(format!("the server answered with a page of its website: {NAME}")),
        (
            status
            @ (StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT),
            _,
        ) => Some(format!(
            "the server answered with status {status}: a proxy in front of it does not get to it"
        )),
        (status, _) => Some(format!("the server answered with status {status}: {NAME}")),
    }
}

/// Whether a stream has ended in order, behind which these trailers stand.
pub(super) fn once_ended(trailers: Option<&HeaderMap>) -> io::Result<()> {
    match trailers.and_then(status) {
        None | Some("0") => Ok(()),
        Some(status) => {
            let why = format!("the server ended the tunnel with gRPC status {}", status.escape_debug());
            warn!("{why}: does Shadowsocks answer behind it?");
            Err(io::Error::other(why))
        }
    }
}

fn status(headers: &HeaderMap) -> Option<&str> {
    headers.get("grpc-status")?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> Option<String> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        refusal(&answer.body(()).unwrap())
    }

    #[test]
    fn what_grants_nothing_is_told() {
        let grpc = ("content-type", "application/grpc");
        assert_eq!(answer(200, &[grpc]), None);
        assert_eq!(answer(200, &[("content-type", "application/grpc+proto"), ("grpc-status", "0")]), None);
        for (status, headers, word) in [
            (200, &[grpc, ("grpc-status", "12")][..], "serviceName"),
            (200, &[grpc, ("grpc-status", "14")], "status 14"),
            (200, &[("content-type", "text/html")], "website"),
            (200, &[], "website"),
            (404, &[grpc], "404"),
            (502, &[], "proxy"),
        ] {
            assert!(answer(status, headers).unwrap().contains(word), "{status} {headers:?}");
        }
    }

    #[test]
    fn an_end_with_a_status_is_none_in_order() {
        let trailers = |status: &'static str| {
            HeaderMap::from_iter([(
                http::HeaderName::from_static("grpc-status"),
                http::HeaderValue::from_static(status),
            )])
        };
        assert!(once_ended(None).is_ok() && once_ended(Some(&trailers("0"))).is_ok());
        assert!(once_ended(Some(&trailers("2"))).unwrap_err().to_string().contains("status 2"));
    }
}
