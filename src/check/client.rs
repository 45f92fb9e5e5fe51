//! The client half: its local port, and the way to the server up to the tunnel.

use super::STEP;
use super::follow::{Far, Late, Progress, Step};
use super::others;
use super::port::{LOOK_UP, Ports, Transport};
use super::report::Report;
use crate::client::Client;
use crate::config::{ClientConfig, ClientDisguise, SaidAddresses, TunnelConfig};
use crate::net::addr::{Host, HostPort};
use crate::net::dial::DialError;
use crate::net::options::SocketOptions;
use crate::net::own_addresses::OwnAddresses;
use crate::relay::{End, Outcome, Side, Timeouts};
use crate::service::StartError;
use crate::transport::{NotOpened, Opener};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// How long a server is waited for that need not say anything before Shadowsocks does. One that refuses does so at once.
const LATE_ANSWER: Duration = Duration::from_secs(4);

/// How long a tunnel that stands is watched: a server whose Shadowsocks is away grants it, and ends it.
const WATCHED: Duration = Duration::from_secs(1);

/// How long the end of a tunnel may take, in order.
const FAREWELL: Duration = Duration::from_secs(1);

/// Checks a client half.
pub(super) async fn check(
    config: ClientConfig,
    tunnel: &TunnelConfig,
    said: SaidAddresses,
    mut ports: Ports,
    report: &mut Report,
) {
    report.ok("disguise", &config.disguise);
    report.ok(
        "udp",
        match config.udp {
            true => "goes through the plugin, from a host that passes it to plugins",
            false => "does not go through the plugin (option `udp`)",
        },
    );
    // (a host chooses the local port of its plugin)
    if said.local {
        ports.check(&config.listen, Transport::Tcp, &SocketOptions::default(), report).await;
        if config.udp {
            ports.check(&config.listen, Transport::Udp, &SocketOptions::default(), report).await;
        }
    }
    drop(ports);
    let own = if said.local { OwnAddresses::to_be(&config.listen) } else { OwnAddresses::default() };
    let (opener, names) = match Client::opener(&config, tunnel, &own) {
        Ok(opener) => opener,
        Err(error @ StartError::Tls(_)) => return report.fails("tls", error),
        Err(error) => return report.fails("server", error),
    };
    report.odd_ones("options");
    if !said.remote {
        let lacks = "no address of the server is given (`--remote HOST:PORT`), so it is not looked up and not dialled";
        return report.unknown("server", lacks);
    }
    let servers = config.servers.iter().map(HostPort::to_string).collect::<Vec<_>>().join(" or ");
    let proxy = config.proxy.as_ref().map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default();
    report.ok("server", format!("{servers}{proxy}"));
    let found = names.found(LOOK_UP).await;
    if !tell_found(&found, report) {
        return;
    }
    let mut progress = Progress::new(&config);
    open(&config, opener, tunnel, &mut progress, report).await;
    // (where nobody could be connected to, each was told)
    let reached = progress.reached();
    if config.servers.len() > 1 && reached.is_some() {
        let found = |server: &HostPort| {
            let of_server = found.iter().find(|(target, _)| target == server);
            of_server.and_then(|(_, found)| found.as_deref().ok()).unwrap_or_default()
        };
        let is_other = |server: &&HostPort| match (&config.proxy, reached) {
            (Some(_), Some(Far::Behind(name))) => server.to_string() != *name,
            // (whose name has no address, that was told)
            (None, Some(Far::At(address))) => !found(server).is_empty() && !found(server).contains(address),
            _ => true,
        };
        let others: Vec<_> = config.servers.iter().filter(is_other).cloned().collect();
        others::check(others, &config, tunnel, &own, report).await;
    }
}

/// Tells what has been found of what is dialled. Returns whether there is an address.
fn tell_found(found: &[(HostPort, Result<Vec<SocketAddr>, String>)], report: &mut Report) -> bool {
    let any = found.iter().any(|(_, found)| found.is_ok());
    for (HostPort { host, .. }, found) in found {
        match (host, found) {
            (Host::Ip(_), _) => {}
            (Host::Name(name), Ok(addresses)) => {
                let addresses: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
                report.ok("resolve", format!("{name} is {}", addresses.join(", ")));
            }
            (Host::Name(name), Err(why)) if any => {
                report.odd("resolve", format!("cannot look up {name}: {why}"));
            }
            (Host::Name(name), Err(why)) => report.fails("resolve", format!("cannot look up {name}: {why}")),
        }
    }
    any
}

