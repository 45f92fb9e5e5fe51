//! How much memory there is.

use windows_sys::Win32::System::SystemInformation::{GlobalMemoryStatusEx, MEMORYSTATUSEX};

/// What is built in, in bytes; or half of what a process of 32 bits can have at all.
pub fn built_in() -> Option<u64> {
    let mut status = MEMORYSTATUSEX { dwLength: size_of::<MEMORYSTATUSEX>() as u32, ..Default::default() };
    // SAFETY: the pointer is that of a living value, which says how long it is.
    let told = unsafe { GlobalMemoryStatusEx(&mut status) } != 0;
    let bytes = status.ullTotalPhys.min(status.ullTotalVirtual / 2);
    (told && bytes > 0).then_some(bytes)
}
