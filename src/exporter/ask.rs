//! The other end: a process is asked once whether it is ready, for a health check where nothing else could ask.

use crate::config::MetricsAddress;
use crate::net::addr::Host;
use crate::net::look_up;
use crate::os::stderr::print_error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long all of it may take. A process that is slow says so itself within a second.
const LIMIT: Duration = Duration::from_secs(3);

/// The most that is read of an answer, in bytes. Ours has a head of a few lines, and one line.
const MOST: u64 = 8 * 1024;

/// Headers that an answer may have.
const HEADERS: usize = 32;

/// Asks whether new connections are served at the half with this address for its metrics, or only, for `live`, whether
/// it goes on. Success says yes; otherwise the reason is told.
pub async fn ask(address: MetricsAddress, live: bool) -> ExitCode {
    let path = if live { "/healthz" } else { "/readyz" };
    let answer = timeout(LIMIT, connect_and_ask(&address, path)).await;
    let answer =
        answer.unwrap_or_else(|_| Err(format!("no answer from {address} within {} s", LIMIT.as_secs())));
    match answer {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            print_error(&reason);
            ExitCode::FAILURE
        }
    }
}

async fn connect_and_ask(address: &MetricsAddress, path: &str) -> Result<(), String> {
    let refused = |error: io::Error| format!("nobody answers at {address}: {error}");
    let answer = match address {
        MetricsAddress::Tcp(host_port) => {
            let port = host_port.port;
            let addresses: Vec<SocketAddr> = match &host_port.host {
                Host::Ip(ip) => vec![SocketAddr::new(*ip, port)],
                Host::Name(name) => look_up(name.clone(), port).await.map_err(refused)?,
            };
            exchange(TcpStream::connect(&*addresses).await.map_err(refused)?, path).await
        }
        #[cfg(unix)]
        MetricsAddress::Unix(socket) => {
            exchange(tokio::net::UnixStream::connect(socket).await.map_err(refused)?, path).await
        }
        #[cfg(not(unix))]
        MetricsAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    };
    judge(&answer.map_err(refused)?).map_err(|reason| match reason {
        Some(line) => line,
        None => format!("what answers at {address} is not the metrics of obfs-rs"),
    })
}

/// The answer, as far as it is read.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> io::Result<Vec<u8>> {
    // HTTP/1.0 has its answer end with the connection, and in one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    match stream.take(MOST).read_to_end(&mut answer).await {
        // What was said before it broke off counts.
        Err(_) if !answer.is_empty() => Ok(answer),
        read => read.map(|_| answer),
    }
}

/// Whether an answer says yes.
///
/// # Errors
///
/// The line that says why not, if it is one of ours.
pub fn judge(answer: &[u8]) -> Result<(), Option<String>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(answer) else { return Err(None) };
    let body = String::from_utf8_lossy(answer.get(head..).unwrap_or_default());
    let line = body.lines().next().unwrap_or_default();
    match (response.code, line) {
        (Some(200), "ready" | "ok") => Ok(()),
        (Some(503), reason) if !reason.is_empty() => Err(Some(reason.to_owned())),
        _ => Err(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_we_say_is_a_yes() {
        for (answer, wanted) in [
            ("HTTP/1.0 200 OK\r\ncontent-length: 6\r\n\r\nready\n", Ok(())),
            ("HTTP/1.1 200 OK\r\n\r\nok\n", Ok(())),
            ("HTTP/1.1 503 x\r\n\r\ndraining: no more\nx", Err(Some("draining: no more".to_owned()))),
            ("HTTP/1.1 503 x\r\n\r\n", Err(None)),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", Err(None)),
            ("HTTP/1.1 404 Not Found\r\n\r\nready\n", Err(None)),
            ("HTTP/1.1 200 OK\r\nready\n", Err(None)),
            ("SSH-2.0-x\r\n", Err(None)),
            ("", Err(None)),
        ] {
            assert_eq!(judge(answer.as_bytes()), wanted, "{answer}");
        }
    }
}
