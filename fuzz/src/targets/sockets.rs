//! Connections of a target that need a kernel's sockets, and tasks on a clock that jumps to the next timer when all
//! wait.

use obfs_rs::transport::Stream;
use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::os::unix::net;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(
        Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime"),
    );
}

/// Runs it to its end.
pub fn run<T>(task: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow_mut(|runtime| runtime.block_on(task))
}

/// A connection, and its other end. Nobody listens, and no port is used: thousands a second would use them up. What is
/// asked of TCP alone (a reset, the peer's address) is refused, as it is of a socket that has broken.
pub fn pair() -> (Stream, UnixStream) {
    let (near, far) = tcp_pair();
    (near.into(), far)
}

/// The same without what may be on it.
pub fn tcp_pair() -> (TcpStream, UnixStream) {
    let (near, far) = net::UnixStream::pair().expect("descriptors");
    near.set_nonblocking(true).and_then(|()| far.set_nonblocking(true)).expect("a socket");
    let near = TcpStream::from_std(std::net::TcpStream::from(OwnedFd::from(near))).expect("a reactor");
    (near, UnixStream::from_std(far).expect("a reactor"))
}
