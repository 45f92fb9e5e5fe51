//! A server's side of a tunnel.

use super::hunks::Hunks;
use crate::net::Dialer;
use crate::relay::Direction;
use crate::transport::NotAccepted;
use crate::transport::framed::Framed;
use crate::transport::h2::{Arrived, EndOf};
use crate::transport::mux_detector::{Accepted, detect};
use crate::wire::grpc::Method;
use h2::Reason;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

/// Grants a client its tunnel, and finds out whether the stream in it is Mux.Cool. Where it says nothing for a while,
/// `backend` is dialled meanwhile. `by_proxy`: one stands between that ends both directions with the first.
///
/// # Errors
///
/// It has gone, or the backend cannot be reached.
pub(crate) async fn accept(
    arrived: Arrived,
    method: Method,
    by_proxy: bool,
    backend: &Dialer,
) -> Result<Accepted, NotAccepted> {
    let mut answer = Response::new(());
    // As it was asked for: what follows a plus names the messages.
    if let Some(content_type) = arrived.request.headers().get(CONTENT_TYPE) {
        answer.headers_mut().insert(CONTENT_TYPE, content_type.clone());
    }
    let end = if by_proxy { EndOf::LateTrailers(trailers(), None) } else { EndOf::Trailers(trailers()) };
    let stream = arrived.accept(answer, end, Reason::INTERNAL_ERROR).map_err(NotAccepted::Broken)?;
    let hunks = Hunks::new(Direction::Down, method);
    detect(Framed::new(stream.into(), hunks, Vec::new()), 0, backend).await
}

/// What says that all is well.
fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    trailers.insert(HeaderName::from_static("grpc-message"), HeaderValue::from_static(""));
    trailers
}
