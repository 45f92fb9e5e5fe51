//! What is behind the server, visited once, for one who wants to know what it says.

use super::{ANSWER, Http2, Speech, Target, http2, is_here, is_taken_over_udp, lacks_udp};
use crate::net::addr::HostPort;
use crate::transport::tls::UpstreamTls;
use crate::wire::http::first_line;
use crate::wire::proxy_protocol::Version;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long names may take to be looked up.
const LOOK_UP: Duration = Duration::from_secs(5);

/// How long a website may take to say something.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most that is read of an answer.
const MOST: usize = 4096;

/// What a visit has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Visited {
    /// It is as it should be.
    Fine(String),
    /// It answers, and not as it should.
    Odd(String),
    /// Nobody answers.
    Fails(String),
}

impl Target {
    /// What it is.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Where it is.
    pub fn address(&self) -> &HostPort {
        &self.address
    }

    /// Whether it is Shadowsocks, and no website.
    pub fn is_shadowsocks(&self) -> bool {
        self.speech == Speech::Shadowsocks
    }

    /// What there is to say of UDP that goes there, where nobody takes it.
    pub fn lacks_udp(&self) -> Option<String> {
        let lacks = is_here(&self.address) && is_taken_over_udp(self.address.port) == Some(false);
        lacks.then(|| lacks_udp(&self.address))
    }

    /// Visits it, as one of its visitors would who asks for this `name`. Shadowsocks hears nothing.
    pub async fn visit(&self, name: Option<&str>) -> Visited {
        let address = &self.address;
        if let Some(why) = self.has_no_address().await {
            return Visited::Fails(why);
        }
        if self.speech == Speech::Shadowsocks {
            return match self.is_there().await {
                Ok(()) => Visited::Fine(format!("listens at {address}")),
                Err(why) => Visited::Fails(format!("does not answer: {why}")),
            };
        }
        let site = match self.connect().await {
            Ok(site) => site,
            Err(why) => return Visited::Fails(format!("does not answer: {why}")),
        };
        if let Some(Http2 { proxy_header, .. }) = self.http2 {
            return match http2::is_spoken(site, proxy_header).await {
                Ok(()) => Visited::Fine(format!("speaks HTTP/2 at {address}")),
                Err(why) => Visited::Fails(format!(
                    "does not speak HTTP/2 in the clear (nginx: `listen PORT http2`): {address} {why}"
                )),
            };
        }
        match self.speech {
            Speech::Http1(proxy_header) => {
                let host = name.map_or_else(|| address.to_string(), str::to_owned);
                let mut answer = Vec::new();
                let visit = first_line_of(site, &host, proxy_header, &mut answer);
                match timeout(PATIENCE, visit).await {
                    Ok(Ok(line)) => judge(&line, address),
                    Ok(Err(why)) => Visited::Fails(format!("{address}: {why}")),
                    Err(_) if answer.is_empty() => Visited::Fails(silent(address)),
                    Err(_) => Visited::Odd(format!(
                        "{address} answers slowly: after {} s its first line has no end: `{}`",
                        PATIENCE.as_secs(),
                        first_line(&answer)
                    )),
                }
            }
            Speech::Tls(proxy_header) => match timeout(ANSWER, shake_hands(site, name, proxy_header)).await {
                Ok(Ok(())) => Visited::Fine(format!("speaks TLS at {address}")),
                Ok(Err(why)) => Visited::Fails(format!("speaks no TLS at {address}: {why}")),
                Err(_) => Visited::Fails(silent(address)),
            },
            Speech::Shadowsocks => Visited::Fine(format!("listens at {address}")),
        }
    }
}

impl Target {
    /// What there is to say where its name cannot be looked up.
    async fn has_no_address(&self) -> Option<String> {
        let found = self.dialer.names().found(LOOK_UP).await;
        if found.iter().any(|(_, found)| found.is_ok()) {
            return None;
        }
        let why = found.into_iter().find_map(|(target, found)| Some((target.host, found.err()?)));
        why.map(|(host, why)| format!("cannot look up {host}: {why}"))
    }
}

fn silent(address: &HostPort) -> String {
    format!("{address} took the connection and said nothing within {} s", PATIENCE.as_secs())
}

/// What a first line of an answer says of a website.
fn judge(line: &str, address: &HostPort) -> Visited {
    let mut words = line.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse::<u16>().ok());
    let answer = format!("answers `{line}` at {address}");
    match status.filter(|_| is_http) {
        // nginx says so where it is spoken to in the clear at a port for TLS.
        Some(400) => Visited::Odd(format!(
            "{answer} to an ordinary request: does it speak TLS there (`failover-tls`), or does it expect a PROXY header \
             (`failover-proxy`)?"
        )),
        Some(500..) => Visited::Odd(format!("{answer}: visitors see an error")),
        Some(_) => Visited::Fine(answer),
        None => Visited::Odd(format!("{answer}, and that is not HTTP/1: is this the website's port?")),
    }
}

/// Says the PROXY header that visitors have in front of them.
async fn say_who_comes(site: &mut TcpStream, version: Option<Version>) -> Result<(), String> {
    let Some(version) = version else { return Ok(()) };
    let header = http2::header(site, version).map_err(|error| error.to_string())?;
    site.write_all(&header).await.map_err(|error| error.to_string())
}

/// Asks for the first page. Returns the first line of the answer. As far as that has come, it is in `bytes`.
async fn first_line_of(
    mut site: TcpStream,
    host: &str,
    proxy_header: Option<Version>,
    bytes: &mut Vec<u8>,
) -> Result<String, String> {
    let broke = |error: std::io::Error| format!("the connection broke: {error}");
    say_who_comes(&mut site, proxy_header).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    site.write_all(request.as_bytes()).await.map_err(broke)?;
    while !bytes.contains(&b'\n') && bytes.len() < MOST {
        if site.read_buf(bytes).await.map_err(broke)? == 0 {
            break;
        }
    }
    if bytes.is_empty() {
        return Err("it closed the connection without an answer".to_owned());
    }
    Ok(first_line(bytes))
}

/// Makes a handshake for this name.
async fn shake_hands(
    mut site: TcpStream,
    name: Option<&str>,
    proxy_header: Option<Version>,
) -> Result<(), String> {
    say_who_comes(&mut site, proxy_header).await?;
    let tls = UpstreamTls::new().map_err(|error| error.to_string())?;
    tls.connect_as(site, name).await.map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_website_says_is_judged_by_its_status() {
        let address = HostPort::parse("127.0.0.1:8080").unwrap();
        for line in ["HTTP/1.1 200 OK", "HTTP/1.0 301 Moved Permanently", "HTTP/1.1 404 Not Found"] {
            assert!(matches!(judge(line, &address), Visited::Fine(_)), "{line}");
        }
        for (line, said) in [
            ("HTTP/1.1 400 Bad Request", "failover-tls"),
            ("HTTP/1.1 502 Bad Gateway", "an error"),
            ("SSH-2.0-OpenSSH_9.2", "not HTTP/1"),
            ("HTTP/2 200", "not HTTP/1"),
        ] {
            match judge(line, &address) {
                Visited::Odd(text) => assert!(text.contains(said) && text.contains(line), "{text}"),
                other => panic!("{line}: {other:?}"),
            }
        }
    }
}
