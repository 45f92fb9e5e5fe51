//! The allocator of static programs: mimalloc.
//!
//! A C library that is linked in brings one of its own. That of zig, with which the release files are linked, hands memory
//! out in powers of two, keeps what it once had, and asks the kernel for each of the larger pieces anew: a crowd that has
//! gone would cost as much as one that stays.

use libmimalloc_sys::{mi_collect, mi_option_set, mi_option_t};
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_arena_eager_commit` of mimalloc.h.
const ARENA_EAGER_COMMIT: mi_option_t = 4;

/// Has it take memory when that is used, and not a gigabyte beforehand: `ulimit -d` counts that, and the kernel fills it with
/// pages of 2 MB where a few bytes are used. To be called before anything is allocated.
pub extern "C" fn take_little() {
    // SAFETY: takes two integers and sets a number of the allocator's.
    unsafe { mi_option_set(ARENA_EAGER_COMMIT, 0) };
}

/// Gives back to the system what has been freed.
pub(crate) fn give_back() {
    // SAFETY: takes a truth value; what other threads have is left alone, or locked while it is looked at.
    unsafe { mi_collect(true) };
}
