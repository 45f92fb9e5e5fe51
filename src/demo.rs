//! `obfs-rs demo`: a website, an echo in the place of Shadowsocks, a server half and a client half in
//! one process, on loopback; what goes through is checked and told. With `--stay` it goes on until somebody has looked.

use crate::client::Client;
use crate::config::{
    BackendRoutes, ClientConfig, ClientDisguise, Failover, Handshake, RequestConfig, ServerConfig,
    TunnelConfig, Website,
};
use crate::detect::HttpRule;
use crate::detect::Rules;
use crate::net::addr::{Host, HostPort};
use crate::net::handed_over::HandedOver;
use crate::net::limits::LimitOptions;
use crate::net::network::TrustedProxies;
use crate::os::process;
use crate::os::shutdown::CaughtSignals;
use crate::server::Server;
use crate::service::Run as _;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

/// What goes up through the tunnel, and comes down again, in bytes.
const VOLUME: u64 = 100_000_000;

/// Longer than this, and something is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A visitor of the website that says nothing for so long is left.
const VISIT: Duration = Duration::from_secs(30);

/// Says a line to whoever looks, if anybody still does (`| head`).
fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Runs the demonstration and prints what it saw; goes on behind it if it is to `stay`. Success only if all of it held.
pub async fn run(stay: bool) -> ExitCode {
    process::limit_open_files(None);
    say(format_args!(
        "obfs-rs {} demo: everything on loopback, nothing leaves this machine\n\n\
         It starts a website, an echo server in the place of Shadowsocks, and both halves of the plugin. It sends {} MB\n\
         through the tunnel and back and compares every byte, then visits the server as a browser would.\n\
         That takes seconds, at most {}.\n",
        env!("CARGO_PKG_VERSION"),
        VOLUME / 1_000_000,
        PATIENCE.as_secs()
    ));
    let seen = match timeout(PATIENCE, demonstrate()).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(error)) => {
            say(format_args!("\nThe demonstration broke off: {error}"));
            return ExitCode::FAILURE;
        }
        Err(_) => {
            say(format_args!("\nThe demonstration did not end within {} s.", PATIENCE.as_secs()));
            return ExitCode::FAILURE;
        }
    };
    if !seen.held {
        say("\nNot all of it held.");
        return ExitCode::FAILURE;
    }
    say("\nAll of it held.");
    if stay && let Err(error) = stay_until_told(seen.server).await {
        say(format_args!("\nThe demonstration cannot stay: {error}"));
        return ExitCode::FAILURE;
    }
    say_what_is_next(stay);
    ExitCode::SUCCESS
}

/// Serves on until Enter, the end of standard input, or a signal that asks for the end.
async fn stay_until_told(server: SocketAddr) -> io::Result<()> {
    let (mut signals, _) = CaughtSignals::catch()?.listen()?;
    let (enter, entered) = oneshot::channel();
    // It may never return, and ends with the process.
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let _ = io::stdin().lock().bytes().take_while(|byte| !matches!(byte, Ok(b'\n') | Err(_))).last();
        let _ = enter.send(());
    })?;
    say(format_args!(
        "\nOpen http://{server}/ in a browser: the server half answers, and shows the website behind it.\n\
         Press Enter to end."
    ));
    tokio::select! {
        _ = entered => Ok(()),
        signal = signals.recv() => signal.map(|_| ()),
    }
}

/// Says what to do next.
fn say_what_is_next(stayed: bool) {
    let program = std::env::args_os().next().unwrap_or_else(|| "obfs-rs".into());
    let program = program.to_string_lossy().escape_debug().to_string();
    say("\nNext:");
    if !stayed {
        say(format_args!("  {program} demo --stay   the same, and a page to look at in a browser"));
    }
    say(format_args!("  {program} help server   the options of a server"));
    say(
        "  README.md   a server and a client of your own; docs/recipes.md   the same behind nginx, Caddy and others",
    );
}

/// What the demonstration has seen.
struct Seen {
    /// All of it was as it should be.
    held: bool,
    /// Where the server half listens.
    server: SocketAddr,
}

