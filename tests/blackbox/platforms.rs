//! Release files, each run where it is at home, or where that is imitated: with the program of this machine at the
//! other end, and with real peers.
//!
//! `OBFS_RS_DIST` is the folder of what `scripts/release` has made. `scripts/test --platforms` makes it, and runs these.

mod linux;
mod wine;

use crate::support::plugin::{self, Plugin, Vars};
use crate::support::ports::free_port;
use crate::support::quic;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The folder with the release files.
#[track_caller]
pub fn dist() -> PathBuf {
    let folder = std::env::var_os("OBFS_RS_DIST").map(PathBuf::from);
    let folder = folder.expect("OBFS_RS_DIST names no folder: scripts/test --platforms does");
    assert!(folder.is_absolute() && folder.is_dir(), "OBFS_RS_DIST is no folder: {}", folder.display());
    folder
}

/// The one file in a folder whose name begins and ends like this.
#[track_caller]
pub fn the_one(folder: &Path, begin: &str, end: &str) -> PathBuf {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let fits = |path: &PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name.starts_with(begin) && name.ends_with(end)
    };
    let found: Vec<_> = entries.filter(fits).collect();
    assert_eq!(found.len(), 1, "{begin}…{end} in {}: {found:?}", folder.display());
    found.into_iter().next().expect("one")
}

/// What each disguise asks for: a feature of the program, and the options of a client and of its server. Those of TLS
/// have their certificate yet to come.
pub const DISGUISES: [(&str, &str, &str); 8] = [
    ("", "obfs=http;obfs-host=a", "obfs=http"),
    ("", "obfs=tls;obfs-host=a", "obfs=tls"),
    ("", "mode=httpupgrade", "mode=websocket"),
    ("", "mode=websocket;mux=0", "mode=websocket"),
    ("", "mode=websocket;mux=1", "mode=websocket"),
    ("tls", "mode=websocket;mux=1", "mode=websocket"),
    ("grpc", "mode=grpc;serviceName=chairs", "mode=grpc;serviceName=chairs"),
    ("quic", "mode=quic", "mode=quic"),
];

/// The server half, by any program.
#[track_caller]
pub fn server(name: &str, program: &Path, backend: SocketAddr, options: &str) -> Plugin {
    let port = free_port();
    if options.starts_with("mode=quic") {
        return quic::start_server(name, program.to_owned(), port, backend, &format!("server;{options}"));
    }
    let local = (backend.ip().to_string(), backend.port());
    let vars = Vars { remote: ("127.0.0.1".to_owned(), port), local, options: format!("server;{options}") };
    plugin::start(name, program.to_owned(), &vars, port)
}

/// The client half, by any program.
#[track_caller]
pub fn client(name: &str, program: &Path, remote: SocketAddr, options: &str) -> Plugin {
    let port = free_port();
    let remote = (remote.ip().to_string(), remote.port());
    let vars = Vars { remote, local: ("127.0.0.1".to_owned(), port), options: options.to_owned() };
    plugin::start(name, program.to_owned(), &vars, port)
}
