//! Proxies that a client may have to go through: real ones, and one of the tests' own that tells what it was asked
//! and passes every end on as it comes.

use super::child::Child;
use super::link::join;
use super::peers;
use super::ports::free_port;
use super::tempdir::TempDir;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// A real proxy.
pub struct Proxy {
    pub child: Child,
    /// Its scheme.
    scheme: &'static str,
    port: u16,
    _dir: Option<TempDir>,
}

impl Proxy {
    /// SOCKS5, with a user and a password or without.
    #[track_caller]
    pub fn microsocks(login: Option<(&str, &str)>) -> Proxy {
        let port = free_port();
        let mut command = Command::new(peers::path("microsocks"));
        command.args(["-i", "127.0.0.1", "-p", &port.to_string()]);
        if let Some((user, password)) = login {
            command.args(["-u", user, "-P", password]);
        }
        let child = Child::spawn("microsocks", command);
        child.wait_listening(port);
        Proxy { child, scheme: "socks5", port, _dir: None }
    }

    /// HTTP, with more lines for its file, such as `BasicAuth user password`.
    #[track_caller]
    pub fn tinyproxy(more: &str) -> Proxy {
        let (port, dir) = (free_port(), TempDir::new("tinyproxy"));
        let file =
            format!("Port {port}\nListen 127.0.0.1\nAllow 127.0.0.1\nTimeout 60\nMaxClients 50\n{more}\n");
        let file = dir.write("tinyproxy.conf", file);
        let mut command = Command::new(peers::path("tinyproxy"));
        command.arg("-d").arg("-c").arg(file);
        let child = Child::spawn("tinyproxy", command);
        child.wait_listening(port);
        Proxy { child, scheme: "http", port, _dir: Some(dir) }
    }

    /// Its URL as the log has it.
    pub fn shown(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Its URL with a login, which ends in `@`, or with none.
    pub fn url(&self, login: &str) -> String {
        format!("{}://{login}127.0.0.1:{}", self.scheme, self.port)
    }
}

/// A proxy that joins whoever comes to one server, whatever it is asked for.
pub struct Told {
    pub addr: SocketAddr,
    /// What it was asked for: of SOCKS5, the type of the address and the address; of HTTP, the head.
    pub asked: Receiver<String>,
    _runtime: Runtime,
}

impl Told {
    pub fn socks5(server: SocketAddr) -> Told {
        Told::start(server, false)
    }

    pub fn http(server: SocketAddr) -> Told {
        Told::start(server, true)
    }

    fn start(server: SocketAddr, http: bool) -> Told {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("bind a proxy");
        let addr = listener.local_addr().expect("a proxy's address");
        let (tell, asked) = mpsc::channel();
        runtime.spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let target = if http { head(&mut near).await } else { socks5_target(&mut near).await };
                    let Some(target) = target else { return };
                    let refused = target.contains("refused");
                    let _ = tell.send(target);
                    let answer: &[u8] = match (http, refused) {
                        (true, false) => b"HTTP/1.1 200 Connection established\r\n\r\n",
                        (true, true) => b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
                        (false, false) => b"\x05\0\0\x01\x7f\0\0\x01\x04\x38",
                        (false, true) => b"\x05\x04\0\x01\0\0\0\0\0\0",
                    };
                    if near.write_all(answer).await.is_ok()
                        && !refused
                        && let Ok(far) = TcpStream::connect(server).await
                    {
                        join(near, far, Duration::ZERO).await;
                    }
                });
            }
        });
        Told { addr, asked, _runtime: runtime }
    }
}

async fn head(near: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(near.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

/// Takes any login, and tells it in front of the target.
async fn socks5_target(near: &mut TcpStream) -> Option<String> {
    let [5, methods] = bytes(near).await? else { return None };
    let mut offered = vec![0; methods.into()];
    near.read_exact(&mut offered).await.ok()?;
    let method = offered.iter().copied().max()?;
    near.write_all(&[5, method]).await.ok()?;
    let mut login = String::new();
    if method == 2 {
        let [1] = bytes(near).await? else { return None };
        login = format!("{}:{}@", text(near).await?, text(near).await?);
        near.write_all(&[1, 0]).await.ok()?;
    }
    let [5, 1, 0, kind] = bytes(near).await? else { return None };
    let host = match kind {
        1 => Ipv4Addr::from(bytes::<4>(near).await?).to_string(),
        3 => text(near).await?,
        4 => Ipv6Addr::from(bytes::<16>(near).await?).to_string(),
        _ => return None,
    };
    Some(format!("{login}{kind} {host} {}", near.read_u16().await.ok()?))
}

async fn bytes<const LEN: usize>(near: &mut TcpStream) -> Option<[u8; LEN]> {
    let mut bytes = [0; LEN];
    near.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

/// A length of one byte, and so many of text.
async fn text(near: &mut TcpStream) -> Option<String> {
    let mut text = vec![0; near.read_u8().await.ok()?.into()];
    near.read_exact(&mut text).await.ok()?;
    String::from_utf8(text).ok()
}