async fn demonstrate() -> Result<Seen> {
    let site = start(answer_as_site).await?;
    let echo = start(echo).await?;
    let tunnel = TunnelConfig::default();

    let server = Server::bind(
        ServerConfig {
            listen: vec![loopback(0)],
            backend: loopback(echo.port()),
            rules: Rules {
                http: Some(HttpRule {
                    method: "GET".into(),
                    path: None,
                    host: None,
                    web_path: None,
                    routes: Default::default(),
                }),
                ..Rules::default()
            },
            failover: Failover { plain: Website::Port(loopback(site.port())), ..Failover::default() },
            auto: false,
            names: Vec::new(),
            routes: BackendRoutes::default(),
            tls: None,
            quic: None,
            fronts: TrustedProxies::default(),
            limits: LimitOptions::default(),
            grpc_alone: false,
            udp: false,
        },
        &tunnel,
        HandedOver::default(),
    )?;
    let server_address = *server.addresses().first().ok_or("the server half listens nowhere")?;
    tokio::spawn(async move { server.run().await });

    let client = Client::bind(
        ClientConfig {
            listen: vec![loopback(0)],
            servers: vec![loopback(server_address.port())],
            proxy: None,
            disguise: ClientDisguise::Http(
                RequestConfig { method: "GET".into(), path: "/".into(), host: "www.bing.com".into() },
                Handshake::Eager,
            ),
            udp: false,
        },
        &tunnel,
        HandedOver::default(),
    )?;
    let client_address = *client.addresses().first().ok_or("the client half listens nowhere")?;
    tokio::spawn(async move { client.run().await });

    say(format_args!("  website                     {site}"));
    say(format_args!("  server half, the open port  {server_address}"));
    say(format_args!("  client half, for the app    {client_address}\n"));

    let echoed = push(client_address).await?;
    say(format_args!(
        "  through the tunnel and back  {} MB each way, {}, {:.2} Gbit/s each way",
        echoed.bytes / 1_000_000,
        if echoed.intact { "every byte as it was sent" } else { "DAMAGED" },
        echoed.bytes as f64 * 8.0 / echoed.took.as_secs_f64() / 1e9,
    ));

    let from_site = visit(site).await?;
    let from_server = visit(server_address).await?;
    let same = from_site == from_server;
    say(format_args!(
        "  a visitor at the open port   {} bytes, {}",
        from_server.len(),
        if same { "equal to the website's own answer" } else { "NOT what the website answers" }
    ));
    Ok(Seen { held: echoed.intact && echoed.bytes == VOLUME && same, server: server_address })
}

fn loopback(port: u16) -> HostPort {
    HostPort { host: Host::Ip(Ipv4Addr::LOCALHOST.into()), port }
}

/// Starts something that serves connections on a port of its own.
async fn start<S, C>(serve: S) -> io::Result<SocketAddr>
where
    S: Fn(TcpStream) -> C + Send + 'static,
    C: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    Ok(address)
}

/// A website of one page.
async fn answer_as_site(mut visitor: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 8192 {
        if timeout(VISIT, visitor.read_buf(&mut head)).await?? == 0 {
            return Ok(());
        }
    }
    let page =
        "<!doctype html><title>A small shop</title><h1>A small shop</h1><p>Open from nine to five.</p>\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
        page.len()
    );
    visitor.write_all(answer.as_bytes()).await?;
    visitor.shutdown().await
}

/// Sends back what comes.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = stream.into_split();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let n = from.read(&mut buffer).await?;
        let Some(bytes) = buffer.get(..n).filter(|bytes| !bytes.is_empty()) else {
            return to.shutdown().await;
        };
        to.write_all(bytes).await?;
    }
}

/// What came back from the echo.
struct Echoed {
    bytes: u64,
    intact: bool,
    took: Duration,
}

/// Bytes that do not repeat soon, so that none can be lost or swapped unseen.
fn fill(block: &mut [u8], state: &mut u64) {
    for chunk in block.chunks_mut(8) {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for (byte, fresh) in chunk.iter_mut().zip((*state >> 8).to_le_bytes()) {
            *byte = fresh;
        }
    }
}

/// Pushes the volume through the tunnel and reads it back.
async fn push(client: SocketAddr) -> Result<Echoed> {
    const BLOCK: usize = 64 * 1024;
    let began = Instant::now();
    let (mut from, mut to) = TcpStream::connect(client).await?.into_split();
    let sender = tokio::spawn(async move {
        let (mut block, mut state, mut left) = (vec![0; BLOCK], 1, VOLUME);
        while left > 0 {
            fill(&mut block, &mut state);
            let part = left.min(BLOCK as u64);
            to.write_all(block.get(..part as usize).unwrap_or_default()).await?;
            left -= part;
        }
        to.shutdown().await
    });
    let (mut wanted, mut block, mut state) = (vec![0; BLOCK], vec![0; BLOCK], 1);
    let (mut bytes, mut intact) = (0u64, true);
    while bytes < VOLUME {
        fill(&mut wanted, &mut state);
        let part = (VOLUME - bytes).min(BLOCK as u64) as usize;
        let (Some(block), Some(wanted)) = (block.get_mut(..part), wanted.get(..part)) else { break };
        from.read_exact(block).await?;
        intact &= block == wanted;
        let quarters = bytes * 4 / VOLUME;
        bytes += part as u64;
        if bytes * 4 / VOLUME > quarters && bytes < VOLUME {
            say(format_args!("  {} of {} MB", bytes / 1_000_000, VOLUME / 1_000_000));
        }
    }
    let took = began.elapsed();
    sender.await??;
    // The half-close that the sender made has come round, and nothing came before it.
    let mut rest = Vec::new();
    intact &= from.read_to_end(&mut rest).await? == 0;
    Ok(Echoed { bytes, intact, took })
}

/// What a browser gets.
async fn visit(address: SocketAddr) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: demo\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
