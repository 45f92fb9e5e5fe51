//! What a process does beside serving: it listens for signals and for its parent's end, reads its settings anew, and
//! waits for what is open before it ends.

use super::{Process, Run, StartError};
use crate::metrics;
use crate::os::listening::is_own_listened_on;
use crate::os::shutdown::CaughtSignals;
use crate::runtime::{drain, watchdog};
use crate::telemetry;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tracing::info;

/// How often a process that drains looks whether another one has its place.
const LOOK: Duration = Duration::from_secs(1);

/// Serves until a signal or the parent's end; after a signal, until the time for draining is up.
pub(super) async fn until_the_end(
    service: &dyn Run,
    process: &Process<'_>,
    signals: CaughtSignals,
) -> Result<(), StartError> {
    let Process { parent, manager, metrics, reloader } = process;
    let manager = manager.as_ref();
    let (mut signals, mut hangup) = signals.listen().map_err(StartError::Signals)?;
    let status = format!("listening on {}", service.listening());
    let addresses = service.addresses_of_our_own();
    let mut parent_exited = pin!(async {
        match parent {
            Some(parent) => parent.exited().await,
            None => std::future::pending().await,
        }
    });
    let mut beside = pin!(async {
        let alive = async {
            match manager {
                Some(manager) => manager.tell_alive(watchdog::all_go_on).await,
                None => std::future::pending().await,
            }
        };
        let exported = async {
            match metrics {
                Some(metrics) => metrics.run(service.readiness(), succeeded(service, &addresses)).await,
                None => std::future::pending().await,
            }
        };
        tokio::join!(telemetry::report_suppressed(), telemetry::run_syslog(), alive, exported);
    });
    let mut serving = pin!(service.run());
    let ready = || {
        if let Some(manager) = manager {
            manager.ready(&status);
        }
    };
    let reloading = async {
        ready();
        loop {
            hangup.recv().await;
            reloader.reload(service.to_renew(), manager).await;
            ready();
        }
    };
    let signal = tokio::select! {
        () = &mut beside => return Ok(()),
        () = &mut serving => return Err(StartError::Deaf),
        () = reloading => return Ok(()),
        signal = signals.recv() => signal.map_err(StartError::Signals)?,
        () = &mut parent_exited => {
            info!("ending: the program that started us is gone");
            say_farewell(service, serving).await;
            return Ok(());
        }
    };
    let Some(most) = reloader.drain() else {
        info!("ending: {signal}");
        if let Some(manager) = manager {
            manager.stopping(&format!("ending: {signal}"));
        }
        say_farewell(service, serving).await;
        return Ok(());
    };
    signals.expect_another();
    let begun = begin_to_drain(service, most);
    if let Some(manager) = manager {
        manager.stopping(&begun);
    }
    let all_ended = async {
        service.closed().await;
        drain::all_ended().await;
    };
    tokio::select! {
        // First of all the sockets are closed, so that what waits on them is counted.
        biased;
        () = &mut serving => {}
        () = &mut beside => {}
        () = &mut parent_exited => info!("ending: the program that started us is gone, with {}", left()),
        signal = signals.recv() => info!("ending: {}, with {}", signal.unwrap_or("a signal"), left()),
        () = all_ended => info!("ending: all connections have ended"),
        () = tokio::time::sleep(most) => info!("ending: the time for draining is up, with {}", left()),
    }
    say_farewell(service, serving).await;
    Ok(())
}

/// Has peers hear that the process ends who would otherwise wait for it, and what was said in tunnels that are over
/// arrive. That takes a moment, or nothing at all; where something is under way, some seconds.
async fn say_farewell(service: &dyn Run, serving: impl Future<Output = ()>) {
    const MOST: Duration = Duration::from_secs(6);
    let Some(farewell) = service.farewell() else { return };
    tokio::select! {
        () = farewell => {}
        () = serving => {}
        () = tokio::time::sleep(MOST) => {}
    }
}

/// Closes the port, and has all that waits for something to do end. Returns what is waited for.
fn begin_to_drain(service: &dyn Run, most: Duration) -> String {
    service.close();
    drain::begin();
    metrics::set_draining();
    let status = format!("draining: {}, up to {} s", left(), most.as_secs());
    info!("{status}; a second SIGTERM ends at once");
    status
}

/// Waits until this process drains and another one listens where it did: what that one needs is to be left to it.
///
/// Not every system tells who listens. There it is as soon as this one drains: whoever asks for the metrics of a
/// process that others may follow is better told nothing than for hours that of one which ends. A service manager
/// whose sockets these are starts the next process when this one has ended.
async fn succeeded(service: &dyn Run, addresses: &[SocketAddr]) {
    drain::begun().await;
    service.closed().await;
    while addresses.iter().all(|&address| is_own_listened_on(address) == Some(false)) {
        tokio::time::sleep(LOOK).await;
    }
}

/// How many connections are open.
fn left() -> String {
    match drain::open() {
        1 => "1 connection open".to_owned(),
        open => format!("{open} connections open"),
    }
}
