//! UDP through both halves: how many packets arrive, how many are lost, whether they are what was sent, and what that
//! costs. `scripts/bench-udp --help` tells how it is used.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it goes by the system's clock, and nothing else runs on its threads"
)]

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: scripts/bench-udp [--binary PATH] [--size BYTES] [--rates N,N] [--seconds S] [--packets N] [--only A,B]

Sends UDP packets through a client half and a server half on loopback, each packet with its number and with bytes that
follow from it, and looks at what arrives.

  --binary PATH   the program (default: the release build)
  --size BYTES    of a packet (default 1200)
  --rates N,N     packets a second, one run each (default 25000,50000,100000,200000)
  --seconds S     of a run (default 5)
  --packets N     and one run of so many packets at 50,000 a second (default: none)
  --only A,B      of mux, websocket, grpc, quic, mux-v2ray (with Debian's v2ray-plugin as the server)

Temporary files are in $TMPDIR. Each row is one run; the CPU time is that of both halves, for a million packets.
";

struct Settings {
    binary: PathBuf,
    size: usize,
    rates: Vec<u64>,
    seconds: u64,
    packets: Option<u64>,
    only: Option<Vec<String>>,
}

/// What carries the packets: its name, and the options of both halves.
const CARRIERS: [(&str, &str, &str); 5] = [
    ("mux", "mode=websocket;host=a.example;path=/p;udp", "server;path=/p;udp"),
    ("websocket", "mode=websocket;host=a.example;path=/p;mux=0;udp", "server;path=/p;udp"),
    ("grpc", "mode=grpc;host=a.example;serviceName=p;udp", "server;serviceName=p;udp"),
    ("quic", "mode=quic;host=a.example;cert={cert};udp", "server;mode=quic;cert={cert};key={key};udp"),
    (
        "mux-v2ray",
        "mode=websocket;host=a.example;path=/p;udp",
        "server;mode=websocket;host=a.example;path=/p",
    ),
];

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if wanted.iter().any(|word| word == "--help" || word == "-h") {
        print!("{USAGE}");
        return;
    }
    if let Err(error) = settings(&wanted).and_then(|settings| measure(&settings)) {
        eprintln!("bench-udp: {error}");
        std::process::exit(1);
    }
}

fn settings(words: &[String]) -> Result<Settings> {
    let mut settings = Settings {
        binary: "target/release/obfs-rs".into(),
        size: 1200,
        rates: vec![25_000, 50_000, 100_000, 200_000],
        seconds: 5,
        packets: None,
        only: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let numbers = || value.split(',').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>();
        match word.as_str() {
            "--binary" => settings.binary = value.into(),
            "--size" => settings.size = value.parse()?,
            "--rates" => settings.rates = numbers()?,
            "--seconds" => settings.seconds = value.parse()?,
            "--packets" => settings.packets = Some(value.parse()?),
            "--only" => settings.only = Some(value.split(',').map(Into::into).collect()),
            _ => return Err(format!("unknown option {word}; see --help").into()),
        }
    }
    if settings.size < 8 {
        return Err("a packet has its number in it: it has 8 bytes at least".into());
    }
    Ok(settings)
}

fn measure(settings: &Settings) -> Result<()> {
    let folder = std::env::temp_dir().join(format!("obfs-rs-bench-udp-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = measure_in(settings, &folder);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure_in(settings: &Settings, folder: &std::path::Path) -> Result<()> {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-keyout", &key, "-out", &cert, "-days", "2", "-subj", "/CN=a.example"])
        .args(["-addext", "subjectAltName=DNS:a.example"])
        .stderr(Stdio::null())
        .status()?;
    if !made.success() {
        return Err("openssl makes no certificate".into());
    }
    println!("| carrier | packets/s sent | arrived | lost | changed | CPU s per 10⁶ | of it the client |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, client, server) in CARRIERS {
        if settings.only.as_ref().is_some_and(|only| !only.iter().any(|one| one == name)) {
            continue;
        }
        let with_files = |options: &str| options.replace("{cert}", &cert).replace("{key}", &key);
        let of_server = if name == "mux-v2ray" { "ss-v2ray-plugin".into() } else { settings.binary.clone() };
        let halves = Halves::start(&settings.binary, &with_files(client), &of_server, &with_files(server));
        let Ok(halves) = halves else {
            println!("| {name} | {} cannot be started | | | | | |", of_server.display());
            continue;
        };
        let runs = settings.rates.iter().map(|rate| (*rate, rate * settings.seconds));
        for (rate, packets) in runs.chain(settings.packets.map(|packets| (50_000, packets))) {
            println!("{}", halves.run(name, rate, packets, settings.size)?);
        }
    }
    Ok(())
}

/// Both halves, and the ends of what they carry.
struct Halves {
    client: Child,
    server: Child,
    source: UdpSocket,
    sink: UdpSocket,
}

impl Drop for Halves {
    fn drop(&mut self) {
        for half in [&mut self.client, &mut self.server] {
            let _ = half.kill();
            let _ = half.wait();
        }
    }
}

