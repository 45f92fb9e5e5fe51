//! Responses as nginx writes them: the order of the headers, the error pages, the words.

use super::folder::Source;
use crate::wire::http;
use crate::wire::http::request::head::ResponseStyle;
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What follows the head.
#[derive(Debug, Default)]
pub enum Content {
    #[default]
    Nothing,
    Page(String),
    File(Box<Source>),
}

/// A response.
#[derive(Debug, Default)]
pub struct Response {
    pub status: u16,
    pub content_type: Option<Cow<'static, str>>,
    pub length: Option<u64>,
    /// `Last-Modified`, in seconds since 1970.
    pub modified: Option<i64>,
    /// The place of a folder, which is told in front of `Connection`.
    pub place: Option<Vec<u8>>,
    /// Further headers.
    pub fields: Vec<(&'static str, Vec<u8>)>,
    pub content: Content,
    /// nginx begins to read the body before it gives such a response: whoever waits for leave to send it
    /// gets it, and a body that is none is answered instead.
    pub reads_body: bool,
    /// The connection ends with it.
    pub ends: bool,
    /// Nothing that still comes is waited for then.
    pub no_linger: bool,
    /// The connection is closed behind it although it says otherwise: what nginx does where it notices
    /// late that there is an error.
    pub close_now: bool,
}

impl Response {
    /// A response without a body.
    pub fn new(status: u16) -> Response {
        Response { status, ..Response::default() }
    }

    /// The page for a status; 494 to 498 are numbers of nginx's own. Where there is no page it is empty.
    pub fn page(code: u16, style: ResponseStyle) -> Response {
        let page = page(code, style.padded);
        Response {
            content_type: page.as_ref().map(|_| "text/html".into()),
            length: Some(page.as_ref().map_or(0, |page| page.len() as u64)),
            content: page.map_or(Content::Nothing, Content::Page),
            ends: matches!(code, 400 | 413 | 414 | 495..=497 | 500 | 501),
            no_linger: matches!(code, 400 | 495..=497),
            ..Response::new(if matches!(code, 494..=497) { 400 } else { code })
        }
    }

    /// The head, with its empty line.
    pub fn head(&self, keep_alive: bool, now: SystemTime) -> Vec<u8> {
        let mut head = Vec::with_capacity(320);
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| head.extend_from_slice(part));
            head.extend_from_slice(b"\r\n");
        };
        let status = self.status.to_string();
        // A status without words keeps the space in front of them.
        line(&[b"HTTP/1.1 ", status.as_bytes(), b" ", reason(self.status).unwrap_or_default().as_bytes()]);
        line(&[b"Server: nginx"]);
        line(&[b"Date: ", http::date(now).as_bytes()]);
        if let Some(content_type) = &self.content_type {
            line(&[b"Content-Type: ", content_type.as_bytes()]);
        }
        if let Some(length) = self.length {
            line(&[b"Content-Length: ", length.to_string().as_bytes()]);
        }
        if let Some(modified) = self.modified {
            line(&[b"Last-Modified: ", httpdate::fmt_http_date(time(modified)).as_bytes()]);
        }
        if let Some(place) = &self.place {
            line(&[b"Location: ", place]);
        }
        line(&[b"Connection: ", if keep_alive { b"keep-alive" } else { b"close" }]);
        for (name, value) in &self.fields {
            line(&[name.as_bytes(), b": ", value]);
        }
        line(&[]);
        head
    }
}

/// A time that can be written: none before 1970, none after 9999.
fn time(seconds: i64) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default().min(LAST))
}

/// The words behind a status.
fn reason(status: u16) -> Option<&'static str> {
    Some(match status {
        200 => "OK",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Large",
        415 => "Unsupported Media Type",
        416 => "Requested Range Not Satisfiable",
        421 => "Misdirected Request",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Temporarily Unavailable",
        504 => "Gateway Time-out",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => return None,
    })
}

/// An error page, if nginx has one for the status.
fn page(code: u16, padded: bool) -> Option<String> {
    const PADDING: &str = "<!-- a padding to disable MSIE and Chrome friendly error page -->\r\n";
    let detail = match code {
        494 => Some("Request Header Or Cookie Too Large"),
        495 => Some("The SSL certificate error"),
        496 => Some("No required SSL certificate was sent"),
        497 => Some("The plain HTTP request was sent to HTTPS port"),
        _ => None,
    };
    let heading = match code {
        401 => "401 Authorization Required".to_owned(),
        494..=497 => "400 Bad Request".to_owned(),
        498 => "404 Not Found".to_owned(),
        code => format!("{code} {}", reason(code)?),
    };
    let title = detail.map_or_else(|| heading.clone(), |detail| format!("400 {detail}"));
    let detail = detail.map(|detail| format!("<center>{detail}</center>\r\n")).unwrap_or_default();
    let padding = if padded && code >= 400 { PADDING.repeat(6) } else { String::new() };
    Some(format!(
        "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{heading}</h1></center>\r\n\
         {detail}<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n{padding}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_and_its_page() {
        let response = Response::page(404, ResponseStyle::default());
        let Content::Page(page) = &response.content else { panic!("{response:?}") };
        assert_eq!(
            String::from_utf8(response.head(true, UNIX_EPOCH)).unwrap(),
            format!(
                "HTTP/1.1 404 Not Found\r\nServer: nginx\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\
                 Content-Type: text/html\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\r\n",
                page.len()
            )
        );
        assert!(page.contains("<title>404 Not Found</title>") && page.ends_with("</html>\r\n"), "{page}");
        let padded = Response::page(404, ResponseStyle { padded: true, ..ResponseStyle::default() });
        assert!(padded.length > response.length);
    }

    #[test]
    fn a_status_without_words_has_no_page() {
        let response = Response::page(418, ResponseStyle::default());
        let head = String::from_utf8(response.head(false, UNIX_EPOCH)).unwrap();
        assert!(head.starts_with("HTTP/1.1 418 \r\nServer"), "{head}");
        assert!(head.contains("\r\nContent-Length: 0\r\nConnection: close\r\n"), "{head}");
        assert!(matches!(response.content, Content::Nothing));
    }

    #[test]
    fn http_in_the_clear_where_tls_is_spoken() {
        let response = Response::page(497, ResponseStyle::default());
        assert_eq!((response.status, response.ends), (400, true));
        let Content::Page(page) = response.content else { panic!("{response:?}") };
        assert!(page.contains("<title>400 The plain HTTP request was sent to HTTPS port</title>"), "{page}");
        assert!(page.contains("<h1>400 Bad Request</h1></center>\r\n<center>The plain"), "{page}");
    }

    #[test]
    fn every_time_of_a_file_can_be_written() {
        for seconds in [i64::MIN, -1, 0, 1, i64::MAX] {
            httpdate::fmt_http_date(time(seconds));
        }
    }
}
