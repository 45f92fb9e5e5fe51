//! The website of our own, which was left out of the program (feature `site`): a visitor for whom no website
//! is behind the port finds the connection closed.

use crate::config::Website;
use crate::detect::{Handoff, Rules};
use crate::telemetry::Answered;
use crate::transport::Stream;

/// Closes the connection.
pub async fn serve(_: &Website, c: Handoff<Stream>, _: &Rules) -> (Answered, Option<Handoff<Stream>>) {
    drop(c);
    (Answered::default(), None)
}
