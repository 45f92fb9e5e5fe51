//! Real Shadowsocks programs with a plugin under them.

use super::child::Child;
use super::conn::{self, connect, recv, send};
use super::peers;
use super::plugin::bare;
use super::ports::free_port;
use super::proc::{self, Proc};
use super::tempdir::TempDir;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

/// Which family of programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// ss-local and ss-server.
    Libev,
    /// sslocal and ssserver.
    Rust,
}

const METHOD: &str = "aes-256-gcm";
const PASSWORD: &str = "correct horse";

/// A host program and the plugin it started.
pub struct Host {
    pub child: Child,
    pub plugin: Proc,
    /// The public address of a server, the SOCKS address of a client.
    pub addr: SocketAddr,
}

impl Host {
    /// A server on a free port of loopback.
    #[track_caller]
    pub fn server(family: Family, plugin: &Path, options: &str) -> Host {
        Host::server_on("127.0.0.1", family, plugin, options)
    }

    /// A server which is told this public address.
    #[track_caller]
    pub fn server_on(host: &str, family: Family, plugin: &Path, options: &str) -> Host {
        let port = free_port();
        let command = server_command(family, host, port, plugin, options);
        let child = Child::spawn(&format!("{family:?} server"), command);
        child.wait_listening(port);
        Host::ready(child, port)
    }

    /// A SOCKS client of the server at `remote`.
    #[track_caller]
    pub fn client(family: Family, remote: SocketAddr, plugin: &Path, options: &str) -> Host {
        let port = free_port();
        let mut command;
        match family {
            Family::Libev => {
                command = bare(peers::path("ss-local"));
                let (ip, remote_port) = (remote.ip().to_string(), remote.port().to_string());
                command.args(["-s", &ip, "-p", &remote_port]);
                command.args(["-b", "127.0.0.1", "-l", &port.to_string()]);
                command.args(["-k", PASSWORD, "-m", METHOD, "-t", "60"]);
            }
            Family::Rust => {
                command = bare(peers::path("sslocal"));
                command.args(["-b", &format!("127.0.0.1:{port}"), "-s", &remote.to_string()]);
                command.args(["-k", PASSWORD, "-m", METHOD]);
            }
        }
        command.arg("--plugin").arg(plugin);
        command.args(["--plugin-opts", options]);
        let child = Child::spawn(&format!("{family:?} client"), command);
        child.wait_listening(port);
        Host::ready(child, port)
    }

    /// A fixed tunnel (`ss-tunnel`) to `target` through the server at `remote`.
    #[track_caller]
    pub fn tunnel(remote: SocketAddr, target: SocketAddr, plugin: &Path, options: &str) -> Host {
        let port = free_port();
        let mut command = bare(peers::path("ss-tunnel"));
        let (ip, remote_port) = (remote.ip().to_string(), remote.port().to_string());
        command.args(["-s", &ip, "-p", &remote_port, "-b", "127.0.0.1"]);
        command.args(["-l", &port.to_string(), "-L", &target.to_string()]);
        command.args(["-k", PASSWORD, "-m", METHOD, "-t", "60"]);
        command.arg("--plugin").arg(plugin);
        command.args(["--plugin-opts", options]);
        let child = Child::spawn("ss-tunnel", command);
        child.wait_listening(port);
        Host::ready(child, port)
    }

    /// The host listens; its plugin may be a moment later.
    fn ready(child: Child, port: u16) -> Host {
        let plugin = proc::wait_listening_child(child.pid());
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        Host { child, plugin, addr }
    }
}

/// The command of a server with this public address.
pub fn server_command(family: Family, host: &str, port: u16, plugin: &Path, options: &str) -> Command {
    let mut command;
    match family {
        Family::Libev => {
            command = bare(peers::path("ss-server"));
            command.args(["-s", host, "-p", &port.to_string()]);
            command.args(["-k", PASSWORD, "-m", METHOD, "-t", "60"]);
        }
        Family::Rust => {
            command = bare(peers::path("ssserver"));
            command.args(["-s", &format!("{host}:{port}"), "-k", PASSWORD, "-m", METHOD]);
        }
    }
    command.arg("--plugin").arg(plugin);
    command.args(["--plugin-opts", options]);
    command
}

/// Connects to `target` through a SOCKS5 proxy, as applications do (RFC 1928).
#[track_caller]
pub fn socks(proxy: SocketAddr, target: SocketAddr) -> TcpStream {
    let SocketAddr::V4(target) = target else {
        panic!("the tests' backends are IPv4");
    };
    let stream = connect(proxy);
    send(&stream, &[5, 1, 0]);
    assert_eq!(recv(&stream, 2), [5, 0], "SOCKS without a password");
    let mut request = vec![5, 1, 0, 1];
    request.extend_from_slice(&target.ip().octets());
    request.extend_from_slice(&target.port().to_be_bytes());
    send(&stream, &request);
    let answer = recv(&stream, 10);
    assert_eq!(answer[..2], [5, 0], "SOCKS connect");
    stream
}

/// What curl fetched: the status code it saw, and the body.
pub struct Fetched {
    pub status: String,
    pub body: Vec<u8>,
}

/// Runs curl, the client a user would try.
#[track_caller]
pub fn curl(arguments: &[&str]) -> Fetched {
    let dir = TempDir::new("curl");
    let body = dir.path().join("body");
    let mut command = bare(peers::path("curl"));
    // No configuration and no proxy of the user who runs the tests.
    command.args(["-q", "--silent", "--show-error", "--noproxy", "", "--max-time", "40"]);
    command.args(["--write-out", "status=%{http_code}\n", "--output"]);
    command.arg(&body).args(arguments);
    let child = Child::spawn("curl", command);
    let exit = child.wait_exit(super::secs(45));
    assert_eq!(exit, super::child::Exit::Code(0), "{}", child.show_log());
    let status = child.wait_text("status=");
    Fetched {
        status: status.trim_start_matches("status=").to_owned(),
        body: std::fs::read(&body).unwrap_or_default(),
    }
}

/// Ends a connection in order: FIN, then everything until theirs.
pub fn close(stream: &TcpStream) -> conn::End {
    conn::fin(stream);
    conn::recv_to_end(stream, super::STEP).1
}
