//! What there is to tell of a visitor: what it is, and what it missed if it looks like a client of ours.

use super::Server;
use crate::config::Layer;
use crate::detect::{Handoff, Missed, UpstreamId, VisitorProtocol, missed};
use crate::fallback::class;
use crate::metrics::Open;
use crate::net::conn_info::ConnInfo;
use crate::telemetry::{Kind, PathClass, Record};
use crate::transport::Stream;
use crate::wire::proxy_protocol::Header;

/// Takes note of one that goes to this website; of a client that was `refused`, which missed nothing, too. It counts as
/// there until what is returned is dropped, and `record` says of it what the logs are told.
pub(super) fn note(
    server: &Server,
    c: &Handoff<Stream>,
    layer: Layer,
    protocol: VisitorProtocol,
    site: UpstreamId,
    refused: bool,
    record: &mut Record,
) -> Open {
    record.kind = Kind::Visitor;
    let path = if refused { PathClass::Ours } else { PathClass::Other };
    record.path = (protocol == VisitorProtocol::Plain).then_some(path);
    record.target = server.fallback.target(site);
    let visitors = server.fallback.visitors();
    let open = visitors.count(class(protocol, &c.read_buf), site);
    if layer == Layer::Clear && is_untaken_header(server, &c.info, &c.read_buf) {
        visitors.count_proxy_header(&c.info, server.config.fronts.proxy_protocol);
    }
    if refused {
        return open;
    }
    let tls = server.tls.as_ref();
    let of_certificate = |name: &[u8]| tls.is_some_and(|tls| tls.is_asked_for(Some(name), &c.info));
    let rules = if layer == Layer::Tls { &server.inside } else { &server.config.rules };
    // Where there is a website for them, TLS of other names is nobody's mistake.
    let is_expected = match server.routes.upstreams.get(site.0).map(|upstream| upstream.option) {
        Some("sni") => true,
        Some("failover-tls") => server.tls.is_none(),
        _ => false,
    };
    match missed(&c.read_buf, rules, tls.is_some(), of_certificate) {
        None => {}
        Some((Missed::AnyTls | Missed::CertificateName, _)) if is_expected => {}
        Some((missed, asked)) => visitors.count_missed(missed, &asked, &c.info),
    }
    open
}

/// Whether the connection begins with a PROXY header, as far as it was read. One behind a header that was taken is not
/// that of the proxy in front.
fn is_untaken_header(server: &Server, info: &ConnInfo, bytes: &[u8]) -> bool {
    Header::is_begun_by(bytes)
        && !info.is_by_header()
        && !server.config.fronts.sends_proxy_header(info.visitor.ip())
}
