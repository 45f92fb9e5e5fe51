//! The files that a half writes: the access log, and the pid file. Nothing is made, and nothing written.

use super::report::Report;
use crate::os::pid_file::PidFile;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where a file is made that is opened by this path: a link may lead to where nothing is yet.
pub(super) fn end_of_links(path: &Path) -> PathBuf {
    /// As Linux.
    const MOST: usize = 40;
    let mut path = path.to_owned();
    for _ in 0..MOST {
        let Ok(target) = path.read_link() else { break };
        path = folder_of(&path).join(target);
    }
    path
}

/// Looks whether lines can be added to it.
pub(super) fn access_log(path: &Path, report: &mut Report) {
    const STEP: &str = "access log";
    let end = end_of_links(path);
    let shown = match end == path {
        true => path.display().to_string(),
        false => format!("{} (a link to {})", path.display(), end.display()),
    };
    let found = match path.metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return to_be_made(STEP, &end, &shown, report),
        Err(error) => return report.fails(STEP, format!("cannot write to {shown}: {error}")),
    };
    if found.is_dir() {
        return report.fails(STEP, format!("{shown} is a folder"));
    }
    if let Err(error) = may_write(path) {
        return report.fails(STEP, format!("cannot write to {shown}: {error}"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt as _;
        if found.file_type().is_socket() {
            return report.fails(STEP, format!("{shown} is a socket, which cannot be opened"));
        }
        // (to open it would be an end to who reads it)
        if found.file_type().is_fifo() {
            return report.odd(STEP, format!("{shown} is a pipe: somebody has to read it at the start"));
        }
    }
    report.ok(STEP, shown);
}

/// Looks whether it can be taken.
pub(super) fn pid_file(path: &Path, report: &mut Report) {
    const STEP: &str = "pid file";
    let shown = path.display().to_string();
    match PidFile::look(path) {
        Ok(true) => report.ok(STEP, shown),
        Ok(false) => to_be_made(STEP, path, &shown, report),
        Err(error) if error.is_of_another_process() => {
            let then = "if that is this plugin, it runs; if it is another one, this one cannot start";
            report.odd(STEP, format!("{error}: {then}"));
        }
        Err(error) => report.fails(STEP, error),
    }
}

/// Looks whether a file can be made that is not there.
fn to_be_made(step: &str, path: &Path, shown: &str, report: &mut Report) {
    let folder = folder_of(path);
    match folder.metadata() {
        _ if path.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            report.fails(step, format!("{shown}: it is to be a file, and has the name of a folder"));
        }
        Ok(found) if found.is_dir() => match may_write(folder) {
            Ok(()) => report.ok(step, format!("{shown}, which is not there yet")),
            Err(error) => report.fails(step, format!("cannot write to {}: {error}", folder.display())),
        },
        _ => report.fails(step, format!("{shown}: there is no folder {}", folder.display())),
    }
}

/// The folder in which a file is.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether this user may write there. (It is not opened: a pipe would wait for its reader.)
pub(super) fn may_write(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        rustix::fs::access(path, rustix::fs::Access::WRITE_OK).map_err(Into::into)
    }
    #[cfg(not(unix))]
    match path.metadata()?.permissions().readonly() && !path.is_dir() {
        true => Err(std::io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}
