//! Visitors that go round: to a website that sends them back here.
//!
//! The server's own address is not dialled ([`OwnAddresses`](crate::net::own_addresses::OwnAddresses)). What leads
//! back behind a translation of addresses, or by way of another server that has this one for its website,
//! shows in nothing but this: ever more visitors say the very same, and none of them gets an answer. Each
//! one that is passed on makes the next. So of the visitors that begin alike, only so many may wait for the
//! website's first byte; one more waits for its turn, and is reset if none of them was answered meanwhile.
//! The reset goes round as the visitor did, and ends them all.

use crate::wire::proxy_protocol::Header;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Visitors that begin alike and are not looked at: so few do no harm.
const FEW: usize = 64;

/// The same for those that have not said enough to be answered: nothing, as browsers that connect beforehand,
/// or the beginning of a head. A website waits for them, and they are many where nobody goes round.
const MANY: usize = 4096;

/// Further ones that may wait for the website's first byte at a time.
const WAITING: usize = 192;

/// How long one more waits for another's answer. A website that answers nobody for so long is no website
/// that could bear more visitors.
const TURN: Duration = Duration::from_secs(20);

/// How much of a beginning is compared.
const BEGINNING: usize = 4096;

/// The visitors that there are, by how they begin.
#[derive(Debug, Default)]
pub(super) struct Visits {
    hasher: RandomState,
    groups: Mutex<HashMap<u64, Group>>,
}

/// Those that begin alike.
#[derive(Debug)]
struct Group {
    living: usize,
    turns: Arc<Semaphore>,
}

/// One visit, for as long as it lasts.
#[derive(Debug)]
pub(super) struct Visit<'a> {
    visits: &'a Visits,
    key: u64,
    turn: Option<OwnedSemaphorePermit>,
}

/// Nobody who began like this was answered.
#[derive(Debug)]
pub(super) struct NoAnswers;

impl Visits {
    /// Takes part in those that begin with these bytes.
    pub(super) async fn begin(&self, bytes: &[u8]) -> Result<Visit<'_>, NoAnswers> {
        let beginning = beginning(bytes);
        let few = if asks_for_an_answer(beginning) { FEW } else { MANY };
        let key = self.hasher.hash_one(beginning);
        let mut visit = Visit { visits: self, key, turn: None };
        let turns = {
            let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Group { living: 0, turns: Arc::new(Semaphore::new(WAITING)) };
            let group = groups.entry(key).or_insert_with(new);
            group.living += 1;
            // Without a look at the answer there would be no end to a turn.
            (group.living > few && cfg!(unix)).then(|| Arc::clone(&group.turns))
        };
        if let Some(turns) = turns {
            let turn = timeout(TURN, turns.acquire_owned()).await;
            visit.turn = Some(turn.ok().and_then(Result::ok).ok_or(NoAnswers)?);
        }
        Ok(visit)
    }
}

impl Visit<'_> {
    /// Runs the visit at this website, and looks out for the first answer.
    pub(super) async fn run<T>(&mut self, answers: Option<TcpStream>, visit: impl Future<Output = T>) -> T {
        let mut visit = pin!(visit);
        if let Some(answers) = answers {
            tokio::select! {
                biased;
                done = visit.as_mut() => return done,
                _ = answers.readable() => {}
            }
        }
        self.turn = None;
        visit.await
    }

    /// The connection to the website once more, to look out for the answer beside the one who reads it.
    pub(super) fn answers(&self, site: &TcpStream) -> Option<TcpStream> {
        self.turn.as_ref()?;
        let again = socket2::SockRef::from(site).try_clone().ok()?;
        TcpStream::from_std(again.into()).ok()
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut groups = self.visits.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(group) = groups.get_mut(&self.key) {
            group.living -= 1;
            if group.living == 0 {
                groups.remove(&self.key);
            }
        }
    }
}

/// Whether a website has something to answer: a whole head, or a whole record of TLS.
fn asks_for_an_answer(bytes: &[u8]) -> bool {
    match bytes {
        [0x16, _, _, high, low, record @ ..] => {
            record.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        [0x16, ..] => false,
        _ => bytes.windows(4).any(|four| four == b"\r\n\r\n") || bytes.windows(2).any(|two| two == b"\n\n"),
    }
}

/// What is compared: without the PROXY headers that a circle puts in front, one at each turn.
fn beginning(mut bytes: &[u8]) -> &[u8] {
    while let Ok(Some(header)) = Header::parse(bytes)
        && header.len > 0
    {
        bytes = bytes.get(header.len..).unwrap_or_default();
    }
    &bytes[..bytes.len().min(BEGINNING)]
}

#[cfg(test)]
mod tests;
