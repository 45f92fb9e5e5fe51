//! The link: SIP002 (<https://shadowsocks.org/doc/sip002.html>).

use super::profile::Profile;
use super::text::percent_encoded;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The link of a profile with a plugin, by its name and options, or without one.
pub(super) fn link(profile: &Profile, plugin: Option<(&str, &str)>) -> String {
    let Profile { name, host, port, method, password } = profile;
    // What SIP022 has for a password is base64 itself, and must stand as it is.
    let user = match profile.is_2022() {
        true => format!("{}:{}", percent_encoded(method), percent_encoded(password)),
        false => URL_SAFE_NO_PAD.encode(format!("{method}:{password}")),
    };
    let plugin = match plugin {
        Some((name, "")) => format!("/?plugin={}", percent_encoded(name)),
        Some((name, options)) => format!("/?plugin={}", percent_encoded(&format!("{name};{options}"))),
        None => String::new(),
    };
    let tag = if name.is_empty() { String::new() } else { format!("#{}", percent_encoded(name)) };
    format!("ss://{user}@{host}:{port}{plugin}{tag}")
}
