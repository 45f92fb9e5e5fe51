//! Going on as another user.

use nix::unistd::{self, Gid, Uid};
use std::borrow::Cow;
use std::ffi::CString;
use std::io;
use std::path::Path;
use thiserror::Error;

/// Why a user cannot be had.
#[derive(Debug, Error)]
pub enum UserError {
    /// Nobody is called so.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// The system refuses.
    #[error("cannot go on as user `{user}`: {what}: {error}")]
    Refused {
        /// The user's name.
        user: String,
        /// At which step.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
}

/// A user of this system.
#[derive(Debug)]
pub struct User {
    name: CString,
    uid: Uid,
    gid: Gid,
}

impl User {
    /// Looks a user up, by name or number.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find(text: &str) -> Result<User, UserError> {
        let unknown = || UserError::Unknown(text.escape_debug().to_string());
        let found = match text.parse() {
            Ok(number) => unistd::User::from_uid(Uid::from_raw(number)),
            Err(_) => unistd::User::from_name(text),
        };
        let found = found.ok().flatten().ok_or_else(unknown)?;
        let name = CString::new(found.name).map_err(|_| unknown())?;
        Ok(User { name, uid: found.uid, gid: found.gid })
    }

    /// What the user is called.
    pub fn name(&self) -> Cow<'_, str> {
        self.name.to_string_lossy()
    }

    /// Whether the process is this user's already.
    pub fn is_current(&self) -> bool {
        unistd::geteuid() == self.uid && unistd::getuid() == self.uid
    }

    /// Makes a file this user's, before the process is.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        if self.is_current() {
            return Ok(());
        }
        std::os::unix::fs::chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
    }

    /// Makes the process this user's, with all groups of the user and no others.
    ///
    /// To be called while the process has one thread: not every libc takes the others along.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn drop_privileges(&self) -> Result<(), UserError> {
        if self.is_current() {
            // Who is not root cannot set groups, and has the right ones.
            return Ok(());
        }
        let step = |what, done: nix::Result<()>| {
            done.map_err(|error| UserError::Refused {
                user: self.name().into_owned(),
                what,
                error: error.into(),
            })
        };
        // The groups first: afterwards there is no right to change them.
        step("its groups", unistd::initgroups(&self.name, self.gid))?;
        step("its group", unistd::setgid(self.gid))?;
        step("its id", unistd::setuid(self.uid))
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
impl User {
    /// Does something as this user, with all groups of the user and no others, and waits for it. The process stays who it
    /// is: users and groups are each thread's own to the kernel, and this thread ends.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn act<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        use rustix::process::{Gid, Uid};
        use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
        let groups: Vec<_> = unistd::getgrouplist(&self.name, self.gid)?
            .into_iter()
            .map(|group| Gid::from_raw(group.as_raw()))
            .collect();
        let (uid, gid) = (Uid::from_raw(self.uid.as_raw()), Gid::from_raw(self.gid.as_raw()));
        let act = || {
            // The groups first: afterwards there is no right to change them.
            set_thread_groups(&groups)?;
            set_thread_res_gid(gid, gid, gid)?;
            set_thread_res_uid(uid, uid, uid)?;
            Ok(work())
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("user".into()).spawn_scoped(scope, act)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the work broke off")))
        })
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl User {
    /// A process is one user's there.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn act<T: Send>(&self, _: impl FnOnce() -> T + Send) -> io::Result<T> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(User::find("root").unwrap().uid, Uid::from_raw(0));
        assert_eq!(User::find("0").unwrap().name.to_str(), Ok("root"));
        for nobody in ["no such user", "4294967294", ""] {
            assert!(matches!(User::find(nobody), Err(UserError::Unknown(_))), "{nobody}");
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn a_thread_acts_as_another_and_the_process_stays_who_it_is() {
        let Ok(nobody) = User::find("nobody") else { return };
        if !unistd::geteuid().is_root() {
            // Nobody else may.
            assert_eq!(nobody.act(|| ()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            return;
        }
        let root_only = std::env::temp_dir().join(format!("obfs-rs-user-{}", std::process::id()));
        std::fs::write(&root_only, "x").unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&root_only, closed).unwrap();
        let refused = nobody.act(|| (unistd::geteuid(), std::fs::read(&root_only))).unwrap();
        assert_eq!(refused.0, nobody.uid);
        assert_eq!(refused.1.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(unistd::geteuid().is_root());
        assert_eq!(std::fs::read(&root_only).unwrap(), b"x");
        std::fs::remove_file(&root_only).unwrap();
    }
}
