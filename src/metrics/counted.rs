//! The numbers themselves, and their text.

use super::labels::{
    Direction, Dropped, Failure, Flow, PacketDropped, To, TunnelEnd, TunnelKind, Verdict, VisitorClass,
    Website,
};
use super::process::Process;
use super::series::{
    Counters, Gauges, Histograms, Pairs, counter, counters, full_name, gauge, gauges, histogram, histograms,
    pairs, register,
};
use prometheus::{Histogram, IntCounter, IntGauge, Opts, Registry, TextEncoder};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);
static DRAINING: AtomicBool = AtomicBool::new(false);

struct Metrics {
    registry: Registry,
    accepted: IntCounter,
    tunnels: Counters<TunnelKind>,
    open_tunnels: Gauges<TunnelKind>,
    handshakes: Histograms<TunnelKind>,
    mux_connections: IntCounter,
    open_mux_connections: IntGauge,
    mux_handshakes: Histogram,
    tunnel_bytes: Counters<Direction>,
    visitor_bytes: Counters<Direction>,
    dials: Histograms<To>,
    dial_failures: Counters<To>,
    ends: Counters<TunnelEnd>,
    failures: Counters<Failure>,
    visitors: Pairs<VisitorClass, Website>,
    open_visitors: IntGauge,
    first_flights: Counters<Verdict>,
    dropped_datagrams: Counters<Dropped>,
    dropped_packets: Counters<PacketDropped>,
    panics: IntCounter,
    suppressed_lines: IntCounter,
    buffered: IntGauge,
    buffer_limit_reached: IntCounter,
    draining: IntGauge,
    process: Process,
}

impl Metrics {
    fn new() -> Metrics {
        let registry = Registry::new();
        let of = &registry;
        Metrics {
            accepted: counter(of, "connections_accepted_total", "Connections that were accepted."),
            tunnels: counters(of, "tunnels_total", "Tunnels that stood, by what they look like."),
            open_tunnels: gauges(of, "tunnels_open", "Tunnels that stand now."),
            handshakes: histograms(
                of,
                "handshake_duration_seconds",
                "From the accepted connection until its tunnel stands.",
            ),
            mux_connections: counter(of, "mux_connections_total", "Connections of mux that stood."),
            open_mux_connections: gauge(of, "mux_connections_open", "Connections of mux that stand now."),
            mux_handshakes: histogram(
                of,
                "mux_handshake_duration_seconds",
                "Until a connection of mux stands, which then carries many sessions.",
            ),
            tunnel_bytes: counters(of, "tunnel_bytes_total", "Payload of tunnels, counted as it comes."),
            visitor_bytes: counters(
                of,
                "visitor_bytes_total",
                "Bytes between visitors and websites at other ports, counted as they come.",
            ),
            dials: histograms(of, "dial_duration_seconds", "Until a connection that was dialled stands."),
            dial_failures: counters(of, "dial_failures_total", "Connections that could not be dialled."),
            ends: counters(of, "tunnel_ends_total", "Tunnels that have ended, by how they did."),
            failures: counters(of, "connections_failed_total", "Connections of which nothing came, by why."),
            visitors: pairs(of, "visitors_total", "Visitors, by their first bytes and by where they went."),
            open_visitors: gauge(of, "visitors_open", "Visitors that are at a website now."),
            first_flights: counters(
                of,
                "quic_first_flights_total",
                "QUIC connections that began, by what was read of them.",
            ),
            dropped_datagrams: counters(
                of,
                "quic_datagrams_dropped_total",
                "Datagrams that were not passed on, to the website or from it, by why.",
            ),
            dropped_packets: counters(
                of,
                "udp_packets_dropped_total",
                "Packets of UDP sessions that were not passed on, by why.",
            ),
            panics: counter(of, "panics_total", "Panics that were caught: each is a bug to be reported."),
            buffered: gauge(
                &registry,
                "buffered_bytes",
                "Bytes that wait in this process for somebody who does not take them.",
            ),
            buffer_limit_reached: counter(
                &registry,
                "buffer_limit_reached_total",
                "How often limit-buffers was reached.",
            ),
            suppressed_lines: counter(
                of,
                "log_lines_suppressed_total",
                "Lines that the log's limit left out.",
            ),
            draining: gauge(
                of,
                "draining",
                "Whether no more connections are accepted, and open tunnels go on.",
            ),
            process: Process::new(of),
            registry,
        }
    }
}

/// What this process is, from the start.
pub fn note_start(version: &str, half: impl ToString) {
    let options = Opts::new(full_name("build_info"), "What runs here: always 1.");
    let options = options.const_label("version", version).const_label("half", half.to_string());
    register(&METRICS.registry, IntGauge::with_opts(options)).set(1);
    METRICS.process.note_start();
}

/// A connection was accepted.
pub fn accepted() {
    METRICS.accepted.inc();
}

/// A tunnel stands, so long after it was asked for. It has ended when what is returned is dropped.
pub fn tunnel_opened(kind: TunnelKind, took: Duration) -> Open {
    METRICS.tunnels.of(kind).inc();
    METRICS.handshakes.of(kind).observe(took.as_secs_f64());
    Open::new(What::Tunnel(kind))
}

/// A connection of mux stands, so long after it was wanted. It has ended when what is returned is dropped.
pub fn mux_connection_opened(took: Duration) -> Open {
    METRICS.mux_connections.inc();
    METRICS.mux_handshakes.observe(took.as_secs_f64());
    Open::new(What::Mux)
}

/// A visitor goes to a website. It has left when what is returned is dropped.
pub fn visitor_came(class: VisitorClass, website: Website) -> Open {
    METRICS.visitors.of(class, website).inc();
    Open::new(What::Visitor)
}

