//! The front proxies that stand before the server half in real deployments.

use super::child::Child;
use super::peers;
use super::ports::free_port;
use super::tempdir::TempDir;
use std::net::SocketAddr;
use std::process::Command;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Caddy,
    HaProxy,
    Envoy,
    /// With all requests, whoever's they are, on a few connections that are used again.
    NginxPool,
    EnvoyPool,
}

pub struct Front {
    pub child: Child,
    pub addr: SocketAddr,
    _dir: TempDir,
}

impl Front {
    /// A front proxy that passes on to the server half at `upstream`.
    #[track_caller]
    pub fn start(kind: Kind, upstream: SocketAddr) -> Front {
        let config = match kind {
            Kind::Nginx => include_str!("../../fronts/nginx.conf"),
            Kind::Caddy => include_str!("../../fronts/Caddyfile"),
            Kind::HaProxy => include_str!("../../fronts/haproxy.cfg"),
            Kind::Envoy => include_str!("../../fronts/envoy.yaml"),
            Kind::NginxPool => include_str!("../../fronts/nginx-pool.conf"),
            Kind::EnvoyPool => include_str!("../../fronts/envoy-pool.yaml"),
        };
        Front::start_with(kind, config, upstream)
    }

    /// HAProxy in `mode tcp`, which says with `send-proxy` or `send-proxy-v2` who came.
    #[track_caller]
    pub fn with_proxy_header(header: &str, upstream: SocketAddr) -> Front {
        let config = include_str!("../../fronts/haproxy-proxy-protocol.cfg").replace("@HEADER@", header);
        Front::start_with(Kind::HaProxy, &config, upstream)
    }

    /// One that passes gRPC on over HTTP/2.
    #[track_caller]
    pub fn with_grpc(kind: Kind, upstream: SocketAddr) -> Front {
        let config = match kind {
            Kind::Nginx => include_str!("../../fronts/nginx-grpc.conf"),
            Kind::Caddy => include_str!("../../fronts/Caddyfile-grpc"),
            Kind::HaProxy => include_str!("../../fronts/haproxy-grpc.cfg"),
            Kind::Envoy => include_str!("../../fronts/envoy-h2.yaml"),
            Kind::NginxPool | Kind::EnvoyPool => panic!("no configuration with gRPC for {kind:?}"),
        };
        Front::start_with(kind, config, upstream)
    }

    /// One that makes WebSockets over HTTP/2 of those over HTTP/1.1.
    #[track_caller]
    pub fn with_websockets_over_h2(kind: Kind, upstream: SocketAddr) -> Front {
        let config = match kind {
            Kind::HaProxy => include_str!("../../fronts/haproxy-ws-h2.cfg"),
            Kind::Envoy => include_str!("../../fronts/envoy-h2.yaml"),
            _ => panic!("{kind:?} speaks no RFC 8441 to a server"),
        };
        Front::start_with(kind, config, upstream)
    }

    #[track_caller]
    fn start_with(kind: Kind, config: &str, upstream: SocketAddr) -> Front {
        let dir = TempDir::new("front");
        let port = free_port();
        let config = config
            .replace("@PORT@", &port.to_string())
            .replace("@UPSTREAM@", &upstream.port().to_string())
            .replace("@DIR@", &dir.path().display().to_string());
        let (program, file) = match kind {
            Kind::Nginx | Kind::NginxPool => ("nginx", "nginx.conf"),
            Kind::Caddy => ("caddy", "Caddyfile"),
            Kind::HaProxy => ("haproxy", "haproxy.cfg"),
            Kind::Envoy | Kind::EnvoyPool => ("envoy", "envoy.yaml"),
        };
        let file = dir.write(file, config);
        let mut command = Command::new(peers::path(program));
        match kind {
            Kind::Nginx | Kind::NginxPool => {
                command.arg("-e").arg(dir.path().join("nginx.err")).arg("-c").arg(file)
            }
            Kind::Caddy => {
                command.env("HOME", dir.path()).args(["run", "--adapter", "caddyfile", "--config"]).arg(file)
            }
            Kind::HaProxy => command.arg("-f").arg(file),
            Kind::Envoy | Kind::EnvoyPool => {
                command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c"]).arg(file)
            }
        };
        let child = Child::spawn(&format!("{kind:?} (the front)"), command);
        child.wait_listening(port);
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Front { child, addr, _dir: dir }
    }
}
