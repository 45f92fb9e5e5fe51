//! The pid file: of the process that has the port, and of no other.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why there is no pid file.
#[derive(Debug, Error)]
pub enum PidFileError {
    /// It cannot be written.
    #[error("cannot write the pid file {0}: {1}")]
    Refused(String, io::Error),
    /// It is a link, or anything else that is not to be written through.
    #[error("cannot write the pid file {0}: it is {1}, and only a file of its own is written")]
    NotOurs(String, &'static str),
    /// It belongs to a process that runs.
    #[error("the pid file {0} belongs to a process that runs{1}")]
    Taken(String, String),
}

impl PidFileError {
    /// Whether only another configuration helps. A process that runs may end, and a full disk have room again.
    pub fn is_about_the_configuration(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            PidFileError::Refused(_, error) => !matches!(error.kind(), StorageFull | QuotaExceeded),
            PidFileError::NotOurs(..) => true,
            PidFileError::Taken(..) => false,
        }
    }

    /// Whether it is another running process's.
    pub fn is_of_another_process(&self) -> bool {
        matches!(self, PidFileError::Taken(..))
    }
}

/// The pid file of this process. It is locked for as long as this lives, and goes with it.
#[derive(Debug)]
pub struct PidFile {
    /// Not relative: the working directory changes in the background.
    path: PathBuf,
    /// `None` for a device, which keeps nothing.
    file: Option<File>,
}

/// How often a file that goes away in this moment is begun with again.
const ATTEMPTS: usize = 10;

/// The most that is read of a file that should be a number.
const MAX_CONTENT: u64 = 64;

impl PidFile {
    /// Writes the process id into a file, for whoever wants to signal it. To be called once the process
    /// has what it wants, and is the one that stays.
    ///
    /// The file is written where it is, and not replaced: it may be in a folder in which only the file is
    /// this user's.
    ///
    /// # Errors
    ///
    /// It cannot be written, or is another running process's.
    pub fn claim(path: &Path) -> Result<PidFile, PidFileError> {
        let name = path.display().to_string();
        let refused = |error: io::Error| PidFileError::Refused(name.clone(), error);
        let path = std::path::absolute(path).map_err(refused)?;
        for _ in 0..ATTEMPTS {
            let mut file = open_own(&path, &name, OFlags::CREATE)?;
            // One write: who reads it meanwhile finds all of the number, or nothing.
            let number = format!("{}\n", std::process::id());
            if is_device(&file) {
                // It keeps nothing, as `/dev/null` does.
                let _ = file.write_all(number.as_bytes());
                return Ok(PidFile { path, file: None });
            }
            lock(&file, &name)?;
            if !is_at(&file, &path) {
                // Whoever had it before removed it before it was locked here.
                continue;
            }
            file.set_len(0).map_err(refused)?;
            io::Seek::rewind(&mut file).map_err(refused)?;
            file.write_all(number.as_bytes()).map_err(refused)?;
            return Ok(PidFile { path, file: Some(file) });
        }
        Err(PidFileError::Taken(name, String::new()))
    }

    /// Whether there is a file, which would be taken over. Nothing is made, and nothing written.
    ///
    /// # Errors
    ///
    /// What stands there cannot be had, or is another running process's.
    pub fn look(path: &Path) -> Result<bool, PidFileError> {
        let name = path.display().to_string();
        match open_own(path, &name, OFlags::empty()) {
            Err(PidFileError::Refused(_, error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
            Ok(file) if is_device(&file) => Ok(true),
            // (the lock goes with this)
            Ok(file) => lock(&file, &name).map(|()| true),
        }
    }
}

/// Opens what is to be a pid file: a file of its own, or a device.
fn open_own(path: &Path, name: &str, more: OFlags) -> Result<File, PidFileError> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | more;
    let not_ours = |what| Err(PidFileError::NotOurs(name.to_owned(), what));
    let file = match open(path, flags, Mode::from_raw_mode(0o644)) {
        Ok(file) => File::from(file),
        Err(_) if path.is_symlink() => return not_ours("a link"),
        Err(error) => return Err(PidFileError::Refused(name.to_owned(), error.into())),
    };
    let metadata = file.metadata().map_err(|error| PidFileError::Refused(name.to_owned(), error))?;
    match () {
        () if metadata.file_type().is_char_device() => Ok(file),
        () if !metadata.is_file() => not_ours("no file"),
        () if metadata.nlink() > 1 => not_ours("a file of several names"),
        () => Ok(file),
    }
}

fn is_device(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.file_type().is_char_device())
}

