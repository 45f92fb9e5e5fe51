//! Black-box tests: the built binary between real programs.
//!
//! Each module shows one thing: that real hosts carry traffic through it (`hosts`), that it works
//! with simple-obfs (`simple_obfs`), with what apps send (`apps`), behind front proxies
//! (`fronts`), what its client half puts on the wire (`client_wire`), that nobody can tell the
//! port from the website (`fallback`), nor our own websites from nginx (`own_site`), and that a visitor may
//! become a client (`follow`), that every end arrives behind the bytes that came before it, whatever the
//! disguise (`ends`), that limits hold and are only their own clients' (`limits`), how tunnels and processes live and die (`life`, `process`), also on a machine
//! that is short of something (`shortage`) or has run out of it (`exhausted`), how it takes its
//! settings (`options`, `roles`, `strings`), and that it is a drop-in for simple-obfs: its
//! options and command lines (`simple_obfs_options`), what they make of the process
//! (`simple_obfs_process`), how it gets along with the machine's users, files and signals (`machine`), what they ask of sockets (`sockets`), and `obfs=tls` (`simple_obfs_tls`); that it works with v2ray-plugin (`v2ray_plugin`), and what its
//! WebSocket port takes (`websocket_frames`, `mux_sessions`, `websocket_library`), also behind fronts
//! (`web_fronts`, and where these end idle tunnels: `keep_alive`) and in TLS (`tls_certificates`); that one port takes every kind of client (`auto`), and who
//! answers which TLS there (`auto_tls`); that several backends share a port (`routes`); how many threads work (`threads`); and that it knows, and tells the website, where visitors came from
//! (`origin`), and what it tells of itself (`metrics`). The dry run of either half is in `check`. A client behind a proxy is in `proxy`, the operator's own scanner
//! in `probe`, and over UDP in `probe_quic`. QUIC is in `quic` (the peers, ends, what is refused), `quic_life` (time, restarts, other addresses), `quic_auto`
//! (a port that it shares with the rest and with the website's HTTP/3), `quic_tail` (what is under way at the end) and `quic_hostile`. gRPC is in `grpc` (the peers, ends, names), behind fronts in `grpc_fronts`; who comes to its port over HTTP/2 and is no client, or a WebSocket, in
//! `h2_visitors`, and who comes to do harm in `h2_hostile`.
//! UDP is in `udp`. What a phone with Android has in place of a machine's files is in `phone`.
//! That the files of `deploy/` work as they stand is in `deploy`, that what the README and the pages of `docs` tell to do works is in `readme`, and what packages are made of the program in `packages`. What changes while it runs is in `reload`, how it ends in `drain`, and what it has to do with systemd in
//! `service_manager`. What users of a server are told to enter is in `share`. That `scripts/soak` finds what it is to find is in `soak`, that `scripts/bench` measures what it says in `bench`, and what `scripts/fuzz` tells in `fuzz`.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "real peers have the system's clock"
)]

#[path = "../common/blocks.rs"]
mod blocks;
mod support;

mod access_log;
mod apps;
mod auto;
mod auto_tls;
mod bench;
mod check;
mod client_wire;
mod command_line;
mod demo;
mod deploy;
mod disk;
mod drain;
mod ends;
mod exhausted;
mod fallback;
mod follow;
mod fronts;
mod fuzz;
mod grpc;
mod grpc_fronts;
mod grpc_mux;
mod h2_hostile;
mod h2_visitors;
mod hosts;
mod keep_alive;
mod life;
mod limits;
mod log;
mod log_faults;
mod log_resets;
mod machine;
mod memory;
mod metrics;
mod mux_liveness;
mod mux_sessions;
mod options;
mod origin;
mod own_site;
mod packages;
mod phone;
mod platforms;
mod probe;
mod probe_h2;
mod probe_quic;
mod probe_quic_server;
mod process;
mod proxy;
mod quic;
mod quic_auto;
mod quic_hostile;
mod quic_life;
mod quic_tail;
mod readme;
mod refused;
mod reload;
mod rest;
mod roles;
mod routes;
mod service_manager;
mod share;
mod shortage;
mod simple_obfs;
mod simple_obfs_options;
mod simple_obfs_process;
mod simple_obfs_tls;
mod soak;
mod sockets;
mod strings;
mod threads;
mod tls_certificates;
mod tls_ends;
mod udp;
mod unfinished;
mod v2ray_plugin;
mod web_fronts;
mod websocket_frames;
mod websocket_library;
