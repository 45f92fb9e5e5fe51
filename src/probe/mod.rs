//! `obfs-rs probe`: the operator's own scanner. It visits a server and the website behind it in all
//! manners, compares what the visitors see, and tells where a visitor could tell them apart.
//!
//! | file | what is in it |
//! | --- | --- |
//! | [`script`], [`hello`] | what a visitor does, as data; the TLS hellos among it |
//! | [`probes`] | the list |
//! | [`mod@play`], [`tls`] | a probe played on a connection |
//! | [`seen`] | what a visitor saw |
//! | [`compare`], [`http_answer`], [`tls_answer`] | whether two visitors saw the same |
//! | [`notes`] | what shows which TLS library answers |
//! | [`judge`] | what several visits say together |
//! | [`report`] | for people, and for programs |
//!
//! It sends to the two addresses and to nobody else; names are looked up once. How much and for how long
//! is bounded: [`AT_ONCE`], [`MOST_VISITS`], [`limit`].

pub mod compare;
pub mod hello;
pub mod http_answer;
pub mod judge;
pub mod notes;
pub mod play;
pub mod probes;
pub mod report;
mod same;
pub mod script;
pub mod seen;
pub mod tls;
pub mod tls_answer;

use crate::config::ProbeConfig;
use crate::net::addr::{Host, HostPort};
use crate::net::look_up;
use judge::{ProbeResult, ROUNDS};
use notes::Note;
use play::play;
use probes::Visit;
use report::{Report, Summary};
use script::Probe;
use seen::Seen;
use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

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

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The exit code when something differs.
const DIFFERS: u8 = 1;

/// The exit code when it could not be found out: no connection, or not in time.
const NOT_KNOWN: u8 = 2;

/// The longest that a run takes, where a connection on which nothing happens is watched for `wait`.
pub fn limit(wait: Duration) -> Duration {
    Duration::from_secs(240) + wait * 20
}

/// Runs all probes and prints what differs.
pub async fn run(config: ProbeConfig) -> ExitCode {
    let (server, site) = tokio::join!(reach(&config.server), reach(&config.site));
    for (name, address, reached) in [("server", &config.server, &server), ("site", &config.site, &site)] {
        if let Err(why) = reached {
            complain(&format!("cannot reach the {name} {address}: {why}"));
        }
    }
    let (Ok(server), Ok(site)) = (server, site) else { return ExitCode::from(NOT_KNOWN) };
    if same::is_same(server, site) {
        complain(&format!(
            "the server {server} and the site {site} are one and the same: there is nothing to compare"
        ));
        return ExitCode::from(NOT_KNOWN);
    }
    let (host, server_name) = names(&config);
    // (short enough for people to type, and for every reader of JSON)
    let seed = config.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let mut visit = Visit::new(host, server_name.clone(), config.path.clone(), seed);
    let probes = if config.tls { probes::tls(&mut visit) } else { probes::plain(&mut visit) };
    let control = probes::control(&visit, config.tls);
    let pair = Arc::new(Pair { server, site, server_name, wait: config.wait, control });
    let before = pair.control().await;
    let examined = Arc::clone(&pair).examine_all(probes).await;
    let after = pair.control().await;
    let mut report = Report {
        server: format!("{}", config.server),
        site: format!("{}", config.site),
        tls: config.tls,
        seed,
        examined,
        moot: moot(&before, &after),
    };
    if report.alike() == 0 && report.differing() == 0 && report.moot.is_empty() {
        report.moot.push("no probe could be compared".to_owned());
    }
    let text = if config.json { report.json() } else { report.text(config.verbose) };
    // A reader that has seen enough (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    for why in &report.moot {
        complain(&format!("this run shows nothing: {why}"));
    }
    if report.unfinished() > 0 {
        let limit = limit(config.wait).as_secs();
        complain(&format!("{} probes were not finished within {limit} s", report.unfinished()));
    }
    if report.not_compared() > 0 {
        complain(&format!("{} probes found nothing to compare", report.not_compared()));
    }
    match (report.differing(), report.unfinished() + report.not_compared() + report.moot.len()) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(NOT_KNOWN),
        _ => ExitCode::from(DIFFERS),
    }
}

/// Why a run shows nothing: an ordinary request was not answered, before it or behind it. Two ends that
/// say nothing, or break off at once, are alike whatever they are.
fn moot(before: &[Option<String>; 2], after: &[Option<String>; 2]) -> Vec<String> {
    match (before, after) {
        ([Some(site), Some(server)], _) => {
            vec![format!(
                "an ordinary request is answered by neither (the site: {site}; the server: {server})"
            )]
        }
        ([Some(site), None], _) => vec![format!("the site does not answer an ordinary request ({site})")],
        (_, [Some(site), Some(server)]) => vec![format!(
            "both went away during it (an ordinary request at its end: the site: {site}; the server: {server})"
        )],
        (_, [Some(site), None]) => vec![format!("the site went away during it ({site})")],
        // The probes tell it of the server.
        _ => Vec::new(),
    }
}

fn complain(what: &str) {
    crate::os::stderr::print_error(&format_args!("probe: {what}"));
}

/// What `Host` says, and the name for hellos if there is one: by default that by which the server is
/// called here.
fn names(config: &ProbeConfig) -> (String, Option<String>) {
    let usual = if config.tls { 443 } else { 80 };
    match (&config.name, &config.server) {
        (Some(name), _) => (name.clone(), Some(crate::wire::http::host::without_port(name).to_owned())),
        (None, HostPort { host, port }) => {
            let name = match host {
                Host::Name(name) => Some(name.clone()),
                Host::Ip(_) => None,
            };
            let host = if *port == usual { host.to_string() } else { config.server.to_string() };
            (host, name)
        }
    }
}