fn half(program: &PathBuf, local: u16, remote: u16, options: &str) -> io::Result<Child> {
    Command::new(program)
        .env("SS_LOCAL_HOST", "127.0.0.1")
        .env("SS_LOCAL_PORT", local.to_string())
        .env("SS_REMOTE_HOST", "127.0.0.1")
        .env("SS_REMOTE_PORT", remote.to_string())
        .env("SS_PLUGIN_OPTIONS", options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}

impl Halves {
    fn start(client: &PathBuf, of_client: &str, server: &PathBuf, of_server: &str) -> Result<Halves> {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let sink = UdpSocket::bind(at(0))?;
        // What is lost in this program is nobody's loss.
        socket2::SockRef::from(&sink).set_recv_buffer_size(32 << 20)?;
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size_force(&sink, 32 << 20);
        let free = || -> io::Result<u16> { Ok(UdpSocket::bind(at(0))?.local_addr()?.port()) };
        let (public, near) = (free()?, free()?);
        let server = half(server, sink.local_addr()?.port(), public, of_server)?;
        let client = half(client, near, public, of_client)?;
        let source = UdpSocket::bind(at(0))?;
        source.connect(at(near))?;
        let mut halves = Halves { client, server, source, sink };
        halves.wait(near)?;
        Ok(halves)
    }

    /// Waits until a packet goes through.
    fn wait(&mut self, near: u16) -> Result<()> {
        self.sink.set_read_timeout(Some(Duration::from_millis(200)))?;
        let began = Instant::now();
        let mut buffer = [0; 64];
        while began.elapsed() < Duration::from_secs(20) {
            if self.client.try_wait()?.is_some() || self.server.try_wait()?.is_some() {
                return Err("a half has ended".into());
            }
            // (it is refused until the port is there)
            let _ = self.source.send(b"hello");
            if self.sink.recv(&mut buffer).is_ok_and(|len| len == 5) {
                return Ok(());
            }
            let _ = TcpStream::connect(("127.0.0.1", near));
        }
        Err("no packet goes through".into())
    }

    /// Sends so many packets at this rate.
    fn run(&self, name: &str, rate: u64, packets: u64, size: usize) -> Result<String> {
        let before = [cpu(&self.client)?, cpu(&self.server)?];
        let (is_over, changed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let receiving = {
            let (sink, is_over, changed) =
                (self.sink.try_clone()?, Arc::clone(&is_over), Arc::clone(&changed));
            thread::spawn(move || receive(&sink, size, packets, &is_over, &changed))
        };
        let took = send(&self.source, rate, packets, size)?;
        is_over.store(true, Ordering::Relaxed);
        let arrived = receiving.join().map_err(|_| "a thread has ended")?;
        let after = [cpu(&self.client)?, cpu(&self.server)?];
        let [of_client, of_server] = [after[0] - before[0], after[1] - before[1]];
        let million = |seconds: f64| seconds / packets as f64 * 1e6;
        let mut row =
            format!("| {name} | {:.0} | {arrived} of {packets} ", packets as f64 / took.as_secs_f64());
        write!(
            row,
            "| {:.3} % | {} | {:.2} | {:.2} |",
            (packets.saturating_sub(arrived)) as f64 * 100.0 / packets as f64,
            changed.load(Ordering::Relaxed),
            million(of_client + of_server),
            million(of_client),
        )?;
        Ok(row)
    }
}

/// The bytes of a packet follow from its number, which stands in front.
fn fill(packet: &mut [u8], number: u64) {
    let (head, body) = packet.split_at_mut(8);
    head.copy_from_slice(&number.to_be_bytes());
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for chunk in body.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

/// Sends the packets, as many at a time as are due. Returns how long that took.
fn send(socket: &UdpSocket, rate: u64, packets: u64, size: usize) -> Result<Duration> {
    const PAUSE: Duration = Duration::from_micros(100);
    let mut packet = vec![0; size];
    let began = Instant::now();
    let mut sent = 0;
    while sent < packets {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        if sent >= due {
            thread::sleep(PAUSE);
            continue;
        }
        for number in sent..due.min(packets) {
            fill(&mut packet, number);
            socket.send(&packet)?;
        }
        sent = due.min(packets);
    }
    Ok(began.elapsed())
}

/// Counts the packets that arrive, each once, until all have or nothing comes any more.
fn receive(
    socket: &UdpSocket,
    size: usize,
    packets: u64,
    is_over: &AtomicBool,
    changed: &AtomicUsize,
) -> u64 {
    let mut seen = vec![false; packets as usize];
    let (mut buffer, mut wanted) = (vec![0; 65_536], vec![0; size]);
    let mut arrived = 0;
    // (the socket has a time-out of its own)
    let mut silent = 0;
    while arrived < packets && silent < 5 {
        let Ok(len) = socket.recv(&mut buffer) else {
            silent += u32::from(is_over.load(Ordering::Relaxed));
            continue;
        };
        silent = 0;
        let packet = &buffer[..len];
        let number = packet.first_chunk().map_or(u64::MAX, |head| u64::from_be_bytes(*head));
        let is_new = seen.get_mut(number as usize).is_some_and(|seen| !std::mem::replace(seen, true));
        if is_new {
            fill(&mut wanted, number);
        }
        if is_new && packet == wanted {
            arrived += 1;
        } else {
            changed.fetch_add(1, Ordering::Relaxed);
        }
    }
    arrived
}

/// The CPU time that a process has used, in seconds.
fn cpu(process: &Child) -> Result<f64> {
    /// Of the clock of /proc, a second.
    const TICKS: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id()))?;
    let behind = stat.rsplit_once(')').ok_or("no process")?.1;
    let mut fields = behind.split_whitespace().skip(11).map(str::parse::<f64>);
    let mut next = || fields.next().ok_or("a short line")?.map_err(|_| "no number");
    Ok((next()? + next()?) / TICKS)
}
