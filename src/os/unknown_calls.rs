//! System calls that a filter does not let through.
//!
//! What is younger than a system is asked for with a call that its kernel may not know, and then with an older one:
//! `openat2` (Linux 5.6), and on 32-bit machines what a C library with a time of 64 bits begins with (`statx`,
//! `clock_gettime64` and its like). The filter that Android puts on apps knows some of them in no version, others since
//! version 10, and ends whoever makes one: it sends SIGSYS. With this the call returns what it returns on an older kernel.

use libc::{c_int, c_void, siginfo_t, ucontext_t};

/// Which word of the registers (`mcontext_t` of the kernel's <asm/sigcontext.h>) is what a system call returns.
#[cfg(target_arch = "arm")]
const RESULT: usize = 3;
#[cfg(target_arch = "aarch64")]
const RESULT: usize = 1;
#[cfg(target_arch = "x86")]
const RESULT: usize = 11;
#[cfg(target_arch = "x86_64")]
const RESULT: usize = 13;

/// Has them fail with `ENOSYS` from here on. To be called before anything else.
pub fn fail() {
    /// What `si_code` is where a filter has sent it (`SYS_SECCOMP` of <asm-generic/siginfo.h>).
    const BY_A_FILTER: c_int = 1;
    extern "C" fn answer(_signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: a handler with SA_SIGINFO is given what the signal is about.
        if unsafe { (*info).si_code } != BY_A_FILTER {
            // Somebody has sent it, between two instructions.
            return;
        }
        let context = context.cast::<ucontext_t>();
        // SAFETY: a handler with SA_SIGINFO is given the context to which it returns, and nobody else has it meanwhile. Its
        // registers are more words than these.
        unsafe {
            let registers = (&raw mut (*context).uc_mcontext).cast::<isize>();
            registers.add(RESULT).write(-(libc::ENOSYS as isize));
        }
    }
    // SAFETY: an action of zeroes is one: no flags, no signals masked.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = answer;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: the action lives until the call has copied it. The handler writes a number to memory that it is given, and
    // does nothing else. (That it is not taken changes nothing.)
    unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
}
