//! The packages of a release, from the folder that `OBFS_RS_DIST` names. They are not part of the suite's default run:
//! `scripts/test --platforms` makes the packages and runs these.

use std::path::PathBuf;

mod debian;

/// The folder with the packages.
#[track_caller]
fn dist() -> PathBuf {
    let folder = std::env::var_os("OBFS_RS_DIST").expect("OBFS_RS_DIST: the folder with the packages");
    // Tests have other folders that they work in.
    std::path::absolute(folder).expect("OBFS_RS_DIST")
}
