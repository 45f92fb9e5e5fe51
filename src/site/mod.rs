//! A small web server of our own, for visitors where no website is behind the port: a redirect, a folder,
//! one status for everything, or nothing at all.
//!
//! It answers as nginx 1.22 does with its defaults and `server_tokens off`, configured with `location /`
//! and a `return`, or with `root` and nothing else: the same bytes, limits and time-outs, the same patience
//! with malformed requests, the same ways to close a connection.

mod answer;
mod conditions;
mod connection;
mod folder;
mod mime;
mod ranges;
mod visit;

use crate::config::Website;
use crate::detect::Rules;
use crate::fallback::Claimed;
use crate::net::conn_info::ConnInfo;
use crate::runtime::blocking;
use crate::runtime::watchdog::{self, Stage};
use crate::transport::Stream;
use crate::wire::http::request::{body, buffers, head, line, target};
use answer::{Answer, Content};
use conditions::{Precondition, Validators, judge, permits_range};
use folder::{Found, OpenFile, Source};
use head::Request;
use line::Method;
use ranges::{Multipart, Part, Selection, content_range, select};
use std::path::{Path, PathBuf};
use target::{Target, encode};
use tokio::time::Instant;

/// The longest body that is announced and not refused, in bytes (`client_max_body_size`).
const MAX_BODY: u64 = 1024 * 1024;

/// What is on the website.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// Nothing: 404 for everything.
    Bare,
    /// Everything has moved to this URL, with its path and query.
    Redirect(String),
    /// The files in this folder.
    Folder(PathBuf),
    /// This status for everything.
    Status(u16),
    /// A port on which TLS is spoken, for those who speak HTTP in the clear there: a 400 that says so.
    HttpsOnly,
}

impl Site {
    /// The one to serve from here; a bare one in front of a website at another port.
    pub fn new(website: &Website) -> Site {
        match website {
            Website::Bare | Website::Port(_) => Site::Bare,
            Website::Redirect(url) => Site::Redirect(url.clone()),
            Website::Folder(path) => Site::Folder(path.clone()),
            Website::Status(status) => Site::Status(*status),
        }
    }

    /// Serves a connection, of which `bytes` were read before, to its end. Returns it when, in the place
    /// of a request, an upgrade is asked for that `rules` take.
    pub async fn serve(
        &self,
        rules: &Rules,
        visitor: Stream,
        origin: &ConnInfo,
        bytes: Vec<u8>,
        began: Instant,
    ) -> Option<Claimed> {
        watchdog::stage(Stage::OwnSite);
        visit::Visit::new(self, rules, visitor, origin, bytes, began).run().await
    }

    /// What a request is answered with; `None` where the connection ends without an answer. `here` is
    /// how the visitor would name this server if it had to.
    async fn answer(&self, request: &Request, here: &Here<'_>) -> Option<Answer> {
        let style = request.style;
        if *self == Site::HttpsOnly {
            return Some(Answer::page(497, style));
        }
        if matches!(request.body, body::RequestBody::Length(length) if length > MAX_BODY) {
            return Some(Answer::page(413, style));
        }
        let answer = match self {
            Site::Redirect(url) => moved(request, url),
            Site::Status(408 | 444 | 499) => return None,
            Site::Status(204) => Answer { reads_body: true, ..Answer::new(204) },
            Site::Status(status) => Answer::page(*status, style),
            Site::Bare | Site::Folder(_) | Site::HttpsOnly => match (self, request.method) {
                (Site::Folder(root), Method::Get | Method::Head | Method::Post) => {
                    file_at(root, request, here).await
                }
                (_, Method::Get | Method::Head | Method::Post) => Answer::page(404, style),
                _ => Answer::page(405, style),
            },
        };
        Some(answer)
    }
}

/// How a connection came here.
#[derive(Debug, Clone, Copy)]
struct Here<'a> {
    origin: &'a ConnInfo,
    tls: bool,
}

