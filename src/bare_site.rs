//! The web server that visitors meet where no website is configured: nginx with nothing on it, which
//! closes every connection after its answer.

use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{timeout, timeout_at};

/// How long a visitor may take for its request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long what a visitor still sends is read after the answer, so that the answer arrives before
/// the connection is gone (nginx's `lingering_timeout`).
const LINGER: Duration = Duration::from_secs(5);

/// The longest request line and the longest head, in bytes (nginx's `large_client_header_buffers`).
const MAX_LINE: usize = 8 * 1024;
const MAX_HEAD: usize = 32 * 1024;

/// An answer that the bare server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    BadRequest,
    NotFound,
    NotAllowed,
    TooLong,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Status::BadRequest => "400 Bad Request",
            Status::NotFound => "404 Not Found",
            Status::NotAllowed => "405 Not Allowed",
            Status::TooLong => "414 Request-URI Too Large",
        }
    }
}

/// The answer to a request, once its bytes allow one.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: Status,
    /// To HEAD there is a head only.
    with_body: bool,
}

/// Reads one request and answers it. `bytes` are those that were read before. Returns what was
/// answered, for the log.
pub async fn serve<V>(mut visitor: V, mut bytes: Vec<u8>) -> &'static str
where
    V: AsyncRead + AsyncWrite + Unpin,
{
    let deadline = tokio::time::Instant::now() + HEAD_TIMEOUT;
    let answer = loop {
        if let Some(answer) = judge(&bytes) {
            break answer;
        }
        bytes.reserve(4096);
        match timeout_at(deadline, visitor.read_buf(&mut bytes)).await {
            Ok(Ok(n)) if n > 0 => {}
            // Who closes or falls silent within a head gets no answer from nginx either.
            _ => return "none",
        }
    };
    let page = page(&answer, SystemTime::now());
    if visitor.write_all(&page).await.is_ok() && visitor.shutdown().await.is_ok() {
        // On the heap, or every connection's task would have the room for it.
        let mut rest = vec![0; 4096];
        let drain = async { while matches!(visitor.read(&mut rest).await, Ok(n) if n > 0) {} };
        let _ = timeout(LINGER, drain).await;
    }
    answer.status.line()
}

/// What a request is answered with. `None` as long as its head has not ended.
fn judge(bytes: &[u8]) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes);
    let error = |status| Some(Answer { status, with_body: true });
    match parsed {
        Err(_) => error(Status::BadRequest),
        Ok(httparse::Status::Partial) => match bytes.iter().position(|&b| b == b'\n') {
            None if bytes.len() > MAX_LINE => error(Status::TooLong),
            _ if bytes.len() > MAX_HEAD => error(Status::BadRequest),
            _ => None,
        },
        Ok(httparse::Status::Complete(_)) => {
            let hosts = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case("host"));
            let method = request.method.unwrap_or_default();
            let path = request.path.unwrap_or_default();
            let host_needed = request.version == Some(1);
            let hosts = hosts.count();
            if hosts > 1 || (host_needed && hosts == 0) || !method.bytes().all(is_method_byte) {
                return error(Status::BadRequest);
            }
            if path.len() > MAX_LINE {
                return error(Status::TooLong);
            }
            let status = match method {
                "GET" | "HEAD" | "POST" if path.starts_with('/') || path.contains("://") => Status::NotFound,
                "GET" | "HEAD" | "POST" => Status::BadRequest,
                _ => Status::NotAllowed,
            };
            Some(Answer { status, with_body: method != "HEAD" })
        }
    }
}

/// nginx takes methods in upper case only.
fn is_method_byte(b: u8) -> bool {
    b.is_ascii_uppercase() || matches!(b, b'_' | b'-')
}

/// An answer as nginx writes it.
fn page(answer: &Answer, now: SystemTime) -> Vec<u8> {
    let status = answer.status.line();
    let body = format!(
        "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n\
         <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut page = format!(
        "HTTP/1.1 {status}\r\nServer: nginx\r\nDate: {}\r\nContent-Type: text/html\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        httpdate::fmt_http_date(now),
        body.len()
    );
    if answer.with_body {
        page.push_str(&body);
    }
    page.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(request: &str) -> Option<Status> {
        judge(request.as_bytes()).map(|answer| answer.status)
    }

    #[test]
    fn requests_are_answered_as_nginx_answers_them() {
        for (request, wanted) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotFound),
            ("GET / HTTP/1.0\r\n\r\n", Status::NotFound),
            ("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", Status::NotFound),
            ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotAllowed),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotAllowed),
            ("GET / HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Status::BadRequest),
            ("get / HTTP/1.1\r\nHost: a\r\n\r\n", Status::BadRequest),
            ("\x16\x03\x01", Status::BadRequest),
        ] {
            assert_eq!(status(request), Some(wanted), "{request:?}");
        }
        assert_eq!(status(&format!("GET /{}", "a".repeat(MAX_LINE))), Some(Status::TooLong));
        assert_eq!(status("GET / HTTP/1.1\r\nHost: a\r\n"), None);
    }

    #[test]
    fn the_length_is_that_of_the_body_and_head_has_none() {
        let now = SystemTime::UNIX_EPOCH;
        let get = page(&judge(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap(), now);
        let text = String::from_utf8(get).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(head.contains("Date: Thu, 01 Jan 1970 00:00:00 GMT"), "{head}");
        let head_only = page(&judge(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap(), now);
        assert_eq!(String::from_utf8(head_only).unwrap(), format!("{head}\r\n\r\n"));
    }
}