/// Locks it, unless it is another running process's.
fn lock(file: &File, name: &str) -> Result<(), PidFileError> {
    let locked = flock(file, FlockOperation::NonBlockingLockExclusive);
    let mut content = String::new();
    let _ = file.take(MAX_CONTENT).read_to_string(&mut content);
    let named: Option<i32> = content.trim().parse().ok();
    // There are file systems without locks, where only the number counts.
    let held = locked == Err(Errno::WOULDBLOCK);
    if held || named.and_then(Pid::from_raw).is_some_and(writes_without_lock) {
        let who = named.map(|pid| format!(" ({pid})")).unwrap_or_default();
        return Err(PidFileError::Taken(name.to_owned(), who));
    }
    Ok(())
}

/// Whether the name still leads to this file.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Whether a process that a file names, and that does not hold the lock, may have written it all the same:
/// simple-obfs has no lock. A number that has come round again is not such a process: after a start of the
/// system it may be anybody's, also another process's of this program, which would hold the lock.
fn writes_without_lock(pid: Pid) -> bool {
    let lives = !matches!(test_kill_process(pid), Err(Errno::SRCH));
    if !lives || pid == rustix::process::getpid() {
        return false;
    }
    let number = pid.as_raw_nonzero();
    let Ok(name) = std::fs::read_to_string(format!("/proc/{number}/comm")) else { return false };
    if !["obfs-server", "obfs-local", "obfs-rs"].contains(&name.trim_end()) {
        return false;
    }
    match std::fs::read_link(format!("/proc/{number}/exe")) {
        Ok(theirs) => std::fs::read_link("/proc/self/exe").map_or(true, |ours| ours != theirs),
        // One that has ended and waits for its parent to ask runs nothing any more.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

impl Drop for PidFile {
    /// Removes the file if it is still ours. In a folder that is no longer ours to write to, it is emptied.
    fn drop(&mut self) {
        let Some(file) = self.file.as_ref().filter(|file| is_at(file, &self.path)) else { return };
        if std::fs::remove_file(&self.path).is_err() {
            let _ = file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A folder of the test's own.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("obfs-rs-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir(&path).unwrap();
            Folder(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_stale_file_is_taken_over_and_goes_at_the_end() {
        let folder = Folder::new("stale");
        let path = folder.0.join("pid");
        let ours = format!("{}\n", std::process::id());
        // No process has the first number; the second is one of another program; the third is ours.
        for stale in ["", "4194305\n", "1\n", &ours, "no number, and longer than one\n"] {
            std::fs::write(&path, stale).unwrap();
            let claimed = PidFile::claim(&path).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), ours, "{stale:?}");
            drop(claimed);
            assert!(!path.exists(), "{stale:?}");
        }
    }

    #[test]
    fn a_file_that_is_held_stays_as_it_is() {
        let folder = Folder::new("held");
        let path = folder.0.join("pid");
        let first = PidFile::claim(&path).unwrap();
        let error = PidFile::claim(&path).unwrap_err();
        assert!(matches!(error, PidFileError::Taken(..)), "{error}");
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
        assert!(path.exists());
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_a_successor_is_not_removed() {
        let folder = Folder::new("successor");
        let path = folder.0.join("pid");
        let claimed = PidFile::claim(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "7\n").unwrap();
        drop(claimed);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "7\n");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = Folder::new("link");
        let (path, other) = (folder.0.join("pid"), folder.0.join("other"));
        std::fs::write(&other, "kept").unwrap();
        symlink(&other, &path).unwrap();
        assert!(matches!(PidFile::claim(&path), Err(PidFileError::NotOurs(..))));
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        assert!(matches!(PidFile::claim(&path), Err(PidFileError::NotOurs(..))));
        std::fs::remove_file(&path).unwrap();
        symlink(folder.0.join("to be made"), &path).unwrap();
        assert!(matches!(PidFile::claim(&path), Err(PidFileError::NotOurs(..))));
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "kept");
        assert!(!folder.0.join("to be made").exists());
        // What keeps nothing is no file either, and does no harm.
        PidFile::claim(Path::new("/dev/null")).unwrap();
    }
}
