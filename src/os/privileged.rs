//! Files that are read with the privileges from before the change of user.
//!
//! A certificate is renewed every few weeks, and its key is often in a folder that only root enters. A
//! process that has given up root cannot read it anew. So a second process keeps root, and does nothing
//! but open these files, by their numbers in a list that was made at the start, and hand the descriptors
//! over. It ends when the first one does.

use super::daemon::{fork, release_terminal};
use super::input;
use super::user::User;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// How long an answer may take: the files may be on a slow disk.
const ANSWER: Duration = Duration::from_secs(10);

/// Those of this process, which changes its user once.
static PRIVILEGED_FILES: OnceLock<PrivilegedFiles> = OnceLock::new();

/// The files that the second process opens, and the way to it.
#[derive(Debug)]
struct PrivilegedFiles {
    paths: Vec<PathBuf>,
    /// `None` once it has failed.
    socket: Mutex<Option<UnixStream>>,
}

/// Starts the second process, so that these files can be read after the change to this user. To be called
/// while the process has one thread and before it listens: the second process is to hold nothing that others
/// wait for.
///
/// # Errors
///
/// There is no second process.
pub fn start(paths: Vec<PathBuf>, user: &User) -> io::Result<()> {
    if user.is_current() || paths.is_empty() {
        return Ok(());
    }
    let paths = paths.iter().map(std::path::absolute).collect::<io::Result<Vec<_>>>()?;
    let (ours, theirs) = UnixStream::pair()?;
    match fork()? {
        None => {
            drop(ours);
            serve(&paths, theirs);
            // Without running what the first process has asked for at its end.
            signal_hook::low_level::exit(0)
        }
        Some(_) => {
            drop(theirs);
            ours.set_read_timeout(Some(ANSWER))?;
            ours.set_write_timeout(Some(ANSWER))?;
            let _ = PRIVILEGED_FILES.set(PrivilegedFiles { paths, socket: Mutex::new(Some(ours)) });
            Ok(())
        }
    }
}

/// Opens a file for reading, as [`input::open`]; one of the privileged files also where this user may not.
///
/// # Errors
///
/// What the system says.
pub fn open(path: &Path) -> io::Result<File> {
    match input::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            PRIVILEGED_FILES.get().and_then(|files| files.open(path)).unwrap_or(Err(error))
        }
        opened => opened,
    }
}

impl PrivilegedFiles {
    /// `None` if the file is none of them, or the second process has failed.
    fn open(&self, path: &Path) -> Option<io::Result<File>> {
        let number = self.paths.iter().position(|file| file == path)?;
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = ask(socket.as_ref()?, u8::try_from(number).ok()?);
        if answer.is_err() {
            // An answer that comes too late would be taken for the next one.
            *socket = None;
        }
        answer.ok()
    }
}

/// Asks for a file. The outer error is that of the conversation.
fn ask(mut socket: &UnixStream, number: u8) -> io::Result<io::Result<File>> {
    socket.write_all(&[number])?;
    let mut code = [0; 4];
    let mut buffer = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut buffer);
    #[cfg(not(target_vendor = "apple"))]
    let flags = RecvFlags::CMSG_CLOEXEC;
    #[cfg(target_vendor = "apple")]
    let flags = RecvFlags::empty();
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut code)], &mut ancillary, flags)?;
    if received.bytes != code.len() || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let descriptor = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok(descriptor.map(File::from).ok_or_else(|| io::Error::from_raw_os_error(i32::from_ne_bytes(code))))
}

/// What the second process does until the first one has gone.
fn serve(paths: &[PathBuf], mut socket: UnixStream) {
    // Whoever waits for the end of the output, or to unmount a folder, does not wait for this process.
    let _ = release_terminal();
    super::service_manager::close_sockets();
    let mut number = [0];
    while socket.read_exact(&mut number).is_ok() {
        let Some(path) = paths.get(usize::from(number[0])) else { return };
        if answer(&socket, input::open(path)).is_err() {
            return;
        }
    }
}

fn answer(socket: &UnixStream, opened: io::Result<File>) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut buffer);
    let descriptors;
    let code = match &opened {
        Ok(file) => {
            descriptors = [file.as_fd()];
            ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            0
        }
        Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    };
    sendmsg(socket, &[IoSlice::new(&code.to_ne_bytes())], &mut ancillary, SendFlags::empty())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_and_errors_come_over() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let paths = ["/proc/self/comm", "/proc/no such file"].map(PathBuf::from);
        let serving = std::thread::spawn(move || {
            let mut number = [0];
            let mut theirs = theirs;
            while theirs.read_exact(&mut number).is_ok() {
                answer(&theirs, File::open(&paths[usize::from(number[0])])).unwrap();
            }
        });
        for _ in 0..3 {
            let mut text = String::new();
            ask(&ours, 0).unwrap().unwrap().read_to_string(&mut text).unwrap();
            assert!(!text.is_empty());
            let error = ask(&ours, 1).unwrap().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
        }
        drop(ours);
        serving.join().unwrap();
    }
}
