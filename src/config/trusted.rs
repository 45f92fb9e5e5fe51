//! What stands in front of a server and speaks for its visitors, and how the website behind is told.

use super::error::ConfigError;
use super::options::Options;
use super::values::value;
use crate::net::network::Network;
use crate::net::trusted::TrustedProxies;
use crate::wire::proxy_protocol::Version;

/// `trusted` and `proxy-protocol`.
pub(super) fn trusted_proxies(options: &Options) -> Result<TrustedProxies, ConfigError> {
    let mut trusted = Vec::new();
    for option in options.all("trusted") {
        let text = option.value.as_deref().unwrap_or_default();
        for network in text.split([',', '|']).map(str::trim) {
            let expected = "addresses of proxies in front (ADDRESS or ADDRESS/PREFIX, such as 10.0.0.0/8)";
            let parsed = Network::parse(network);
            trusted.push(parsed.ok_or_else(|| {
                // An address with something behind it: only that can be wrong.
                let alone = network.split_once('/').and_then(|(address, _)| Network::parse(address));
                let expected = match alone.map(|address| address.bits()) {
                    Some(bits) => &format!("a network (ADDRESS/PREFIX): the prefix is 0 to {bits}"),
                    None => expected,
                };
                ConfigError::option(&option.key, text, expected)
            })?);
        }
    }
    let expected = "a direction of the PROXY protocol: expected in (for the website there is failover-proxy)";
    let proxy_protocol = match value(options, "proxy-protocol", expected)? {
        None => false,
        Some((name, "in")) if trusted.is_empty() => {
            let expected = "possible without `trusted`, which names the addresses it is taken from";
            return Err(ConfigError::option(name, "in", expected));
        }
        Some((_, "in")) => true,
        Some((name, other)) => return Err(ConfigError::option(name, other, expected)),
    };
    Ok(TrustedProxies { trusted, proxy_protocol })
}

/// `failover-proxy`, which needs a website to be told to: one of the options `sites`.
pub(super) fn failover_proxy(options: &Options, sites: &[&str]) -> Result<Option<Version>, ConfigError> {
    let expected = "a version of the PROXY protocol (v1 or v2)";
    let Some((name, text)) = value(options, "failover-proxy", expected)? else { return Ok(None) };
    let version = match text {
        "v1" => Version::V1,
        "v2" => Version::V2,
        other => return Err(ConfigError::option(name, other, expected)),
    };
    if sites.iter().all(|site| options.get(site).is_none()) {
        return Err(ConfigError::option(name, text, "possible without `failover`, the website that is told"));
    }
    Ok(Some(version))
}
