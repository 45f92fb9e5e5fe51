//! The list of probes.

mod http2;
mod quic;
mod requests;
mod strangers;
mod tls;
mod upgrades;

use super::script::{Action, Noise, Offer, Probe, says};

pub use quic::{GRANTED, OF_V2RAY, PORT, port};

/// What visitors speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speech {
    /// HTTP in the clear.
    Http,
    /// TLS, and HTTP in it.
    Tls,
    /// QUIC, over UDP.
    Quic,
}

/// What all visitors of a run know.
#[derive(Debug, Clone)]
pub struct ProbeContext {
    /// The value of `Host`.
    pub host: String,
    /// The server name in hellos, where `Host` holds a name.
    pub server_name: Option<String>,
    /// A path at which there is nothing, neither a page nor a tunnel.
    pub nowhere: String,
    /// The tunnel's path, if the user gives it. No request goes there that a server has to take.
    pub tunnel: Option<String>,
    pub noise: Noise,
}

impl ProbeContext {
    /// With a random path from the seed.
    pub fn new(host: String, server_name: Option<String>, tunnel: Option<String>, seed: u64) -> ProbeContext {
        let mut noise = Noise::new(seed);
        let nowhere = format!("/{}", noise.word(14));
        ProbeContext { host, server_name, nowhere, tunnel, noise }
    }

