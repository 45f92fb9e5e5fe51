//! Files that are read whole, such as settings, certificates and keys. Whatever stands at the path, to read it has an end: a
//! pipe may have no writer, and a device may have no end.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;
use tokio::time::Instant;

/// How long a pipe may take to say all of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Opens a file for reading. Who writes to a pipe is not waited for.
///
/// # Errors
///
/// What the system says.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    }
    options.open(path)
}

/// Reads all of the standard input, which is no more than `most` bytes. Whoever types is waited for.
///
/// # Errors
///
/// What the system says; or it is longer.
pub fn read_stdin(most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    limited(bytes, most)
}

/// Reads all of it, which is no more than `most` bytes. A pipe to which nobody writes is empty.
///
/// # Errors
///
/// What the system says; it is longer; or it is a pipe or a device that has no end after 5 seconds.
pub fn read(file: &File, most: u64) -> io::Result<Vec<u8>> {
    read_within(PATIENCE, file, most)
}

fn read_within(patience: Duration, file: &File, most: u64) -> io::Result<Vec<u8>> {
    let until = Instant::now() + patience;
    let mut bytes = Vec::new();
    let mut file_part = file.take(most.saturating_add(1));
    loop {
        match file_part.read_to_end(&mut bytes) {
            Ok(_) => return limited(bytes, most),
            // (what came before is in there)
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(file, until)?,
            Err(error) => return Err(error),
        }
    }
}

fn limited(bytes: Vec<u8>, most: u64) -> io::Result<Vec<u8>> {
    match bytes.len() as u64 > most {
        true => Err(io::Error::other(format!("it is longer than {} KiB", most / 1024))),
        false => Ok(bytes),
    }
}

/// Waits until there is more of it.
#[cfg(unix)]
fn wait(file: &File, until: Instant) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let left = until.saturating_duration_since(Instant::now());
    let late = || io::Error::new(io::ErrorKind::TimedOut, "it is a pipe or a device, and does not end");
    if left.is_zero() {
        return Err(late());
    }
    let left = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&left)) {
        Ok(0) => Err(late()),
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// There, whoever reads waits in any case.
#[cfg(not(unix))]
fn wait(_: &File, _: Instant) -> io::Result<()> {
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn pipe() -> (File, File) {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).unwrap();
        (File::from(reader), File::from(writer))
    }

    #[test]
    fn a_pipe_is_read_to_its_end() {
        let (reader, mut writer) = pipe();
        let writing = std::thread::spawn(move || {
            writer.write_all(b"one ").unwrap();
            // Until it has been read.
            while rustix::io::ioctl_fionread(&writer).unwrap() > 0 {
                std::thread::yield_now();
            }
            writer.write_all(b"two").unwrap();
        });
        assert_eq!(read(&reader, 7).unwrap(), b"one two");
        writing.join().unwrap();
        // Nobody writes any more.
        assert_eq!(read(&reader, 7).unwrap(), b"");
    }

    #[test]
    fn what_has_no_end_is_left() {
        let (reader, mut writer) = pipe();
        writer.write_all(b"one").unwrap();
        let error = read_within(Duration::from_millis(20), &reader, 7).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let zeros = open(Path::new("/dev/zero")).unwrap();
        assert!(read(&zeros, 2048).unwrap_err().to_string().contains("longer than 2 KiB"));
        assert!(read(&open(Path::new("/")).unwrap(), 2048).is_err());
    }
}
