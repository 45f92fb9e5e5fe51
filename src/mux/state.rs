//! How far the two directions of a session are.
//!
//! ```text
//!      ┌─────────── Open ───────────────────────┐
//!      │ socket      │ writing                   │ peer
//!      │ ends        │ fails                     │ ends
//!      ▼             ▼          writing fails    ▼         all is written
//! SocketEnded     Broken ◄────────────────── PeerEnding ──────────────────► PeerEnded
//!      │             │                           │                              │
//!      │ peer ends   │ socket ends               │ socket ends                  │ socket ends
//!      │             │                           ▼                              │
//!      └─────────────┼────────────────────► BothEnding                          │
//!                    │ (a reset)                 │ all is written               │
//!                    ▼                           ▼                              ▼
//!                 Closed ◄───────────────────────┴──────────────────────────────┘
//! ```
//!
//! From each state a reset, an error of the socket or a time-out leads to `Closed`; an error that the peer
//! reports does, too, but while the backend is being dialled and bytes wait for it (`ResetDue`). "Ending"
//! means that bytes wait for the socket, behind which it is told the end.

use super::timers::Limits;
use crate::wire::websocket::Role;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The peer sends nothing more. The socket is told when it has got what waits for it.
    PeerEnding,
    /// The socket has been told that the peer sends nothing more.
    PeerEnded,
    /// The socket sends nothing more, and the peer has been told so.
    SocketEnded,
    /// Neither sends anything more. The socket is told when it has got what waits for it.
    BothEnding,
    /// The socket could not be written to. What it brings is still passed on; then it is reset.
    Broken {
        peer_ended: bool,
    },
    /// The peer has ended the session by an error while its socket was being dialled: what had come before
    /// goes to the socket, and then a reset.
    ResetDue,
    /// Nothing is worth waiting for.
    Closed,
}

/// What the peer is to be told of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// It has ended.
    End { error: bool },
    /// This direction of it has ended, by a ping.
    HalfClose,
}

impl State {
    /// Whether the peer sends nothing more.
    pub(super) fn peer_has_ended(self) -> bool {
        !matches!(
            self,
            State::Open | State::SocketEnded | State::ResetDue | State::Broken { peer_ended: false }
        )
    }

    /// Whether what comes from the peer is for the socket.
    pub(super) fn takes_data(self) -> bool {
        matches!(self, State::Open | State::SocketEnded)
    }

    /// Whether the socket may bring something.
    pub(super) fn reads_socket(self) -> bool {
        matches!(self, State::Open | State::PeerEnding | State::PeerEnded | State::Broken { .. })
    }

    /// Whether the socket is to be told the end behind what waits for it.
    pub(super) fn shuts_socket_down(self) -> bool {
        matches!(self, State::PeerEnding | State::BothEnding)
    }

    /// Whether it goes on as it is, until somebody ends something.
    pub(super) fn is_steady(self) -> bool {
        matches!(self, State::Open | State::Broken { peer_ended: false })
    }

    /// How long it may stand still.
    pub(super) fn limit(self, limits: &Limits) -> Duration {
        match self {
            State::Open | State::Broken { peer_ended: false } | State::ResetDue => limits.idle,
            State::SocketEnded => limits.socket_ended,
            _ => limits.peer_ended,
        }
    }

    /// The peer sends nothing more, and still takes what comes.
    pub(super) fn peer_ends(self, role: Role) -> (State, Option<Tell>) {
        match (self, role) {
            (State::Open, _) => (State::PeerEnding, None),
            (State::SocketEnded, Role::Server) => (State::BothEnding, None),
            (State::SocketEnded, Role::Client) => (State::BothEnding, Some(Tell::End { error: false })),
            (State::Broken { .. }, _) => (State::Broken { peer_ended: true }, None),
            (state, _) => (state, None),
        }
    }

    /// The socket, which is not broken, sends nothing more.
    pub(super) fn socket_ends(self, role: Role) -> (State, Option<Tell>) {
        let end = Some(Tell::End { error: false });
        match (self, role) {
            (State::Open, Role::Server) => (State::SocketEnded, end),
            // The session was begun before its socket could end, so the peer knows it.
            (State::Open, Role::Client) => (State::SocketEnded, Some(Tell::HalfClose)),
            (State::PeerEnding, _) => (State::BothEnding, end),
            (State::PeerEnded, _) => (State::Closed, end),
            (state, _) => (state, None),
        }
    }

    /// The socket could not be written to. `None` where it has nothing more to say either.
    pub(super) fn breaks(self) -> Option<State> {
        self.reads_socket().then(|| State::Broken { peer_ended: self.peer_has_ended() })
    }

    /// The socket has got all that waited, and been told the end where it was due.
    pub(super) fn is_drained(self) -> State {
        match self {
            State::PeerEnding => State::PeerEnded,
            State::BothEnding => State::Closed,
            state => state,
        }
    }

    /// Whether the peer knows the end of the session.
    pub(super) fn end_is_told(self, role: Role) -> bool {
        matches!(self, State::BothEnding | State::ResetDue | State::Closed)
            || (self == State::SocketEnded && role == Role::Server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [State; 9] = [
        State::Open,
        State::PeerEnding,
        State::PeerEnded,
        State::SocketEnded,
        State::BothEnding,
        State::Broken { peer_ended: false },
        State::Broken { peer_ended: true },
        State::ResetDue,
        State::Closed,
    ];

    /// Whatever happens in whatever order, the peer is told the end once, at the latest when both have ended.
    #[test]
    fn the_end_is_told_once() {
        for role in [Role::Server, Role::Client] {
            for peer_first in [true, false] {
                let mut told = Vec::new();
                let mut state = State::Open;
                for step in [peer_first, !peer_first] {
                    let (next, tell) = if step { state.peer_ends(role) } else { state.socket_ends(role) };
                    (state, _) = (next, told.extend(tell));
                    state = state.is_drained();
                }
                assert_eq!(state, State::Closed, "{role:?} {peer_first}");
                let half_close = (role == Role::Client && !peer_first).then_some(Tell::HalfClose);
                let expected: Vec<_> = half_close.into_iter().chain([Tell::End { error: false }]).collect();
                assert_eq!(told, expected, "{role:?} {peer_first}");
            }
        }
    }

    /// A state that tells an end is one in which it is known to have been told, and no other is.
    #[test]
    fn what_is_told_is_remembered() {
        for role in [Role::Server, Role::Client] {
            for state in ALL {
                for (next, tell) in [state.peer_ends(role), state.socket_ends(role)] {
                    let tells_end = matches!(tell, Some(Tell::End { .. }));
                    assert_eq!(next.end_is_told(role), tells_end || state.end_is_told(role), "{state:?}");
                    assert!(!(tells_end && state.end_is_told(role)), "{state:?} tells it twice");
                }
            }
        }
    }

    #[test]
    fn no_step_leads_back() {
        for role in [Role::Server, Role::Client] {
            for state in ALL {
                for next in [state.peer_ends(role).0, state.socket_ends(role).0, state.is_drained()] {
                    assert!(next.peer_has_ended() || !state.peer_has_ended(), "{state:?} to {next:?}");
                    assert!(state.reads_socket() || !next.reads_socket(), "{state:?} to {next:?}");
                    assert!(state.takes_data() || !next.takes_data(), "{state:?} to {next:?}");
                }
                assert_eq!(state.breaks().is_some(), state.reads_socket());
            }
        }
    }
}
