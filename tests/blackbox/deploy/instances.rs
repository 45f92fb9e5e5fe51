//! Three instances behind a real Envoy, by `deploy/envoy/tcp.yaml`: one is killed, one is drained and replaced, Envoy
//! reloads; while hundreds of tunnels and visitors are there.

use super::instance::{FRONT, Instance, Names, PAGE, admin, envoy, try_tunnel, wait_healthy};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, fin, prepare, recv_to_end};
use crate::support::deployed::{Machine, NAME, local, text};
use crate::support::peers::need;
use crate::support::{STEP, eventually, millis, noise, secs, settled};
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const TUNNELS: usize = 300;

/// `interval` of the health check in `deploy/envoy/tcp.yaml`.
const INTERVAL: Duration = Duration::from_secs(2);

/// What a loaded machine may add.
const SLACK: Duration = Duration::from_secs(2);

/// Numbers of instances go up to here.
const MOST: usize = 8;

/// What all tunnels and visitors share.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    /// How often all were asked to end in order and begin anew.
    renewals: AtomicUsize,
    on: [OnInstance; MOST],
    /// What must not be.
    faults: Mutex<Vec<String>>,
    /// The longest time in which somebody got no new tunnel or no page, whatever it tried.
    longest_outage: Mutex<Duration>,
    visits: AtomicUsize,
}

/// What there is on one instance.
#[derive(Default)]
struct OnInstance {
    open: AtomicUsize,
    /// Tunnels that it got, ever.
    got: AtomicUsize,
    /// Its tunnels may break.
    killed: AtomicBool,
    /// Its tunnels are to end in order.
    finish: AtomicBool,
    /// Those that did, to the last byte.
    whole: AtomicUsize,
    /// Messages that came back.
    rounds: AtomicUsize,
}

impl Load {
    fn fault(&self, what: String) {
        self.faults.lock().expect("faults").push(what);
    }

    fn assert_no_faults(&self) {
        let faults = self.faults.lock().expect("faults");
        assert!(
            faults.is_empty(),
            "{} faults, the first: {:?}",
            faults.len(),
            &faults[..faults.len().min(10)]
        );
    }

    fn open(&self) -> usize {
        self.on.iter().map(|on| on.open.load(Ordering::SeqCst)).sum()
    }

    /// How many are open on each of the first instances.
    fn spread(&self) -> Vec<usize> {
        self.on.iter().map(|on| on.open.load(Ordering::SeqCst)).collect()
    }

