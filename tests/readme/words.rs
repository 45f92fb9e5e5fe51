//! Sentences that readers stumbled over. Each has a plainer one.

use crate::blocks::{pages, read, root};

/// A part of each sentence, and what it meant.
const ODD: &[(&str, &str)] = &[
    ("an end when the program that started it ends", "exits with the program that started it"),
    ("heads and hellos in any pieces", "accepts requests that arrive in pieces"),
    ("where it may, and names what is missing", "installs them if it may; otherwise lists them"),
    ("goes by the first of these that speaks", "the first that applies decides"),
    ("a remote address that nobody dials", "a wildcard address"),
    ("is warned about and passed over", "is ignored, with a warning"),
    ("requests are not compared with it", "does not filter requests"),
    ("not followed", "has no effect"),
    ("so many sessions share", "sessions per connection"),
    ("everything has moved", "redirect everything"),
    ("that no client would speak", "hellos that our clients never send"),
    ("on which nothing moved for so long", "idle timeout"),
    ("A visitor that hesitates", "a silent connection"),
    ("stays with the website for good", "is never a tunnel again"),
    ("What may be the beginning of an upgrade", "waits up to 1 s for the rest of a request"),
    ("nginx with nothing on it", "like an empty nginx"),
    ("Nothing outside it can be had", "files outside the folder are never served"),
    ("is all there is to say", "nothing else is needed"),
    ("in front of those who speak for it", "the client's address, then the proxies"),
    ("what only traffic of clients shows", "cannot judge client traffic"),
];

#[test]
fn no_page_has_an_odd_sentence() {
    let manuals = std::fs::read_dir(root().join("docs/man")).expect("the manual pages");
    let manuals = manuals.map(|page| format!("docs/man/{}", page.expect("a page").file_name().display()));
    let more = manuals.chain(["deploy/README.md".to_owned()]);
    for page in pages().into_iter().chain(more) {
        let text = read(&page).split_whitespace().collect::<Vec<_>>().join(" ");
        for (odd, plain) in ODD {
            assert!(!text.contains(odd), "{page}: “{odd}”: say “{plain}”");
        }
    }
}
