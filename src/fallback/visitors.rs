//! Who the visitors are and where they went, counted, and told once in a while: each would be worth a line only to
//! somebody who looks for it.

use super::misses::Misses;
use crate::config::{Routes, Website};
use crate::detect::{Missed, UpstreamId, VisitorProtocol};
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::info;

/// How often what visitors missed is told, if anything was.
const MISSES_EVERY: Duration = Duration::from_secs(60);

/// How often the visitors are told, if there were any, in such periods.
const VISITORS_EVERY: u32 = 60;

/// What a visitor is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitorClass {
    /// HTTP/1, in TLS or not.
    Http,
    /// TLS that does not end here.
    Tls,
    /// HTTP/2.
    H2,
    /// Who says nothing.
    Silent,
    /// Bytes that are none of these.
    Other,
}

impl VisitorClass {
    /// Each, with what it is called.
    const ALL: [(VisitorClass, &'static str); 5] = [
        (VisitorClass::Http, "HTTP"),
        (VisitorClass::Tls, "TLS"),
        (VisitorClass::H2, "HTTP/2"),
        (VisitorClass::Silent, "silent"),
        (VisitorClass::Other, "other bytes"),
    ];

    /// By what the connection speaks, and its first bytes.
    pub fn of(protocol: VisitorProtocol, bytes: &[u8]) -> VisitorClass {
        match (protocol, bytes) {
            (VisitorProtocol::H2, _) => VisitorClass::H2,
            (_, []) => VisitorClass::Silent,
            (VisitorProtocol::Tls, _) => VisitorClass::Tls,
            (VisitorProtocol::Plain, _) if bytes.starts_with(b"PRI * HTTP/2.0\r\n") => VisitorClass::H2,
            (VisitorProtocol::Plain, _) if begins_like_http(bytes) => VisitorClass::Http,
            (VisitorProtocol::Plain, _) => VisitorClass::Other,
        }
    }
}

/// Whether bytes begin with a method, and a target behind it.
fn begins_like_http(bytes: &[u8]) -> bool {
    let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-').count();
    (3..=16).contains(&method) && matches!(bytes.get(method..), Some([b' ', b'!'..=b'~', ..]))
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter {
    all: AtomicU64,
    told: AtomicU64,
}

impl Counter {
    fn count(&self) {
        self.all.fetch_add(1, Ordering::Relaxed);
    }

    /// All that were counted.
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }

    /// How many have come since this was asked last.
    fn take_new(&self) -> u64 {
        let all = self.all();
        all.saturating_sub(self.told.swap(all, Ordering::Relaxed))
    }
}

/// All visitors that there were.
#[derive(Debug)]
pub struct Visitors {
    classes: [Counter; VisitorClass::ALL.len()],
    /// By their place in the routing table.
    places: Vec<(String, Counter)>,
    misses: Misses,
    /// When they were told last.
    told: Mutex<Instant>,
    /// There is something to tell.
    news: Notify,
    /// Whether a task tells it already: every thread asks for one.
    has_teller: AtomicBool,
}

impl Visitors {
    /// Of a server with these websites.
    pub fn new(routes: &Routes) -> Visitors {
        let place = |upstream: &crate::config::UpstreamConfig| match &upstream.website {
            Website::Port(address) => format!("{} {address}", upstream.option),
            _ => "a website of this program".to_owned(),
        };
        Visitors {
            classes: Default::default(),
            places: routes.upstreams.iter().map(|upstream| (place(upstream), Counter::default())).collect(),
            misses: Misses::default(),
            told: Mutex::new(Instant::now()),
            news: Notify::new(),
            has_teller: AtomicBool::new(false),
        }
    }

    /// Counts one who goes to this website.
    pub fn count(&self, class: VisitorClass, site: UpstreamId) {
        for (_, counter) in self.by_class().filter(|(counted, _)| *counted == class) {
            counter.count();
        }
        if let Some((_, counter)) = self.places.get(site.0) {
            counter.count();
        }
        self.news.notify_one();
    }