    /// Waits until something holds, and fails at the first fault.
    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let there = eventually(STEP, || !self.faults.lock().expect("faults").is_empty() || holds());
        self.assert_no_faults();
        assert!(there, "not in time: {what}; open are {:?}; {}", self.spread(), admin("/clusters"));
    }

    /// Waits until all tunnels are open, none of them on `without`.
    #[track_caller]
    fn wait_all_open(&self, without: &[u8]) {
        self.wait("all tunnels are open", || {
            self.open() == TUNNELS
                && without.iter().all(|number| self.on[usize::from(*number)].open.load(Ordering::SeqCst) == 0)
        });
    }

    /// Waits until every tunnel has carried a few more messages.
    #[track_caller]
    fn wait_rounds(&self, numbers: &[u8]) {
        for number in numbers {
            let on = &self.on[usize::from(*number)];
            let wanted = on.rounds.load(Ordering::SeqCst) + 4 * on.open.load(Ordering::SeqCst);
            self.wait("bytes go on", || on.rounds.load(Ordering::SeqCst) >= wanted);
        }
    }

    /// Ends all tunnels in order, which begin anew.
    #[track_caller]
    fn renew(&self) {
        let whole = || self.on.iter().map(|on| on.whole.load(Ordering::SeqCst)).sum::<usize>();
        let before = whole();
        self.renewals.fetch_add(1, Ordering::SeqCst);
        self.wait("all tunnels have ended in order", || whole() - before >= TUNNELS);
        self.wait_all_open(&[]);
    }

    /// The load is on all of these, on none of them much less than its part. (Sessions of mux come in heaps.)
    #[track_caller]
    fn assert_spread(&self, numbers: &[u8]) {
        for number in numbers {
            let open = self.on[usize::from(*number)].open.load(Ordering::SeqCst);
            assert!(open * numbers.len() * 3 > TUNNELS, "{number} has {open}: {:?}", self.spread());
        }
    }

    /// A tunnel and those that come after it, to the end of the test.
    fn tunnels(&self, proxy: SocketAddr, target: SocketAddr, seed: u64) {
        let mut outage = Outage::default();
        let mut message = 0;
        while !self.stop.load(Ordering::SeqCst) {
            let renewals = self.renewals.load(Ordering::SeqCst);
            let began = Instant::now();
            let Ok((stream, number)) = try_tunnel(proxy, target) else {
                outage.failed(self, began);
                continue;
            };
            outage.over(self);
            let on = &self.on[usize::from(number)];
            on.got.fetch_add(1, Ordering::SeqCst);
            on.open.fetch_add(1, Ordering::SeqCst);
            let mut end = Ok(());
            while end.is_ok() {
                message += 1;
                end = echo(&stream, &noise(1 + (message * 977) % 9_000, seed + message as u64));
                on.rounds.fetch_add(1, Ordering::SeqCst);
                let renewed = self.renewals.load(Ordering::SeqCst) != renewals;
                if renewed || on.finish.load(Ordering::SeqCst) || self.stop.load(Ordering::SeqCst) {
                    break;
                }
                std::thread::sleep(millis(100));
            }
            if end.is_ok() {
                end = ends_whole(&stream, seed);
                if end.is_ok() {
                    on.whole.fetch_add(1, Ordering::SeqCst);
                }
            }
            on.open.fetch_sub(1, Ordering::SeqCst);
            if let Err(error) = end
                && !on.killed.load(Ordering::SeqCst)
            {
                self.fault(format!("a tunnel on {number} at {proxy} broke at message {message}: {error}"));
            }
        }
    }

    /// New tunnels, one after another.
    fn new_tunnels(&self, proxy: SocketAddr, target: SocketAddr) {
        let mut outage = Outage::default();
        while !self.stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            match try_tunnel(proxy, target).and_then(|(stream, _)| echo(&stream, b"a short one")) {
                Ok(()) => outage.over(self),
                Err(_) => outage.failed(self, began),
            }
            std::thread::sleep(millis(20));
        }
    }

    /// Visitors of the website, one after another.
    fn visitors(&self, page: &[u8]) {
        let mut outage = Outage::default();
        while !self.stop.load(Ordering::SeqCst) {
            let began = Instant::now();
            match visit(page) {
                Ok(()) => {
                    self.visits.fetch_add(1, Ordering::SeqCst);
                    outage.over(self);
                }
                Err(_) => outage.failed(self, began),
            }
            std::thread::sleep(millis(20));
        }
    }
}

/// Since when nothing has come of it.
#[derive(Default)]
struct Outage(Option<Instant>);

impl Outage {
    fn failed(&mut self, load: &Load, began: Instant) {
        let since = *self.0.get_or_insert(began);
        load.note_outage(since.elapsed());
        std::thread::sleep(millis(20));
    }

    fn over(&mut self, load: &Load) {
        if let Some(since) = self.0.take() {
            load.note_outage(since.elapsed());
        }
    }
}

impl Load {
    fn note_outage(&self, outage: Duration) {
        let mut longest = self.longest_outage.lock().expect("the longest outage");
        *longest = outage.max(*longest);
    }

