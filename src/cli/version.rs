//! What `--version` says: the version, the target, the commit and the features. Reports of faults need all of them.

use std::sync::LazyLock;

/// The version as `--version` shows it behind the program's name.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit =
        option_env!("OBFS_RS_BUILT_COMMIT").map_or(String::new(), |commit| format!(", commit {commit}"));
    let features: Vec<_> = FEATURES.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(" ") };
    format!("{} ({}{commit})\nfeatures: {features}", env!("CARGO_PKG_VERSION"), env!("OBFS_RS_TARGET"),)
});

/// The features of the program, as `Cargo.toml` has them, and whether they are in it.
const FEATURES: [(&str, bool); 9] = [
    ("server", cfg!(feature = "server")),
    ("client", cfg!(feature = "client")),
    ("tls", cfg!(feature = "tls")),
    ("quic", cfg!(feature = "quic")),
    ("grpc", cfg!(feature = "grpc")),
    ("probe", cfg!(feature = "probe")),
    ("site", cfg!(feature = "site")),
    ("metrics", cfg!(feature = "metrics")),
    ("share", cfg!(feature = "share")),
];

/// The program's name and version as `--version` shows them.
pub(super) fn version() -> String {
    format!("obfs-rs {}\n", VERSION.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feature_of_the_manifest_is_known() {
        let manifest = include_str!("../../Cargo.toml");
        let default = manifest.lines().find_map(|line| line.strip_prefix("default = ")).expect("a default");
        let wanted: Vec<_> =
            default.trim_matches(['[', ']']).split(", ").map(|name| name.trim_matches('"')).collect();
        assert_eq!(FEATURES.map(|(name, _)| name).to_vec(), wanted);
    }
}
