//! Connections without a tunnel: whoever has made a handshake may leave it at that.

use super::CODE;
use super::expiring::Expiring;
use super::windows::{self, Grant};
use crate::net::limits;
use crate::transport::usage::Usage;
use quinn::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The most of them, and of one address. The oldest makes room: its client dials again, if there is one.
const MOST: usize = 1024;
const MOST_OF_SOURCE: usize = 64;

/// For so long they are kept. (Ours are closed by their clients before.)
const UNUSED: Duration = Duration::from_secs(30);

/// How often it is looked what each connection may hold.
const LOOK: Duration = Duration::from_secs(10);

/// All that a port has.
#[derive(Debug)]
pub(super) struct Idle(Mutex<Expiring<usize, (limits::Key, Connection)>>);

impl Idle {
    pub(super) fn new() -> Arc<Idle> {
        Arc::new(Idle(Mutex::new(Expiring::new(MOST, UNUSED))))
    }

    fn add(&self, connection: &Connection) {
        let source = connection.remote_address().ip().into();
        let is_of_source = |(of, _): &(limits::Key, Connection)| *of == source;
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_source = idle.values().filter(|value| is_of_source(value)).count();
        let oldest = if of_source < MOST_OF_SOURCE { None } else { idle.oldest(is_of_source) };
        let oldest_of_source = oldest.and_then(|key| idle.remove(&key));
        let oldest = idle.insert(connection.stable_id(), (source, connection.clone()), Instant::now());
        for (_, connection) in oldest_of_source.into_iter().chain(oldest.map(|(_, oldest)| oldest)) {
            connection.close(CODE, b"");
        }
    }

    fn remove(&self, connection: &Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&connection.stable_id());
    }
}

/// Sees to it that a connection holds no more than there is for it, and is there no longer than it is used.
pub(super) async fn look_after(
    connection: Connection,
    usage: Arc<Usage>,
    grant: Arc<Grant>,
    idle: Arc<Idle>,
) {
    let mut was_idle = false;
    loop {
        let unused_for = usage.unused_for();
        let is_idle = unused_for.is_some();
        windows::apply(&grant, &connection, !is_idle);
        match (was_idle, is_idle) {
            (false, true) => idle.add(&connection),
            (true, false) => idle.remove(&connection),
            _ => {}
        }
        was_idle = is_idle;
        if unused_for.is_some_and(|time| time >= UNUSED) {
            connection.close(CODE, b"");
        }
        tokio::select! {
            _ = connection.closed() => break,
            () = usage.has_turned() => {}
            () = sleep(LOOK) => {}
        }
    }
    idle.remove(&connection);
}
