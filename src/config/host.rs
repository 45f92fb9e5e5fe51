//! Names of hosts: the options that have one, and what a client calls its server.

use super::error::ConfigError;
use super::options::Options;
use super::values::parsed;
use crate::net::addr::{Host, HostPort};
use crate::wire::http::host::{ascii_name, without_port};

pub(super) fn host_header(options: &Options) -> Result<Option<String>, ConfigError> {
    name(options, "obfs-host")
}

/// A host name that is fit for a head, under any of the options that have one.
fn name(options: &Options, option: &str) -> Result<Option<String>, ConfigError> {
    parsed(options, option, "a host name (no spaces, slashes or control characters)", |text| {
        let (host, port) = text.split_at(without_port(text).len());
        let ascii = format!("{}{port}", ascii_name(host)?);
        // It is copied into the head: what could end a header line there must not come in here.
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~:[]%!$&'()*+,".contains(&b);
        (ascii.bytes().all(allowed) && ascii.len() <= 255).then_some(ascii)
    })
}

/// The name of `host`, or of `obfs-host` where that is missing.
pub(super) fn host(options: &Options) -> Result<Option<String>, ConfigError> {
    match name(options, "host")? {
        Some(host) => Ok(Some(host)),
        None => name(options, "obfs-host"),
    }
}

/// A server's name as it stands in a hello.
pub(super) fn name_of(server: &HostPort) -> String {
    match server.host.without_zone() {
        Host::Ip(ip) => ip.to_string(),
        Host::Name(name) => name,
    }
}

/// What the `Host` header says: the name, by default the server's own, and the port where it is not the
/// one that HTTP implies. A name with a port of its own keeps it.
pub(super) fn http_host(name: Option<String>, server: Option<&HostPort>) -> String {
    let Some(server) = server else { return name.unwrap_or_default() };
    let server = HostPort { host: server.host.without_zone(), port: server.port };
    match name {
        Some(name) if has_port(&name) || server.port == 80 => name,
        Some(name) => format!("{name}:{}", server.port),
        None if server.port == 80 => server.host.to_string(),
        None => server.to_string(),
    }
}

/// Whether a name of a `Host` header ends in a port.
fn has_port(host: &str) -> bool {
    without_port(host).len() != host.len()
}
