//! The name that a slip of the finger has meant.

use super::OPTIONS;

/// The known option's name nearest to one that is not known.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let all = OPTIONS.iter().flat_map(|spec| std::iter::once(&spec.name).chain(spec.aliases));
    closest(name, all.copied()).map(|(_, known)| known)
}

/// The name nearest to one that was written, whatever the case of both, and how many slips are between them: two, or one
/// in two or three letters.
pub(crate) fn closest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    let written = written.to_ascii_lowercase();
    names
        .filter(|name| name.len() > 1)
        // (one that is longer or shorter by more has more slips; what is compared is short)
        .filter(|name| name.len().abs_diff(written.len()) <= 2)
        .map(|name| (strsim::damerau_levenshtein(&written, &name.to_ascii_lowercase()), name))
        .filter(|(slips, name)| *slips <= 2.min(name.len() / 2))
        .min_by_key(|(slips, _)| *slips)
}
