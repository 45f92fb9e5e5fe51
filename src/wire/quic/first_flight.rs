//! The first packets of a client, and the hello in them.

use super::header::{Header, LongHeader, PacketKind};
use super::hello_bytes::HelloBytes;
use super::{Malformed, frame, initial_suite};
use crate::wire::tls::ClientHello;
use crate::wire::tls::client_hello::{beginning_without_records, body_without_records};
use rustls::Side;
use rustls::quic::{DirectionalKeys, Version};
use std::fmt;

/// The most packets of a datagram that are looked at. A first flight has one or two of them, or an Initial packet
/// and some of what is sent before the answer.
const PACKETS: usize = 8;

/// From where the packet number begins to where the sample of the payload does that unprotects it.
const TO_SAMPLE: usize = 4;

/// Bits of the first byte, when it is unprotected.
const NUMBER_LENGTH: u8 = 0b11;
const RESERVED: u8 = 0b1100;

/// What has come of a client's first flight.
pub struct FirstFlight {
    /// The client's, which follow from the id that it has chosen for the server.
    keys: DirectionalKeys,
    /// The largest packet number that has come.
    largest: Option<u64>,
    hello: HelloBytes,
}

impl fmt::Debug for FirstFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstFlight")
            .field("largest", &self.largest)
            .field("hello", &self.hello)
            .finish_non_exhaustive()
    }
}

impl FirstFlight {
    /// Of a client that has chosen this id for the server.
    pub fn new(destination: &[u8]) -> FirstFlight {
        let keys = initial_suite().keys(destination, Side::Server, Version::V1).remote;
        FirstFlight { keys, largest: None, hello: HelloBytes::default() }
    }

    /// Takes a datagram. Returns whether an Initial packet in it can be opened, which nobody but a client has made
    /// who begins a connection: those of one that is under way have other keys.
    ///
    /// # Errors
    ///
    /// The client says what none may say.
    pub fn take(&mut self, datagram: &[u8]) -> Result<bool, Malformed> {
        let mut rest = datagram;
        let mut is_open = false;
        for _ in 0..PACKETS {
            let Some(Header::Long(head)) = Header::parse(rest) else { break };
            let (packet, others) = rest.split_at_checked(head.end).unwrap_or_default();
            if head.kind == PacketKind::Initial {
                is_open |= self.take_packet(packet, &head)?;
            }
            rest = others;
        }
        Ok(is_open)
    }

    fn take_packet(&mut self, packet: &[u8], head: &LongHeader<'_>) -> Result<bool, Malformed> {
        let mut bytes = packet.to_vec();
        let Some((first, number, payload)) = self.open(&mut bytes, head.number_at) else { return Ok(false) };
        if first & RESERVED != 0 {
            return Err(Malformed::Reserved);
        }
        self.largest = self.largest.max(Some(number));
        frame::read(payload, |offset, bytes| self.hello.take(offset, bytes))?;
        Ok(true)
    }

    /// Opens a packet in place: its first byte, its number and its payload. `None`: it was not made with these keys.
    fn open<'a>(&self, packet: &'a mut [u8], number_at: usize) -> Option<(u8, u64, &'a [u8])> {
        let (head, sealed) = packet.split_at_mut_checked(number_at + TO_SAMPLE)?;
        let sample = sealed.get(..self.keys.header.sample_len())?;
        let (first, rest) = head.split_first_mut()?;
        let number = rest.get_mut(number_at.checked_sub(1)?..)?;
        self.keys.header.decrypt_in_place(sample, first, number).ok()?;
        let first = *first;
        let number_length = usize::from(first & NUMBER_LENGTH) + 1;
        let number =
            number.get(..number_length)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let number = self.whole_number(number, number_length);
        let (head, payload) = packet.split_at_mut_checked(number_at + number_length)?;
        let payload = self.keys.packet.decrypt_in_place(number, head, payload).ok()?;
        Some((first, number, payload))
    }

    /// The packet number of which only the last bytes are sent: that which is next to the one that is to come.
    /// (RFC 9000 appendix A.3)
    fn whole_number(&self, sent: u64, length: usize) -> u64 {
        let expected = self.largest.map_or(0, |largest| largest + 1);
        let window = 1 << (8 * length);
        let number = expected & !(window - 1) | sent;
        if number + window / 2 <= expected {
            number + window
        } else if number > expected + window / 2 && number >= window {
            number - window
        } else {
            number
        }
    }

    /// Whether nothing of a hello has come, though a client says that before anything else.
    pub fn is_empty(&self) -> bool {
        self.hello.is_empty()
    }

    /// The hello, when all of it has come.
    ///
    /// # Errors
    ///
    /// It is none.
    pub fn hello(&self) -> Result<Option<ClientHello<'_>>, Malformed> {
        let body = body_without_records(self.hello.complete()).map_err(|_| Malformed::NotAHello)?;
        body.map(|body| ClientHello::parse(body).ok_or(Malformed::NotAHello)).transpose()
    }

    /// As much of the hello as has come without a hole.
    pub fn beginning(&self) -> ClientHello<'_> {
        ClientHello::parse_beginning(beginning_without_records(self.hello.complete()))
    }
}

#[cfg(test)]
mod tests;
