//! Parts of the program that a build may leave out.

use std::fmt;

/// A part of the program that a build may leave out: a cargo feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// The server half.
    Server,
    /// The client half.
    Client,
    /// Real TLS.
    Tls,
    /// QUIC.
    Quic,
    /// HTTP/2, with gRPC in it.
    Grpc,
    /// `obfs-rs probe`.
    Probe,
    /// The website of our own.
    Site,
    /// Metrics for Prometheus.
    Metrics,
    /// `obfs-rs share`.
    Share,
}

impl Feature {
    /// Whether this build has it.
    pub fn is_built(self) -> bool {
        match self {
            Feature::Server => cfg!(feature = "server"),
            Feature::Client => cfg!(feature = "client"),
            Feature::Tls => cfg!(feature = "tls"),
            Feature::Quic => cfg!(feature = "quic"),
            Feature::Grpc => cfg!(feature = "grpc"),
            Feature::Probe => cfg!(feature = "probe"),
            Feature::Site => cfg!(feature = "site"),
            Feature::Metrics => cfg!(feature = "metrics"),
            Feature::Share => cfg!(feature = "share"),
        }
    }

    /// What it is to a user.
    pub(super) fn part(self) -> &'static str {
        match self {
            Feature::Server => "server half",
            Feature::Client => "client half",
            Feature::Tls => "TLS",
            Feature::Quic => "QUIC",
            Feature::Grpc => "gRPC",
            Feature::Probe => "probe",
            Feature::Site => "website of its own",
            Feature::Metrics => "metrics",
            Feature::Share => "share",
        }
    }
}

impl fmt::Display for Feature {
    /// Its name in Cargo.toml.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::Server => "server",
            Feature::Client => "client",
            Feature::Tls => "tls",
            Feature::Quic => "quic",
            Feature::Grpc => "grpc",
            Feature::Probe => "probe",
            Feature::Site => "site",
            Feature::Metrics => "metrics",
            Feature::Share => "share",
        })
    }
}
