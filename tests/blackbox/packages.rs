//! Packages: what `scripts/release` makes of finished programs, installed and run without the systems that they are for.

mod android;
mod container;
mod debian;
mod openwrt;
mod release;

use std::path::{Path, PathBuf};

/// The folder of packages to test, which `OBFS_RS_DIST` names. Without it there is nothing to say, which is no success.
#[track_caller]
fn dist() -> PathBuf {
    let dist = std::env::var_os("OBFS_RS_DIST")
        .expect("OBFS_RS_DIST names the folder that scripts/release has filled");
    let dist = PathBuf::from(dist);
    assert!(
        dist.is_absolute() && dist.is_dir(),
        "OBFS_RS_DIST is no folder's whole path: {}",
        dist.display()
    );
    dist
}

/// Every file below a root that is no folder, by its path there.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else {
                found.push(format!("/{}", path.strip_prefix(root).expect("below the root").display()));
            }
        }
    }
    found.sort();
    found
}
