//! A directory that goes when the test does.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

/// Where they are: beside what was built, or, where other users may not go there, with everybody's.
fn place() -> PathBuf {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let may_enter = |folder: &Path| folder.metadata().is_ok_and(|it| it.permissions().mode() & 1 == 1);
    if built.ancestors().skip(1).all(may_enter) { built.to_owned() } else { std::env::temp_dir() }
}

/// A fresh directory, removed on drop.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new(name: &str) -> TempDir {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let path =
            place().join(format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        // A process id comes round again; what an aborted run left behind must not be mixed in.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("create a directory for the test");
        // Whatever the user's mask is: some programs go on as another user.
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("open it to other users");
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("create a directory for the test");
        }
        std::fs::write(&path, content).expect("write a file of the test");
        path
    }

    /// A page of a website, which was there long before the test: two websites that are compared say the same of their pages,
    /// in whatever second each was written.
    pub fn page(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.write(name, content);
        let file = std::fs::File::options().write(true).open(path).expect("a page of the test");
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).expect("set a page's time");
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
