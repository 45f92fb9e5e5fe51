//! What the user asked for, checked once, at the start. After this nothing parses a string.
//!
//! Four places speak: a command line, as [`Settings`]; the `SS_*` variables ([`sip003`]) with the option
//! string in one of them ([`options`]); and the JSON file that one of these may name ([`mod@file`]). The
//! command line wins over the variables, and both win over the file. [`read`] puts them together. Which
//! options there are stands in one table, [`options::OPTIONS`].

mod backends;
mod client;
mod dialect;
mod disguise;
mod endpoints;
mod env;
mod error;
mod evidence;
mod features;
pub mod file;
mod grpc;
mod host;
mod json;
mod left_out;
mod limits;
mod metrics;
pub mod names;
pub mod options;
mod process;
mod proxy;
mod quic;
mod read;
mod restart;
mod role;
pub mod routes;
mod server;
mod settings;
pub mod shadowsocks_file;
mod simple_obfs;
pub mod sip003;
mod tls;
mod trusted;
mod tunnel;
mod udp;
mod values;
mod web;
mod website;

pub use backends::BackendRoutes;
pub use client::ClientConfig;
pub use dialect::Dialect;
pub use disguise::ClientDisguise;
pub(crate) use endpoints::split_address;
pub use endpoints::{Addresses, SaidAddresses, Setting};
pub use env::ProcessEnv;
pub(crate) use env::TEXT;
pub use error::ConfigError;
pub use features::Feature;
pub use grpc::GrpcClientConfig;
pub use metrics::MetricsAddress;
pub use names::{NamePattern, NameRoute};
pub use options::UnknownOption;
pub use process::ProcessConfig;
pub use quic::{Congestion, QuicClientConfig, QuicServerConfig};
pub use read::{Config, Half, read, read_to_check};
pub use role::{Role, RoleReason};
pub use routes::{Layer, Route, Routes, UpstreamConfig};
pub use server::ServerConfig;
pub use settings::Settings;
pub use simple_obfs::RequestConfig;
pub use sip003::PluginOption;
pub use tls::{ExtraRoot, TlsClientConfig, TlsServerConfig};
pub use tunnel::TunnelConfig;
pub use values::Handshake;
pub use web::{WebBody, WebConfig};
pub use website::{Failover, Website};

#[cfg(test)]
mod tests;
