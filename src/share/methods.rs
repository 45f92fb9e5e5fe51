//! The methods of Shadowsocks that apps have. One that is not among them makes a configuration with which the app does not
//! start.
//!
//! Sources: the documentation of mihomo (proxies/ss), of sing-box (outbound/shadowsocks) and of Surge (policies/shadowsocks).
//! What the first two start with is tested.

use super::profile::Profile;

/// The method as an app spells it, where that has it.
pub(super) fn method_of<'a>(app: &str, methods: &[&str], profile: &'a Profile) -> Result<&'a str, String> {
    // (shadowsocks-rust has two names for it)
    let method = if profile.method == "plain" { "none" } else { profile.method.as_str() };
    match methods.contains(&method) {
        true => Ok(method),
        false => Err(format!("{app} does not have the method {}", profile.method)),
    }
}

/// The methods of mihomo.
pub(super) const OF_MIHOMO: &[&str] = &[
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
    "2022-blake3-chacha8-poly1305",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
    "chacha8-ietf-poly1305",
    "xchacha8-ietf-poly1305",
    "none",
    "aes-128-ccm",
    "aes-192-ccm",
    "aes-256-ccm",
    "aes-128-gcm-siv",
    "aes-256-gcm-siv",
    "lea-128-gcm",
    "lea-192-gcm",
    "lea-256-gcm",
    "rabbit128-poly1305",
    "aegis-128l",
    "aegis-256",
    "aez-384",
    "deoxys-ii-256-128",
    "ascon128",
    "aes-128-ctr",
    "aes-192-ctr",
    "aes-256-ctr",
    "aes-128-cfb",
    "aes-192-cfb",
    "aes-256-cfb",
    "chacha20-ietf",
    "chacha20",
    "xchacha20",
    "rc4-md5",
];

/// The methods of sing-box.
pub(super) const OF_SING_BOX: &[&str] = &[
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
    "none",
    "aes-128-ctr",
    "aes-192-ctr",
    "aes-256-ctr",
    "aes-128-cfb",
    "aes-192-cfb",
    "aes-256-cfb",
    "chacha20-ietf",
    "xchacha20",
    "rc4-md5",
];

/// The methods of Surge.
pub(super) const OF_SURGE: &[&str] = &[
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
    "none",
    "aes-128-ctr",
    "aes-192-ctr",
    "aes-256-ctr",
    "aes-128-cfb",
    "aes-192-cfb",
    "aes-256-cfb",
    "chacha20-ietf",
    "chacha20",
    "salsa20",
    "rc4",
    "rc4-md5",
];
