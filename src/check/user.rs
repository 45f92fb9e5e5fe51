//! What the user reaches as whom a half goes on (option `a`). Who checks is root, most likely, and reaches more: so a thread
//! asks as that user.

use super::kept_file::{end_of_links, folder_of, may_write};
use super::report::Report;
use crate::config::{Config, Half, Website};
use crate::os::user::User;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const STEP: &str = "user";

/// The most files of a website that are looked at.
const FILES: usize = 1000;

/// Asks as this user.
pub(super) fn check(user: &User, config: &Config, report: &mut Report) {
    if user.is_current() {
        return;
    }
    if !may_become_another() {
        return report.odd(STEP, "only root goes on as another user: this is not root, the start has to be");
    }
    let name = user.name();
    let found = user.act(|| Found {
        folders: folders(&config.half).map(|folder| (folder, of_website(folder))).collect(),
        unread: config.files().into_iter().filter(|file| may_not(may_read(file))).collect(),
        log: config.process.access_log.as_ref().and_then(|log| log.file()).and_then(of_log),
    });
    let Found { folders, unread, log } = match found {
        Ok(found) => found,
        // (a container without the capabilities for it: the start fails in the same way)
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return report.fails(STEP, format!("cannot go on as user {name}: {error}"));
        }
        Err(error) => return report.unknown(STEP, format!("what {name} can read cannot be asked: {error}")),
    };
    match unread.as_slice() {
        [] => report.ok(STEP, format!("it goes on as {name}")),
        files => {
            let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
            let how = "a second process that stays root opens them when they are read anew";
            report.ok(STEP, format!("it goes on as {name}, who cannot read {}: {how}", files.join(", ")));
        }
    }
    for (folder, problem) in folders {
        match problem {
            None => {}
            Some(Problem::Folder(error)) => report.fails(
                STEP,
                format!(
                    "{name} cannot enter {}: {error}; visitors are not shown the website",
                    folder.display()
                ),
            ),
            Some(Problem::File(path, error)) => report.odd(
                STEP,
                format!("{name} cannot read {}: {error}; visitors are refused it (403)", path.display()),
            ),
        }
    }
    if let Some(error) = log {
        report.odd(
            STEP,
            format!(
                "{name} cannot make the access log anew: {error}; once it has been moved away, lines go on to the old file, \
                 unless whoever moves it makes a new one for {name} (logrotate: `create 0640 {name}`) in a folder that {name} \
                 can enter"
            ),
        );
    }
}

/// What this user finds.
struct Found<'a> {
    folders: Vec<(&'a Path, Option<Problem>)>,
    /// Files that the user may not read.
    unread: Vec<PathBuf>,
    /// Why the access log cannot be made anew.
    log: Option<String>,
}

/// Why visitors do not see what is in a folder.
enum Problem {
    Folder(io::Error),
    File(PathBuf, io::Error),
}

/// Whether this process may go on as any user.
fn may_become_another() -> bool {
    #[cfg(unix)]
    {
        rustix::process::geteuid().is_root()
    }
    #[cfg(not(unix))]
    {
        true
    }
}

/// Whether something is there, and not for this user.
fn may_not(asked: io::Result<()>) -> bool {
    asked.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// The folders whose files visitors are shown.
fn folders(half: &Half) -> impl Iterator<Item = &Path> {
    let failover = match half {
        Half::Server(server) => Some(&server.failover),
        Half::Client(_) => None,
    };
    let sites = failover.into_iter().flat_map(|failover| [Some(&failover.plain), failover.clear.as_ref()]);
    sites.flatten().filter_map(|site| match site {
        Website::Folder(path) => Some(path.as_path()),
        _ => None,
    })
}

/// What is in the way of a visitor: at the door, at the first page, or at one of the files beside it.
fn of_website(folder: &Path) -> Option<Problem> {
    if let Err(error) = folder.canonicalize().and_then(|folder| may_enter(&folder)) {
        return Some(Problem::Folder(error));
    }
    // (of a folder that cannot be listed the files can be read all the same)
    let listed = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).take(FILES);
    let first = std::iter::once(folder.join("index.html"));
    first.chain(listed).find_map(|path| {
        let about = match path.metadata() {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Some(Problem::File(path, error));
            }
            Err(_) => return None,
        };
        let may = match () {
            () if about.is_dir() => may_enter(&path),
            () if about.is_file() => may_read(&path),
            () => return None,
        };
        may.err().map(|error| Problem::File(path, error))
    })
}

/// Whether this user may read a file. (It is not opened: a pipe would wait for who writes to it.)
fn may_read(file: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        rustix::fs::access(file, rustix::fs::Access::READ_OK).map_err(Into::into)
    }
    #[cfg(not(unix))]
    {
        fs::File::open(file).map(drop)
    }
}

/// Whether this user may come by what is in a folder, by its name.
fn may_enter(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        rustix::fs::access(folder, rustix::fs::Access::EXEC_OK).map_err(Into::into)
    }
    #[cfg(not(unix))]
    {
        folder.metadata().map(drop)
    }
}

/// Why a file cannot be made anew where this one is. (A pipe, or a device, stays what it is.)
fn of_log(path: &Path) -> Option<String> {
    let stays = path.metadata().is_ok_and(|about| !about.is_file());
    let end = end_of_links(path);
    let folder = folder_of(&end);
    let error = may_enter(folder).and_then(|()| may_write(folder)).err().filter(|_| !stays)?;
    Some(format!("{}: {error}", folder.display()))
}
