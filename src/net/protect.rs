//! Android: sockets that are exempted from the VPN.
//!
//! The app that holds the VPN would be handed its own connections by it, round and round. So every
//! socket is shown to it before it connects: over a unix socket, as a descriptor beside one byte of
//! data, and the app answers with one byte, which is 0 when the socket will go around the VPN.

use socket2::Socket;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::timeout;

/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(3);

/// Has a socket exempted from the VPN.
///
/// # Errors
///
/// Nobody is there, or it is refused, or not answered in time.
pub(super) async fn protect(path: &Path, socket: &Socket) -> io::Result<()> {
    let named = |problem: &str| io::Error::other(format!("{}: {problem}", path.display()));
    match timeout(LIMIT, ask(path, socket)).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(answer)) => Err(named(&format!("the socket was refused (answer {answer})"))),
        Ok(Err(error)) => Err(named(&format!("the socket could not be handed over: {error}"))),
        Err(_) => Err(named(&format!("no answer within {} s", LIMIT.as_secs()))),
    }
}

/// Hands the socket over; returns the answer.
#[cfg(unix)]
async fn ask(path: &Path, socket: &Socket) -> io::Result<u8> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd as _;
    use tokio::io::{AsyncReadExt as _, Interest};

    let mut app = tokio::net::UnixStream::connect(path).await?;
    let descriptors = [socket.as_fd()];
    app.async_io(Interest::WRITABLE, || {
        let mut buffer = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut buffer);
        message.push(SendAncillaryMessage::ScmRights(&descriptors));
        Ok(sendmsg(&app, &[io::IoSlice::new(b"!")], &mut message, SendFlags::empty())?)
    })
    .await?;
    app.read_u8().await
}

#[cfg(not(unix))]
async fn ask(_: &Path, _: &Socket) -> io::Result<u8> {
    Err(io::ErrorKind::Unsupported.into())
}
