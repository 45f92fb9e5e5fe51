//! What all probes of a run have in common.

use crate::probe::script::Noise;

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
    /// Where random bytes come from.
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
