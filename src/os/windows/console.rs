//! The console that Windows has made for this process.

use windows_sys::Win32::System::Console::{
    FreeConsole, GetConsoleMode, GetConsoleProcessList, GetConsoleWindow, GetStdHandle, STD_ERROR_HANDLE,
    STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, SetStdHandle,
};

/// Leaves a console that Windows has made for this process alone, with its window: a host with windows of its own, which
/// has no console, gets one for each plugin that it starts without saying that there is to be none.
///
/// The program stays one of the console's kind for all that. One of the other kind would print no `--help` that a shell
/// waits for, and would hear no Ctrl-C. The window would not go by hiding it either, since it may be a terminal's, which
/// is another process; and who calls for windows is not told any more that the system shuts down. So it is seen for a
/// moment.
///
/// shadowsocks-windows says that there is to be none, but for when its user has asked to see what plugins write: that one
/// stays.
///
/// A console without a window stays: a host that asked for such a one may send Ctrl-Break there. So does one that others
/// have, too, such as the shell that started the host.
pub fn leave_own(parent: Option<&str>) {
    if parent == Some("shadowsocks") {
        return;
    }
    let mut processes = [0; 2];
    // SAFETY: the pointer and the length are those of a living array, which is written to.
    let together = unsafe { GetConsoleProcessList(processes.as_mut_ptr(), processes.len() as u32) };
    // SAFETY: takes nothing; what it returns is only looked at.
    if together != 1 || unsafe { GetConsoleWindow() }.is_null() {
        return;
    }
    for stream in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        let mut mode = 0;
        // SAFETY: the first takes a number; the second a handle, which may be none of a console's, and the pointer to a
        // living number; the third a number and no handle.
        unsafe {
            // What leads to the console will lead nowhere, or to what gets the same handle later.
            if GetConsoleMode(GetStdHandle(stream), &mut mode) != 0 {
                SetStdHandle(stream, std::ptr::null_mut());
            }
        }
    }
    // SAFETY: takes nothing. Nobody has a handle of this console any more.
    unsafe { FreeConsole() };
}
