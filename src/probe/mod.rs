//! `obfs-rs probe`: the operator's own scanner. It visits a server and the website behind it in many
//! ways, compares what the visitors see, and reports where a visitor could tell them apart.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `script`, `hello` | what a visitor does, as data; its TLS hello |
//! | `probes` | the list |
//! | `play`, `tls` | a probe played on a connection |
//! | `quic` | a probe played over UDP |
//! | `seen` | what a visitor saw |
//! | `compare`, `http_answer`, `tls_answer`, `quic_answer` | whether two visitors saw the same |
//! | `http2` | HTTP/2 as a visitor speaks it, and what is compared of it |
//! | `tls_fingerprint` | what shows which TLS library answers |
//! | `judge` | what several visits say together |
//! | `examine` | the visits to both ends |
//! | `report` | for people, and for programs |
//!
//! It sends to these two addresses and to no other, but for ports of the server at which nobody listens where there is no
//! site over QUIC; names are looked up once. How much and for how long
//! is bounded: [`AT_ONCE`], [`MOST_VISITS`], [`limit`].

mod compare;
mod examine;
mod hello;
pub mod http2;
pub mod http_answer;
mod judge;
pub(crate) mod play;
mod probes;
mod quic;
pub mod quic_answer;
mod report;
mod same_socket;
mod script;
mod seen;
mod tls;
pub mod tls_answer;
mod tls_fingerprint;

use crate::net::addr::{Host, HostPort};
use crate::net::look_up;
use crate::wire::http::host::without_port;
use examine::Pair;
use probes::ProbeContext;
use quic::port::{self, PortState};
use report::{Examined, Report};
use script::{Noise, Probe};
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

pub use examine::{AT_ONCE, MOST_VISITS, limit};
pub use probes::Speech;

/// How long a look-up may take.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The exit code when something differs.
const DIFFERS: u8 = 1;

/// The exit code when it could not be found out: no connection, or not in time.
const NOT_KNOWN: u8 = 2;

/// What `obfs-rs probe` is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeConfig {
    /// The server that is looked at.
    pub server: HostPort,
    /// The website that it must not be told from: over QUIC there may be none, and nobody listens at such a port.
    pub site: Option<HostPort>,
    /// What visitors speak.
    pub speech: Speech,
    /// The name that visitors ask for, instead of the server's.
    pub name: Option<String>,
    /// The tunnel's path.
    pub path: Option<String>,
    /// What makes the random bytes the same as in another run.
    pub seed: Option<u64>,
    /// How long a connection on which nothing happens is watched.
    pub wait: Duration,
    /// Print JSON.
    pub json: bool,
    /// Print every probe.
    pub verbose: bool,
}

/// Runs all probes and prints what differs.
pub async fn run(config: ProbeConfig) -> ExitCode {
    // (short enough for people to type, and for every reader of JSON)
    let seed = config.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let (host, server_name) = names(&config);
    let mut context = ProbeContext::new(host, server_name.clone(), config.path.clone(), seed);
    let Some(ends) = find(&config, seed).await else { return ExitCode::from(NOT_KNOWN) };
    let Ends { server, site, is_nobody } = ends;
    let mut probes = match config.speech {
        Speech::Http => probes::plain(&mut context),
        Speech::Tls => probes::tls(&mut context),
        Speech::Quic => probes::quic(&mut context),
    };
    let control = probes::control(&context, config.speech);
    let pair = Arc::new(Pair { server, site, is_nobody, server_name, wait: config.wait, control });
    if config.speech != Speech::Quic {
        let who = pair.who_speaks_http2(config.speech).await;
        probes.extend(probes::http2(&mut context, config.speech, who));
    }
    let (examined, moot) = examine(&pair, probes, config.speech).await;
    let mut report = Report {
        server: config.server.to_string(),
        site: config.site.map_or(site.to_string(), |site| site.to_string()),
        speech: config.speech,
        is_nobody,
        seed,
        examined,
        moot,
    };
    let differing = report.count("differs");
    if report.count("same") == 0 && differing == 0 && report.moot.is_empty() {
        report.moot.push("no probe could be compared".to_owned());
    }
    let text = if config.json { report.json() } else { report.text(config.verbose) };
    // A reader that has seen enough (`| head`) is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    for why in &report.moot {
        print_error(&format!("this run shows nothing: {why}"));
    }
    let (unfinished, not_compared) = (report.count("unfinished"), report.count("not compared"));
    if unfinished > 0 {
        let limit = limit(config.wait).as_secs();
        print_error(&format!("{unfinished} probes were not finished within {limit} s"));
    }
    if not_compared > 0 {
        print_error(&format!("{not_compared} probes found nothing to compare"));
    }
    match (differing, unfinished + not_compared + report.moot.len()) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(NOT_KNOWN),
        _ => ExitCode::from(DIFFERS),
    }
}

