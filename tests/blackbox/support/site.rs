//! A real website behind the server port: nginx with pages, redirects, refusals and a big file.

use super::child::Child;
use super::ports::free_port;
use super::tempdir::TempDir;
use super::{noise, peers};
use std::net::SocketAddr;
use std::process::Command;

/// Size of `/big.bin`.
pub const BIG: usize = 20 * 1024 * 1024;

pub const INDEX: &str = "<!doctype html>\n<title>A shop for garden chairs</title>\n<h1>Chairs</h1>\n";

pub struct Site {
    pub addr: SocketAddr,
    _child: Child,
    _dir: TempDir,
}

/// What `/big.bin` holds.
pub fn big() -> Vec<u8> {
    noise(BIG, 20)
}

impl Site {
    /// One whose time-outs are short: a probe that leaves the connection open sees it end soon, and how.
    #[track_caller]
    pub fn start() -> Site {
        Site::with_keepalive("1s")
    }

    /// One that keeps connections for so long, for proxies that pool them.
    #[track_caller]
    pub fn with_keepalive(keepalive: &str) -> Site {
        let dir = TempDir::new("site");
        let port = free_port();
        dir.page("root/index.html", INDEX);
        dir.page("root/style.css", "h1 { color: green }\n".repeat(400));
        dir.page("root/empty.txt", "");
        dir.page("root/shop/index.html", "the shop\n");
        dir.page("root/big.bin", big());
        let root = dir.path().display();
        // As root, nginx would drop to a user who cannot read the files of the test.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            r#"
worker_processes 1; daemon off; pid {root}/pid; error_log {root}/error.log; {user}
events {{ worker_connections 900; }}
http {{
  access_log off;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
  types {{ text/html html; text/css css; }}
  default_type application/octet-stream;
  keepalive_timeout {keepalive}; client_header_timeout 3s; client_body_timeout 3s; send_timeout 10s;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    root {root}/root;
    location /api {{ default_type application/json; return 200 '{{"uri":"$request_uri"}}\n'; }}
    location /old {{ return 301 /shop/; }}
    location /denied {{ deny all; }}
    location /made {{ return 201 "made\n"; }}
  }}
}}
"#
        );
        let file = dir.write("nginx.conf", config);
        let mut command = Command::new(peers::path("nginx"));
        command.arg("-c").arg(file).arg("-e").arg(dir.path().join("error.log"));
        let child = Child::spawn("nginx (the website)", command);
        child.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Site { addr, _child: child, _dir: dir }
    }
}