/// The first address of a host that can be connected to, which is used from then on.
async fn reach(target: &HostPort) -> Result<SocketAddr, String> {
    let addresses: Vec<SocketAddr> = match &target.host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, target.port)],
        Host::Name(name) => match timeout(LOOK_UP, look_up(name.clone(), target.port)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the name could not be looked up in time".to_owned()),
        },
    };
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match timeout(play::CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(error)) => why = play::reason(&error),
            Err(_) => why = format!("no answer within {} s", play::CONNECT.as_secs()),
        }
    }
    Err(why)
}

/// What came of a probe.
#[derive(Debug, Clone)]
pub struct Examined {
    /// The probe.
    pub name: String,
    /// What is said of it; `None` if there was no time.
    pub verdict: Option<ProbeResult>,
    /// What the visitors saw of the site and of the server.
    pub seen: Option<(Summary, Summary)>,
    /// What it told of the TLS libraries.
    pub notes: Vec<Note>,
}

/// The two that are compared.
#[derive(Debug)]
struct Pair {
    server: SocketAddr,
    site: SocketAddr,
    server_name: Option<String>,
    wait: Duration,
    /// A request that every website answers.
    control: Probe,
}

impl Pair {
    async fn examine_all(self: Arc<Self>, probes: Vec<Probe>) -> Vec<Examined> {
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
        let progress = Progress::new(names.len());
        let all = async {
            let mut done = 0;
            while let Some(finished) = running.join_next().await {
                if let Ok((number, examined)) = finished
                    && let Some(result) = results.get_mut(number)
                {
                    *result = Some(examined);
                }
                done += 1;
                progress.show(done);
            }
        };
        let _ = timeout(limit(self.wait), all).await;
        progress.clear();
        let unfinished = |name| Examined { name, verdict: None, seen: None, notes: Vec::new() };
        let results = results.into_iter().zip(names);
        results.map(|(result, name)| result.unwrap_or_else(|| unfinished(name))).collect()
    }

    /// Why the site, and the server, do not answer this, if they do not.
    async fn control(&self) -> [Option<String>; 2] {
        let (site, server) = tokio::join!(self.control_of(self.site), self.control_of(self.server));
        [site, server]
    }

    async fn control_of(&self, address: SocketAddr) -> Option<String> {
        let seen = self.play(address, &self.control, self.wait).await;
        match &seen.tls {
            _ if !seen.bytes.is_empty() => None,
            Some(seen::Handshake { outcome: Err(why), .. }) => {
                Some(format!("no TLS 1.2 or 1.3 could be agreed on, {why}"))
            }
            _ => Some(format!("nothing, {}", compare::ending(&seen))),
        }
    }

    /// Plays a probe on both until it is clear what is to be said.
    async fn examine(&self, probe: &Probe) -> Examined {
        let watch = self.wait * if probe.patient { 2 } else { 1 };
        let (first, mut of_server, second) = tokio::join!(
            self.play(self.site, probe, watch),
            self.play(self.server, probe, watch),
            self.after(LATER, self.site, probe, watch),
        );
        let mut of_site = vec![first, second];
        let mut rounds = vec![judge::judge(&of_site, &of_server)];
        let verdict = loop {
            if let Some(verdict) = judge::conclude(&rounds) {
                break verdict;
            }
            let watch = judge::next_watch(&rounds, watch);
            // In turn, so that it is not for who comes first.
            let (site, server) = if rounds.len() % 2 == 1 {
                tokio::join!(
                    self.after(HEAD_START, self.site, probe, watch),
                    self.play(self.server, probe, watch)
                )
            } else {
                tokio::join!(
                    self.play(self.site, probe, watch),
                    self.after(HEAD_START, self.server, probe, watch)
                )
            };
            of_site.push(site);
            of_server = server;
            rounds.push(judge::judge(&of_site, &of_server));
        };
        // Two that say nothing are alike also where nothing gets through.
        let silent = of_site.iter().chain([&of_server]).all(Seen::is_silent);
        let verdict = match verdict {
            ProbeResult::Same if silent => match self.control_of(self.site).await {
                Some(why) => ProbeResult::NotCompared(format!("behind it, an ordinary request got {why}")),
                None => verdict,
            },
            verdict => verdict,
        };
        // Where more differs, the library is not the question.
        let notes = if verdict == ProbeResult::Same { notes::of(&of_site, &of_server) } else { Vec::new() };
        let seen = of_site.last().map(|site| (Summary::of(site), Summary::of(&of_server)));
        Examined { name: probe.name.clone(), verdict: Some(verdict), seen, notes }
    }

    async fn play(&self, address: SocketAddr, probe: &Probe, watch: Duration) -> Seen {
        play(address, probe, self.server_name.as_deref(), watch).await
    }

    async fn after(&self, pause: Duration, address: SocketAddr, probe: &Probe, watch: Duration) -> Seen {
        sleep(pause).await;
        self.play(address, probe, watch).await
    }
}

/// How far it is, for people who wait.
struct Progress {
    began: Instant,
    total: usize,
    shown: bool,
}

impl Progress {
    fn new(total: usize) -> Progress {
        let progress = Progress { began: Instant::now(), total, shown: std::io::stderr().is_terminal() };
        progress.show(0);
        progress
    }

    fn show(&self, done: usize) {
        if self.shown {
            let seconds = self.began.elapsed().as_secs();
            let _ = write!(std::io::stderr(), "\r{done} of {} probes, {seconds} s ", self.total);
        }
    }

    fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r{:40}\r", "");
        }
    }
}
