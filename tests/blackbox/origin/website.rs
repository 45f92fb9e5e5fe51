//! A website that wants to be told with a PROXY header who came, and writes it into its access log.

use crate::support::child::Child;
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{STEP, eventually, peers};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// nginx with `listen … proxy_protocol`, in the clear and in TLS.
pub struct Website {
    pub plain: SocketAddr,
    pub tls: SocketAddr,
    access_log: PathBuf,
    child: Child,
    _dir: TempDir,
    _certificate: Certificate,
}

impl Website {
    #[track_caller]
    pub fn start() -> Website {
        let dir = TempDir::new("website");
        let certificate = Certificate::new(NAME);
        let (plain, tls) = (free_port(), free_port());
        let config = include_str!("../../fronts/nginx-website.conf")
            .replace("@PORT@", &plain.to_string())
            .replace("@TLS@", &tls.to_string())
            .replace("@CERT@", &certificate.cert.display().to_string())
            .replace("@KEY@", &certificate.key.display().to_string())
            .replace("@DIR@", &dir.path().display().to_string());
        let file = dir.write("nginx.conf", config);
        let mut command = Command::new(peers::path("nginx"));
        command.arg("-c").arg(file).arg("-e").arg(dir.path().join("error.log"));
        let child = Child::spawn("nginx (the website)", command);
        child.wait_listening(plain);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let access_log = dir.path().join("access.log");
        Website {
            plain: local(plain),
            tls: local(tls),
            access_log,
            child,
            _dir: dir,
            _certificate: certificate,
        }
    }

    /// The line of the access log about the request for this path.
    #[track_caller]
    pub fn log_line(&self, path: &str) -> String {
        let wanted = format!(" {path} HTTP/");
        let mut found = None;
        eventually(STEP, || {
            let log = std::fs::read_to_string(&self.access_log).unwrap_or_default();
            found = log.lines().find(|line| line.contains(&wanted)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("nothing about {path} in the access log; {}", self.child.show_log()))
    }

    /// The site saw that this visitor reached this address.
    #[track_caller]
    pub fn assert_told(&self, scheme: &str, path: &str, visitor: SocketAddr, reached: SocketAddr) {
        let line = self.log_line(path);
        let wanted = format!("{scheme} {} {visitor} at {reached} ", visitor.ip());
        assert!(line.starts_with(&wanted), "{line:?} does not begin with {wanted:?}");
    }
}
