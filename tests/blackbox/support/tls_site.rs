//! A website with TLS: nginx with a certificate, its own or the server's.

use super::child::Child;
use super::peers;
use super::ports::free_port;
use super::tempdir::TempDir;
use super::v2ray::Certificate;
use std::net::SocketAddr;
use std::process::Command;

pub const PAGE: &str = "<title>A shop for garden chairs, safely</title>\n";

/// nginx with three ports: TLS with HTTP/2, plain HTTP, and HTTP/2 in the clear.
pub struct TlsSite {
    pub addr: SocketAddr,
    pub plain: SocketAddr,
    pub h2: SocketAddr,
    _child: Child,
    _dir: TempDir,
    _certificate: Option<Certificate>,
}

impl TlsSite {
    /// With a certificate of its own for www.example.com.
    #[track_caller]
    pub fn start() -> TlsSite {
        let certificate = Certificate::rsa("www.example.com");
        let site = TlsSite::with(&certificate, PAGE);
        TlsSite { _certificate: Some(certificate), ..site }
    }

    /// With the server's own certificate, as a website on the same machine has it.
    #[track_caller]
    pub fn with(certificate: &Certificate, page: &str) -> TlsSite {
        let dir = TempDir::new("tls-site");
        let [port, plain, h2] = [free_port(), free_port(), free_port()];
        let root = dir.path().display().to_string();
        dir.page("root/index.html", page);
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        // Short time-outs: what a probe leaves open ends soon.
        let config = format!(
            r#"
worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log; {user}
events {{ worker_connections 900; }}
http {{
  access_log off;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  types {{ text/html html; }}
  keepalive_timeout 1s; client_header_timeout 2s; client_body_timeout 2s; send_timeout 10s;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=1024;
    listen 127.0.0.1:{plain} backlog=1024;
    listen 127.0.0.1:{h2} http2 backlog=1024;
    ssl_certificate {cert}; ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    root {root}/root;
  }}
}}
"#
        );
        let file = dir.write("nginx.conf", config);
        let mut command = Command::new(peers::path("nginx"));
        command.arg("-c").arg(file).arg("-e").arg(dir.path().join("error.log"));
        let child = Child::spawn("nginx (the website with TLS)", command);
        let [addr, plain, h2] = [port, plain, h2].map(|port| {
            child.wait_listening(port);
            SocketAddr::from(([127, 0, 0, 1], port))
        });
        TlsSite { addr, plain, h2, _child: child, _dir: dir, _certificate: None }
    }
}
