//! The numbers in a build that has none: the same functions do nothing.

#![expect(missing_docs, reason = "they are documented where they do something")]

use super::labels::{
    Direction, Dropped, Failure, Flow, PacketDropped, To, TunnelEnd, TunnelKind, Verdict, VisitorClass,
    Website,
};
use std::time::Duration;

#[derive(Debug)]
pub struct Open(());

pub fn note_start(_: &str, _: impl ToString) {}

pub fn accepted() {}

pub fn tunnel_opened(_: TunnelKind, _: Duration) -> Open {
    Open(())
}

pub fn mux_connection_opened(_: Duration) -> Open {
    Open(())
}

pub fn visitor_came(_: VisitorClass, _: Website) -> Open {
    Open(())
}

pub fn tunnel_ended(_: TunnelEnd) {}

pub fn connection_failed(_: Failure) {}

pub fn moved(_: Flow, _: Direction, _: u64) {}

pub fn dialled(_: To, _: Duration) {}

pub fn dial_failed(_: To) {}

pub fn first_flight_read(_: Verdict) {}

pub fn datagram_dropped(_: Dropped) {}

pub fn packets_dropped(_: PacketDropped, _: u64) {}

pub fn panicked() {}

pub fn log_line_suppressed() {}

pub fn buffer_limit_reached() {}

pub fn certificate_expires(_: u64) {}

pub fn set_draining() {}
