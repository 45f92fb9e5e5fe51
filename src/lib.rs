//! A SIP003 plugin that disguises Shadowsocks connections as web traffic. What follows is `ARCHITECTURE.md`.
//!
#![doc = include_str!("../ARCHITECTURE.md")]

#[cfg(not(any(feature = "client", feature = "server")))]
compile_error!("a program without a half does nothing: it takes the feature `client` or `server`");

pub mod check;
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
#[cfg(all(feature = "client", feature = "server"))]
pub mod demo;
pub mod detect;
#[cfg(feature = "metrics")]
pub mod exporter;
#[cfg(not(feature = "metrics"))]
#[path = "no_exporter.rs"]
pub mod exporter;
#[cfg(feature = "server")]
pub mod fallback;
pub mod metrics;
pub mod mux;
pub mod net;
pub mod os;
#[cfg(feature = "probe")]
pub mod probe;
pub mod relay;
pub mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod service;
#[cfg(feature = "share")]
pub mod share;
#[cfg(feature = "site")]
pub mod site;
#[cfg(all(feature = "server", not(feature = "site")))]
#[path = "no_site.rs"]
pub mod site;
pub mod telemetry;
pub mod transport;
pub mod udp;
pub mod wire;
