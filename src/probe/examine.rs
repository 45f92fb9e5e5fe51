//! Both ends are visited, as often as it takes to say what differs.

use super::compare;
use super::http2::answer as http2_answer;
use super::judge::{self, ProbeResult, ROUNDS};
use super::play::play;
use super::probes::{self, Speech};
use super::quic::port;
use super::report::{Examined, Summary};
use super::script::{Entry, HTTP2, Probe, UdpVisit};
use super::seen::{Handshake, Seen};
use super::tls_fingerprint;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Probes that are played at the same time. Each has at most three connections.
pub const AT_ONCE: usize = 10;

/// Connections for one probe, at most: two to the site and one to the server, where they differ one more to
/// each in each further round, and one behind a probe that neither answers.
pub const MOST_VISITS: usize = 4 + 2 * (ROUNDS - 1);

/// The site's second visitor comes so much later than the first: a value that changes by the second
/// has changed.
const LATER: Duration = Duration::from_millis(1100);

/// In further rounds, one of the two begins so much before the other.
const HEAD_START: Duration = Duration::from_millis(100);

/// The longest that a run takes, where a connection on which nothing happens is watched for `wait`.
pub fn limit(wait: Duration) -> Duration {
    Duration::from_secs(240) + wait * 20
}

/// The two that are compared.
#[derive(Debug)]
pub struct Pair {
    pub server: SocketAddr,
    pub site: SocketAddr,
    /// Nobody listens at the site's port: what a server without QUIC looks like.
    pub is_nobody: bool,
    pub server_name: Option<String>,
    /// How long a connection is watched on which nothing happens.
    pub wait: Duration,
    /// A request that every website answers.
    pub control: Probe,
}

impl Pair {
    /// Plays all probes, some at a time, for as long as the run may take.
    pub async fn examine_all(self: Arc<Self>, probes: Vec<Probe>, end: Instant) -> Vec<Examined> {
        let names: Vec<_> = probes.iter().map(|probe| probe.name.clone()).collect();
        let mut results: Vec<Option<Examined>> = vec![None; probes.len()];
        let at_once = Arc::new(Semaphore::new(AT_ONCE));
        let mut running = JoinSet::new();
        for (number, probe) in probes.into_iter().enumerate() {
            let (pair, at_once) = (Arc::clone(&self), Arc::clone(&at_once));
            running.spawn(async move {
                let _permit = at_once.acquire().await;
                (number, pair.examine(&probe).await)
            });
        }
        // How far it is, for people who wait.
        let (began, total, is_terminal) = (Instant::now(), names.len(), std::io::stderr().is_terminal());
        let show = |line: &str| {
            if is_terminal {
                let _ = write!(std::io::stderr(), "\r{line}");
            }
        };
        let progress = |done| show(&format!("{done} of {total} probes, {} s ", began.elapsed().as_secs()));
        progress(0);
        let all = async {
            let mut done = 0;
            while let Some(finished) = running.join_next().await {
                if let Ok((number, examined)) = finished
                    && let Some(result) = results.get_mut(number)
                {
                    *result = Some(examined);
                }
                done += 1;
                progress(done);
            }
        };
        let _ = timeout_at(end, all).await;
        show(&format!("{:40}\r", ""));
        let unfinished = |name| Examined { name, verdict: None, seen: None, notes: Vec::new() };
        let results = results.into_iter().zip(names);
        results.map(|(result, name)| result.unwrap_or_else(|| unfinished(name))).collect()
    }

    /// Whether the site, and the server, speak HTTP/2: in TLS where it is offered, and in the clear at once.
    pub async fn who_speaks_http2(&self, speech: Speech) -> [bool; 2] {
        let probe = probes::asks_for_http2(speech);
        let speaks = async |address| {
            let seen = self.play(address, &probe, self.wait, Duration::ZERO).await;
            match &seen.tls {
                Some(Handshake { outcome, .. }) => {
                    outcome.as_ref().is_ok_and(|agreed| agreed.alpn.as_deref() == Some(HTTP2))
                }
                None => http2_answer::is_http2(&seen.bytes),
            }
        };
        let (site, server) = tokio::join!(speaks(self.site), speaks(self.server));
        [site, server]
    }

    /// Why the site, and the server, do not answer this, if they do not.
    pub async fn control(&self) -> [Option<String>; 2] {
        let (site, server) = tokio::join!(self.control_of(self.site), self.control_of(self.server));
        [site, server]
    }

    async fn control_of(&self, address: SocketAddr) -> Option<String> {
        let seen = self.play(address, &self.control, self.wait, Duration::ZERO).await;
        match &seen.tls {
            _ if !seen.bytes.is_empty() => None,
            None if !seen.is_silent() => None,
            Some(Handshake { outcome: Err(why), .. }) => {
                Some(format!("no TLS 1.2 or 1.3 could be agreed on, {why}"))
            }
            _ => Some(format!("nothing, {}", compare::ending(&seen))),
        }
    }

    /// Plays a probe on both until it is clear what is to be said.
    async fn examine(&self, probe: &Probe) -> Examined {
        let watch = self.wait * if probe.patient { 2 } else { 1 };
        let (first, mut of_server, second) = tokio::join!(
            self.play(self.site, probe, watch, Duration::ZERO),
            self.play(self.server, probe, watch, Duration::ZERO),
            self.play(self.site, probe, watch, LATER),
        );
        let mut of_site = vec![first, second];
        let mut rounds = vec![judge::judge(&of_site, &of_server)];
        let verdict = loop {
            if let Some(verdict) = judge::conclude(&rounds) {
                break verdict;
            }
            let watch = judge::next_watch(&rounds, watch);
            // In turn, so that it is not for who comes first.
            let [pause, other] = match rounds.len() % 2 {
                1 => [HEAD_START, Duration::ZERO],
                _ => [Duration::ZERO, HEAD_START],
            };
            let (site, server) = tokio::join!(
                self.play(self.site, probe, watch, pause),
                self.play(self.server, probe, watch, other),
            );
            of_site.push(site);
            of_server = server;
            rounds.push(judge::judge(&of_site, &of_server));
        };
        // Two that say nothing are alike also where nothing gets through.
        let silent = of_site.iter().chain([&of_server]).all(Seen::is_silent);
        let verdict = match verdict {
            verdict if self.is_nobody && probe.entry == Entry::Udp(UdpVisit::Port) => {
                port::judge(verdict, &of_site, &of_server)
            }
            ProbeResult::Same if silent && !self.is_nobody => match self.control_of(self.site).await {
                Some(why) => ProbeResult::NotCompared(format!("behind it, an ordinary request got {why}")),
                None => verdict,
            },
            verdict => verdict,
        };
        // Where more differs, the library is not the question.
        let notes = if verdict == ProbeResult::Same {
            tls_fingerprint::compare(&of_site, &of_server)
        } else {
            Vec::new()
        };
        let seen = of_site.last().map(|site| (Summary::of(site), Summary::of(&of_server)));
        Examined { name: probe.name.clone(), verdict: Some(verdict), seen, notes }
    }

    async fn play(&self, address: SocketAddr, probe: &Probe, watch: Duration, pause: Duration) -> Seen {
        sleep(pause).await;
        if self.is_nobody && address == self.site && probe.entry != Entry::Udp(UdpVisit::Port) {
            return Seen::of_nobody(watch);
        }
        play(address, probe, self.server_name.as_deref(), watch).await
    }
}
