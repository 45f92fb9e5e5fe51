//! The way to a server through a proxy: SOCKS5 (RFC 1928 and 1929), or `CONNECT` of HTTP. The proxy is told the
//! server's name and looks it up itself: inside a company nobody else may know it.

use super::addr::{Host, HostPort};
use crate::wire::http::connect::{ConnectAnswer, connect_request};
use crate::wire::http::first_line;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_socks::TargetAddr;
use tokio_socks::tcp::socks5::Socks5Stream;

/// How long a proxy may take to join its connection to a server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A proxy.
#[derive(Debug, Clone)]
pub struct Proxy {
    /// What it speaks.
    pub kind: ProxyKind,
    /// Where it listens.
    pub address: HostPort,
    /// The user and the password.
    pub login: Option<(String, String)>,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS5.
    Socks5,
    /// HTTP, without TLS.
    Http,
}

impl fmt::Display for Proxy {
    /// Its URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        write!(f, "{scheme}://{}", self.address)
    }
}

/// Why a proxy does not join its connection to a server.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// It wants another user, or another password.
    #[error("{0}")]
    Login(String),
    /// It makes no connection to the server.
    #[error("{0}")]
    Refused(String),
    /// It speaks another protocol.
    #[error("it does not speak {0}")]
    Malformed(String),
    /// Its answer does not end.
    #[error("its answer is too long")]
    TooLong,
    /// It ended instead.
    #[error("it closed the connection before it had answered{}", after(.0))]
    Closed(String),
    /// It takes too long.
    #[error("it did not answer within {} s", TIMEOUT.as_secs())]
    Late,
    /// The connection to it broke.
    #[error("the connection to it broke: {0}")]
    Broken(#[from] io::Error),
}

fn after(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(" (after `{line}`)") }
}

impl ProxyError {
    fn wrong_login() -> ProxyError {
        ProxyError::Login("it refuses the user and the password".to_owned())
    }

    fn no_login() -> ProxyError {
        ProxyError::Login("it asks for a user and a password".to_owned())
    }

    /// Whether it is the same for every server.
    pub(super) fn is_for_all(&self) -> bool {
        matches!(self, ProxyError::Login(_))
    }
}

impl Proxy {
    /// What it is told first, as far as that is known before there is a connection to it.
    pub(super) fn first_bytes(&self, server: &HostPort) -> Vec<u8> {
        let login = self.login.as_ref().map(|(user, password)| (user.as_str(), password.as_str()));
        match self.kind {
            ProxyKind::Socks5 => Vec::new(),
            ProxyKind::Http => connect_request(&server.to_string(), login).into_bytes(),
        }
    }

    /// Has a connection to the proxy joined to the server. `first` are those of its first bytes that were not
    /// sent. Nothing is read of what comes behind its answer: that is the server's.
    ///
    /// # Errors
    ///
    /// The proxy says no, or not in time, or nothing that can be understood.
    pub async fn join(
        &self,
        proxy: TcpStream,
        server: &HostPort,
        first: &[u8],
    ) -> Result<TcpStream, ProxyError> {
        let joined = async {
            match self.kind {
                ProxyKind::Socks5 => {
                    self.socks5(proxy, server).await.map_err(|error| self.socks5_refusal(error))
                }
                ProxyKind::Http => self.http(proxy, first).await,
            }
        };
        timeout(TIMEOUT, joined).await.unwrap_or(Err(ProxyError::Late))
    }

    async fn socks5(&self, proxy: TcpStream, server: &HostPort) -> tokio_socks::Result<TcpStream> {
        let target = match &server.host {
            Host::Ip(ip) => TargetAddr::Ip((*ip, server.port).into()),
            Host::Name(name) => TargetAddr::Domain(name.into(), server.port),
        };
        let joined = match &self.login {
            None => Socks5Stream::connect_with_socket(proxy, target).await?,
            Some((user, password)) => {
                Socks5Stream::connect_with_password_and_socket(proxy, target, user, password).await?
            }
        };
        Ok(joined.into_inner())
    }

