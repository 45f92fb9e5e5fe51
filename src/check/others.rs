//! The further servers of a client. A start dials them only when the ones before do not answer, so nobody sees until then
//! that they are dead.

use super::STEP;
use super::report::Report;
use crate::client::Client;
use crate::config::{ClientConfig, TunnelConfig};
use crate::net::addr::HostPort;
use crate::net::own_addresses::OwnAddresses;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long the end of a tunnel may take, in order.
const FAREWELL: Duration = Duration::from_secs(1);

/// Opens a tunnel to each of these servers alone, all at the same time, and tells of those that do not come to one. It is
/// not waited for their answers.
pub(super) async fn check(
    servers: Vec<HostPort>,
    config: &ClientConfig,
    tunnel: &TunnelConfig,
    own: &OwnAddresses,
    report: &mut Report,
) {
    let mut trials = JoinSet::new();
    for (place, server) in servers.iter().enumerate() {
        let alone = ClientConfig { servers: vec![server.clone()], ..config.clone() };
        let (tunnel, own) = (tunnel.clone(), own.clone());
        trials.spawn(async move { (place, open(&alone, &tunnel, &own).await) });
    }
    let mut found: Vec<Option<String>> = servers.iter().map(|_| None).collect();
    while let Some(trial) = trials.join_next().await {
        if let Ok((place, Err(why))) = trial
            && let Some(slot) = found.get_mut(place)
        {
            *slot = Some(why);
        }
    }
    // (what they have said stands in these lines)
    drop(report.take_warnings());
    for (server, why) in servers.iter().zip(found) {
        if let Some(why) = why {
            report.odd("server", format!("{server} cannot be used: {why}"));
        }
    }
}

/// Opens a tunnel, and ends it.
async fn open(config: &ClientConfig, tunnel: &TunnelConfig, own: &OwnAddresses) -> Result<(), String> {
    let (opener, _) = Client::opener(config, tunnel, own).map_err(|error| error.to_string())?;
    let opened = match timeout(STEP, opener.open(Vec::new())).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {} s", STEP.as_secs())),
    };
    drop(opened);
    if let Some(farewell) = opener.farewell() {
        let _ = timeout(FAREWELL, farewell).await;
    }
    Ok(())
}
