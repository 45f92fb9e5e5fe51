//! Names of hosts: one look-up serves all who wait for it, and what was found is used until there is
//! something newer, however long the name server is silent.

use super::resolve;
use crate::net::addr::{Host, HostPort};
use crate::runtime::blocking;
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// How old addresses are before they are asked for again.
const LIFETIME: Duration = Duration::from_secs(60);

/// How soon after a question the next is put while old addresses do.
const RETRY: Duration = Duration::from_secs(5);

/// An answer that is younger than this is not asked for again when its addresses fail: no stranger's
/// connections become a stream of questions.
const YOUNG: Duration = Duration::from_secs(1);

/// How the system looks a name up. It blocks.
type LookUp = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// Looks one name up.
///
/// # Errors
///
/// What the system says.
pub async fn look_up(name: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    blocking::NAMES.run(move || resolve::addresses(&name, port)).await?
}

/// What is known of some hosts.
#[derive(Debug)]
pub struct Names {
    targets: Vec<HostPort>,
    look_up: LookUp,
    ipv6_first: bool,
    /// In the order of the targets.
    known: watch::Sender<Vec<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<SocketAddr>,
    /// When the question was put to which they are the answer.
    since: Option<Instant>,
    /// When the last question was put.
    asked: Option<Instant>,
    /// Whether its answer is waited for.
    asking: bool,
    /// What the last answer was, if it was none.
    error: Option<String>,
}

impl Names {
    pub(super) fn new(targets: Vec<HostPort>, ipv6_first: bool) -> Arc<Names> {
        Names::with(targets, ipv6_first, resolve::addresses)
    }

    pub(super) fn with(targets: Vec<HostPort>, ipv6_first: bool, look_up: LookUp) -> Arc<Names> {
        let known = targets.iter().map(|target| match &target.host {
            Host::Ip(ip) => Known { addresses: vec![SocketAddr::new(*ip, target.port)], ..Known::default() },
            Host::Name(_) => Known::default(),
        });
        let known = watch::Sender::new(known.collect());
        Arc::new(Names { targets, look_up, ipv6_first, known })
    }

    /// Begins with what others know of the same hosts, and asks for all names anew. To be called in a runtime.
    pub fn begin_with(self: &Arc<Names>, others: &[Arc<Names>]) {
        self.known.send_modify(|all| {
            for (known, target) in all.iter_mut().zip(&self.targets) {
                if known.addresses.is_empty()
                    && let Some(found) = others.iter().find_map(|names| names.known_of(target))
                {
                    known.addresses = found;
                }
            }
        });
        self.ask(|_| true);
    }

    /// The addresses of a host, if any are known.
    fn known_of(&self, target: &HostPort) -> Option<Vec<SocketAddr>> {
        let index = self.targets.iter().position(|other| other == target)?;
        let addresses = self.known.borrow().get(index)?.addresses.clone();
        (!addresses.is_empty()).then_some(addresses)
    }

    /// Looks all of them up, where that is new. Returns, for each host, its addresses or what was said instead.
    pub async fn found(
        self: &Arc<Names>,
        most: Duration,
    ) -> Vec<(HostPort, Result<Vec<SocketAddr>, String>)> {
        self.refresh();
        self.all_answers(most).await;
        let known = self.known.borrow();
        let found = |known: &Known| match (known.addresses.is_empty(), &known.error) {
            (false, _) => Ok(known.addresses.clone()),
            (true, Some(error)) => Err(error.clone()),
            (true, None) => Err(format!("no answer within {} s", most.as_secs())),
        };
        self.targets.iter().cloned().zip(known.iter().map(found)).collect()
    }

