//! The numbers in a build that has none: the same functions do nothing.

#![expect(missing_docs, reason = "they are documented where they do something")]

use super::labels::{Direction, Flow, TlsPeer, To, TunnelKind};
use std::time::Duration;

#[derive(Debug)]
pub struct OpenTunnel(());

#[derive(Debug)]
pub struct OpenMuxConnection(());

pub fn note_start(_: &str, _: impl ToString) {}

pub fn accepted() {}

pub fn tunnel_opened(_: TunnelKind, _: Duration) -> OpenTunnel {
    OpenTunnel(())
}

pub fn mux_connection_opened(_: Duration) -> OpenMuxConnection {
    OpenMuxConnection(())
}

pub fn moved(_: Flow, _: Direction, _: u64) {}

pub fn dialled(_: To, _: Duration) {}

pub fn dial_failed(_: To) {}

pub fn tls_handshake_failed(_: TlsPeer) {}

pub fn panicked() {}

pub fn log_line_suppressed() {}

pub fn certificate_expires(_: u64) {}

pub fn set_draining() {}
