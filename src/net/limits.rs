//! Limits that an operator sets: how many tunnels there may be, and how fast an address may come.
//!
//! None of them is a visitor's: whoever is no client meets the website, always. A client waits for its turn, at
//! most `WAIT`, and is refused then. So the tunnels that are open never pay for those that are not.
//!
//! Those who wait are few (`WAITING`, and of an address sixteen), so that nobody can have a crowd wait.

mod addresses;

use super::budget::Budget;
use super::conn_info::ConnInfo;
use crate::metrics::{self, Failure};
use addresses::Addresses;
pub(crate) use addresses::Key;
use std::fmt;
use std::future::ready;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::warn;

/// Tells the log of a limit: from a place in the code for each, since the log's own bound is one for each place.
macro_rules! tell {
    ($limit:expr, $($line:tt)*) => {
        match $limit {
            Limit::Tunnels => warn!($($line)*),
            Limit::TunnelsPerAddress => warn!($($line)*),
            Limit::RatePerAddress => warn!($($line)*),
        }
    };
}

/// How long a client waits for a tunnel: as long as a page takes to be loaded, whose tunnels end then, and less than
/// clients wait for an answer.
const WAIT: Duration = Duration::from_secs(5);

/// The most clients that wait at a time.
const WAITING: usize = 256;

/// What a client that waits costs beside the bytes that were read of it.
const BESIDE: usize = 4096;

/// What an operator allows. `None`: as much as comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LimitOptions {
    /// Tunnels that are open at a time; with Mux.Cool each session is one.
    pub tunnels: Option<u32>,
    /// The same for each address.
    pub tunnels_per_address: Option<u32>,
    /// New connections of each address in a second.
    pub rate_per_address: Option<u32>,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `limit-tunnels`
    Tunnels,
    /// `limit-tunnels-per-address`
    TunnelsPerAddress,
    /// `limit-rate-per-address`
    RatePerAddress,
}

impl Limit {
    /// All of them.
    pub const ALL: [Limit; 3] = [Limit::Tunnels, Limit::TunnelsPerAddress, Limit::RatePerAddress];

    /// The option that sets it.
    pub fn option(self) -> &'static str {
        match self {
            Limit::Tunnels => "limit-tunnels",
            Limit::TunnelsPerAddress => "limit-tunnels-per-address",
            Limit::RatePerAddress => "limit-rate-per-address",
        }
    }
}

impl Limit {
    /// The cause by which its refusals are counted.
    fn failure(self) -> Failure {
        match self {
            Limit::Tunnels => Failure::LimitTunnels,
            Limit::TunnelsPerAddress => Failure::LimitTunnelsPerAddress,
            Limit::RatePerAddress => Failure::LimitRatePerAddress,
        }
    }
}

impl LimitOptions {
    /// What is allowed of it.
    pub fn get(&self, limit: Limit) -> Option<u32> {
        match limit {
            Limit::Tunnels => self.tunnels,
            Limit::TunnelsPerAddress => self.tunnels_per_address,
            Limit::RatePerAddress => self.rate_per_address,
        }
    }
}

impl fmt::Display for LimitOptions {
    /// What the start-up line says of it, with the comma in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = |limit: &Limit| Some((limit.option(), self.get(*limit)?));
        Limit::ALL.iter().filter_map(set).try_for_each(|(option, number)| write!(f, ", {option}={number}"))
    }
}

/// The limits, and what there is of what they limit.
#[derive(Debug)]
pub struct Limits {
    options: LimitOptions,
    /// Tunnels that there may still be.
    tunnels: Option<Arc<Semaphore>>,
    addresses: Mutex<Addresses>,
    waiting: AtomicUsize,
}

/// A connection that has come, as far as limits are concerned with it.
#[derive(Debug, Default)]
pub struct Arrival {
    /// Who counted as having come.
    address: Option<IpAddr>,
    /// It came faster than its address may.
    too_fast: bool,
}

/// A tunnel's place among those that there may be, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    limits: Arc<Limits>,
    of_all: Option<OwnedSemaphorePermit>,
    of_address: Option<OwnedSemaphorePermit>,
    /// The address, and the tunnels that it may still have, where that is limited.
    address: Option<(Key, Arc<Semaphore>)>,
}

/// A client that waits, until it is dropped.
#[derive(Debug)]
struct Waiting<'a> {
    limits: &'a Limits,
    key: Key,
}

/// A client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused(pub Limit);