    /// Whether there is a name among them, so that a question may bring something new.
    pub(super) fn any(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.host, Host::Name(_)))
    }

    /// The addresses, as far as they are known.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let known = self.known.borrow();
        let mut seen = HashSet::new();
        known
            .iter()
            .flat_map(|known| &known.addresses)
            .copied()
            .filter(|address| seen.insert(*address))
            .collect()
    }

    /// What the name servers said instead of addresses.
    pub(super) fn errors(&self) -> String {
        let known = self.known.borrow();
        let said = self.targets.iter().zip(known.iter()).filter(|(_, known)| known.addresses.is_empty());
        let said = said.map(|(target, known)| {
            format!("{}: {}", target.host, known.error.as_deref().unwrap_or("no answer"))
        });
        said.collect::<Vec<_>>().join("; ")
    }

    /// Asks for what is old or not known, without waiting. Returns whether an answer is on its way.
    pub(super) fn refresh(self: &Arc<Names>) -> bool {
        let now = Instant::now();
        self.ask(|known| match known.since {
            None => true,
            Some(since) => {
                now.duration_since(since) >= LIFETIME
                    && known.asked.is_none_or(|asked| now.duration_since(asked) >= RETRY)
            }
        })
    }

    /// Asks anew: all that is known was tried in vain by somebody who began at this time. Returns whether
    /// there is going to be an answer that is new to them.
    pub(super) fn ask_anew(self: &Arc<Names>, began: Instant) -> bool {
        let before = began.checked_sub(YOUNG).unwrap_or(began);
        self.ask(|known| known.asked.is_none_or(|asked| asked < before))
    }

    /// Asks for the names for which it is `wanted`. A question that is out already serves everybody.
    fn ask(self: &Arc<Names>, wanted: impl Fn(&Known) -> bool) -> bool {
        if !self.any() {
            return false;
        }
        let mut due = Vec::new();
        let mut asking = false;
        self.known.send_if_modified(|all| {
            for (index, (known, target)) in all.iter_mut().zip(&self.targets).enumerate() {
                let Host::Name(name) = &target.host else { continue };
                if !known.asking && wanted(known) {
                    (known.asking, known.asked) = (true, Some(Instant::now()));
                    due.push((index, name.clone(), target.port));
                }
                asking |= known.asking;
            }
            false
        });
        for (index, name, port) in due {
            let (names, look_up) = (Arc::clone(self), self.look_up);
            tokio::spawn(async move {
                let answer = blocking::NAMES.run(move || look_up(&name, port)).await;
                names.answered(index, answer.and_then(|answer| answer));
            });
        }
        asking
    }

    /// Waits until there is an answer to every question, or an address and `enough` of waiting.
    pub(super) async fn answers(&self, enough: Duration, most: Duration) {
        if self.all_answers(enough).await {
            return;
        }
        let mut known = self.known.subscribe();
        let any = known.wait_for(|all| {
            all.iter().all(|known| !known.asking) || all.iter().any(|known| !known.addresses.is_empty())
        });
        let _ = timeout(most.saturating_sub(enough), any).await;
    }

    /// Waits until no question is without an answer. False if that takes longer.
    pub(super) async fn all_answers(&self, most: Duration) -> bool {
        let mut known = self.known.subscribe();
        timeout(most, known.wait_for(|all| all.iter().all(|known| !known.asking))).await.is_ok()
    }

    /// Whether a name has never been looked up with success.
    pub(super) fn lacks_some(&self) -> bool {
        self.known.borrow().iter().any(|known| known.addresses.is_empty())
    }

    fn answered(&self, index: usize, answer: io::Result<Vec<SocketAddr>>) {
        self.known.send_modify(|all| {
            let Some(known) = all.get_mut(index) else { return };
            known.asking = false;
            match answer {
                Ok(found) if !found.is_empty() => {
                    known.addresses = interleave(found, self.ipv6_first);
                    known.since = known.asked;
                    known.error = None;
                }
                // Old addresses are better than none.
                Ok(_) => known.error = Some("the name has no address".to_owned()),
                Err(error) => known.error = Some(error.to_string()),
            }
        });
    }
}

