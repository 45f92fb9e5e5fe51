//! UDP with the option `udp`: between our halves in every carrier (here), who takes none (`refused`), hand-made frames
//! (`raw`), and under real hosts and with Debian's v2ray-plugin (`hosts`).

mod hosts;
mod raw;
mod refused;

use crate::support::conn::{assert_echo, connect};
use crate::support::peers::need;
use crate::support::plugin::Plugin;
use crate::support::udp::{Carrier, Echo, Pair, assert_echoed, next, packet, reach, source};
use crate::support::{STEP, eventually, noise, secs, within};

/// A number of a process, in kB, from /proc.
fn resident(plugin: &Plugin) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{}/status", plugin.child.pid())).expect("its status");
    let line = text.lines().find(|line| line.starts_with("VmRSS")).expect("the number");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
}

fn open_files(plugin: &Plugin) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", plugin.child.pid())).expect("its descriptors").count()
}

/// Packets of these lengths come back as they were, one for one, and a tunnel beside them is unharmed.
fn lengths(carrier: Carrier, passed: &'static [usize], dropped: &'static [usize]) {
    within(secs(120), move || {
        need!("openssl");
        let echo = Echo::start();
        let pair = Pair::start(carrier, echo.addr);
        let tunnel = connect(pair.client.addr);
        assert_echo(&tunnel, b"before");
        let source = source(pair.client.addr);
        reach(&source, b"the first");
        for len in passed {
            assert_echoed(&source, &packet(*len));
        }
        for len in dropped {
            let before = echo.received();
            source.send(&packet(*len)).expect("send a packet");
            // The next one's answer comes, and none before it.
            assert_echoed(&source, &packet(77));
            assert_eq!(echo.received(), before + 1, "a packet of {len} bytes came through");
        }
        assert_echo(&tunnel, &noise(100_000, 3));
    });
}

/// What every carrier passes.
const SHORT: &[usize] = &[0, 1, 2, 512, 1200, 1280, 1452, 1472, 1500, 2047, 2048];

/// Lengths around everything that may limit one, to the longest that IPv4 carries.
const ALL: &[usize] =
    &[0, 1, 2, 512, 1200, 1280, 1452, 1472, 1500, 2048, 2049, 8192, 8193, 16_384, 40_000, 65_000, 65_507];

#[test]
fn mux_carries_packets_of_every_length() {
    lengths(Carrier::Mux, ALL, &[]);
}

#[test]
fn websocket_carries_packets_of_every_length() {
    lengths(Carrier::WebSocket, ALL, &[]);
}

#[test]
fn grpc_carries_packets_that_v2ray_takes_and_drops_longer_ones() {
    lengths(Carrier::Grpc, SHORT, &[2049, 8192, 65_507]);
}

#[test]
fn quic_carries_packets_of_every_length() {
    lengths(Carrier::Quic, ALL, &[]);
}

/// Each of many sources hears its own answers, in any order, and nobody else's.
fn many_sources(carrier: Carrier) {
    within(secs(120), move || {
        need!("openssl");
        const SOURCES: usize = 200;
        let echo = Echo::start();
        let pair = Pair::start(carrier, echo.addr);
        let sources: Vec<_> = (0..SOURCES).map(|_| source(pair.client.addr)).collect();
        for (i, source) in sources.iter().enumerate() {
            reach(source, format!("from {i}").as_bytes());
        }
        for round in 0..3 {
            // No more at a time than fits into the buffer of the echo's socket.
            for some in (0..SOURCES).step_by(50) {
                let some = some..some + 50;
                for i in some.clone() {
                    sources[i].send(&noise(300 + i, (round * SOURCES + i) as u64)).expect("send a packet");
                }
                for i in some {
                    let source = &sources[i];
                    let answer = next(source).unwrap_or_else(|e| panic!("source {i}: {e}; {}", pair.logs()));
                    let sent = noise(300 + i, (round * SOURCES + i) as u64);
                    assert!(answer == sent, "source {i} hears another's");
                }
            }
        }
    });
}

/// A source that is another for each packet: the sessions, their memory and their descriptors stay bounded, and tunnels
/// go on.
fn changing_sources(carrier: Carrier) {
    within(secs(200), move || {
        need!("openssl");
        const SOURCES: usize = 5000;
        let echo = Echo::silent();
        let pair = Pair::start(carrier, echo.addr);
        let tunnel = connect(pair.client.addr);
        assert_echo(&tunnel, b"before");
        for i in 0..SOURCES {
            source(pair.client.addr).send(&packet(200)).expect("send a packet");
            if i % 500 == 0 {
                assert_echo(&tunnel, &noise(2000, i as u64));
            }
        }
        assert_echo(&tunnel, &noise(100_000, 9));
        assert!(eventually(STEP, || echo.received() > 0), "{}", pair.logs());
        for half in [&pair.client, &pair.server] {
            // A session has a descriptor or two in a half; a few more are everybody's.
            let (files, memory) = (open_files(half), resident(half));
            assert!(files < 2 * 1024 + 200, "{files} descriptors");
            assert!(memory < 160 * 1024, "{memory} kB");
        }
        assert_echo(&connect(pair.client.addr), b"after");
    });
}

macro_rules! in_every_carrier {
    ($($name:ident: $what:ident, $carrier:ident;)*) => {$(
        #[test]
        fn $name() {
            $what(Carrier::$carrier);
        }
    )*};
}

in_every_carrier! {
    mux_keeps_many_sources_apart: many_sources, Mux;
    websocket_keeps_many_sources_apart: many_sources, WebSocket;
    grpc_keeps_many_sources_apart: many_sources, Grpc;
    quic_keeps_many_sources_apart: many_sources, Quic;
    mux_bears_a_source_that_changes: changing_sources, Mux;
    websocket_bears_a_source_that_changes: changing_sources, WebSocket;
    grpc_bears_a_source_that_changes: changing_sources, Grpc;
    quic_bears_a_source_that_changes: changing_sources, Quic;
}
