//! A part of the C library, for the static program on 32-bit MIPS.

use std::ffi::{c_char, c_void};

/// Finds no symbol, which is what there is to find in a static program. musl's own, which is written in assembler, takes
/// for granted that the caller has put its address into a register; callers of code that is not position-independent do
/// not, and it jumps to nowhere. rustix asks it for system calls that a C library may lack, and then makes them itself.
// SAFETY: it has the name and the type of musl's, stands in its place, and does what that does here.
#[unsafe(no_mangle)]
extern "C" fn dlsym(_handle: *mut c_void, _name: *const c_char) -> *mut c_void {
    std::ptr::null_mut()
}
