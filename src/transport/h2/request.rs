//! Which requests are ours.

use crate::detect::Rules;
use crate::wire::grpc::Method;
use crate::wire::http::is_of_packets;
use h2::ext::Protocol;
use http::{HeaderMap, Request};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A tunnel in gRPC.
    Tunnel(Method),
    /// A WebSocket (RFC 8441).
    WebSocket(Extended),
    /// Something of the website.
    Other,
}

/// What an extended CONNECT says, in the terms of the opening handshake of RFC 6455.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extended {
    /// The number of its path among those of routes, if it is one of them.
    pub(crate) route: Option<usize>,
    /// `Sec-WebSocket-Key`, which proxies pass on that translate: some of them want the answer to it.
    pub(crate) key: Option<Vec<u8>>,
    /// `Sec-WebSocket-Protocol`.
    pub(crate) protocol: Option<Vec<u8>>,
    /// Whether each message is a packet of UDP: `X-Sock-Type: udp`.
    pub(crate) packets: bool,
}

/// Tells our requests from others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requests<'a>(pub(crate) &'a Rules);

impl Requests<'_> {
    /// What this one asks for.
    pub(crate) fn asked<B>(&self, request: &Request<B>) -> Asked {
        let (Requests(rules), uri) = (self, request.uri());
        if let Some(protocol) = request.extensions().get::<Protocol>() {
            let host = uri.authority().map_or("", |authority| authority.as_str());
            let path = uri.path_and_query().map_or("", |path| path.as_str());
            return match &rules.http {
                Some(rule)
                    if protocol.as_str() == "websocket"
                        && rule.takes_extended_connect(path, host.as_bytes()) =>
                {
                    let value = |name| header(request.headers(), name).map(<[u8]>::to_vec);
                    Asked::WebSocket(Extended {
                        route: rule.routes.find(path),
                        key: value("sec-websocket-key"),
                        protocol: value("sec-websocket-protocol"),
                        packets: header(request.headers(), "x-sock-type").is_some_and(is_of_packets),
                    })
                }
                _ => Asked::Other,
            };
        }
        let is_grpc = request.method() == http::Method::POST
            && header(request.headers(), "content-type").is_some_and(is_grpc_type);
        if !is_grpc || uri.query().is_some() {
            return Asked::Other;
        }
        rules.grpc_method(uri.path()).map_or(Asked::Other, Asked::Tunnel)
    }

    /// Whether it is ours.
    pub(crate) fn is_ours<B>(&self, request: &Request<B>) -> bool {
        self.asked(request) != Asked::Other
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes)
}

/// `application/grpc`, whatever the messages in it are (`+proto`).
pub(crate) fn is_grpc_type(value: &[u8]) -> bool {
    let rest =
        value.get(..16).filter(|name| name.eq_ignore_ascii_case(b"application/grpc")).and(value.get(16..));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::HttpRule;

    #[test]
    fn messages_are_packets_where_the_request_says_so() {
        let rule = HttpRule { method: "GET".into(), web_path: Some("/path".into()), ..HttpRule::default() };
        let rules = Rules { http: Some(rule), ..Rules::default() };
        for (path, kind, packets) in [
            ("/path", Some("udp"), Some(true)),
            ("/path", Some(" UDP"), Some(true)),
            ("/path", Some("tcp"), Some(false)),
            ("/path", None, Some(false)),
            ("/other", Some("udp"), None),
        ] {
            let mut request = Request::builder().method("CONNECT").uri(format!("https://a.example{path}"));
            if let Some(kind) = kind {
                request = request.header("x-sock-type", kind);
            }
            let request = request.extension(Protocol::from_static("websocket")).body(()).unwrap();
            let found = match Requests(&rules).asked(&request) {
                Asked::WebSocket(extended) => Some(extended.packets),
                _ => None,
            };
            assert_eq!(found, packets, "{path} {kind:?}");
        }
    }
}
