//! What an operator allows: tunnels, connections, buffers.

use super::error::ConfigError;
use super::options::Options;
use super::values::parsed;
use crate::net::limits::{Limit, LimitOptions};

/// `limit-tunnels` and its kin.
pub(super) fn limits(options: &Options) -> Result<LimitOptions, ConfigError> {
    /// More of anything than a machine has.
    const MOST: u32 = 1_000_000;
    let number = |limit: Limit| {
        parsed(
            options,
            limit.option(),
            "a number from 1 to 1000000 (without the option there is no limit)",
            |text| text.parse().ok().filter(|number| (1..=MOST).contains(number)),
        )
    };
    Ok(LimitOptions {
        tunnels: number(Limit::Tunnels)?,
        tunnels_per_address: number(Limit::TunnelsPerAddress)?,
        rate_per_address: number(Limit::RatePerAddress)?,
    })
}

/// The bytes of `limit-buffers`.
pub(super) fn buffers(options: &Options) -> Result<Option<usize>, ConfigError> {
    /// A tebibyte.
    const MOST: usize = 1024 * 1024;
    let expected = "a number of MiB from 1 to 1048576 (without the option a quarter of the memory)";
    let mib: Option<usize> = parsed(options, "limit-buffers", expected, |text| {
        text.parse().ok().filter(|mib| (1..=MOST).contains(mib))
    })?;
    // What an address cannot count is no limit.
    Ok(mib.map(|mib| mib.saturating_mul(1024 * 1024)))
}