impl Here<'_> {
    /// The URL of a path on this server, under the name that the visitor came for. The port is the one
    /// that was reached, unless it is the scheme's own.
    fn url(&self, host: Option<&[u8]>, path: &[u8]) -> Vec<u8> {
        let (scheme, own_port) = if self.tls { ("https", 443) } else { ("http", 80) };
        let reached = self.origin.local_addr();
        let address = reached.ip().to_string();
        let host = host.unwrap_or(address.as_bytes());
        let port = if reached.port() == own_port { String::new() } else { format!(":{}", reached.port()) };
        [scheme.as_bytes(), b"://", host, port.as_bytes(), path].concat()
    }
}

fn moved(request: &Request, url: &str) -> Answer {
    let to = [url.as_bytes(), &request.target.written].concat();
    Answer { fields: vec![("Location", to)], reads_body: true, ..Answer::page(301, request.style) }
}

/// The file that is asked for, or what is to be said of it.
async fn file_at(root: &Path, request: &Request, here: &Here<'_>) -> Answer {
    let (root, path) = (root.to_owned(), request.target.path.clone());
    let found = blocking::FILES.run_or_inline(move || folder::find(&root, &path)).await;
    match found {
        Ok(Ok(Found::File(..))) if request.method == Method::Post => Answer::page(405, request.style),
        Ok(Ok(Found::File(file, path))) => file_answer(file, &path, request),
        Ok(Ok(Found::Folder(path))) => {
            let mut path = [encode(&path).as_bytes(), b"/"].concat();
            if !request.target.query.is_empty() {
                path.push(b'?');
                path.extend_from_slice(&request.target.query);
            }
            let place = here.url(request.host.as_deref(), &path);
            Answer { place: Some(place), ..Answer::page(301, request.style) }
        }
        Ok(Err(status)) => Answer::page(status, request.style),
        Err(_) => Answer::page(500, request.style),
    }
}

/// A file, or the part of it that is asked for, if the conditions of the request are met.
fn file_answer(open: OpenFile, path: &[u8], request: &Request) -> Answer {
    let OpenFile { file, length, modified } = open;
    let content_type = mime::content_type(Target::extension(path));
    let validators = Validators::new(modified, length);
    let etag = ("ETag", validators.etag.clone().into_bytes());
    let answer = |status| Answer { modified: Some(modified), reads_body: true, ..Answer::new(status) };
    let error = |status| Answer { reads_body: true, ..Answer::page(status, request.style) };
    match judge(|name| request.field(name), &validators) {
        Precondition::Met => {}
        Precondition::NotModified => return Answer { fields: vec![etag], ..answer(304) },
        Precondition::Failed => return Answer { cut: true, ..error(412) },
    }
    let range = request.field("range").filter(|_| !request.style.bare);
    let range = range.filter(|_| permits_range(request.field("if-range"), &validators));
    let content = |parts, multipart| Content::File(Box::new(Source::new(file, parts, multipart)));
    match range.map_or(Selection::Whole, |range| select(range, length)) {
        Selection::Whole => Answer {
            content_type: Some(content_type.into()),
            length: Some(length),
            fields: vec![etag, ("Accept-Ranges", b"bytes".to_vec())],
            content: content(vec![Part { start: 0, end: length }], None),
            ..answer(200)
        },
        Selection::Parts(parts) => match parts.as_slice() {
            &[part] => Answer {
                content_type: Some(content_type.into()),
                length: Some(part.end - part.start),
                fields: vec![etag, ("Content-Range", content_range(part, length).into_bytes())],
                content: content(parts, None),
                ..answer(206)
            },
            _ => {
                let multipart = Multipart::new(content_type, length);
                Answer {
                    content_type: Some(multipart.content_type().into()),
                    length: Some(multipart.total(&parts)),
                    fields: vec![etag],
                    content: content(parts, Some(multipart)),
                    ..answer(206)
                }
            }
        },
        Selection::Unsatisfiable => {
            Answer { fields: vec![("Content-Range", format!("bytes */{length}").into_bytes())], ..error(416) }
        }
    }
}
