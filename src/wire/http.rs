//! HTTP/1.1, as far as tunnels and the visitors beside them need it.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`upgrade`] | the request that opens a tunnel, and its answer: written, read, told from all others |
//! | [`framing`] | where messages begin and end on a connection to a website, read strictly |
//! | `request` | whole requests, read as nginx reads them |
//! | [`chunked`] | chunked bodies, strictly and as nginx reads them |
//! | [`host`] | names and paths: how they are written and compared |
//! | [`syntax`] | tokens, values and dates |

pub mod chunked;
pub mod framing;
pub mod host;
#[cfg_attr(
    not(feature = "site"),
    expect(dead_code, reason = "detection judges heads; only our own website reads all of a request")
)]
pub(crate) mod request;
pub mod syntax;
pub mod upgrade;

pub use syntax::{MAX_HEAD, date, first_line};
pub use upgrade::{
    HeaderOrder, HttpRule, Upgrade, UpgradeAnswer, UpgradeDetector, UpgradeParse, UpgradeRequest,
    detect_upgrade, switching_protocols,
};
