//! The port for metrics, which was left out of the program (feature `metrics`): the same names, of values that
//! cannot be. The configuration refuses what would need them.

#![expect(missing_docs, clippy::missing_errors_doc, reason = "what is never called")]

use crate::config::MetricsAddress;
use crate::os::user::User;
use std::fmt;
use std::pin::Pin;
use thiserror::Error;

/// There are no metrics.
#[derive(Debug, Error)]
#[error("this program was built without metrics")]
pub struct ExporterError;

impl ExporterError {
    pub fn is_about_the_configuration(&self) -> bool {
        true
    }
}

/// What nobody asks.
pub type Check = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Nobody asks.
#[derive(Debug)]
pub struct Readiness;

impl Readiness {
    pub fn new(_: impl Fn() -> Check + Send + Sync + 'static) -> Readiness {
        Readiness
    }
}

/// Nobody listens.
#[derive(Debug)]
pub enum Exporter {}

impl Exporter {
    pub fn bind(_: &MetricsAddress, _: Option<&User>) -> Result<Exporter, ExporterError> {
        Err(ExporterError)
    }

    pub fn wait_as_root(&self, _: &User) {
        match *self {}
    }

    pub fn tell(&self) {
        match *self {}
    }

    pub async fn run(&self, _: Readiness, _: impl Future<Output = ()>) {
        match *self {}
    }
}

impl fmt::Display for Exporter {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
