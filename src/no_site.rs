//! The website of our own, which was left out of the program (feature `site`): a visitor for whom no website
//! is behind the port finds the connection closed.

use crate::config::Website;
use crate::detect::Rules;
use crate::fallback::Claimed;
use crate::net::conn_info::ConnInfo;
use crate::transport::Stream;
use tokio::time::Instant;

/// No website.
#[derive(Debug)]
pub enum Site {
    /// Where there is one elsewhere, or none.
    Bare,
    /// Where a port speaks TLS only.
    HttpsOnly,
}

impl Site {
    /// None.
    pub fn new(_: &Website) -> Site {
        Site::Bare
    }

    /// Closes the connection.
    pub async fn serve(
        &self,
        _: &Rules,
        visitor: Stream,
        _: &ConnInfo,
        _: Vec<u8>,
        _: Instant,
    ) -> Option<Claimed> {
        drop(visitor);
        None
    }
}
