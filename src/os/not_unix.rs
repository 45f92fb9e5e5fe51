//! A system that has neither users to go on as, nor a background, nor pid files: what asks for them is
//! refused, by the same names as elsewhere.

#![expect(missing_docs, reason = "they are documented where they do something")]

use std::convert::Infallible;

const UNSUPPORTED: &str =
    "this system has neither users to go on as (`a`) nor a background with a pid file (`f`)";

pub mod daemon {
    use std::io;
    use std::process::ExitCode;

    #[derive(Debug)]
    pub enum DaemonSide {
        Started(ExitCode),
        Background(Background),
    }

    #[derive(Debug)]
    pub struct Background(super::Infallible);

    pub fn detach() -> io::Result<DaemonSide> {
        Err(io::Error::other(super::UNSUPPORTED))
    }

    impl Background {
        pub fn ready(self) -> io::Result<()> {
            match self.0 {}
        }
    }
}

pub mod pid_file {
    use std::path::Path;

    #[derive(Debug, thiserror::Error)]
    #[error("{}", super::UNSUPPORTED)]
    pub struct PidFileError;

    #[derive(Debug)]
    pub struct PidFile(super::Infallible);

    impl PidFile {
        pub fn claim(_: &Path) -> Result<PidFile, PidFileError> {
            Err(PidFileError)
        }

        pub fn look(_: &Path) -> Result<bool, PidFileError> {
            Err(PidFileError)
        }
    }

    impl PidFileError {
        pub fn is_about_the_configuration(&self) -> bool {
            true
        }

        pub fn is_of_another_process(&self) -> bool {
            false
        }
    }
}

pub mod privileged {
    use super::user::User;
    use std::fs::File;
    use std::io;
    use std::path::{Path, PathBuf};

    pub fn start(_: Vec<PathBuf>, user: &User) -> io::Result<()> {
        match user.0 {}
    }

    pub fn open(path: &Path) -> io::Result<File> {
        crate::os::input::open(path)
    }
}

pub mod service_manager {
    use std::io;
    use std::net::TcpListener;

    /// There is none that this program could speak to.
    #[derive(Debug)]
    pub struct ServiceManager;

    impl ServiceManager {
        pub fn of_this_process() -> ServiceManager {
            ServiceManager
        }

        pub fn ready(&self, _: &str) {}

        pub fn reloading(&self) {}

        pub fn stopping(&self, _: &str) {}

        pub async fn tell_alive(&self, _: impl Fn() -> bool) {
            std::future::pending().await
        }
    }

    pub fn take_sockets() -> io::Result<Vec<(String, TcpListener)>> {
        Ok(Vec::new())
    }
}

pub mod user {
    use std::io;
    use std::path::Path;

    #[derive(Debug, thiserror::Error)]
    #[error("{}", super::UNSUPPORTED)]
    pub struct UserError;

    #[derive(Debug)]
    pub struct User(pub(super) super::Infallible);

    impl User {
        pub fn find(_: &str) -> Result<User, UserError> {
            Err(UserError)
        }

        pub fn name(&self) -> std::borrow::Cow<'_, str> {
            match self.0 {}
        }

        pub fn act<T: Send>(&self, _: impl FnOnce() -> T + Send) -> io::Result<T> {
            match self.0 {}
        }

        pub fn is_current(&self) -> bool {
            match self.0 {}
        }

        pub fn give(&self, _: &Path) -> io::Result<()> {
            match self.0 {}
        }

        pub fn drop_privileges(&self) -> Result<(), UserError> {
            match self.0 {}
        }
    }
}
