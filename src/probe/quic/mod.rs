//! Visits over UDP: what a visitor sends, and what comes back.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `seal` | packets written, sealed and opened |
//! | `client` | a client that looks at everything |
//! | `port` | a port at which nobody listens |

mod client;
pub mod port;
pub mod seal;

use super::script::{Action, Datagrams, Probe, UdpVisit};
use super::seen::{End, Seen};
use client::Client;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until};

/// What was not answered is said again after so long, as QUIC does it: a datagram may be lost, and a busy server drops one
/// of several that begin a connection.
const AGAIN: Duration = Duration::from_millis(1000);

/// How often it is said again.
const TIMES: usize = 2;

/// What follows an end at once belongs to it.
const BEHIND_THE_END: Duration = Duration::from_millis(200);

/// What is told of a port that is closed.
pub const CLOSED: &str = "closed (ICMP port unreachable)";

/// The most datagrams of an answer that are read, and how much of each: none that answers is longer.
const MAX_DATAGRAMS: usize = 64;
const MAX_DATAGRAM: usize = 4096;

/// The longest that there is. (Some systems take it for an error if there is no room.)
const LONGEST_DATAGRAM: usize = 64 * 1024;

/// Who visits and for how long.
pub struct Terms<'a> {
    pub server_name: Option<&'a str>,
    /// For how long nothing new has to come.
    pub watch: Duration,
    /// However much comes: a visit is no longer than this.
    pub longest: Duration,
}

/// A socket that hears only this address, and of errors on the way there.
pub async fn connect(address: SocketAddr) -> io::Result<UdpSocket> {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Plays a probe over UDP, until nothing new has come for as long as it is watched.
pub async fn play(address: SocketAddr, probe: &Probe, visit: &UdpVisit, terms: &Terms<'_>) -> Seen {
    let socket = match connect(address).await {
        Ok(socket) => socket,
        Err(error) => return Seen::failed(error.to_string()),
    };
    let mut due = VecDeque::new();
    let client = match visit {
        UdpVisit::Port => {
            due.extend(schedule(&probe.steps));
            Client::listening(&[], &[])
        }
        UdpVisit::Datagrams(Datagrams { destination, source }) => {
            due.extend(schedule(&probe.steps));
            Client::listening(destination, source)
        }
        UdpVisit::FirstFlight(flight) => {
            // Another one for each visit: to the server it would be the same connection.
            let id: [u8; 32] = rand::random();
            let (client, datagrams) = Client::of_first_flight(flight, id.get(..flight.id).unwrap_or(&id));
            due.extend(datagrams.into_iter().map(|datagram| (Duration::ZERO, datagram)));
            client
        }
        UdpVisit::Handshake(offer) => {
            match Client::handshake(offer, terms.server_name, rand::random(), rand::random()) {
                Ok(client) => client,
                Err(error) => return Seen::failed(error.to_string()),
            }
        }
    };
    let began = Instant::now();
    let last = due.back().map_or(Duration::ZERO, |(at, _)| *at);
    let run = Run {
        socket,
        client,
        again: due.clone(),
        due,
        began,
        quiet_since: began + last,
        said_at: began + last,
        times: 0,
        unreachable: None,
    };
    run.watched(matches!(visit, UdpVisit::Port), terms).await
}

/// What is sent, and when.
fn schedule(steps: &[Action]) -> Vec<(Duration, Vec<u8>)> {
    let (mut at, mut schedule) = (Duration::ZERO, Vec::new());
    for step in steps {
        match step {
            Action::Send(datagram) => schedule.push((at, datagram.clone())),
            Action::Pause(length) => at += *length,
            // What came is seen at the end; and nothing ends.
            Action::Listen | Action::Fin | Action::Leave => {}
        }
    }
    schedule
}

struct Run {
    socket: UdpSocket,
    client: Client,
    due: VecDeque<(Duration, Vec<u8>)>,
    /// What is sent once more where no answer comes.
    again: VecDeque<(Duration, Vec<u8>)>,
    began: Instant,
    /// When something new has come, or the last of it was said.
    quiet_since: Instant,
    /// When it was said, or said again.
    said_at: Instant,
    times: usize,
    /// What the network says of the port.
    unreachable: Option<String>,
}

impl Run {
    async fn watched(mut self, is_about_the_port: bool, terms: &Terms<'_>) -> Seen {
        let deadline = self.began + terms.longest;
        let mut buffer = vec![0; LONGEST_DATAGRAM];
        let mut came = 0;
        while came < MAX_DATAGRAMS && self.unreachable.is_none() {
            self.say().await;
            let watch = if self.client.is_over() { BEHIND_THE_END } else { terms.watch };
            let end = (self.quiet_since + watch).min(deadline);
            let now = Instant::now();
            if now >= end {
                break;
            }
            let next = self.due.front().map(|(at, _)| self.began + *at);
            let again = (self.times < TIMES && !self.client.is_over()).then_some(self.said_at + AGAIN);
            let wake = [next, again].into_iter().flatten().fold(end, Instant::min);
            tokio::select! {
                received = self.socket.recv(&mut buffer) => match received {
                    Ok(length) => {
                        came += 1;
                        let datagram = buffer.get(..length.min(MAX_DATAGRAM)).unwrap_or_default();
                        if self.client.receive(self.began.elapsed(), datagram) {
                            self.quiet_since = self.quiet_since.max(Instant::now());
                        }
                    }
                    Err(error) => self.unreachable = Some(reason(&error)),
                },
                () = sleep_until(wake) => {
                    if again.is_some_and(|again| again <= Instant::now()) {
                        self.say_again();
                    }
                }
            }
        }
        if let Some(goodbye) = self.client.goodbye() {
            let _ = self.socket.try_send(&goodbye);
        }
        let until = self.began.elapsed();
        let answer = self.client.answer();
        let first = answer.told.iter().map(|(at, _)| *at).min();
        Seen {
            arrivals: first.into_iter().map(|at| (at, 0)).collect(),
            datagrams: Some(answer.told),
            style: answer.style,
            end: self.unreachable.filter(|_| is_about_the_port).map_or(End::Open, End::Unreachable),
            until,
            ..Seen::default()
        }
    }

    async fn say(&mut self) {
        let mut datagrams = self.client.datagrams();
        let elapsed = self.began.elapsed();
        let now_due = self.due.iter().take_while(|(at, _)| *at <= elapsed).count();
        datagrams.extend(self.due.drain(..now_due).map(|(_, datagram)| datagram));
        for datagram in datagrams {
            if let Err(error) = self.socket.send(&datagram).await {
                self.unreachable = Some(reason(&error));
            }
        }
    }

    fn say_again(&mut self) {
        self.times += 1;
        self.said_at = Instant::now();
        self.client.say_again();
        if !self.client.has_answer() {
            let now = self.began.elapsed();
            // (one by one, without the pauses between them; what has come is known by its number)
            self.due.extend(self.again.iter().map(|(_, datagram)| (now, datagram.clone())));
        }
    }
}

/// What the network says of a port to which nothing gets through. On a connected socket that is ICMP.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => CLOSED.to_owned(),
        _ => format!("unreachable ({error})"),
    }
}