/// Goes the way of a tunnel in which nothing is said.
async fn open(
    config: &ClientConfig,
    opener: Opener,
    tunnel: &TunnelConfig,
    progress: &mut Progress,
    report: &mut Report,
) {
    let opened = match progress.follow_to_end(opener.open(Vec::new()), report).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return tell_error(&error, progress, report),
        Err(Late) => {
            let why = match progress.said() {
                Some(said) if progress.next() == Step::Upgrade => slow(said),
                _ => silence(progress.next()),
            };
            return report.fails(progress.next().name(), why);
        }
    };
    let (near, app) = match pair().await {
        Ok(pair) => pair,
        Err(error) => return report.fails("upgrade", format!("there is no loopback: {error}")),
    };
    let mut relaying = opened.relay(near, Timeouts::new(tunnel.idle_timeout));
    let mut outcome = None;
    if !progress.is_granted() && progress.next() == Step::Upgrade && !is_quic(config) {
        let mut late = config.disguise.late_answer();
        let patience = late.map_or(STEP, |_| LATE_ANSWER);
        let mut went = progress.follow_to_grant(&mut relaying, patience, report).await;
        if went.is_err() && is_grpc(config) && !progress.speaks_http2() {
            // A server says its settings at once.
            late = None;
            went = progress.follow_to_grant(&mut relaying, STEP - LATE_ANSWER, report).await;
        }
        match (went, late) {
            (Ok(None), _) => {}
            (Ok(Some(ended)), _) => {
                // What the connection of many streams has come to is told by another than the stream.
                let said = report.take_warnings().into_iter().next().filter(|_| is_grpc(config));
                report.fails("upgrade", said.unwrap_or_else(|| end(&ended)));
                outcome = Some(ended);
            }
            (Err(Late), _) if progress.said().is_some() => {
                report.fails("upgrade", slow(progress.said().unwrap_or_default()));
            }
            (Err(Late), Some(why)) => report.unknown("upgrade", why),
            (Err(Late), None) => report.fails("upgrade", silence(Step::Upgrade)),
        }
    }
    if outcome.is_none() && progress.is_granted() {
        let ended = tokio::select! {
            ended = &mut relaying => {
                let why = ended_early(&ended);
                outcome = Some(ended);
                Some(why)
            }
            // (an end that leaves the other direction open)
            0 = ends(&app) => Some(ENDED_AT_ONCE.to_owned()),
            () = sleep(WATCHED) => None,
        };
        if let Some(why) = ended {
            drop(report.take_warnings());
            report.fails("tunnel", format!("{why}; is its Shadowsocks there?"));
        }
    }
    // The application closes.
    drop(app);
    let farewell = async {
        let mut outcome = match outcome {
            Some(outcome) => outcome,
            None => relaying.await,
        };
        outcome.close().await;
    };
    let _ = timeout(FAREWELL, farewell).await;
    if let Some(farewell) = opener.farewell() {
        let _ = timeout(FAREWELL, farewell).await;
    }
    // (lines of this report say it)
    drop(report.take_warnings());
}

fn is_grpc(config: &ClientConfig) -> bool {
    matches!(config.disguise, ClientDisguise::Grpc(_))
}

fn is_quic(config: &ClientConfig) -> bool {
    matches!(config.disguise, ClientDisguise::Quic(_))
}

/// Tells at which step there was an error.
fn tell_error(error: &NotOpened, progress: &Progress, report: &mut Report) {
    drop(report.take_warnings());
    let step = match error {
        NotOpened::Dial(DialError::Lookup(_)) => "resolve",
        _ => progress.next().name(),
    };
    if error.is_late_handshake() && progress.said().is_some() {
        let what = "the server answers slowly, and the handshake had no end within the time for it";
        return report.fails(step, format!("{what}; is this its port, and does it speak TLS there?"));
    }
    report.fails(step, error);
}

/// What to say where nothing came in the time for a step.
fn silence(step: Step) -> String {
    let seconds = STEP.as_secs();
    match step {
        Step::Upgrade => format!(
            "the server has said nothing for {seconds} s: is this its port, and does it have the same `obfs` or `mode`? Or \
             packets are dropped on the way"
        ),
        Step::Connect | Step::Proxy | Step::Tls | Step::Quic => format!("no answer within {seconds} s"),
    }
}

/// What to say where something came in that time, and no answer.
fn slow(said: &str) -> String {
    let said = if said.is_empty() { String::new() } else { format!(": `{said}`") };
    format!(
        "the server has answered slowly, and not with the upgrade{said}, which had no end within the time for it; is this its port, \
         and does it have the same `obfs` or `mode`?"
    )
}

/// Why a tunnel has ended before it was granted.
fn end(outcome: &Outcome) -> String {
    match &outcome.end {
        End::Reset(Side::Dialled, error)
            if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe) =>
        {
            "the connection was reset before the server answered, by it or by somebody on the way".to_owned()
        }
        End::Reset(_, error) => error.to_string(),
        End::Malformed(_, error) => error.to_string(),
        End::Closed => "the server closed the connection before it answered".to_owned(),
        other => other.to_string(),
    }
}

const ENDED_AT_ONCE: &str = "the server granted the tunnel, and ended it at once";

/// Waits until something comes; how long it is, of at most one byte. (An error is an end, too.)
async fn ends(app: &TcpStream) -> usize {
    app.peek(&mut [0]).await.unwrap_or(0)
}

/// What there is to say of a tunnel that has ended before anything was said in it.
fn ended_early(outcome: &Outcome) -> String {
    match &outcome.end {
        End::Reset(..) | End::Closed => ENDED_AT_ONCE.to_owned(),
        _ => end(outcome),
    }
}

/// A connection of this process with itself, in the place of an application's.
async fn pair() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let app = TcpStream::connect(listener.local_addr()?).await?;
    let own: SocketAddr = app.local_addr()?;
    loop {
        let (near, peer) = listener.accept().await?;
        if peer == own {
            return Ok((near, app));
        }
    }
}
