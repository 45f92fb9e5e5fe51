//! A connection that is read until it is known what it is: on a stream in memory, with a clock that is turned.

use super::detect::RULES;
use super::pieces::{Numbers, cuts, pieces};
use super::sockets;
use obfs_rs::detect::read::read;
use obfs_rs::detect::{Detection, Handoff, detect};
use obfs_rs::net::budget::Budget;
use obfs_rs::net::conn_info::ConnInfo;
use std::future::ready;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::{Instant, sleep};

pub fn check(bytes: &[u8]) {
    let mut numbers = Numbers::new(bytes);
    for (rules, ends) in RULES.iter().zip(cuts(bytes).iter().cycle()) {
        let pauses = [0, 0, 100, 400, 11_000];
        let pause = Duration::from_millis(pauses[numbers.below(pauses.len())]);
        let limit = if numbers.below(4) == 0 { 8 * 1024 } else { 1 << 20 };
        let budget = Budget::new(limit);
        sockets::run(async {
            let (near, mut far) = duplex(1 << 20);
            let info = ConnInfo::new(([192, 0, 2, 1], 4711).into());
            let mut c = Handoff::new(near, info, Instant::now());
            let visitor = async {
                for piece in pieces(bytes, ends) {
                    far.write_all(piece).await.expect("room for all");
                    sleep(pause).await;
                }
                far
            };
            let decided = async {
                let found = read(&mut c, rules, &budget, |_| ready(None)).await;
                (found.expect("a stream in memory does not break"), c.into_parts())
            };
            let ((found, (mut near, mut seen)), far) = tokio::join!(decided, visitor);
            assert_eq!(budget.left(), limit, "a connection that is known holds nothing");
            // The next stage gets it all.
            let at_once = detect(&seen, rules);
            drop(far);
            near.read_to_end(&mut seen).await.expect("the rest");
            assert_eq!(seen, bytes);
            // Who takes too long, or ends too early, is a visitor; no visitor is taken for anything else.
            let is_late = found == Detection::Visitor && at_once == Detection::NeedMore;
            assert!(found == at_once || is_late, "{found:?}, and {at_once:?} of the bytes that were read");
            if limit > bytes.len() + 4096
                && pause.is_zero()
                && matches!(detect(bytes, rules), Detection::Client(_))
            {
                assert_eq!(found, detect(bytes, rules), "a client that comes in one go");
            }
        });
    }
}