/// Something that is open, for as long as this lives.
#[must_use = "it has ended when this is dropped"]
#[derive(Debug)]
pub struct Open(What);

#[derive(Debug, Clone, Copy)]
enum What {
    Tunnel(TunnelKind),
    Mux,
    Visitor,
}

impl Open {
    fn new(what: What) -> Open {
        Open::gauge(what).inc();
        Open(what)
    }

    fn gauge(what: What) -> &'static IntGauge {
        match what {
            What::Tunnel(kind) => METRICS.open_tunnels.of(kind),
            What::Mux => &METRICS.open_mux_connections,
            What::Visitor => &METRICS.open_visitors,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        Open::gauge(self.0).dec();
    }
}

/// A tunnel has ended so.
pub fn tunnel_ended(end: TunnelEnd) {
    METRICS.ends.of(end).inc();
}

/// Nothing came of a connection.
pub fn connection_failed(why: Failure) {
    METRICS.failures.of(why).inc();
}

/// So many bytes of payload have come.
pub fn moved(flow: Flow, direction: Direction, bytes: u64) {
    let bytes_of = match flow {
        Flow::Tunnel => &METRICS.tunnel_bytes,
        Flow::Visitor => &METRICS.visitor_bytes,
    };
    bytes_of.of(direction).inc_by(bytes);
}

/// A connection was dialled, which took so long.
pub fn dialled(to: To, took: Duration) {
    METRICS.dials.of(to).observe(took.as_secs_f64());
}

/// A connection could not be dialled.
pub fn dial_failed(to: To) {
    METRICS.dial_failures.of(to).inc();
}

/// It is known what the first packets of a QUIC connection are.
pub fn first_flight_read(what: Verdict) {
    METRICS.first_flights.of(what).inc();
}

/// A datagram is not passed on.
pub fn datagram_dropped(why: Dropped) {
    METRICS.dropped_datagrams.of(why).inc();
}

/// So many packets of UDP sessions are not passed on.
pub fn packets_dropped(why: PacketDropped, packets: u64) {
    METRICS.dropped_packets.of(why).inc_by(packets);
}

/// Something panicked.
pub fn panicked() {
    METRICS.panics.inc();
}

/// The log's limit left out a line.
pub fn log_line_suppressed() {
    METRICS.suppressed_lines.inc();
}

/// So many bytes are buffered now.
pub fn note_buffered(bytes: usize) {
    METRICS.buffered.set(i64::try_from(bytes).unwrap_or(i64::MAX));
}

/// The limit on what is buffered was reached.
pub fn buffer_limit_reached() {
    METRICS.buffer_limit_reached.inc();
}

/// The certificate that is served from now on ends then, in seconds since 1970.
pub fn certificate_expires(at: u64) {
    static EXPIRY: LazyLock<IntGauge> = LazyLock::new(|| {
        let help = "When the certificate that is served ends, in seconds since 1970.";
        gauge(&METRICS.registry, "certificate_expiry_timestamp_seconds", help)
    });
    EXPIRY.set(i64::try_from(at).unwrap_or(i64::MAX));
}

/// From now on no more connections are accepted, and open tunnels go on until they end.
pub fn set_draining() {
    DRAINING.store(true, Ordering::Relaxed);
    METRICS.draining.set(1);
}

/// Whether no more connections are accepted.
pub fn is_draining() -> bool {
    DRAINING.load(Ordering::Relaxed)
}

/// All numbers as they are now, in Prometheus's text format.
pub fn text() -> String {
    METRICS.process.look();
    let families = METRICS.registry.gather();
    TextEncoder::new().encode_to_string(&families).unwrap_or_else(|error| format!("# {error}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_series_from_the_start() {
        note_start("1.2.3", "server");
        let before = text();
        for line in [
            "obfs_rs_build_info{half=\"server\",version=\"1.2.3\"} 1\n",
            "obfs_rs_tunnels_open{kind=\"session\"} ",
            "obfs_rs_tunnel_bytes_total{direction=\"down\"} ",
            "obfs_rs_dial_duration_seconds_bucket{to=\"backend\",le=\"0.001\"} ",
            "obfs_rs_dial_failures_total{to=\"website\"} ",
            "obfs_rs_connections_failed_total{cause=\"empty\"} ",
            "obfs_rs_visitors_total{class=\"h2\",website=\"failover-h2\"} ",
            "obfs_rs_quic_first_flights_total{verdict=\"malformed\"} ",
            "obfs_rs_quic_datagrams_dropped_total{cause=\"no-website\"} ",
            "obfs_rs_udp_packets_dropped_total{cause=\"too-long\"} ",
        ] {
            assert!(before.contains(line), "{line} is not in {before}");
        }
        assert!(!before.contains("certificate"), "there is none: {before}");
        certificate_expires(1_900_000_000);
        assert!(text().contains("obfs_rs_certificate_expiry_timestamp_seconds 1900000000\n"));
    }

    #[test]
    fn what_is_open_is_counted_until_it_ends() {
        let line = |number| format!("obfs_rs_tunnels_open{{kind=\"httpupgrade\"}} {number}\n");
        let open = [(); 2].map(|()| tunnel_opened(TunnelKind::HttpUpgrade, Duration::from_millis(3)));
        assert!(text().contains(&line(2)));
        drop(open);
        assert!(text().contains(&line(0)));
        assert!(text().contains("obfs_rs_tunnels_total{kind=\"httpupgrade\"} 2\n"));
        let bucket = "obfs_rs_handshake_duration_seconds_bucket{kind=\"httpupgrade\",le=";
        assert!(text().contains(&format!("{bucket}\"0.0025\"}} 0\n{bucket}\"0.005\"}} 2\n")), "{}", text());
    }
}