/// The addresses that are visited.
struct Ends {
    server: SocketAddr,
    site: SocketAddr,
    /// Nobody listens at the site's port.
    is_nobody: bool,
}

/// Finds both ends. Why there is nothing to compare, if there is not, is printed.
async fn find(config: &ProbeConfig, seed: u64) -> Option<Ends> {
    let over_udp = config.speech == Speech::Quic;
    let site = async {
        match &config.site {
            Some(site) => reach(site, over_udp).await.map(Some),
            None => Ok(None),
        }
    };
    let (server, site) = tokio::join!(reach(&config.server, over_udp), site);
    if let Err(why) = &server {
        print_error(&format!("cannot reach the server {}: {why}", config.server));
    }
    if let (Err(why), Some(address)) = (&site, &config.site) {
        print_error(&format!("cannot reach the site {address}: {why}"));
    }
    let (server, site) = (server.ok()?, site.ok()?);
    let table = if over_udp { same_socket::UDP } else { same_socket::TCP };
    if let Some(site) = site
        && same_socket::is_same(server, site, &table)
    {
        print_error(&format!(
            "the server {server} and the site {site} are one and the same: there is nothing to compare"
        ));
        return None;
    }
    Some(match site {
        Some(site) if !over_udp => Ends { server, site, is_nobody: false },
        Some(site) => {
            // A website without HTTP/3 has a port at which nobody listens.
            let is_nobody = PortState::find(site, &probes::port()).await == PortState::Closed;
            Ends { server, site, is_nobody }
        }
        None => {
            let mut noise = Noise::new(seed);
            let site = port::with_nobody(server.ip(), server.port(), &probes::port(), &mut noise).await;
            Ends { server, site, is_nobody: true }
        }
    })
}

/// Plays all probes; what came of them, and why the run shows nothing, if it does not.
async fn examine(pair: &Arc<Pair>, probes: Vec<Probe>, speech: Speech) -> (Vec<Examined>, Vec<String>) {
    let end = Instant::now() + limit(pair.wait);
    if speech != Speech::Quic {
        let before = pair.control().await;
        let examined = Arc::clone(pair).examine_all(probes, end).await;
        return (examined, moot(&before, &pair.control().await));
    }
    // Alone, and first: systems tell only now and then that a port is closed, and others would use it up.
    let mut examined = Arc::clone(pair).examine_all(vec![probes::port()], end).await;
    // Where nobody listens, there is nobody to be asked anything more.
    if PortState::find(pair.server, &probes::port()).await == PortState::Closed {
        return (examined, Vec::new());
    }
    // (and nobody is not asked whether it answers)
    let before = if pair.is_nobody { Default::default() } else { pair.control().await };
    examined.extend(Arc::clone(pair).examine_all(probes, end).await);
    let after = if pair.is_nobody { Default::default() } else { pair.control().await };
    (examined, moot(&before, &after))
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

fn print_error(what: &str) {
    crate::os::stderr::print_error(&format_args!("probe: {what}"));
}

/// What `Host` says, and the name for hellos if there is one: by default that by which the server is
/// called here.
fn names(config: &ProbeConfig) -> (String, Option<String>) {
    let usual = if config.speech == Speech::Http { 80 } else { 443 };
    if let Some(name) = &config.name {
        return (name.clone(), Some(without_port(name).to_owned()));
    }
    let HostPort { host, port } = &config.server;
    let name = match host {
        Host::Name(name) => Some(name.clone()),
        Host::Ip(_) => None,
    };
    (if *port == usual { host.to_string() } else { config.server.to_string() }, name)
}

/// The first address of a host that can be connected to, which is used from then on. Over UDP, that is one to which
/// there is a way.
async fn reach(target: &HostPort, over_udp: bool) -> Result<SocketAddr, String> {
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
        let connected = async {
            if over_udp {
                quic::connect(address).await.map(drop)
            } else {
                TcpStream::connect(address).await.map(drop)
            }
        };
        match timeout(play::CONNECT, connected).await {
            Ok(Ok(())) => return Ok(address),
            Ok(Err(error)) => why = play::reason(&error),
            Err(_) => why = format!("no answer within {} s", play::CONNECT.as_secs()),
        }
    }
    Err(why)
}
