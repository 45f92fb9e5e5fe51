//! A SIP003 plugin that disguises Shadowsocks connections as web traffic.
//!
//! A byte stream from a Shadowsocks program enters at one door and leaves at another, disguised in
//! between. A connection's life is one line:
//!
//! ```text
//! client half:  accept ──► dial ──► open(disguise) ──► relay
//! server half:  accept ──► sniff ──► open(disguise) ──► dial backend ──► relay
//!                             └────► not ours: fallback ──► relay (untouched, from the first byte)
//! ```
//!
//! Where to find what:
//!
//! | room | what happens there |
//! | --- | --- |
//! | [`config`] | what the user asked for, checked once; after this nothing parses a string |
//! | [`client`], [`server`] | the two lines above |
//! | [`sniff`] | which kind of first bytes are these? |
//! | [`origin`] | where a connection came from |
//! | [`arrival`] | the first bytes of a connection, read until that is known |
//! | [`fallback`] | whoever is no client of ours: to the website, and back when a later request is ours |
//! | [`site`] | a small website of our own, where none is behind the port |
//! | [`wire`] | the formats as pure functions of bytes: no sockets, no clocks, no tasks |
//! | [`transport`] | a format joined to a socket: http, fake TLS, TLS, WebSocket, PROXY headers, and Mux.Cool, whose task passes the bytes of its sessions itself |
//! | [`relay`] | two streams become one: half-closes, resets, time-outs, codecs on the way |
//! | [`net`] | listening, dialling, names, socket options, work that blocks, threads that are stuck, signals, the parent process, the background, users |
//! | [`telemetry`] | the log |
//! | [`demo`] | `obfs-rs demo`: all of it in one process |
//! | [`probe`] | `obfs-rs probe`: can a visitor tell a server from the website behind it? |

pub mod arrival;
pub mod client;
pub mod config;
pub mod demo;
pub mod fallback;
pub mod net;
pub mod origin;
pub mod probe;
pub mod relay;
pub mod server;
pub mod site;
pub mod sniff;
pub mod telemetry;
pub mod transport;
pub mod wire;
