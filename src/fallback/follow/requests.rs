//! From the visitor to the website.

use super::answers::{Exchange, Message};
use crate::detect::{ClientKind, Detection, Detector, Rules, missed};
use crate::fallback::visitors::Visitors;
use crate::net::budget::Share;
use crate::net::conn_info::ConnInfo;
use crate::relay::Pieces;
use crate::wire::http::framing::{FramingError, MessageHead, RequestFraming};
use std::mem::take;
use std::time::Duration;
use tokio::time::Instant;

/// How long the beginning of a head that may be a client's is held back. A client's head comes in one go,
/// or nearly so; whoever takes longer is a visitor.
pub(super) const HOLD: Duration = Duration::from_secs(1);

/// The most bytes that are held back.
pub(super) const MAX_HELD: usize = 64 * 1024;

/// Follows the requests of a visitor, and holds back what may be for us.
#[derive(Debug)]
pub(super) struct Requests<'r> {
    rules: &'r Rules,
    message: Message,
    /// The head that comes is the website's.
    decided: bool,
    /// The body that comes may have waited for a `100`.
    starts_body: bool,
    /// What the website has not got: the beginning of a head, or a request for us and what is behind it.
    held: Vec<u8>,
    /// What of that which all may hold back.
    share: Share<'r>,
    /// What is known of the head that comes.
    detector: Detector,
    /// Since when.
    since: Option<Instant>,
    /// What is held is a request for an upgrade, and what is behind it.
    upgrade: bool,
    /// Requests that the website got.
    count: u64,
    /// Who is told what requests miss that look like a client's, and of whom.
    told: Option<(&'r Visitors, Box<ConnInfo>)>,
}

/// What comes of the bytes at the beginning of a request.
enum Whose {
    /// Nobody knows yet.
    Unknown,
    /// Ours.
    Ours,
    /// The website's.
    Theirs,
}