/// A name's addresses with the families by turns, so that one family that leads nowhere costs one head
/// start (RFC 8305 section 4). The system's first choice stays first unless IPv6 is asked for.
fn interleave(found: Vec<SocketAddr>, ipv6_first: bool) -> Vec<SocketAddr> {
    let v6_leads = ipv6_first || found.first().is_some_and(SocketAddr::is_ipv6);
    let (mut leading, mut other) =
        found.iter().copied().partition::<std::collections::VecDeque<_>, _>(|it| it.is_ipv6() == v6_leads);
    let mut ordered = Vec::with_capacity(found.len());
    while !leading.is_empty() || !other.is_empty() {
        ordered.extend(leading.pop_front());
        ordered.extend(other.pop_front());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex};

    #[test]
    fn families_take_turns() {
        for (found, v6_first, wanted) in [
            ("1.0.0.1 1.0.0.2 [::1]", false, "1.0.0.1 [::1] 1.0.0.2"),
            ("1.0.0.1 1.0.0.2 [::1]", true, "[::1] 1.0.0.1 1.0.0.2"),
            ("[::1] [::2] [::3] 1.0.0.1", false, "[::1] 1.0.0.1 [::2] [::3]"),
            ("1.0.0.1 1.0.0.2", true, "1.0.0.1 1.0.0.2"),
        ] {
            let parse = |text: &str| -> Vec<SocketAddr> {
                text.split(' ').map(|host| format!("{host}:80").parse().unwrap()).collect()
            };
            assert_eq!(interleave(parse(found), v6_first), parse(wanted));
        }
    }

    fn names(look_up: LookUp) -> Arc<Names> {
        Names::with(vec![HostPort::parse("www.example.com:80").unwrap()], false, look_up)
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn one_question_serves_all_who_wait() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static ANSWER: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());
        let names = names(|_, port| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            let held = ANSWER.1.wait_while(ANSWER.0.lock().unwrap(), |answers| !*answers).unwrap();
            drop(held);
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))])
        });
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..300 {
            assert!(names.refresh());
            let names = Arc::clone(&names);
            waiting.spawn(async move {
                names.answers(LONG, LONG).await;
                names.addresses()
            });
        }
        tokio::task::yield_now().await;
        *ANSWER.0.lock().unwrap() = true;
        ANSWER.1.notify_all();
        for found in waiting.join_all().await {
            assert_eq!(found, ["192.0.2.1:80".parse().unwrap()]);
        }
        assert_eq!(ASKED.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn old_addresses_do_while_nobody_answers() {
        static SILENT: AtomicBool = AtomicBool::new(false);
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let names = names(|_, port| {
            ASKED.fetch_add(1, Ordering::SeqCst);
            if SILENT.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))])
        });
        assert!(names.refresh());
        settle(&names).await;
        let found = names.addresses();
        assert_eq!(found.len(), 1);
        assert!(!names.refresh(), "it is known");
        SILENT.store(true, Ordering::SeqCst);
        tokio::time::advance(LIFETIME).await;
        assert!(names.refresh());
        settle(&names).await;
        assert_eq!(names.addresses(), found);
        assert!(!names.refresh(), "it was asked for a moment ago");
        tokio::time::advance(RETRY).await;
        assert!(names.refresh());
        settle(&names).await;
        assert_eq!((names.addresses(), ASKED.load(Ordering::SeqCst)), (found, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_addresses_fail_it_is_asked_anew_but_not_for_each_who_failed() {
        let names = names(|_, port| Ok(vec![SocketAddr::from(([192, 0, 2, 1], port))]));
        names.refresh();
        settle(&names).await;
        tokio::time::advance(YOUNG * 2).await;
        let began = Instant::now();
        assert!(names.ask_anew(began));
        settle(&names).await;
        assert!(!names.ask_anew(began));
        assert!(!names.ask_anew(Instant::now()));
    }

    #[tokio::test]
    async fn a_look_up_that_breaks_off_is_heard_of() {
        let names = names(|_, _| panic!("as the test wants it"));
        assert!(names.refresh());
        names.answers(LONG, LONG).await;
        assert_eq!(names.errors(), "www.example.com: the work broke off");
    }

    /// Waits for a thread's answer without letting the clock of the test run on.
    async fn settle(names: &Names) {
        while names.known.borrow().iter().any(|known| known.asking) {
            tokio::task::yield_now().await;
        }
    }
}
