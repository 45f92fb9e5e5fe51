//! Paths that lead each to a place of its own.

use crate::wire::http::host::{decoded, without_query};
use crate::wire::http::request::target::Target;
use std::sync::Arc;

/// Paths, of which each has a number. They are compared as [`is_path`](crate::wire::http::host::is_path) compares
/// one: decoded, and without their queries.
#[derive(Debug, Clone, Default)]
pub struct PathTable {
    /// Decoded and in order, each with its number. Shared: a server has the table once for each layer.
    sorted: Arc<[(Vec<u8>, usize)]>,
    /// A web server would refuse a request line with one of them.
    any_is_odd: bool,
}

impl PathTable {
    /// These paths, as they were written, with the numbers 0, 1, 2 …
    pub fn new<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> PathTable {
        let mut sorted: Vec<_> = paths.clone().map(PathTable::key).zip(0..).collect();
        sorted.sort_unstable();
        let any_is_odd = paths.into_iter().any(|path| Target::parse(path.as_bytes()).is_none());
        PathTable { sorted: sorted.into(), any_is_odd }
    }

    /// What of a path is compared: two of which it is the same are the same path.
    pub fn key(path: &str) -> Vec<u8> {
        decoded(without_query(path)).collect()
    }

    /// The number of the path that a request's target has.
    pub fn find(&self, target: &str) -> Option<usize> {
        let path = without_query(target);
        let found = self.sorted.binary_search_by(|(known, _)| known.iter().copied().cmp(decoded(path)));
        found.ok().and_then(|at| self.sorted.get(at)).map(|(_, number)| *number)
    }

    /// Whether a web server would refuse a request line with one of them, as it was written.
    pub(super) fn any_is_odd(&self) -> bool {
        self.any_is_odd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::host::is_path;
    use proptest::prelude::*;

    #[test]
    fn a_target_finds_its_path_however_it_is_written() {
        let paths = ["/b", "/a", "/中文", "/a/", "/a b", "/%61b?ed=2048", "/"];
        let table = PathTable::new(paths.iter().copied());
        for (target, wanted) in [
            ("/a", Some(1)),
            ("/a?ed=2048", Some(1)),
            ("/%61", Some(1)),
            ("/a/", Some(3)),
            ("/%E4%B8%AD%e6%96%87", Some(2)),
            ("/a%20b", Some(4)),
            ("/ab", Some(5)),
            ("/?x", Some(6)),
            ("/A", None),
            ("/a/b", None),
            ("", None),
        ] {
            assert_eq!(table.find(target), wanted, "{target}");
        }
        assert_eq!(PathTable::default().find("/"), None);
    }

    proptest! {
        #[test]
        fn it_is_the_path_that_is_the_same(paths in proptest::collection::vec("/[ab%61?/]{0,5}", 0..40), target in "/[ab%61?/]{0,5}") {
            let table = PathTable::new(paths.iter().map(String::as_str));
            let found = table.find(&target).and_then(|number| paths.get(number));
            prop_assert_eq!(found.is_some(), paths.iter().any(|path| is_path(&target, path)));
            prop_assert!(found.is_none_or(|path| is_path(&target, path)));
        }
    }
}
