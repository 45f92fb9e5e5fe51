//! The Unix socket of the metrics: it is listened on for a moment, where nobody has it.

use super::kept_file::{folder_of, may_write};
use super::report::Report;
use crate::exporter::{Trial, try_socket};
use crate::os::holders::holder;
use std::io;
use std::path::Path;

const STEP: &str = "metrics";

/// Tries whether it can be listened on.
pub(super) async fn check(path: &Path, report: &mut Report) {
    let shown = format!("unix:{}", path.display());
    let cannot = |error: io::Error| format!("cannot listen on {shown}: {error}");
    match try_socket(path).await {
        Ok(Trial::Free) => report.ok(STEP, format!("{shown} can be had")),
        Ok(Trial::Abandoned) => match may_write(folder_of(path)) {
            Ok(()) => {
                report.ok(
                    STEP,
                    format!("{shown} can be had: what an earlier process has left there is replaced"),
                );
            }
            Err(error) => report.fails(STEP, cannot(error)),
        },
        Ok(Trial::Taken(id)) => {
            let holders: Vec<_> = id.and_then(holder).into_iter().collect();
            let who = holders.first().map(|holder| format!(" by {holder}")).unwrap_or_default();
            let then = "a start goes on without metrics, and tries again until it has it";
            report.odd(STEP, format!("{shown} is taken{who}: {then}"));
        }
        Err(error) => report.fails(STEP, cannot(error)),
    }
}
