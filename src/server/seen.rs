//! What a connection is: the first bytes of it, what is inside its TLS, a later request.

use super::Server;
use crate::config::Layer;
use crate::detect::{Detection, Handoff, VisitorProtocol, read};
use crate::transport::Stream;
use std::io;

impl Server {
    /// What a connection is, and what it seems to speak: first, inside TLS, or in a later request.
    pub(super) async fn detect(
        &self,
        c: &mut Handoff<Stream>,
    ) -> io::Result<(Layer, VisitorProtocol, Detection)> {
        let (layer, rules) = match &c.io {
            Stream::Tls(tls) if tls.is_h2() => {
                #[cfg(feature = "grpc")]
                if self.takes_h2(Layer::Tls, &c.info) {
                    return Ok((Layer::Tls, VisitorProtocol::H2, Detection::H2));
                }
                return Ok((Layer::Tls, VisitorProtocol::H2, Detection::Visitor));
            }
            Stream::Tls(_) => (Layer::Tls, &self.inside),
            Stream::Tcp(_) => (Layer::Clear, &self.config.rules),
            // (nobody looks into what is inside)
            #[cfg(feature = "grpc")]
            Stream::H2(_) => return Ok((Layer::Tls, VisitorProtocol::Plain, Detection::Visitor)),
        };
        let info = c.info;
        let dial = |protocol| self.fallback.dial_early(self.routes.upstream_for(layer, protocol), info);
        let seen = read::read(c, rules, self.fallback.undecided(), dial).await?;
        #[cfg(feature = "grpc")]
        if seen == Detection::H2 {
            let is_ours = self.takes_h2(layer, &c.info);
            return Ok((layer, VisitorProtocol::H2, if is_ours { seen } else { Detection::Visitor }));
        }
        Ok((layer, rules.guess_protocol(&c.read_buf), seen))
    }
}