    /// Since the last time that it was asked.
    #[track_caller]
    fn assert_short_outage(&self, what: &str) {
        let longest = std::mem::take(&mut *self.longest_outage.lock().expect("the longest outage"));
        eprintln!("{what}: {longest:?} without a new tunnel or a page at most; open are {:?}", self.spread());
        assert!(longest <= INTERVAL + SLACK, "{what}: nothing new for {longest:?}");
    }
}

fn echo(mut stream: &TcpStream, message: &[u8]) -> io::Result<()> {
    stream.write_all(message)?;
    let mut back = vec![0; message.len()];
    stream.read_exact(&mut back)?;
    if back == message { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

/// Everything that was said before the end arrives, and the end itself.
fn ends_whole(mut stream: &TcpStream, seed: u64) -> io::Result<()> {
    let last = noise(20_000, seed);
    stream.write_all(&last)?;
    fin(stream);
    match recv_to_end(stream, STEP) {
        (back, End::Fin) if back == last => Ok(()),
        (back, end) => Err(io::Error::other(format!("{} bytes of {}, then {end:?}", back.len(), last.len()))),
    }
}

fn visit(page: &[u8]) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&local(80), STEP)?;
    prepare(&stream);
    stream
        .write_all(format!("GET {PAGE} HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let (answer, end) = recv_to_end(&stream, STEP);
    if end == End::Fin && answer.ends_with(page) { Ok(()) } else { Err(io::Error::other("no page")) }
}

/// An echo that says first through which instance it was reached.
fn numbered_echo() -> Backend {
    Backend::serve_on(SocketAddr::from((FRONT, 0)), |mut stream| {
        let Ok(SocketAddr::V4(peer)) = stream.peer_addr() else { return };
        if stream.write_all(&peer.ip().octets()[3..]).is_ok()
            && let Ok(mut from) = stream.try_clone()
            && io::copy(&mut from, &mut stream).is_ok()
        {
            fin(&stream);
        }
    })
}

/// Shadowsocks clients, by the files of `deploy/` but for their ports: WebSocket in TLS, `obfs=http`, and mux.
fn clients(machine: &Machine) -> [(Child, SocketAddr); 3] {
    [("client.json", 1080, ""), ("client-http.json", 1081, ""), ("client.json", 1082, ";mux=4")].map(
        |(name, port, more)| {
            let config = text(&format!("shadowsocks/{name}"))
                .replace("1080", &port.to_string())
                .replace("/a-path-of-your-own\"", &format!("/a-path-of-your-own{more}\""));
            let config = machine.put(&format!("/etc/client-{port}.json"), config).display().to_string();
            (machine.serve(&format!("sslocal {port}"), &[port], &["sslocal", "-c", &config]), local(port))
        },
    )
}

/// What a process holds now: sockets, and KiB in memory. (Of other descriptors it keeps some pipes for later.)
fn held(process: &Child) -> (usize, usize) {
    let proc = |name: &str| format!("/proc/{}/{name}", process.pid());
    let links = std::fs::read_dir(proc("fd")).expect("its descriptors");
    let links = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    let sockets = links.filter(|link| link.to_string_lossy().starts_with("socket:")).count();
    let status = std::fs::read_to_string(proc("status")).expect("its memory");
    let resident =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().split(' ').next()?.parse().ok());
    (sockets, resident.expect("VmRSS"))
}

#[test]
fn tunnels_notice_nothing_of_what_happens_to_others() {
    Machine::with(secs(150), |machine| {
        need!("envoy", "ssserver", "sslocal", "nginx", "openssl");
        assert!(text("envoy/tcp.yaml").contains("      interval: 2s\n"), "INTERVAL is another");
        let _certificate = machine.certificate(NAME);
        let page = noise(300_000, 1);
        machine.put(&format!("/srv/website{PAGE}"), &page);
        let one = Instance::new(machine, 1);
        let two = Instance::new(machine, 2);
        let three = Instance::new(machine, 3);
        let four = Instance::new(machine, 4);
        let mut obfs_one = one.start(machine, &[]);
        let obfs_two = two.start(machine, &[]);
        let obfs_three = three.start(machine, &[]);
        let names = Names::serve(machine, &[1, 2, 3]);
        let old_envoy = envoy(machine, 0);
        wait_healthy(&[1, 2, 3]);
        let clients = clients(machine);
        let target = numbered_echo();
        let sockets = settled(|| held(&obfs_three).0);
        let memory = held(&obfs_three).1;

        let load = Load::default();
        let (obfs_four, new_envoy) = std::thread::scope(|scope| {
            let _stop = Stop(&load);
            for seed in 0..TUNNELS {
                let (proxy, load, target) = (clients[seed % clients.len()].1, &load, target.addr);
                scope.spawn(move || load.tunnels(proxy, target, seed as u64));
            }
            for (_, proxy) in &clients {
                let (load, target) = (&load, target.addr);
                scope.spawn(move || load.new_tunnels(*proxy, target));
            }
            for _ in 0..2 {
                scope.spawn(|| load.visitors(&page));
            }
            load.wait_all_open(&[]);
            load.assert_spread(&[1, 2, 3]);
            load.assert_short_outage("the start");

            // One dies.
            load.on[1].killed.store(true, Ordering::SeqCst);
            obfs_one.signal(Signal::KILL);
            load.wait_all_open(&[1]);
            load.wait_rounds(&[2, 3]);
            load.assert_short_outage("one was killed");
            obfs_one = one.start(machine, &[]);
            wait_healthy(&[1, 2, 3]);
            load.on[1].killed.store(false, Ordering::SeqCst);

            // One is drained, and another address takes its place.
            obfs_two.signal(Signal::TERM);
            obfs_two.wait_text("draining: ");
            wait_healthy(&[1, 3]);
            let got = load.on[2].got.load(Ordering::SeqCst);
            let obfs_four = four.start(machine, &[]);
            names.set(&[1, 3, 4]);
            wait_healthy(&[1, 3, 4]);
            load.wait_rounds(&[2]);
            assert_eq!(load.on[2].got.load(Ordering::SeqCst), got, "it drains, and got new tunnels");
            assert!(load.on[2].open.load(Ordering::SeqCst) > 0, "its tunnels go on");
            load.on[2].finish.store(true, Ordering::SeqCst);
            load.wait_all_open(&[2]);
            assert_eq!(obfs_two.wait_exit(STEP), Exit::Code(0));
            obfs_two.wait_text("all connections have ended");
            load.assert_short_outage("one was drained");

            // Envoy reloads.
            let new_envoy = envoy(machine, 1);
            wait_healthy(&[1, 3, 4]);
            load.wait_rounds(&[1, 3, 4]);
            assert_eq!(old_envoy.peek_exit(), None, "{}", old_envoy.show_log());
            load.assert_short_outage("Envoy was reloaded");

            // The load is everywhere again.
            load.renew();
            load.wait_rounds(&[1, 3, 4]);
            load.assert_spread(&[1, 3, 4]);
            load.assert_short_outage("all tunnels began anew");
            (obfs_four, new_envoy)
        });
        load.assert_no_faults();
        assert_eq!(load.open(), 0);
        assert!(load.visits.load(Ordering::SeqCst) > 20);
        drop((clients, obfs_one, obfs_four));
        assert_eq!(new_envoy.peek_exit(), None, "{}", new_envoy.show_log());
        // Nothing is left of all that.
        let mut after = (0, 0);
        let back = eventually(STEP, || {
            after = held(&obfs_three);
            after.0 <= sockets && three.metrics().now().sum("tunnels_open") == 0.0
        });
        assert!(back, "{} sockets are held, {sockets} were", after.0);
        assert!(after.1 <= memory + 16 * 1024, "{} KiB are held, {memory} were", after.1);
    });
}

/// The load ends with the test, also where that fails.
struct Stop<'a>(&'a Load);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}
