//! The list of probes.

mod quic;
mod requests;
mod strangers;
mod tls;
mod upgrades;

use super::script::{Noise, Offer, Probe, says};

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
    use crate::probe::script::Action;
    use std::collections::HashSet;

    fn context(tunnel: Option<&str>, seed: u64) -> ProbeContext {
        let tunnel = tunnel.map(str::to_owned);
        ProbeContext::new("www.example.com".into(), Some("www.example.com".into()), tunnel, seed)
    }

    #[test]
    fn each_probe_has_a_name_of_its_own_and_a_seed_decides_all() {
        for list in [plain, tls, quic] {
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
