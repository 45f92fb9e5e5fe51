//! What there is to tell of a visitor: what it is, and what it missed if it looks like a client of ours.

use super::Server;
use crate::config::Layer;
use crate::detect::{Handoff, Missed, UpstreamId, VisitorProtocol, missed};
use crate::fallback::VisitorClass;
use crate::transport::Stream;

/// Takes note of one that goes to this website; of a client that was `refused`, which missed nothing, too.
pub(super) fn note(
    server: &Server,
    c: &Handoff<Stream>,
    layer: Layer,
    protocol: VisitorProtocol,
    site: UpstreamId,
    refused: bool,
) {
    let visitors = server.fallback.visitors();
    visitors.count(VisitorClass::of(protocol, &c.read_buf), site);
    if refused {
        return;
    }
    let of_certificate = server.tls.as_ref().map(|tls| |name: Option<&[u8]>| tls.is_asked_for(name, &c.info));
    let of_certificate = of_certificate.as_ref().map(|is_ours| is_ours as &dyn Fn(Option<&[u8]>) -> bool);
    let rules = if layer == Layer::Tls { &server.inside } else { &server.config.rules };
    // Where there is a website for them, TLS of other names is nobody's mistake.
    let is_expected = match server.routes.upstreams.get(site.0).map(|upstream| upstream.option) {
        Some("sni") => true,
        Some("failover-tls") => server.tls.is_none(),
        _ => false,
    };
    match missed(&c.read_buf, rules, of_certificate) {
        None => {}
        Some((Missed::AnyTls | Missed::CertificateName, _)) if is_expected => {}
        Some((missed, asked)) => visitors.count_missed(missed, &asked, &c.info),
    }
}