impl<'r> Requests<'r> {
    pub(super) fn new(rules: &'r Rules, share: Share<'r>, decided: bool) -> Requests<'r> {
        Requests {
            rules,
            message: Message::Head(MessageHead::of_request()),
            decided,
            starts_body: false,
            held: Vec::new(),
            share,
            detector: Detector::default(),
            since: None,
            upgrade: false,
            count: 0,
            told: None,
        }
    }

    pub(super) fn tell_misses(&mut self, visitors: &'r Visitors, info: ConnInfo) {
        self.told = Some((visitors, Box::new(info)));
    }

    /// All bytes from the first of the request for an upgrade on, and how many requests the website got before
    /// it. `None` if there was none.
    pub(super) fn into_upgrade(self) -> Option<(Vec<u8>, u64)> {
        self.upgrade.then_some((self.held, self.count))
    }

    /// Looks at the next bytes and says how many of them pass; the others are held. What was held before
    /// passes in front of them if it is moved to `released`.
    fn follow(
        &mut self,
        exchange: &mut Exchange,
        input: &[u8],
        released: &mut Vec<u8>,
    ) -> Result<usize, FramingError> {
        let mut at = 0;
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            let used = match &mut self.message {
                Message::Body(body) => {
                    if take(&mut self.starts_body) {
                        exchange.pending.body_comes();
                    }
                    body.read(rest)?
                }
                Message::Head(head) => {
                    let ended = head.read(rest)?;
                    let request = ended.map(|_| RequestFraming::of(head));
                    if !self.decided {
                        let before = self.held.len();
                        match self.whose(rest, ended) {
                            // One that could be read in two ways is nobody's but the website's.
                            Whose::Ours
                                if matches!(request, Some(Ok(_) | Err(FramingError::Last)))
                                    && self.hold(rest, before) =>
                            {
                                self.upgrade = true;
                                return Ok(at);
                            }
                            Whose::Unknown if self.hold(rest, before) => return Ok(at),
                            Whose::Unknown | Whose::Ours | Whose::Theirs => {
                                self.decided = true;
                                self.share.free();
                                self.held.truncate(before);
                                released.append(&mut take(&mut self.held));
                            }
                        }
                    }
                    if let Some(request) = request {
                        let request = request?;
                        exchange.pending.ask(&request)?;
                        self.count += 1;
                        self.decided = false;
                        self.starts_body = true;
                        self.message = Message::Body(request.body);
                    }
                    ended
                }
            };
            self.note_end();
            let Some(used) = used else { return Ok(input.len()) };
            at += used;
        }
        Ok(at)
    }

    /// Whose the request is that begins with what is held and goes on with `rest`, in which its head has
    /// `ended` there. Where something was held, `rest` is held too afterwards.
    fn whose(&mut self, rest: &[u8], ended: Option<usize>) -> Whose {
        let before = self.held.len();
        let bytes = if before == 0 {
            self.detector = Detector::default();
            rest
        } else {
            self.held.extend_from_slice(rest);
            &self.held
        };
        let verdict = self.detector.detect(bytes, self.rules);
        if verdict == Detection::Visitor
            && let Some((visitors, info)) = &self.told
            && let Some((missed, asked)) = missed(bytes, self.rules, false, |_| false)
        {
            visitors.count_missed(missed, &asked, info);
        }
        match (verdict, ended) {
            (Detection::NeedMore, None) => Whose::Unknown,
            (Detection::Client(ClientKind::Http(upgrade) | ClientKind::Web(upgrade)), Some(n))
                if upgrade.head_len == before + n =>
            {
                Whose::Ours
            }
            _ => Whose::Theirs,
        }
    }

    /// Holds `rest` back, if it is not yet held behind the `before` bytes that were. `false`: so much
    /// must not be held.
    fn hold(&mut self, rest: &[u8], before: usize) -> bool {
        if !self.share.grow_to(before + rest.len()) {
            return false;
        }
        if before == 0 {
            self.held = rest.to_vec();
            self.since = Some(Instant::now());
        }
        true
    }

    /// Takes note of it if the request is complete.
    fn note_end(&mut self) {
        if let Message::Body(body) = &self.message
            && body.is_over()
        {
            self.message = Message::Head(MessageHead::of_request());
        }
    }

    /// Takes what is held back, for the website.
    pub(super) fn release(&mut self, out: &mut Vec<u8>) -> usize {
        let n = self.held.len();
        out.append(&mut take(&mut self.held));
        self.share.free();
        self.upgrade = false;
        self.decided = true;
        n
    }

    /// Passes on what is the website's, and returns how much that is.
    pub(super) fn forward(&mut self, exchange: &mut Exchange, input: &[u8], out: &mut Pieces) -> usize {
        if exchange.is_clear() && self.upgrade {
            // It has been read. Where that was too much, no more is.
            let _ = self.share.grow_to(self.held.len() + input.len());
            self.held.extend_from_slice(input);
            return 0;
        }
        let mut released = Vec::new();
        let mut passed = input.len();
        if exchange.is_clear() {
            match self.follow(exchange, input, &mut released) {
                Ok(n) => passed = n,
                Err(why) => exchange.give_up(why),
            }
        }
        if !exchange.is_clear() {
            self.release(&mut released);
        }
        let length = released.len() + passed;
        if !released.is_empty() {
            out.head(|out| out.append(&mut released));
        }
        out.input(0..passed);
        length
    }

    /// How many of the next bytes need not be looked at.
    pub(super) fn passthrough_len(&self, exchange: &Exchange) -> u64 {
        if self.held.is_empty() && !exchange.is_clear() { u64::MAX } else { self.message.passthrough_len() }
    }

    /// So many of these have passed.
    pub(super) fn skip(&mut self, exchange: &mut Exchange, n: u64) {
        if let Message::Body(body) = &mut self.message {
            if take(&mut self.starts_body) {
                exchange.pending.body_comes();
            }
            body.skip(n);
            self.note_end();
        }
    }

    /// Behind the end of a body no more comes in one read than may be held.
    pub(super) fn read_limit(&self, exchange: &Exchange) -> usize {
        if self.wants_handoff(exchange) {
            return 0;
        }
        let mut limit = MAX_HELD.saturating_sub(self.held.len());
        if self.upgrade {
            limit = limit.min(self.share.left());
        }
        usize::try_from(self.passthrough_len(exchange)).unwrap_or(usize::MAX).saturating_add(limit)
    }

    /// When a head that has not ended is the website's.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.since.filter(|_| !self.held.is_empty() && !self.upgrade).map(|since| since + HOLD)
    }

    /// Whether what is held back is the website's now.
    pub(super) fn release_is_due(&self, exchange: &Exchange) -> bool {
        let late = || self.deadline().is_some_and(|deadline| deadline <= Instant::now());
        !self.held.is_empty() && (!exchange.is_clear() || late())
    }

    /// Whether a request for us has come, and all before it is answered.
    pub(super) fn wants_handoff(&self, exchange: &Exchange) -> bool {
        self.upgrade && exchange.is_clear() && exchange.pending.is_empty()
    }
}
