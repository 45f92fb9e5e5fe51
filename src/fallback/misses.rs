//! What visitors missed who look like clients: somebody may have set up a client wrongly, or a proxy between, and
//! nobody else can tell.

use crate::detect::Missed;
use crate::wire::http::UpgradeMiss;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::{debug, info};

/// The first of a kind is told at once, the others are counted until [`Misses::tell`].
#[derive(Debug, Default)]
pub(super) struct Misses(Mutex<BTreeMap<Missed, u64>>);

impl Misses {
    pub(super) fn count(&self, missed: Missed, asked: &str, peer: &dyn Display) {
        let Words { one, what, .. } = words(missed);
        debug!(%peer, asked, "{one} {what}");
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = !counts.contains_key(&missed);
        *counts.entry(missed).or_default() += u64::from(!is_first);
        drop(counts);
        if is_first {
            info!(%peer, "{one} {what}; it met the website");
        }
    }

    /// Tells what was counted within a period. A kind of which nothing came is told at once again, the next time.
    pub(super) fn tell(&self, period: Duration) {
        let seconds = period.as_secs();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.retain(|_, count| *count > 0);
        let due: Vec<_> = counts.iter_mut().map(|(missed, count)| (*missed, std::mem::take(count))).collect();
        drop(counts);
        for (missed, count) in due {
            let Words { one, many, what } = words(missed);
            match count {
                1 => info!("{one} more {what} within {seconds} s; it met the website"),
                _ => info!("{count} more {many} {what} within {seconds} s; they met the website"),
            }
        }
    }
}

struct Words {
    one: &'static str,
    many: &'static str,
    what: &'static str,
}

fn words(missed: Missed) -> Words {
    const fn upgrade(what: &'static str) -> Words {
        Words { one: "an upgrade request", many: "upgrade requests", what }
    }
    const fn fake_tls(what: &'static str) -> Words {
        Words { one: "a client of `obfs=tls`", many: "clients of `obfs=tls`", what }
    }
    const fn tls(what: &'static str) -> Words {
        Words { one: "a connection in TLS", many: "connections in TLS", what }
    }
    match missed {
        Missed::Upgrade(UpgradeMiss::Method) => upgrade("missed the method (option `http-method`)"),
        Missed::Upgrade(UpgradeMiss::Path) => upgrade("missed the path (option `path` or `obfs-uri`)"),
        Missed::Upgrade(UpgradeMiss::Host) => upgrade("missed the host (option `obfs-host`)"),
        Missed::Upgrade(UpgradeMiss::HttpVersion) => upgrade(
            "came as HTTP/1.0, which has no upgrades (a proxy in front: nginx needs `proxy_http_version 1.1`)",
        ),
        Missed::Upgrade(UpgradeMiss::UpgradeHeaders) => upgrade(
            "lacked the headers `Upgrade: websocket` and `Connection: Upgrade` (does a proxy in front pass them on?)",
        ),
        Missed::Upgrade(UpgradeMiss::Head) => upgrade("had a head, or a body, that no client of ours sends"),
        Missed::UpgradeInTheClear => upgrade("came without TLS, which the option `tls` demands here"),
        Missed::AnyUpgrade => upgrade("came, and this server takes none (option `obfs` or `mode`)"),
        Missed::FakeTlsName => fake_tls("missed the name (option `obfs-host`, beside `tls` `obfs-tls-host`)"),
        Missed::AnyFakeTls => fake_tls(
            "came, and this server takes none (option `obfs` or `mode`, beside `tls` `obfs-tls-host`)",
        ),
        Missed::AnyTls => tls("came, and this server has none (option `tls`)"),
        Missed::CertificateName => {
            tls("asked for a name that the certificate does not have (the client's option `host`)")
        }
    }
}
