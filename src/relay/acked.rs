//! What the other end of a connection has taken, as the kernel knows it.

use std::os::fd::AsRawFd as _;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where `tcpi_bytes_acked` stands in `struct tcp_info` (Linux 4.1), in words of eight bytes: behind eight
/// bytes, 24 words of four, and two of eight.
const BYTES_ACKED: usize = 15;

/// Where `tcpi_last_ack_recv` does: behind eight bytes and twelve words of four, which makes it the front half.
const LAST_ACK_RECV: usize = 7;

/// Where `tcpi_state` does: it is the first byte of all. `tcpi_retransmits` is the third.
const STATE: usize = 0;

/// The state in which the other end has sent its FIN, and this one has not (`include/net/tcp_states.h`).
const CLOSE_WAIT: u8 = 8;

/// Whether the other end has closed its direction, though not all of it may have been read.
pub(super) fn peer_has_closed(stream: &TcpStream) -> bool {
    word(stream, STATE).is_some_and(|word| word.to_ne_bytes()[0] == CLOSE_WAIT)
}

/// How many bytes the other end has acknowledged. `None` where the kernel does not tell.
pub(super) fn bytes_acked(stream: &TcpStream) -> Option<u64> {
    word(stream, BYTES_ACKED)
}

/// How often in a row what was said was sent again, without an answer. `None` where the kernel does not tell.
#[cfg(feature = "grpc")]
pub(crate) fn unanswered_attempts(stream: &TcpStream) -> Option<u8> {
    let [_, _, retransmits, ..] = word(stream, STATE)?.to_ne_bytes();
    Some(retransmits)
}

/// How long ago the other end acknowledged anything, if only a probe. `None` where the kernel does not tell.
pub(super) fn unacked_for(stream: &TcpStream) -> Option<Duration> {
    let [a, b, c, d, ..] = word(stream, LAST_ACK_RECV)?.to_ne_bytes();
    Some(Duration::from_millis(u32::from_ne_bytes([a, b, c, d]).into()))
}

/// One word of what the kernel knows.
fn word(stream: &TcpStream, at: usize) -> Option<u64> {
    let mut info = [0_u64; 32];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `info`, which has as many and may hold any.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    let told = result == 0 && length as usize >= (at + 1) * size_of::<u64>();
    info.get(at).copied().filter(|_| told)
}
