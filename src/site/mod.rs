//! A small web server of our own, for visitors where no website is behind the port: a redirect, a folder,
//! one status for everything, or nothing at all.
//!
//! It answers as nginx 1.22 does with its defaults and `server_tokens off`, configured with `location /`
//! and a `return`, or with `root` and nothing else: the same bytes, limits and time-outs, the same patience
//! with malformed requests, the same ways to close a connection.

mod conditions;
mod connection;
mod folder;
mod mime;
mod ranges;
mod requests;
mod respond;
mod response;

use crate::config::Website;
use crate::detect::{Handoff, Rules};
use crate::runtime::watchdog;
use crate::telemetry::Answered;
use crate::transport::Stream;
use requests::Requests;

/// Serves a website on a connection to its end; a bare one where it is at another port. Returns what it
/// has done, and the connection when, in the place of a further one, an upgrade is asked for that `rules` take.
pub async fn serve(
    website: &Website,
    c: Handoff<Stream>,
    rules: &Rules,
) -> (Answered, Option<Handoff<Stream>>) {
    watchdog::stage("own site");
    Requests::new(website, rules, c).run().await
}