    /// Counts, and tells, what a visitor missed who looks like a client, and `asked` for this.
    pub fn count_missed(&self, missed: Missed, asked: &str, peer: &dyn Display) {
        self.misses.count(missed, asked, peer);
        self.news.notify_one();
    }

    /// By what they are.
    pub fn by_class(&self) -> impl Iterator<Item = (VisitorClass, &Counter)> {
        VisitorClass::ALL.iter().map(|(class, _)| *class).zip(&self.classes)
    }

    /// By the website that they went to: the option and the address of it.
    pub fn by_place(&self) -> impl Iterator<Item = (&str, &Counter)> {
        self.places.iter().map(|(place, counter)| (place.as_str(), counter))
    }

    /// Tells what there is to tell once in a while, for as long as the process serves; of several calls, the first
    /// does.
    pub async fn tell_in_time(&self) {
        if self.has_teller.swap(true, Ordering::Relaxed) {
            return;
        }
        loop {
            self.news.notified().await;
            for _ in 0..VISITORS_EVERY {
                sleep(MISSES_EVERY).await;
                self.misses.tell(MISSES_EVERY);
            }
            self.tell();
        }
    }

    /// Tells what was not told yet: the process ends.
    pub fn tell_rest(&self) {
        self.misses.tell(MISSES_EVERY);
        self.tell();
    }

    fn tell(&self) {
        let since = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *told, Instant::now())
        };
        let mut number = 0;
        let what = listed(VisitorClass::ALL.iter().map(|(_, name)| *name).zip(&self.classes), &mut number);
        let places = listed(self.by_place(), &mut 0);
        if number > 0 {
            let minutes = since.elapsed().as_secs().div_ceil(60);
            info!("{number} visitors in the last {minutes} min: {what}; they went to: {places}");
        }
    }
}

/// Those that have grown, each with by how much, and all together.
fn listed<'a>(counters: impl Iterator<Item = (&'a str, &'a Counter)>, all: &mut u64) -> String {
    let mut list = String::new();
    for (name, counter) in counters {
        let new = counter.take_new();
        if new > 0 {
            *all += new;
            let separator = if list.is_empty() { "" } else { ", " };
            // (writing to a string does not fail)
            let _ = write!(list, "{separator}{name} {new}");
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_are_told_apart_by_their_first_bytes() {
        let plain = VisitorProtocol::Plain;
        for (protocol, bytes, class) in [
            (plain, &b"GET / HTTP/1.1\r\n"[..], VisitorClass::Http),
            (plain, b"M-SEARCH * HTTP/1.1\r\n", VisitorClass::Http),
            (plain, b"CONNECT example.com:443", VisitorClass::Http),
            (plain, b"", VisitorClass::Silent),
            (VisitorProtocol::Tls, b"", VisitorClass::Silent),
            (VisitorProtocol::Tls, b"\x16\x03\x01", VisitorClass::Tls),
            (VisitorProtocol::H2, b"PRI", VisitorClass::H2),
            (plain, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VisitorClass::H2),
            (plain, b"SSH-2.0-x", VisitorClass::Other),
            (plain, b"GET", VisitorClass::Other),
            (plain, b"\x05\x01\x00", VisitorClass::Other),
        ] {
            assert_eq!(VisitorClass::of(protocol, bytes), class, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let (one, other) = (Counter::default(), Counter::default());
        let told = |number: &mut u64| listed([("a", &one), ("b", &other)].into_iter(), number);
        let mut number = 0;
        assert_eq!((told(&mut number), number), (String::new(), 0));
        one.count();
        one.count();
        other.count();
        assert_eq!((told(&mut number), number), ("a 2, b 1".to_owned(), 3));
        other.count();
        assert_eq!((told(&mut 0), other.all()), ("b 1".to_owned(), 2));
    }
}
