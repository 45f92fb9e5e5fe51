//! The files of a folder: found, opened and read. Everything here waits for the disk and belongs on a
//! thread that may wait.

use super::ranges::{Multipart, Part};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A file that may be sent.
#[derive(Debug)]
pub struct OpenFile {
    pub file: File,
    pub length: u64,
    /// When it was changed, in seconds since 1970.
    pub modified: i64,
}

/// What stands at a path.
#[derive(Debug)]
pub enum Found {
    /// A file, and the path at which it is: that of the index where a folder was asked for.
    File(OpenFile, Vec<u8>),
    /// A folder, at this path without a slash at its end.
    Folder(Vec<u8>),
}

/// What nginx answers where a path does not lead to a file.
fn status(error: &io::Error) -> u16 {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename | SPECIAL => {
            404
        }
        OUTSIDE => 403,
        _ if is_link_loop(error) => 403,
        _ => 500,
    }
}

/// It is neither a file nor a folder.
const SPECIAL: io::ErrorKind = io::ErrorKind::Unsupported;

/// It leads out of the folder, or to what is not to be read.
const OUTSIDE: io::ErrorKind = io::ErrorKind::PermissionDenied;

/// Finds what a plain path ([`super::target`]) means in a folder; a folder in it means its `index.html`.
///
/// # Errors
///
/// The status to answer with.
pub fn find(root: &Path, path: &[u8]) -> Result<Found, u16> {
    if !path.ends_with(b"/") {
        return open(root, path.to_vec()).map_err(|error| status(&error));
    }
    open(root, [path, b"index.html"].concat()).map_err(|error| match error.kind() {
        // The folder may be there, and what is in it is not told.
        io::ErrorKind::NotFound => real(root, path).map_or_else(|error| status(&error), |_| 403),
        _ => status(&error),
    })
}

fn open(root: &Path, path: Vec<u8>) -> io::Result<Found> {
    let (root, inside) = real(root, &path)?;
    let file = open_inside(&root, &inside)?;
    let about = file.metadata()?;
    if about.is_dir() {
        return Ok(Found::Folder(path));
    }
    if !about.is_file() {
        return Err(SPECIAL.into());
    }
    let modified = match about.modified()?.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        // A second that has begun counts from its beginning.
        Err(before) => {
            let before = before.duration();
            let seconds = before.as_secs() + u64::from(before.subsec_nanos() > 0);
            i64::try_from(seconds).map_or(i64::MIN, |seconds| -seconds)
        }
    };
    Ok(Found::File(OpenFile { file, length: about.len(), modified }, path))
}

/// Follows all symbolic links: the real folder, and the real path in it. Links may go where they like as
/// long as they come back.
fn real(root: &Path, path: &[u8]) -> io::Result<(PathBuf, PathBuf)> {
    let relative = relative(path).ok_or(io::ErrorKind::NotFound)?;
    let root = root.canonicalize()?;
    let real = root.join(relative).canonicalize()?;
    match real.strip_prefix(&root) {
        Ok(inside) => Ok((root, inside.to_owned())),
        Err(_) => Err(OUTSIDE.into()),
    }
}

#[cfg(unix)]
fn relative(path: &[u8]) -> Option<&Path> {
    use std::os::unix::ffi::OsStrExt as _;
    path.strip_prefix(b"/").map(|path| Path::new(OsStr::from_bytes(path)))
}

/// Drives, devices and streams have names that a file of a website has not.
#[cfg(not(unix))]
fn relative(path: &[u8]) -> Option<&Path> {
    let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
    let strange = |part: &str| {
        part.contains(['\\', ':', '*', '?', '"', '<', '>', '|'])
            || part.contains(char::is_control)
            || part.ends_with(['.', ' '])
    };
    if path.split('/').any(strange) { None } else { Some(Path::new(OsStr::new(path))) }
}

/// Opens a path that has no links in it (any more). What is no file must not make anybody wait.
#[cfg(target_os = "linux")]
fn open_inside(root: &Path, inside: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
    use rustix::io::Errno;

    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let folder = open(root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let inside = if inside.as_os_str().is_empty() { Path::new(OsStr::new(".")) } else { inside };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(&folder, inside, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(file.into()),
        // Before Linux 5.6, and in containers whose filter does not know the call.
        Err(Errno::NOSYS | Errno::PERM) => open_plainly(&root.join(inside)),
        Err(error) => Err(error.into()),
    }
}

/// Without such a call whoever may put links into the folder may win a race. (Android has it, and ends
/// programs that use it.)
#[cfg(not(target_os = "linux"))]
fn open_inside(root: &Path, inside: &Path) -> io::Result<File> {
    open_plainly(&root.join(inside))
}

#[cfg(unix)]
fn open_plainly(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_NOFOLLOW;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Folders are opened like files.
#[cfg(windows)]
fn open_plainly(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt as _;
    const FILE_FLAG_BACKUP_SEMANTICS: u32 = 0x0200_0000;
    std::fs::OpenOptions::new().read(true).custom_flags(FILE_FLAG_BACKUP_SEMANTICS).open(path)
}

#[cfg(unix)]
fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

#[cfg(not(unix))]
fn is_link_loop(_: &io::Error) -> bool {
    false
}

/// What is sent of a file, piece by piece.
#[derive(Debug)]
pub struct Source {
    file: File,
    parts: std::vec::IntoIter<Part>,
    multipart: Option<Multipart>,
    /// What is left of the part that is being sent.
    current: Part,
}

impl Source {
    /// These parts of a file. With `multipart`, what stands between them, too.
    pub fn new(file: File, parts: Vec<Part>, multipart: Option<Multipart>) -> Source {
        Source { file, parts: parts.into_iter(), multipart, current: Part { start: 0, end: 0 } }
    }

    /// Appends what comes next until `piece` is so long. Returns whether there is more.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has become shorter: what was announced cannot be sent.
    pub fn fill(&mut self, piece: &mut Vec<u8>, length: usize) -> io::Result<bool> {
        while piece.len() < length {
            if self.current.start >= self.current.end {
                match (self.parts.next(), &self.multipart) {
                    (Some(part), multipart) => {
                        if let Some(multipart) = multipart {
                            piece.extend_from_slice(multipart.head(part).as_bytes());
                        }
                        self.current = part;
                        self.file.seek(SeekFrom::Start(part.start))?;
                    }
                    (None, Some(multipart)) => {
                        piece.extend_from_slice(multipart.tail().as_bytes());
                        self.multipart = None;
                    }
                    (None, None) => return Ok(false),
                }
                continue;
            }
            let room = length.saturating_sub(piece.len());
            let left = self.current.end - self.current.start;
            piece.reserve_exact(room.min(usize::try_from(left).unwrap_or(room)));
            let got = (&self.file).take(left.min(room as u64)).read_to_end(piece)? as u64;
            if got == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.current.start += got;
        }
        Ok(self.current.start < self.current.end || self.parts.len() > 0 || self.multipart.is_some())
    }
}

#[cfg(all(test, unix))]
mod tests;
