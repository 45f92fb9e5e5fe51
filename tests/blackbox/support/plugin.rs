//! The plugin under test, started the way a host does: five variables, no arguments.
//!
//! `OBFS_UNDER_TEST=simple-obfs` puts simple-obfs in our place, to see what the tests say of it;
//! `OBFS_RS_BIN` names another build of ours, such as the one that is shipped.

use super::child::Child;
use super::peers;
use super::ports::free_port;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

/// Whose plugin a half is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    Ours,
    /// Debian's 0.0.5: the peer we must work with, and the yardstick.
    SimpleObfs,
    /// Debian's v2ray-plugin 1.3.1.
    V2ray,
}

pub use Make::{Ours, SimpleObfs, V2ray};

impl Make {
    /// The program that plays the part which simple-obfs has a program of that name for.
    fn program(self, name: &str) -> PathBuf {
        let replaced = std::env::var("OBFS_UNDER_TEST").is_ok_and(|v| v == "simple-obfs");
        match self {
            Ours if !replaced => our_path(),
            V2ray => peers::path("ss-v2ray-plugin"),
            _ => peers::path(name),
        }
    }
}

/// One half, listening.
pub struct Plugin {
    pub child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
}

/// The five variables.
#[derive(Debug, Clone)]
pub struct Vars {
    pub remote: (String, u16),
    pub local: (String, u16),
    pub options: String,
}

impl Vars {
    pub fn put(&self, command: &mut Command) {
        command
            .env("SS_REMOTE_HOST", &self.remote.0)
            .env("SS_REMOTE_PORT", self.remote.1.to_string())
            .env("SS_LOCAL_HOST", &self.local.0)
            .env("SS_LOCAL_PORT", self.local.1.to_string())
            .env("SS_PLUGIN_OPTIONS", &self.options);
    }
}

/// The built binary, with none of the variables of an outer host.
pub fn ours() -> Command {
    bare(our_path())
}

pub fn our_path() -> PathBuf {
    let built = || env!("CARGO_BIN_EXE_obfs-rs").into();
    let path = PathBuf::from(std::env::var_os("OBFS_RS_BIN").unwrap_or_else(built));
    // A mistyped name must not look like a fault of the program's.
    assert!(path.is_absolute() && path.is_file(), "OBFS_RS_BIN is no file's whole path: {}", path.display());
    path
}

/// A command without inherited plugin variables.
pub fn bare(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for name in [
        "SS_REMOTE_HOST",
        "SS_REMOTE_PORT",
        "SS_LOCAL_HOST",
        "SS_LOCAL_PORT",
        "SS_PLUGIN_OPTIONS",
        "RUST_LOG",
    ] {
        command.env_remove(name);
    }
    command
}

fn host_port(addr: SocketAddr) -> (String, u16) {
    (addr.ip().to_string(), addr.port())
}

/// The server half on a free port, in front of `backend`.
#[track_caller]
pub fn server(make: Make, backend: SocketAddr, options: &str) -> Plugin {
    let port = free_port();
    let (program, options) = match make {
        // Nothing else says "server" here: the parent is a test, and the address is no wildcard.
        Ours | V2ray => (make.program("obfs-server"), format!("server;{options}")),
        SimpleObfs => (make.program("obfs-server"), options.to_owned()),
    };
    let vars = Vars { remote: ("127.0.0.1".to_owned(), port), local: host_port(backend), options };
    start(&format!("{make:?} server"), program, &vars, port)
}

/// The client half on a free port, for the server half at `remote`.
#[track_caller]
pub fn client(make: Make, remote: SocketAddr, options: &str) -> Plugin {
    let port = free_port();
    let vars = Vars {
        remote: host_port(remote),
        local: ("127.0.0.1".to_owned(), port),
        options: options.to_owned(),
    };
    start(&format!("{make:?} client"), make.program("obfs-local"), &vars, port)
}

/// Starts a half with the variables as they are, and waits until it listens on the port.
#[track_caller]
pub fn start(name: &str, program: PathBuf, vars: &Vars, port: u16) -> Plugin {
    let mut command = bare(program);
    vars.put(&mut command);
    let child = Child::spawn(name, command);
    child.wait_listening(port);
    Plugin { child, addr: SocketAddr::from(([127, 0, 0, 1], port)) }
}