impl Limits {
    /// These limits; `None` where none is set. What is counted by the ones `before` goes on to count, as long as they
    /// are the same.
    pub fn new(options: LimitOptions, before: Option<&Arc<Limits>>) -> Option<Arc<Limits>> {
        if let Some(before) = before.filter(|before| before.options == options) {
            return Some(Arc::clone(before));
        }
        let LimitOptions { tunnels, tunnels_per_address, rate_per_address } = options;
        (options != LimitOptions::default()).then(|| {
            Arc::new(Limits {
                options,
                tunnels: tunnels.map(|tunnels| Arc::new(Semaphore::new(tunnels as usize))),
                addresses: Mutex::new(Addresses::new(tunnels_per_address, rate_per_address)),
                waiting: AtomicUsize::new(0),
            })
        })
    }

    fn addresses(&self) -> MutexGuard<'_, Addresses> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection has come from here: once for each address, since a proxy in front may bring requests of many.
    pub fn note_arrival(&self, arrival: &mut Arrival, info: &ConnInfo) {
        let address = info.address();
        if self.options.rate_per_address.is_some() && arrival.address != Some(address) {
            arrival.address = Some(address);
            arrival.too_fast = !self.addresses().arrive(address.into(), Instant::now());
        }
    }

    /// A place for the tunnel of a client, which may have to wait for it. `held` is what was read of it, which is
    /// part of `undecided` for so long.
    ///
    /// # Errors
    ///
    /// There was none in time, or too many wait already. The log is told, and it is counted.
    pub async fn admit(
        self: &Arc<Limits>,
        arrival: &Arrival,
        info: &ConnInfo,
        held: usize,
        undecided: &Budget,
    ) -> Result<Slot, Refused> {
        let mut slot = self.slot(info);
        match slot.take_now(arrival.too_fast) {
            Ok(()) => Ok(slot),
            Err(limit) => {
                let mut share = undecided.share();
                if !share.grow_to(held + BESIDE) {
                    return Err(self.refuse(limit, info, "client"));
                }
                self.wait(slot, limit, info, "client").await
            }
        }
    }

    /// A place for a session of UDP. It waits for none, and half of the tunnels are left to TCP: a source may be a new one
    /// with each packet, and has its place until it has been silent for minutes. Whoever gets none is told of by who drops
    /// what it says.
    pub fn admit_packets(self: &Arc<Limits>, info: &ConnInfo) -> Option<Slot> {
        let mut slot = self.slot(info);
        slot.take_now(false).ok()?;
        slot.leaves_half().then_some(slot)
    }

    /// A place for a session of a connection that was admitted.
    async fn admit_session(self: Arc<Limits>, info: ConnInfo) -> Result<Slot, Refused> {
        let mut slot = self.slot(&info);
        match slot.take_now(false) {
            Ok(()) => Ok(slot),
            Err(limit) => self.wait(slot, limit, &info, "session").await,
        }
    }

    /// A slot that is no place yet.
    fn slot(self: &Arc<Limits>, info: &ConnInfo) -> Slot {
        let key = Key::from(info.address());
        let is_limited = self.options.tunnels_per_address.is_some();
        let enter = || Some((key, self.addresses().enter(key, Instant::now())?));
        let address = if is_limited { enter() } else { None };
        Slot { limits: Arc::clone(self), of_all: None, of_address: None, address }
    }

    async fn wait(&self, mut slot: Slot, limit: Limit, info: &ConnInfo, who: &str) -> Result<Slot, Refused> {
        let deadline = Instant::now() + WAIT;
        let key = info.address().into();
        let Some(_waiting) = Waiting::begin(self, key) else { return Err(self.refuse(limit, info, who)) };
        tell!(limit, peer = %info, "{} is reached: a {who} waits", self.name(limit));
        let admitted = async {
            if limit == Limit::RatePerAddress {
                let turn = self.addresses().next_turn(key, Instant::now(), WAIT);
                sleep(turn.ok_or(limit)?).await;
            }
            slot.take(deadline).await
        };
        match admitted.await {
            Ok(()) => Ok(slot),
            Err(limit) => Err(self.refuse(limit, info, who)),
        }
    }

    fn refuse(&self, limit: Limit, info: &ConnInfo, who: &str) -> Refused {
        metrics::connection_failed(limit.failure());
        tell!(limit, peer = %info, "{} is reached: a {who} is refused", self.name(limit));
        Refused(limit)
    }

