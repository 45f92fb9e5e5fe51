//! The README against the program.

use obfs_rs::config::options::OPTIONS;

#[test]
fn the_readme_names_every_option() {
    let readme = include_str!("../README.md");
    for spec in OPTIONS {
        let named = [format!("`{}`", spec.name), format!("`{}=", spec.name)];
        assert!(named.iter().any(|text| readme.contains(text)), "{} is not in the README", spec.name);
    }
}
