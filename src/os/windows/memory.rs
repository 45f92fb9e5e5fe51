//! How much memory the machine has.

use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

/// What is built in, in bytes.
pub fn built_in() -> Option<u64> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
    // SAFETY: the pointer is that of a living value, which says how long it is.
    let told = unsafe { GlobalMemoryStatusEx(&mut status) } != 0;
    (told && status.ullTotalPhys > 0).then_some(status.ullTotalPhys)
}