    async fn http(&self, mut proxy: TcpStream, request: &[u8]) -> Result<TcpStream, ProxyError> {
        proxy.write_all(request).await?;
        let mut head = Vec::new();
        let mut piece = [0; 512];
        loop {
            // Looked at first, and then taken up to the end of the head.
            let len = proxy.peek(&mut piece).await?;
            if len == 0 {
                return Err(ProxyError::Closed(first_line(&head)));
            }
            let before = head.len();
            head.extend_from_slice(piece.get(..len).unwrap_or_default());
            let answer = ConnectAnswer::read(&head);
            let taken = match answer {
                ConnectAnswer::Connected(head_len) => head_len.saturating_sub(before),
                _ => len,
            };
            proxy.read_exact(piece.get_mut(..taken).unwrap_or_default()).await?;
            match answer {
                ConnectAnswer::NeedMore => {}
                ConnectAnswer::Connected(_) => return Ok(proxy),
                ConnectAnswer::TooLong => return Err(ProxyError::TooLong),
                ConnectAnswer::Malformed(line) => {
                    return Err(ProxyError::Malformed(format!("HTTP: it answers `{line}`")));
                }
                ConnectAnswer::Refused { code, line, schemes } => {
                    return Err(self.http_refusal(code, &line, &schemes));
                }
            }
        }
    }

    fn socks5_refusal(&self, error: tokio_socks::Error) -> ProxyError {
        use tokio_socks::Error as Socks;
        let refused = |code: u8, words: &str| ProxyError::Refused(format!("{words} (SOCKS5 code {code})"));
        match error {
            Socks::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ProxyError::Closed(String::new())
            }
            Socks::Io(error) => ProxyError::Broken(error),
            Socks::PasswordAuthFailure(_) => ProxyError::wrong_login(),
            Socks::NoAcceptableAuthMethods | Socks::AuthorizationRequired => match self.login {
                Some(_) => ProxyError::Login("it takes no login by user and password".into()),
                None => ProxyError::no_login(),
            },
            Socks::GeneralSocksServerFailure => refused(1, "general failure"),
            Socks::ConnectionNotAllowedByRuleset => refused(2, "its rules do not allow the connection"),
            Socks::NetworkUnreachable => refused(3, "network unreachable"),
            Socks::HostUnreachable => refused(4, "host unreachable, or its name is not known there"),
            Socks::ConnectionRefused => refused(5, "the server refuses the connection"),
            Socks::TtlExpired => refused(6, "time to live expired"),
            Socks::CommandNotSupported => refused(7, "it makes no connections for others"),
            Socks::AddressTypeNotSupported => refused(8, "it does not know this type of address"),
            _ => ProxyError::Malformed("SOCKS5".into()),
        }
    }

    fn http_refusal(&self, code: u16, line: &str, schemes: &[String]) -> ProxyError {
        let basic = schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
        let refused = |words: &str| ProxyError::Refused(format!("{words}: it answers `{line}`"));
        match code {
            407 if !basic => {
                let schemes = schemes.join(", ");
                ProxyError::Login(format!("it asks for a login by {schemes}, and only Basic is possible"))
            }
            // Tinyproxy says 401 to a wrong password, though it is no website.
            401 | 407 if self.login.is_some() => ProxyError::wrong_login(),
            401 | 407 => ProxyError::no_login(),
            400 | 404 | 405 | 501 => refused("it makes no connections for others (is it a web server?)"),
            500.. => refused("it cannot reach the server"),
            _ => refused("its rules do not allow the connection"),
        }
    }
}

/// A proxy, and the servers behind it, the preferred one first.
#[derive(Debug)]
pub(super) struct Through {
    pub(super) proxy: Proxy,
    servers: Vec<HostPort>,
    /// The server that was reached last.
    latest: AtomicUsize,
}

impl Through {
    pub(super) fn new(proxy: Proxy, servers: Vec<HostPort>) -> Through {
        // The zone of an address says something on this machine only.
        let without_zone = |server: HostPort| HostPort { host: server.host.without_zone(), ..server };
        let servers = servers.into_iter().map(without_zone).collect();
        Through { proxy, servers, latest: AtomicUsize::new(0) }
    }

    /// The servers in the order in which to try them, each with its number.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (usize, &HostPort)> {
        let latest = self.latest.load(Ordering::Relaxed);
        let all = || self.servers.iter().enumerate();
        all()
            .filter(move |(number, _)| *number == latest)
            .chain(all().filter(move |(number, _)| *number != latest))
    }

    /// Takes note of the server that was reached.
    pub(super) fn reached(&self, number: usize) {
        self.latest.store(number, Ordering::Relaxed);
    }
}
