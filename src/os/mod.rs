//! The process and its system: the parent, signals, the background, users, memory, and the system's log.

#[cfg(all(target_os = "linux", target_env = "musl"))]
pub mod allocator;
#[cfg(unix)]
pub mod daemon;
pub mod holders;
pub mod input;
pub mod listening;
pub mod memory;
#[cfg(not(unix))]
mod not_unix;
#[cfg(unix)]
pub mod parent;
#[cfg(unix)]
pub mod pid_file;
#[cfg(unix)]
pub mod privileged;
pub mod process;
pub mod randomness;
#[cfg(unix)]
pub mod service_manager;
#[cfg(unix)]
pub mod shutdown;
#[cfg(unix)]
pub mod signals;
#[cfg(all(target_arch = "mips", target_env = "musl", target_feature = "crt-static"))]
mod static_mips;
pub mod stderr;
pub mod stdout;
#[cfg(unix)]
pub mod syslog;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "arm", target_arch = "aarch64", target_arch = "x86", target_arch = "x86_64")
))]
pub mod unknown_calls;
#[cfg(unix)]
pub mod user;
#[cfg(windows)]
pub mod windows;

#[cfg(not(unix))]
pub use not_unix::{daemon, pid_file, privileged, service_manager, user};
#[cfg(windows)]
pub use windows::{parent, shutdown};
