//! A SIP003 plugin that disguises Shadowsocks connections as web traffic.
//!
//! A byte stream from a Shadowsocks program enters at one door and leaves at another, disguised in
//! between. A connection's life is one line:
//!
//! ```text
//! client half:  accept ──► dial ──► open(disguise) ──► relay
//! server half:  accept ──► detect ──► open(disguise) ──► dial backend ──► relay
//!                             └────► not ours: fallback ──► relay (untouched, from the first byte)
//! ```
//!
//! Where to find what:
//!
//! | room | what happens there |
//! | --- | --- |
//! | [`wire`] | the formats as pure functions of bytes: no sockets, no clocks, no tasks |
//! | [`os`] | the process and its system: parent, signals, background, users, syslog |
//! | [`runtime`] | the threads that serve, and who notices when one does not go on |
//! | [`relay`] | two streams become one: half-closes, resets, time-outs, protocols on the way |
//! | [`net`] | addresses, listening, dialling, names, socket options |
//! | [`telemetry`] | the log |
//! | [`detect`] | is this connection ours? |
//! | [`config`] | what the user asked for, checked once; after this nothing parses a string |
//! | [`cli`] | command lines, ours and those of the programs whose place it takes |
//! | [`transport`] | a format joined to a socket: http, fake TLS, TLS, WebSocket, PROXY headers |
//! | [`mux`] | Mux.Cool, whose task passes the bytes of its sessions itself |
//! | [`site`] | a small website of our own, where none is behind the port |
//! | [`fallback`] | whoever is no client of ours: to the website, and back when a later request is ours |
//! | [`client`], [`server`] | the two lines above |
//! | [`demo`] | `obfs-rs demo`: all of it in one process |
//! | [`probe`] | `obfs-rs probe`: can a visitor tell a server from the website behind it? |

pub mod cli;
#[cfg(feature = "client")]
pub mod client;
pub mod config;
#[cfg(all(feature = "client", feature = "server"))]
pub mod demo;
pub mod detect;
#[cfg(feature = "server")]
pub mod fallback;
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
#[cfg(feature = "site")]
pub mod site;
#[cfg(all(feature = "server", not(feature = "site")))]
#[path = "no_site.rs"]
pub mod site;
pub mod telemetry;
pub mod transport;
pub mod wire;
