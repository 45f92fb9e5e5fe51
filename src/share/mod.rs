//! `obfs-rs share`: from what a server is configured with to what its users enter into their apps.
//!
//! Shadowsocks's part of that is a `Profile`: address, method and password. Each disguise that the server takes is an
//! `Offer`, read off its configuration, not off its option string: what is only the server's (keys, files, websites)
//! is not in it. An app is given the first offer that it knows, in its own syntax, or it is said that it knows none.

mod apps;
mod link;
mod methods;
mod offers;
mod page;
mod plugin;
mod prepare;
mod profile;
mod qr;
mod text;

pub use crate::config::shadowsocks_file::read_limited;
pub use apps::Format;
pub use offers::Kind;
pub use page::run;
pub use plugin::Plugin;
pub use prepare::{Request, Share, prepare};

use offers::Offer;
use profile::Profile;

/// One Shadowsocks server, or one of its users, with what its server half takes.
#[derive(Debug)]
struct Shared {
    profile: Profile,
    /// The best first.
    offers: Vec<Offer>,
    /// Of how many routes there are offers to be asked for.
    routes: usize,
}

#[cfg(test)]
mod tests;
