//! A server's certificate: its names, and when it is valid.

use super::report::Report;
use crate::telemetry::iso_date;
use crate::transport::tls::{Acceptor, CertificateFacts};
use std::time::{Duration, SystemTime};

const STEP: &str = "certificate";

/// A certificate that ends sooner is told. Those of Let's Encrypt are renewed a month before they end.
const SOON: u64 = 7 * 24 * 3600;

/// What its dates say.
#[derive(Debug, PartialEq, Eq)]
enum Validity {
    Valid,
    EndsSoon,
    Ended,
    NotBegun,
}

/// Tells what stands in the certificate. Clients come by the name `host`, where the options have it.
pub(super) fn check(tls: &Acceptor, host: Option<&str>, report: &mut Report) {
    // (a certificate without names is warned of as it is read)
    report.odd_ones(STEP);
    let Some(facts) = tls.facts() else { return report.fails(STEP, "there is none in its file") };
    let CertificateFacts { file, names, begin, end } = facts;
    let file = file.display();
    #[expect(clippy::disallowed_methods, reason = "certificates are judged by the system's clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let until = end.map_or_else(|| "nobody knows when".to_owned(), date);
    match validity(begin, end, now) {
        Validity::Valid => report.ok(STEP, format!("{file} is {names}, valid until {until}")),
        Validity::EndsSoon => report
            .odd(STEP, format!("{file} is {names}, and valid only until {until}: is it renewed by itself?")),
        Validity::Ended => report.fails(
            STEP,
            format!(
                "{file} has expired at {until}, and this machine's clock says {}: renew it, or set the clock",
                date(now)
            ),
        ),
        Validity::NotBegun => report.fails(
            STEP,
            format!(
                "{file} is not valid before {}, and this machine's clock says {}: check this clock",
                date(begin.unwrap_or_default()),
                date(now)
            ),
        ),
    }
    if let Some(host) = host.filter(|host| !tls.has_name(host.as_bytes())) {
        report.odd(
            STEP,
            format!(
                "it does not have the name {host} of the option `host` (it is {names}): clients that verify it cannot come \
                 by that name"
            ),
        );
    }
}

fn validity(begin: Option<u64>, end: Option<u64>, now: u64) -> Validity {
    match (begin, end) {
        (Some(begin), _) if now < begin => Validity::NotBegun,
        (_, Some(end)) if now > end => Validity::Ended,
        (_, Some(end)) if end - now < SOON => Validity::EndsSoon,
        _ => Validity::Valid,
    }
}

fn date(seconds: u64) -> String {
    // Years beyond those that can be written are cut.
    const LAST: u64 = 253_402_300_799;
    iso_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(LAST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_judged_by_the_clock() {
        let now = 1_800_000_000;
        for (begin, end, wanted) in [
            (Some(now - 1), Some(now + SOON), Validity::Valid),
            (None, None, Validity::Valid),
            (Some(now - 1), Some(now + SOON - 1), Validity::EndsSoon),
            (Some(now - 9), Some(now - 1), Validity::Ended),
            (None, Some(0), Validity::Ended),
            (Some(now + 1), Some(now + 2), Validity::NotBegun),
            (Some(u64::MAX), Some(u64::MAX), Validity::NotBegun),
        ] {
            assert_eq!(validity(begin, end, now), wanted, "{begin:?} {end:?}");
        }
        assert_eq!(date(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