    /// A limit as the operator has written it.
    fn name(&self, limit: Limit) -> String {
        format!("{}={}", limit.option(), self.options.get(limit).unwrap_or_default())
    }
}

/// A tunnel that has its slot until it ends.
pub fn hold<T: 'static>(
    slot: Option<Slot>,
    tunnel: Pin<Box<dyn Future<Output = T> + Send>>,
) -> Pin<Box<dyn Future<Output = T> + Send>> {
    match slot {
        None => tunnel,
        Some(slot) => Box::pin(async move {
            let _slot = slot;
            tunnel.await
        }),
    }
}

impl Slot {
    /// Becomes a place, if there is one now.
    fn take_now(&mut self, too_fast: bool) -> Result<(), Limit> {
        if too_fast {
            return Err(Limit::RatePerAddress);
        }
        if let Some((_, tunnels)) = &self.address {
            let permit = Arc::clone(tunnels).try_acquire_owned();
            self.of_address = Some(permit.map_err(|_| Limit::TunnelsPerAddress)?);
        }
        if let Some(tunnels) = &self.limits.tunnels {
            let permit = Arc::clone(tunnels).try_acquire_owned();
            self.of_all = Some(permit.map_err(|_| Limit::Tunnels)?);
        }
        Ok(())
    }

    /// Whether half of the tunnels are still free, all in all and for its address.
    pub fn leaves_half(&self) -> bool {
        let is_half = |tunnels: &Semaphore, of: Option<u32>| {
            tunnels.available_permits() * 2 >= of.unwrap_or(0) as usize
        };
        let options = &self.limits.options;
        self.address.as_ref().is_none_or(|(_, tunnels)| is_half(tunnels, options.tunnels_per_address))
            && self.limits.tunnels.as_ref().is_none_or(|tunnels| is_half(tunnels, options.tunnels))
    }

    /// Becomes a place when there is one, in the order of those who wait.
    async fn take(&mut self, deadline: Instant) -> Result<(), Limit> {
        if let (Some((_, tunnels)), None) = (&self.address, &self.of_address) {
            self.of_address = acquire(tunnels, deadline).await;
            self.of_address.as_ref().ok_or(Limit::TunnelsPerAddress)?;
        }
        if let (Some(tunnels), None) = (&self.limits.tunnels, &self.of_all) {
            self.of_all = acquire(tunnels, deadline).await;
            self.of_all.as_ref().ok_or(Limit::Tunnels)?;
        }
        Ok(())
    }
}

async fn acquire(tunnels: &Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
    timeout_at(deadline, Arc::clone(tunnels).acquire_owned()).await.ok()?.ok()
}

impl Drop for Slot {
    fn drop(&mut self) {
        // First: an address is forgotten when all its tunnels are free.
        self.of_address = None;
        if let Some((key, _)) = self.address {
            self.limits.addresses().leave(key, Instant::now());
        }
    }
}

impl Waiting<'_> {
    /// `None`: too many wait.
    fn begin(limits: &Limits, key: Key) -> Option<Waiting<'_>> {
        let one_more = |waiting: usize| (waiting < WAITING).then_some(waiting + 1);
        limits.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        if !limits.addresses().begin_waiting(key, Instant::now()) {
            limits.waiting.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Waiting { limits, key })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.limits.waiting.fetch_sub(1, Ordering::Relaxed);
        self.limits.addresses().end_waiting(self.key, Instant::now());
    }
}

/// The slot of a session that is on its way.
pub type Admitting = Pin<Box<dyn Future<Output = Result<Slot, Refused>> + Send>>;

/// Admits the sessions of a connection that was admitted itself: its slot is the first one's.
#[derive(Debug)]
pub struct SessionLimits {
    limits: Arc<Limits>,
    info: ConnInfo,
    first: Option<Slot>,
}

impl SessionLimits {
    /// Of a connection with this slot.
    pub fn new(slot: Slot, info: ConnInfo) -> SessionLimits {
        SessionLimits { limits: Arc::clone(&slot.limits), info, first: Some(slot) }
    }

    /// The slot of a session of UDP.
    pub fn admit_packets(&self) -> Option<Slot> {
        self.limits.admit_packets(&self.info)
    }

    /// The slot of the next session.
    pub fn admit(&mut self) -> Admitting {
        match self.first.take() {
            Some(slot) => Box::pin(ready(Ok(slot))),
            None => Box::pin(Arc::clone(&self.limits).admit_session(self.info)),
        }
    }
}

#[cfg(test)]
mod tests;
