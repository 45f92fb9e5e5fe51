//! Going on as another user.

use std::ffi::CString;
use std::io;
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
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl User {
    /// Looks a user up, by name or number.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn find(text: &str) -> Result<User, UserError> {
        let unknown = || UserError::Unknown(text.escape_debug().to_string());
        let name = CString::new(text).map_err(|_| unknown())?;
        let number: Option<libc::uid_t> = text.parse().ok();
        let mut size = 1024;
        loop {
            // SAFETY: `passwd` is a plain C structure of integers and pointers, for which zeros are a
            // value; it is only read after the lookup has filled it.
            let mut entry: libc::passwd = unsafe { std::mem::zeroed() };
            let mut room: Vec<libc::c_char> = vec![0; size];
            let mut found: *mut libc::passwd = std::ptr::null_mut();
            // SAFETY: all pointers are to living values of the right types, `room` is as long as the call
            // is told, and the name ends in a zero byte.
            let code = unsafe {
                match number {
                    Some(uid) => libc::getpwuid_r(uid, &mut entry, room.as_mut_ptr(), room.len(), &mut found),
                    None => {
                        libc::getpwnam_r(name.as_ptr(), &mut entry, room.as_mut_ptr(), room.len(), &mut found)
                    }
                }
            };
            if code == libc::ERANGE && size < 1 << 20 {
                size *= 4;
                continue;
            }
            if code != 0 || found.is_null() {
                return Err(unknown());
            }
            // SAFETY: the lookup succeeded, so `pw_name` points to a string in `room`, which still lives.
            let name = unsafe { std::ffi::CStr::from_ptr(entry.pw_name) }.to_owned();
            return Ok(User { name, uid: entry.pw_uid, gid: entry.pw_gid });
        }
    }

    /// Whether the process is this user's already.
    pub fn is_current(&self) -> bool {
        rustix::process::geteuid().as_raw() == self.uid && rustix::process::getuid().as_raw() == self.uid
    }

    /// Makes the process this user's, with all groups of the user and no others.
    ///
    /// To be called while the process has one thread: not every libc takes the others along.
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn become_it(&self) -> Result<(), UserError> {
        if self.is_current() {
            // Who is not root cannot set groups, and has the right ones.
            return Ok(());
        }
        let check = |what, code| match code {
            0 => Ok(()),
            _ => Err(UserError::Refused {
                user: self.name.to_string_lossy().into_owned(),
                what,
                error: io::Error::last_os_error(),
            }),
        };
        // The groups first: afterwards there is no right to change them.
        // SAFETY: the name ends in a zero byte and lives; the call keeps no pointer.
        check("its groups", unsafe { libc::initgroups(self.name.as_ptr(), self.gid as _) })?;
        // SAFETY: takes an integer and changes nothing in our memory.
        check("its group", unsafe { libc::setgid(self.gid) })?;
        // SAFETY: as above.
        check("its id", unsafe { libc::setuid(self.uid) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        assert_eq!(User::find("root").unwrap().uid, 0);
        assert_eq!(User::find("0").unwrap().name.to_str(), Ok("root"));
        for nobody in ["no such user", "4294967294", ""] {
            assert!(matches!(User::find(nobody), Err(UserError::Unknown(_))), "{nobody}");
        }
    }
}