    /// A request without a body.
    pub fn request(&self, line: &str, headers: &str) -> String {
        format!("{line} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.host)
    }
}

/// The probes for a port that speaks HTTP.
pub fn plain(context: &mut ProbeContext) -> Vec<Probe> {
    let mut all = requests::all(context);
    all.extend(upgrades::all(context));
    all.extend(strangers::unfinished(context));
    all.extend(strangers::other_protocols());
    all.extend(strangers::random_bytes(context));
    all.extend(tls::at_a_plain_port(context));
    all
}

/// The probes for a port that speaks TLS: at the port, and HTTP inside.
pub fn tls(context: &mut ProbeContext) -> Vec<Probe> {
    let mut all = tls::handshakes();
    all.extend(tls::hellos(context));
    all.extend(tls::records(context));
    all.extend(strangers::at_a_tls_port(context));
    all.extend(strangers::random_bytes(context));
    let inside = [requests::all(context), upgrades::all(context), strangers::unfinished(context)];
    all.extend(inside.into_iter().flatten().map(|probe| probe.inside(Offer::usual())));
    all
}

/// The probes for a UDP port.
pub fn quic(context: &mut ProbeContext) -> Vec<Probe> {
    quic::all(context)
}

/// The probes over HTTP/2, in TLS or in the clear. All of them say something where the site and the server both speak
/// it. Where one does, one of them shows that; in the clear, that may be any stranger.
pub fn http2(context: &mut ProbeContext, speech: Speech, [site, server]: [bool; 2]) -> Vec<Probe> {
    let probes = match (speech, site, server) {
        (_, true, true) => http2::all(context, speech),
        (Speech::Tls, false, false) | (Speech::Quic, _, _) => Vec::new(),
        _ => http2::strangers(context, speech),
    };
    match speech {
        Speech::Tls => probes.into_iter().map(|probe| probe.inside(Offer::http2())).collect(),
        _ => probes,
    }
}

/// One that is answered in HTTP/2 by who speaks it.
pub fn asks_for_http2(speech: Speech) -> Probe {
    match speech {
        Speech::Tls => Probe::new("", vec![Action::Leave]).inside(Offer::http2()),
        _ => Probe::new("", vec![Action::Send(http2::opening()), Action::Listen, Action::Leave]),
    }
}

/// What every website answers: without it nothing can be said of the others.
pub fn control(context: &ProbeContext, speech: Speech) -> Probe {
    let request = || says("an ordinary request", context.request("GET /", "Connection: close\r\n"));
    match speech {
        Speech::Http => request(),
        Speech::Tls => request().inside(Offer::usual()),
        Speech::Quic => quic::control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn context(tunnel: Option<&str>, seed: u64) -> ProbeContext {
        let tunnel = tunnel.map(str::to_owned);
        ProbeContext::new("www.example.com".into(), Some("www.example.com".into()), tunnel, seed)
    }

    #[test]
    fn each_probe_has_a_name_of_its_own_and_a_seed_decides_all() {
        let http2 = |speech| move |context: &mut ProbeContext| http2(context, speech, [true, true]);
        type List<'a> = &'a dyn Fn(&mut ProbeContext) -> Vec<Probe>;
        let lists: [List<'_>; 5] = [&plain, &tls, &quic, &http2(Speech::Http), &http2(Speech::Tls)];
        for list in lists {
            for tunnel in [None, Some("/secret"), Some("/")] {
                let probes = list(&mut context(tunnel, 1));
                assert!(probes.len() >= 60, "{}", probes.len());
                let names: HashSet<_> = probes.iter().map(|probe| &probe.name).collect();
                assert_eq!(names.len(), probes.len());
                assert_eq!(probes, list(&mut context(tunnel, 1)));
                assert_ne!(probes, list(&mut context(tunnel, 2)));
            }
        }
    }

    /// All kinds of requests over HTTP/2 are for who speaks it, at both ends.
    #[test]
    fn http2_is_spoken_where_it_is_understood() {
        let count = |speech, who| http2(&mut context(None, 1), speech, who).len();
        for speech in [Speech::Http, Speech::Tls] {
            let few = count(speech, [true, false]);
            assert_eq!(count(speech, [false, true]), few);
            assert!(few > 0 && few < 10 && count(speech, [true, true]) > 100);
        }
        assert_eq!(count(Speech::Tls, [false, false]), 0);
        assert_eq!(count(Speech::Http, [false, false]), count(Speech::Http, [true, false]));
        let others: HashSet<_> = plain(&mut context(None, 1)).into_iter().map(|probe| probe.name).collect();
        let mut all = http2(&mut context(None, 1), Speech::Http, [true, true]).into_iter();
        assert!(all.all(|probe| !others.contains(&probe.name)));
    }

    /// The requests in what a visitor says over HTTP/2: method, path, content type.
    fn http2_requests(probe: &Probe) -> Vec<[String; 3]> {
        use crate::probe::http2::{frame, hpack};
        let mut bytes = Vec::new();
        for step in &probe.steps {
            if let Action::Send(more) = step {
                bytes.extend_from_slice(more);
            }
        }
        let (mut requests, mut block) = (Vec::new(), Vec::new());
        let mut rest = bytes.strip_prefix(frame::PREFACE).unwrap_or(&bytes);
        while let Some((found, behind)) = frame::next(rest) {
            rest = behind;
            match found.kind {
                frame::kind::HEADERS => block = found.payload.to_vec(),
                frame::kind::CONTINUATION => block.extend_from_slice(found.payload),
                _ => continue,
            }
            let items = hpack::Decoder::new(1 << 20).decode(&block).unwrap_or_default();
            let value = |asked: &str| {
                let value = items.iter().find_map(|item| match item {
                    hpack::Item::Field { name, value, .. } if name == asked.as_bytes() => Some(value),
                    _ => None,
                });
                String::from_utf8_lossy(value.map_or(&[][..], Vec::as_slice)).into_owned()
            };
            requests.push([":method", ":path", "content-type"].map(value));
        }
        requests
    }

    /// Neither gRPC nor WebSocket asks for it, nor does a page, but that of a tunnel that has the website's own.
    #[test]
    fn no_probe_over_http2_asks_for_the_tunnels_path() {
        for path in ["/secret-path", "/GunService/Tun", "/x/Tun", "//Tun", "/Tun", "/ws", "/"] {
            let (mut grpc, mut websocket) = (0, 0);
            for probe in http2(&mut context(Some(path), 3), Speech::Tls, [true, true]) {
                for [method, asked, content_type] in http2_requests(&probe) {
                    let may_be = path == "/" && matches!(&*method, "" | "GET" | "HEAD" | "OPTIONS" | "TRACE");
                    let is_the_tunnels = asked == path || asked == format!("{path}Multi");
                    assert!(may_be || !is_the_tunnels, "{path}: {}", probe.name);
                    grpc += usize::from(method == "POST" && content_type == "application/grpc");
                    websocket += usize::from(method == "CONNECT");
                }
            }
            assert!(grpc >= 10 && websocket >= 5, "{path}: {grpc} {websocket}");
        }
    }

    /// Nothing that a server with this path would rightly take as its own is sent.
    #[test]
    fn no_probe_is_a_clients_request_for_the_tunnels_path() {
        use crate::wire::http::{HttpRule, UpgradeDetector, UpgradeParse};
        for path in ["/secret-path", "/"] {
            for probe in plain(&mut context(Some(path), 3)) {
                let said: Vec<u8> = probe
                    .steps
                    .iter()
                    .filter_map(|step| match step {
                        Action::Send(bytes) => Some(bytes.as_slice()),
                        _ => None,
                    })
                    .flatten()
                    .copied()
                    .collect();
                let rule = HttpRule {
                    method: "GET".into(),
                    path: Some(path.into()),
                    web_path: None,
                    routes: Default::default(),
                    host: None,
                };
                assert!(
                    !matches!(UpgradeDetector::default().detect(&said, &rule), UpgradeParse::Upgrade(_)),
                    "{path}: {}",
                    probe.name
                );
            }
        }
    }
}
