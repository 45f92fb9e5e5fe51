//! A visitor's requests and a website's answers, followed on their way: nothing is lost or changed, and a request for
//! us is found where the website, too, would take it for a request.

use super::SWITCH;
use super::detect::RULES;
use super::pieces::{Numbers, cuts, pieces};
use super::sockets;
use obfs_rs::detect::Rules;
use obfs_rs::fallback::Follow;
use obfs_rs::net::budget::Budget;
use obfs_rs::relay::{Direction, Pieces, Protocol as _};
use obfs_rs::wire::http::request::head::RequestReader;

/// More than one connection holds back.
const LIMIT: usize = 256 * 1024;

/// What became of a connection.
#[derive(Debug)]
struct Followed {
    /// What the website got.
    passed: Vec<u8>,
    /// The request for us, and what is behind it; and how many the website got before.
    ours: Option<(Vec<u8>, u64)>,
}

pub fn check(bytes: &[u8]) {
    for rules in RULES.iter().filter(|rules| rules.http.is_some()).take(3) {
        let rules = rules.in_the_clear();
        let whole = follow(&rules, bytes, |_, bytes| vec![bytes.len()]);
        if let Some((_, count)) = &whole.ours {
            // The website has read all that it got, and waits for a request.
            assert!(read_by_a_website(&whole.passed).is_none_or(|read| read == *count), "{whole:?}");
        }
        // A website that says more than it was asked is found out or not: who comes first, its words or the request for
        // us? So where that is compared, its answers are not cut.
        let _ = follow(&rules, bytes, |_, bytes| cuts(bytes)[3].clone());
        for way in 1..4 {
            let found = follow(&rules, bytes, |direction, bytes| match direction {
                Direction::Up => cuts(bytes)[way].clone(),
                Direction::Down => vec![bytes.len()],
            });
            match (&found.ours, &whole.ours) {
                (None, None) => {}
                // In pieces, less of what is behind it may have been read.
                (Some((held, count)), Some((all, n))) => {
                    assert!(
                        found.passed == whole.passed && count == n && all.starts_with(held),
                        "{found:?}, {whole:?}"
                    );
                }
                _ => panic!("{found:?}, {whole:?}"),
            }
        }
    }
}

/// Follows what goes up and down in turn, each cut into pieces, while no time passes: what is held back for too long
/// is the website's.
fn follow(rules: &Rules, bytes: &[u8], cut: impl Fn(Direction, &[u8]) -> Vec<usize>) -> Followed {
    sockets::run(async { follow_at_once(rules, bytes, cut) })
}

fn follow_at_once(rules: &Rules, bytes: &[u8], cut: impl Fn(Direction, &[u8]) -> Vec<usize>) -> Followed {
    let budget = Budget::new(LIMIT);
    let mut follow = Follow::new(rules, &budget, false);
    let mut numbers = Numbers::new(bytes);
    let (mut came, mut passed) = (Vec::new(), Vec::new());
    for (turn, part) in bytes.split(|&byte| byte == SWITCH).enumerate() {
        let direction = if turn % 2 == 0 { Direction::Up } else { Direction::Down };
        for piece in pieces(part, &cut(direction, part)) {
            if follow.wants_handoff() {
                assert_eq!(follow.read_limit(Direction::Up), 0, "nothing more is to be read");
                break;
            }
            let skipped =
                usize::try_from(follow.passthrough_len(direction)).unwrap_or(usize::MAX).min(piece.len());
            // The kernel may carry them or not.
            let (skipped, rest) = piece.split_at(if numbers.below(2) == 0 { skipped } else { 0 });
            follow.skip(direction, skipped.len() as u64);
            let mut out = Pieces::default();
            let mut input = rest.to_vec();
            let length = follow.forward(direction, &mut input, &mut out).expect("nothing is refused");
            let through: Vec<u8> = out.slices(&input).flatten().copied().collect();
            assert_eq!(
                (length, &input[..]),
                (through.len(), rest),
                "what passes is counted, and not changed"
            );
            match direction {
                Direction::Down => assert_eq!(through, rest, "answers pass as they come"),
                Direction::Up => {
                    came.extend_from_slice(piece);
                    passed.extend_from_slice(skipped);
                    passed.extend_from_slice(&through);
                    assert!(came.starts_with(&passed) && came.len() - passed.len() <= LIMIT);
                }
            }
            if follow.release_is_due(Direction::Up) {
                assert!(follow.unclear().is_some());
                follow.release(Direction::Up, &mut passed);
            }
        }
    }
    let wants_handoff = follow.wants_handoff();
    if !wants_handoff {
        // Ours or not, it was not all answered before: the relay would end so.
        follow.release_on_error(Direction::Up, &mut passed);
        assert_eq!(passed, came, "all of it is the website's");
        assert_eq!(budget.left(), LIMIT, "nothing is held any more");
        return Followed { passed, ours: None };
    }
    assert_eq!(follow.unclear(), None);
    let ours = follow.into_upgrade();
    let (held, _) = ours.as_ref().expect("a request for us");
    assert_eq!([&passed[..], held].concat(), came);
    assert_eq!(budget.left(), LIMIT, "nothing is held any more");
    Followed { passed, ours }
}

/// How many whole requests nginx reads in these bytes, if it reads all of them and refuses none.
fn read_by_a_website(mut bytes: &[u8]) -> Option<u64> {
    let mut count = 0;
    while !bytes.is_empty() {
        let mut request = RequestReader::default().advance(bytes).ok()?.expect("a whole request");
        bytes = &bytes[request.length..];
        let body = request.body.read(bytes).ok()?.expect("a whole body");
        bytes = &bytes[body..];
        count += 1;
    }
    Some(count)
}
