//! What stands in front of a server and speaks for its visitors, and how the website behind is told.

use super::error::ConfigError;
use super::options::Options;
use super::values::parsed;
use crate::net::network::{Network, TrustedProxies};
use crate::wire::proxy_protocol::Version;

/// `trusted` and `proxy-protocol`.
pub(super) fn trusted_proxies(options: &Options) -> Result<TrustedProxies, ConfigError> {
    let mut trusted = Vec::new();
    for option in options.all("trusted") {
        let text = option.value.as_deref().unwrap_or_default();
        for network in text.split([',', '|']).map(str::trim) {
            let expected = "an address or a network (ADDRESS or ADDRESS/PREFIX, such as 10.0.0.0/8)";
            let parsed = Network::parse(network);
            trusted.push(parsed.ok_or_else(|| {
                // An address with something behind it: only that can be wrong.
                let alone = network.split_once('/').and_then(|(address, _)| Network::parse(address));
                let expected = match alone.map(|address| address.bits()) {
                    Some(bits) => &format!("a network (ADDRESS/PREFIX): the prefix is 0 to {bits}"),
                    None => expected,
                };
                ConfigError::option(&option.key, if network.is_empty() { text } else { network }, expected)
            })?);
        }
    }
    let expected = "a direction of the PROXY protocol (in; for the website there is failover-proxy)";
    let proxy_protocol = parsed(options, "proxy-protocol", expected, |text| (text == "in").then_some(()))?;
    if let (Some(option), true) = (options.get("proxy-protocol"), trusted.is_empty()) {
        return Err(ConfigError::needs(option, "`trusted`, the addresses whose headers are taken"));
    }
    Ok(TrustedProxies { trusted, proxy_protocol: proxy_protocol.is_some() })
}

/// `failover-proxy`, which needs a website to be told to: one of the options `sites`.
pub(super) fn failover_proxy(options: &Options, sites: &[&str]) -> Result<Option<Version>, ConfigError> {
    let version =
        parsed(options, "failover-proxy", "a version of the PROXY protocol (v1 or v2)", |text| match text {
            "v1" => Some(Version::V1),
            "v2" => Some(Version::V2),
            _ => None,
        })?;
    match options.get("failover-proxy") {
        Some(option) if sites.iter().all(|site| options.get(site).is_none()) => {
            Err(ConfigError::needs(option, "`failover`, the website that is told"))
        }
        _ => Ok(version),
    }
}
