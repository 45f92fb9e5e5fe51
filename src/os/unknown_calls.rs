//! System calls that a filter does not let through, on 32-bit machines.
//!
//! A C library with a time of 64 bits asks for files and clocks with calls that Linux has had since 4.11 (`statx`) and 5.1
//! (`clock_gettime64` and its like), and with the older ones where the kernel does not know those. The filter that Android
//! puts on apps (before version 10) knows neither, and ends whoever makes one: it sends SIGSYS. With this the call returns
//! what it returns on an older kernel.

use libc::{c_int, c_void, siginfo_t, ucontext_t};

/// Has them fail with `ENOSYS` from here on. To be called before anything else.
pub fn fail() {
    extern "C" fn answer(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
        let context = context.cast::<ucontext_t>();
        // SAFETY: a handler with SA_SIGINFO is given the context to which it returns, and nobody else has it meanwhile.
        let result: *mut u32 = unsafe {
            // What a system call returns is in this register.
            #[cfg(target_arch = "arm")]
            {
                (&raw mut (*context).uc_mcontext.arm_r0).cast()
            }
            #[cfg(target_arch = "x86")]
            {
                /// `REG_EAX` of <sys/ucontext.h>.
                const EAX: usize = 11;
                (&raw mut (*context).uc_mcontext).cast::<u32>().add(EAX)
            }
        };
        // SAFETY: the pointer leads into the context.
        unsafe { result.write((-libc::ENOSYS).cast_unsigned()) };
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
