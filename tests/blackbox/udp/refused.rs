//! Who takes no UDP: a server without the option, a client without it, and modes that cannot have it.

use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect};
use crate::support::peers::need;
use crate::support::plugin::{Vars, ours};
use crate::support::ports::free_port;
use crate::support::udp::{Carrier, Echo, Pair, packet, source};
use crate::support::{STEP, eventually, noise, secs, within};

/// Packets for a server without the option are dropped; that is told once, and tunnels go on.
fn without_the_option(carrier: Carrier) {
    within(secs(60), move || {
        need!("openssl");
        let echo = Echo::start();
        let pair = Pair::with(carrier, echo.addr, "", ";udp");
        let tunnel = connect(pair.client.addr);
        assert_echo(&tunnel, b"before");
        let source = source(pair.client.addr);
        source.send(&packet(100)).expect("send a packet");
        // Whatever is dropped, and why each half says that it is.
        let told = || {
            [&pair.client, &pair.server].map(|half| {
                let lines = half.child.lines();
                lines
                    .into_iter()
                    .filter(|line| line.contains("packets") && line.contains("dropped"))
                    .collect::<Vec<_>>()
            })
        };
        assert!(eventually(STEP, || !told()[0].is_empty()), "the client does not say it; {}", pair.logs());
        for _ in 0..20 {
            source.send(&packet(100)).expect("send a packet");
            assert_echo(&tunnel, &noise(10_000, 1));
        }
        assert_echo(&connect(pair.client.addr), b"another");
        assert_eq!(echo.received(), 0);
        let [of_client, of_server] = told();
        assert_eq!(of_client.len(), 1, "it is told once; {}", pair.logs());
        assert!(of_client[0].contains("has it the option `udp`?"), "{of_client:?}");
        // (a server of QUIC is asked whether it takes datagrams, and nothing is sent)
        assert!(of_server.iter().all(|line| line.contains("has not the option `udp`")), "{of_server:?}");
        assert_eq!(of_server.len(), usize::from(carrier != Carrier::Quic), "{}", pair.logs());
    });
}

#[test]
fn mux_goes_on_with_a_server_that_takes_no_packets() {
    without_the_option(Carrier::Mux);
}

#[test]
fn websocket_goes_on_with_a_server_that_takes_no_packets() {
    without_the_option(Carrier::WebSocket);
}

#[test]
fn grpc_goes_on_with_a_server_that_takes_no_packets() {
    without_the_option(Carrier::Grpc);
}

#[test]
fn quic_goes_on_with_a_server_that_takes_no_packets() {
    without_the_option(Carrier::Quic);
}

#[test]
fn a_client_says_whether_packets_go_through_it() {
    within(secs(60), || {
        need!("openssl");
        let echo = Echo::start();
        let line = |options: &str| {
            let pair = Pair::with(Carrier::Mux, echo.addr, ";udp", options);
            pair.client.child.wait_text("UDP")
        };
        let (without, with) = (line(""), line(";udp"));
        assert!(without.contains("not") || without.contains("past"), "{without}");
        assert_ne!(without, with);
    });
}

#[test]
fn modes_that_cannot_carry_packets_refuse_the_option() {
    within(secs(60), || {
        for options in ["obfs=http;udp", "obfs=tls;udp", "mode=httpupgrade;udp"] {
            let mut command = ours();
            let there = || ("127.0.0.1".to_owned(), free_port());
            Vars { remote: there(), local: there(), options: options.to_owned() }.put(&mut command);
            let child = Child::spawn(options, command);
            assert_eq!(child.wait_exit(secs(20)), Exit::Code(23), "{}", child.show_log());
            let text = child.lines().join("\n");
            for mode in ["udp", "websocket", "quic", "grpc"] {
                assert!(text.contains(mode), "{options}: no {mode} in {text}");
            }
        }
    });
}
