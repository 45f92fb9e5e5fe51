//! Shadowsocks's part of what a user enters.

use crate::net::addr::Host;

/// Shadowsocks's part of what a user enters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Profile {
    /// What the user sees in a list.
    pub name: String,
    /// Where clients connect to.
    pub host: Host,
    pub port: u16,
    pub method: String,
    pub password: String,
}

/// The methods of shadowsocks-rust and -libev: those with authentication, and older ones.
const METHODS: &[&str] = &[
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
    "2022-blake3-chacha8-poly1305",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
    "none",
    "plain",
    "aes-128-ctr",
    "aes-192-ctr",
    "aes-256-ctr",
    "aes-128-cfb",
    "aes-192-cfb",
    "aes-256-cfb",
    "camellia-128-cfb",
    "camellia-192-cfb",
    "camellia-256-cfb",
    "chacha20-ietf",
    "chacha20",
    "salsa20",
    "bf-cfb",
    "rc4-md5",
    "table",
];

/// Whether a Shadowsocks program is known to have this method.
pub(super) fn is_known(method: &str) -> bool {
    METHODS.contains(&method.to_ascii_lowercase().as_str())
}

impl Profile {
    /// Whether the password is a key of SIP022.
    pub fn is_2022(&self) -> bool {
        self.method.to_ascii_lowercase().starts_with("2022-")
    }

    /// The host without brackets, as it stands where it is alone.
    pub fn bare_host(&self) -> String {
        match &self.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }
}
