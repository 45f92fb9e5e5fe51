//! `obfs-rs probe`: the operator's own scanner. It visits a server and the website behind it in many
//! ways, compares what the visitors see, and reports where a visitor could tell them apart.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `script`, `hello` | what a visitor does, as data; its TLS hello |
//! | `probes` | the list |
//! | `play`, `tls` | a probe played on a connection |
//! | `seen` | what a visitor saw |
//! | `compare`, `http_answer`, `tls_answer` | whether two visitors saw the same |
//! | `tls_fingerprint` | what shows which TLS library answers |
//! | `judge` | what several visits say together |
//! | `examine` | the visits to both ends |
//! | `report` | for people, and for programs |
//!
//! It sends to these two addresses and to no other; names are looked up once. How much and for how long
//! is bounded: [`AT_ONCE`], [`MOST_VISITS`], [`limit`].

mod compare;
mod examine;
mod hello;
pub mod http_answer;
mod judge;
pub(crate) mod play;
mod probes;
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
use report::Report;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

pub use examine::{AT_ONCE, MOST_VISITS, limit};

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
    /// The website that it must not be told from.
    pub site: HostPort,
    /// Visitors speak TLS.
    pub tls: bool,
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
    let (server, site) = tokio::join!(reach(&config.server), reach(&config.site));
    for (name, address, reached) in [("server", &config.server, &server), ("site", &config.site, &site)] {
        if let Err(why) = reached {
            print_error(&format!("cannot reach the {name} {address}: {why}"));
        }
    }
    let (Ok(server), Ok(site)) = (server, site) else { return ExitCode::from(NOT_KNOWN) };
    if same_socket::is_same(server, site) {
        print_error(&format!(
            "the server {server} and the site {site} are one and the same: there is nothing to compare"
        ));
        return ExitCode::from(NOT_KNOWN);
    }
    let (host, server_name) = names(&config);
    // (short enough for people to type, and for every reader of JSON)
    let seed = config.seed.unwrap_or_else(|| rand::random::<u32>().into());
    let mut context = ProbeContext::new(host, server_name.clone(), config.path.clone(), seed);
    let probes = if config.tls { probes::tls(&mut context) } else { probes::plain(&mut context) };
    let control = probes::control(&context, config.tls);
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
    let usual = if config.tls { 443 } else { 80 };
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
