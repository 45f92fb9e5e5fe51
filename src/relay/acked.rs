//! What the other end of a connection has taken, as the kernel knows it.

use std::os::fd::AsRawFd as _;
use tokio::net::TcpStream;

/// Where `tcpi_bytes_acked` stands in `struct tcp_info` (Linux 4.1), in words of eight bytes: behind eight
/// bytes, 24 words of four, and two of eight.
const BYTES_ACKED: usize = 15;

/// How many bytes the other end has acknowledged. `None` where the kernel does not tell.
pub(super) fn bytes_acked(stream: &TcpStream) -> Option<u64> {
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
    let told = result == 0 && length as usize >= (BYTES_ACKED + 1) * size_of::<u64>();
    info.get(BYTES_ACKED).copied().filter(|_| told)
}
