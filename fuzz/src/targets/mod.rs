//! What is demanded of each parser, whatever its bytes are. A function of this module is the body of a fuzz target, and
//! `tests/fuzz_seeds.rs` runs it with the seeds and with mutations of them.
//!
//! A target's input is what its parser gets, so that recorded traffic is a seed and a fuzzer's dictionary fits. How it
//! is cut into pieces follows from the bytes themselves: the same input always fails in the same way. Where there are
//! two directions, [`SWITCH`] stands between what goes one way and what goes the other.

mod answers;
mod client_hello;
mod detect;
mod early_data;
mod fake_tls_hello;
mod fake_tls_records;
mod first_bytes;
mod follow;
mod forwarded_for;
mod framing;
mod grpc_hunks;
mod h2_takeover;
mod metrics_port;
mod mux;
mod mux_sessions;
mod options;
mod own_website;
mod pieces;
mod probe_h2_answer;
mod probe_http_answer;
mod probe_quic_answer;
mod probe_tls_answer;
mod proxy_protocol;
mod quic_datagram;
mod quic_first_flight;
mod request;
mod sockets;
mod upgrade;
mod upstream_proxy;
mod websocket_frames;
mod websocket_stream;

/// The body of a target.
pub type Target = fn(&[u8]);

/// All of them, by the names of their files in `fuzz_targets`, and of their folders in `seeds`.
pub const TARGETS: [(&str, Target); 29] = [
    ("answers", answers::check),
    ("client_hello", client_hello::check),
    ("detect", detect::check),
    ("early_data", early_data::check),
    ("fake_tls_hello", fake_tls_hello::check),
    ("fake_tls_records", fake_tls_records::check),
    ("first_bytes", first_bytes::check),
    ("follow", follow::check),
    ("forwarded_for", forwarded_for::check),
    ("framing", framing::check),
    ("grpc_hunks", grpc_hunks::check),
    ("h2_takeover", h2_takeover::check),
    ("metrics_port", metrics_port::check),
    ("mux", mux::check),
    ("mux_sessions", mux_sessions::check),
    ("options", options::check),
    ("own_website", own_website::check),
    ("probe_h2_answer", probe_h2_answer::check),
    ("probe_http_answer", probe_http_answer::check),
    ("probe_quic_answer", probe_quic_answer::check),
    ("probe_tls_answer", probe_tls_answer::check),
    ("proxy_protocol", proxy_protocol::check),
    ("quic_datagram", quic_datagram::check),
    ("quic_first_flight", quic_first_flight::check),
    ("request", request::check),
    ("upgrade", upgrade::check),
    ("upstream_proxy", upstream_proxy::check),
    ("websocket_frames", websocket_frames::check),
    ("websocket_stream", websocket_stream::check),
];

/// What stands between the bytes of two directions: no byte of a head, and rare in what is binary.
const SWITCH: u8 = 0xff;

/// Runs a target by its name.
///
/// # Panics
///
/// There is none of this name, or it has found something.
pub fn run(name: &str, data: &[u8]) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).expect("a target of this name");
    target(data);
}
