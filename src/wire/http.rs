//! HTTP/1.1, as far as tunnels and the visitors beside them need it.

pub mod chunked;
pub mod connect;
pub mod framing;
pub mod host;
pub mod request;
pub mod syntax;
pub mod upgrade;

pub use syntax::{MAX_HEAD, date, first_line};
pub use upgrade::{
    HeaderOrder, HttpRule, MissedUpgrade, PathTable, Upgrade, UpgradeAnswer, UpgradeDetector, UpgradeMiss,
    UpgradeParse, UpgradeRequest, is_of_packets, switching_protocols,
};
