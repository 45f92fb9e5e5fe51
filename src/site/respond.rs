//! What is on the website: which response a request gets.

use super::conditions::{Precondition, Validators, judge, permits_range};
use super::folder::{self, Found, OpenFile, Source};
use super::mime;
use super::ranges::{Multipart, Part, Selection, content_range, select};
use super::response::{Content, Response};
use crate::config::Website;
use crate::runtime::blocking;
use crate::wire::http::framing::MessageBody;
use crate::wire::http::request::head::Request;
use crate::wire::http::request::line::Method;
use crate::wire::http::request::target::{Target, encode};
use std::net::SocketAddr;
use std::path::Path;

/// The longest body that is announced and not refused, in bytes (`client_max_body_size`).
const MAX_BODY: u64 = 1024 * 1024;

/// What a request is answered with; `None` where the connection ends without an answer.
pub(super) async fn respond(website: &Website, request: &Request, server: ServerAddr) -> Option<Response> {
    let style = request.style;
    if *website == Website::HttpsOnly {
        return Some(Response::page(497, style));
    }
    if matches!(request.body, MessageBody::Sized(length) if length > MAX_BODY) {
        return Some(Response::page(413, style));
    }
    let response = match (website, request.method) {
        (Website::Redirect(url), _) => moved(request, url),
        (Website::Status(408 | 444 | 499), _) => return None,
        (Website::Status(204), _) => Response { reads_body: true, ..Response::new(204) },
        (Website::Status(status), _) => Response::page(*status, style),
        (Website::Folder(root), Method::Get | Method::Head | Method::Post) => {
            file_at(root, request, server).await
        }
        (_, Method::Get | Method::Head | Method::Post) => Response::page(404, style),
        _ => Response::page(405, style),
    };
    Some(response)
}

/// How a visitor would name this server if it had to.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerAddr {
    pub(super) address: SocketAddr,
    pub(super) tls: bool,
}

impl ServerAddr {
    /// The URL of a path on this server, under the name that the visitor came for. The port is the one
    /// that was reached, unless it is the scheme's own.
    fn url(&self, host: Option<&[u8]>, path: &[u8]) -> Vec<u8> {
        let (scheme, own_port) = if self.tls { ("https", 443) } else { ("http", 80) };
        let address = self.address.ip().to_string();
        let host = host.unwrap_or(address.as_bytes());
        let port = match self.address.port() {
            port if port == own_port => String::new(),
            port => format!(":{port}"),
        };
        [scheme.as_bytes(), b"://", host, port.as_bytes(), path].concat()
    }
}

fn moved(request: &Request, url: &str) -> Response {
    let to = [url.as_bytes(), &request.target.written].concat();
    Response { fields: vec![("Location", to)], reads_body: true, ..Response::page(301, request.style) }
}

/// The file that is asked for, or what is to be said of it.
async fn file_at(root: &Path, request: &Request, server: ServerAddr) -> Response {
    let (root, path) = (root.to_owned(), request.target.path.clone());
    let found = blocking::FILES.run_or_inline(move || folder::find(&root, &path)).await;
    match found {
        Ok(Ok(Found::File(..))) if request.method == Method::Post => Response::page(405, request.style),
        Ok(Ok(Found::File(file, path))) => file_response(file, &path, request),
        Ok(Ok(Found::Folder(path))) => {
            let mut path = [encode(&path).as_bytes(), b"/"].concat();
            if !request.target.query.is_empty() {
                path.push(b'?');
                path.extend_from_slice(&request.target.query);
            }
            let place = server.url(request.host.as_deref(), &path);
            Response { place: Some(place), ..Response::page(301, request.style) }
        }
        Ok(Err(status)) => Response::page(status, request.style),
        Err(_) => Response::page(500, request.style),
    }
}

/// A file, or the part of it that is asked for, if the conditions of the request are met.
fn file_response(open: OpenFile, path: &[u8], request: &Request) -> Response {
    let OpenFile { file, length, modified } = open;
    let content_type = mime::content_type(Target::extension(path));
    let validators = Validators::new(modified, length);
    let etag = ("ETag", validators.etag.clone().into_bytes());
    let response = |status| Response { modified: Some(modified), reads_body: true, ..Response::new(status) };
    let error = |status| Response { reads_body: true, ..Response::page(status, request.style) };
    match judge(|name| request.field(name), &validators) {
        Precondition::Met => {}
        Precondition::NotModified => return Response { fields: vec![etag], ..response(304) },
        Precondition::Failed => return Response { close_now: true, ..error(412) },
    }
    let range = request.field("range").filter(|_| !request.style.bare);
    let range = range.filter(|_| permits_range(request.field("if-range"), &validators));
    let content = |parts, multipart| Content::File(Box::new(Source::new(file, parts, multipart)));
    match range.map_or(Selection::Whole, |range| select(range, length)) {
        Selection::Whole => Response {
            content_type: Some(content_type.into()),
            length: Some(length),
            fields: vec![etag, ("Accept-Ranges", b"bytes".to_vec())],
            content: content(vec![Part { start: 0, end: length }], None),
            ..response(200)
        },
        Selection::Parts(parts) => match parts.as_slice() {
            &[part] => Response {
                content_type: Some(content_type.into()),
                length: Some(part.end - part.start),
                fields: vec![etag, ("Content-Range", content_range(part, length).into_bytes())],
                content: content(parts, None),
                ..response(206)
            },
            _ => {
                let multipart = Multipart::new(content_type, length);
                Response {
                    content_type: Some(multipart.content_type().into()),
                    length: Some(multipart.total(&parts)),
                    fields: vec![etag],
                    content: content(parts, Some(multipart)),
                    ..response(206)
                }
            }
        },
        Selection::Unsatisfiable => Response {
            fields: vec![("Content-Range", format!("bytes */{length}").into_bytes())],
            ..error(416)
        },
    }
}
