//! Halves in v2ray-plugin's manner, ours and its own, and certificates for them.

use super::peers;
use super::plugin::{Make, Ours, Plugin, V2ray, client, server};
use super::tempdir::TempDir;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The name in the tests' certificates.
pub const NAME: &str = "live.example.com";

/// openssl's words for keys of P-256.
const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/// A certificate and its key, in a directory of their own.
pub struct Certificate {
    pub dir: TempDir,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// A self-signed certificate for `name`, as ACME clients ask for one: P-256, no authority.
    #[track_caller]
    pub fn new(name: &str) -> Certificate {
        Certificate::with(name, "FALSE", EC, None)
    }

    /// One for RSA, whose signatures are all of one length.
    #[track_caller]
    pub fn rsa(name: &str) -> Certificate {
        Certificate::with(name, "FALSE", &["rsa:2048"], None)
    }

    /// The same as `openssl req -x509` makes it by default: it says that it is an authority's.
    #[track_caller]
    pub fn authority(name: &str) -> Certificate {
        Certificate::with(name, "TRUE", EC, None)
    }

    /// One that an authority has signed.
    #[track_caller]
    pub fn signed(name: &str, authority: &Certificate) -> Certificate {
        Certificate::with(name, "FALSE", EC, Some(authority))
    }

    #[track_caller]
    fn with(name: &str, authority: &str, key_kind: &[&str], signer: Option<&Certificate>) -> Certificate {
        let dir = TempDir::new("certificate");
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let mut openssl = Command::new(peers::path("openssl"));
        openssl.args(["req", "-x509"]);
        if let Some(signer) = signer {
            openssl.arg("-CA").arg(&signer.cert).arg("-CAkey").arg(&signer.key);
        }
        let status = openssl
            .args(["-nodes", "-days", "3", "-newkey"])
            .args(key_kind)
            .args(["-subj", &format!("/CN={name}")])
            .args(["-addext", &format!("subjectAltName=DNS:{name}")])
            .args(["-addext", &format!("basicConstraints=critical,CA:{authority}")])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .stderr(Stdio::null())
            .status()
            .expect("run openssl");
        assert!(status.success(), "openssl made no certificate");
        Certificate { dir, cert, key }
    }

    /// The options of a server with it.
    pub fn for_server(&self) -> String {
        format!("tls;host={NAME};cert={};key={}", self.cert.display(), self.key.display())
    }

    /// The options of a client that trusts it.
    pub fn for_client(&self) -> String {
        format!("tls;host={NAME};cert={}", self.cert.display())
    }
}

/// client half → server half → backend.
pub struct Pair {
    pub client: Plugin,
    pub server: Plugin,
    _certificate: Option<Certificate>,
}

/// What is the same on both halves.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub tls: bool,
    pub mux: usize,
    /// More options for both, such as `path=/x`.
    pub more: &'static str,
}

impl Pair {
    #[track_caller]
    pub fn start(client_make: Make, server_make: Make, style: Style, backend: SocketAddr) -> Pair {
        let certificate = style.tls.then(|| Certificate::new(NAME));
        let options = |make: Make, tls: Option<String>| {
            let mode = if make == Ours { "mode=websocket;" } else { "" };
            let tls = tls.map(|tls| format!(";{tls}")).unwrap_or_default();
            let more = if style.more.is_empty() { String::new() } else { format!(";{}", style.more) };
            format!("{mode}mux={}{tls}{more}", style.mux)
        };
        let for_server = options(server_make, certificate.as_ref().map(Certificate::for_server));
        let for_client = options(client_make, certificate.as_ref().map(Certificate::for_client));
        let server = server(server_make, backend, &for_server);
        let client = client(client_make, server.addr, &for_client);
        Pair { client, server, _certificate: certificate }
    }

    pub fn logs(&self) -> String {
        [&self.client.child, &self.server.child].map(|child| child.show_log()).join("\n")
    }
}

/// The combinations of makes in which one half at least is ours.
pub const MAKES: [(Make, Make); 3] = [(Ours, Ours), (Ours, V2ray), (V2ray, Ours)];
