//! System calls that fail, as they do on a machine that has run out of something, or end whoever makes them.

use std::io;

/// Has a system call fail in this process, and in what it executes, always with the same error. For
/// [`CommandExt::pre_exec`](std::os::unix::process::CommandExt::pre_exec).
pub fn fail(call: libc::c_long, error: i32) -> io::Result<()> {
    refuse(call, libc::SECCOMP_RET_ERRNO | u32::try_from(error).expect("an error's number"))
}

/// Has a system call send SIGSYS, as the filter does that Android puts on apps.
pub fn trap(call: libc::c_long) -> io::Result<()> {
    refuse(call, libc::SECCOMP_RET_TRAP)
}

fn refuse(call: libc::c_long, refused: u32) -> io::Result<()> {
    let number = u32::try_from(call).expect("a system call's number");
    let statement = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The number is the first word of what a filter may look at.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter { jf: 1, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number) },
        statement(libc::BPF_RET | libc::BPF_K, refused),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions live until the calls have copied them.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            + libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
