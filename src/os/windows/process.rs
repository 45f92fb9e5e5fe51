//! What Windows tells of processes.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::PathBuf;
use std::time::Duration;
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::{FILETIME, HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
use windows_sys::Win32::System::SystemInformation::GetSystemTimeAsFileTime;
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, GetProcessHandleCount, GetProcessTimes, OpenProcess, PROCESS_BASIC_INFORMATION,
    PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, PROCESS_SYNCHRONIZE, QueryFullProcessImageNameW,
    WaitForSingleObject,
};

/// The times of a process.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When it began, in steps of 100 ns since 1601.
    pub began: u64,
    /// The CPU time that it has used.
    pub cpu: Duration,
}

/// Another process. As long as this is open, its id is no other's.
#[derive(Debug)]
pub struct OtherProcess(OwnedHandle);

impl OtherProcess {
    /// Opens it, to wait for its end.
    ///
    /// # Errors
    ///
    /// There is no such process, or it is not to be looked at.
    pub fn open(id: u32) -> io::Result<OtherProcess> {
        let rights = PROCESS_SYNCHRONIZE | PROCESS_QUERY_LIMITED_INFORMATION;
        // SAFETY: takes three numbers; what is returned is checked below.
        let handle = unsafe { OpenProcess(rights, 0, id) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handle was just opened, and nobody else has it.
        Ok(OtherProcess(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// The handle, for as long as this lives.
    pub(super) fn handle(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    /// Its times.
    ///
    /// # Errors
    ///
    /// The system does not tell.
    pub fn times(&self) -> io::Result<Times> {
        times(self.handle())
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        // SAFETY: the handle is open, and may be waited for; this wait takes no time.
        unsafe { WaitForSingleObject(self.handle(), 0) == WAIT_OBJECT_0 }
    }

    /// The file that it runs.
    pub fn file(&self) -> Option<PathBuf> {
        /// The longest that Windows has, with its end.
        const LONGEST: u32 = 32_768;
        let mut name = vec![0; LONGEST as usize];
        let mut length = LONGEST;
        // SAFETY: the handle is open, and `name` has room for as many characters as `length` says.
        let told = unsafe {
            QueryFullProcessImageNameW(self.handle(), PROCESS_NAME_WIN32, name.as_mut_ptr(), &mut length)
        };
        (told != 0).then(|| OsString::from_wide(name.get(..length as usize).unwrap_or_default()).into())
    }
}

/// What this process uses. What the system does not tell is 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// The CPU time that it has used.
    pub cpu: Duration,
    /// The memory that is in use, in bytes.
    pub memory: usize,
    /// How many handles are open.
    pub handles: u32,
}

/// What this process uses.
pub fn own_usage() -> Usage {
    let mut handles = 0;
    let mut memory = PROCESS_MEMORY_COUNTERS::default();
    // SAFETY: both take the number that stands for this process, and pointers to living values, of which the second is as
    // long as is said.
    unsafe {
        GetProcessHandleCount(GetCurrentProcess(), &mut handles);
        let length = size_of::<PROCESS_MEMORY_COUNTERS>() as u32;
        K32GetProcessMemoryInfo(GetCurrentProcess(), &mut memory, length);
    }
    let cpu = own_times().map(|times| times.cpu).unwrap_or_default();
    Usage { cpu, memory: memory.WorkingSetSize, handles }
}

/// The times of this process.
///
/// # Errors
///
/// The system does not tell.
pub fn own_times() -> io::Result<Times> {
    // SAFETY: returns a number that stands for this process, which need not be closed.
    times(unsafe { GetCurrentProcess() })
}

/// The time, as processes have it.
pub fn now() -> u64 {
    let mut now = FILETIME::default();
    // SAFETY: the pointer is that of a living value, which is written to.
    unsafe { GetSystemTimeAsFileTime(&mut now) };
    steps(now)
}

fn steps(time: FILETIME) -> u64 {
    u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime)
}

fn times(process: HANDLE) -> io::Result<Times> {
    let [mut began, mut ended, mut kernel, mut user] = [FILETIME::default(); 4];
    // SAFETY: the handle is open, and the pointers are those of four living values, which are written to.
    if unsafe { GetProcessTimes(process, &mut began, &mut ended, &mut kernel, &mut user) } == 0 {
        return Err(io::Error::last_os_error());
    }
    let steps_of_cpu = steps(kernel).saturating_add(steps(user));
    Ok(Times { began: steps(began), cpu: Duration::from_nanos(steps_of_cpu.saturating_mul(100)) })
}

/// The id that the process had which started this one. By now it may have ended, and the id be another's.
///
/// (A snapshot of all processes would tell it, too; this asks for one number.)
///
/// # Errors
///
/// The system does not tell.
pub fn parent_id() -> io::Result<u32> {
    let mut information = PROCESS_BASIC_INFORMATION::default();
    // SAFETY: the pointer and the length are those of a living value of the kind that is asked for.
    let status = unsafe {
        NtQueryInformationProcess(
            GetCurrentProcess(),
            ProcessBasicInformation,
            (&raw mut information).cast(),
            size_of::<PROCESS_BASIC_INFORMATION>() as u32,
            std::ptr::null_mut(),
        )
    };
    if status < 0 {
        return Err(io::Error::other(format!("NtQueryInformationProcess: status {status:#010x}")));
    }
    u32::try_from(information.InheritedFromUniqueProcessId).map_err(io::Error::other)
}
