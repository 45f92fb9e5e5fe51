//! `obfs=tls` on sockets: hellos that look like a resumed TLS session, then records both ways.

use super::answer::Unanswered;
use super::{NotOpened, Stream, Tunnel};
use crate::net::{self, Dialer};
use crate::relay::{Direction, Flows, Pieces, Protocol, ProtocolError};
use crate::wire::fake_tls::{ReceivedHello, RecordDecoder, RecordEncoder, SentHello, random};
use crate::wire::{Decoder as _, Encoder, Step};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where the kernel will cut a client's first flight.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// At multiples of the segment size, if that is known.
    Segments(Option<u16>),
    /// Somewhere in the SYN that it travels with, and who knows where behind it; or where a proxy has it.
    Syn,
}

/// What a SYN carries at the least: an IPv6 packet of 1280 bytes, without its header and with room for
/// all TCP options.
const SYN_ROOM: usize = 1280 - 40 - 60;

/// The most payload that travels in the hello, in bytes: what a hello that simple-obfs's server still
/// holds has room for, at the most 16 KiB.
fn ticket_len(server_name: &str, first: usize, cut: Cut) -> usize {
    let (limit, mss) = match cut {
        Cut::Segments(mss) => (SentHello::SIMPLE_OBFS_LIMIT, mss),
        Cut::Syn => (SentHello::SIMPLE_OBFS_LIMIT.min(SYN_ROOM), None),
    };
    let len = first.min(SentHello::max_payload(server_name, limit));
    // simple-obfs's server (0.0.5) damages the payload when the hello is cut behind the ticket. The
    // kernel cuts at multiples of the segment size: where the last cut would fall there, the hello is
    // made to end at it, and the few bytes that it loses go into the record behind it.
    let tail = SentHello::OVERHEAD_BEHIND_TICKET + server_name.len();
    let total = SentHello::OVERHEAD + server_name.len() + len;
    match mss.map(usize::from) {
        Some(mss) if mss > tail && total > mss && (1..=tail).contains(&(total % mss)) => {
            len.saturating_sub(total % mss)
        }
        _ => len,
    }
}

/// Seconds since 1970, for the clock in a hello's random.
#[expect(clippy::disallowed_methods, reason = "the clock of a hello")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The flows of either half.
pub type RecordFlows = Flows<Framing>;

/// What a client says before it has heard anything.
#[derive(Debug)]
pub struct Opening {
    /// The hello with the first payload in it, and the rest of that in records.
    pub flight: Vec<u8>,
    /// How much payload that is.
    payload: usize,
}

/// A client's first flight, in which `first` travels.
///
/// # Errors
///
/// The name is too long for a hello.
pub fn opening(server_name: &str, mut first: Vec<u8>, cut: Cut) -> Result<Opening, ProtocolError> {
    let payload = first.len();
    let mut rest = first.split_off(ticket_len(server_name, payload, cut));
    let mut flight = Vec::new();
    SentHello::new(&mut rand::rng(), now()).encode(server_name, &first, &mut flight)?;
    for record in rest.chunks_mut(RecordEncoder::PAYLOAD) {
        RecordEncoder::after_client_hello().encode(record, &mut flight);
        flight.extend_from_slice(record);
    }
    Ok(Opening { flight, payload })
}

/// The flows of a client, of whose opening is given what has not been sent yet: it goes out at once,
/// and nothing waits for the server's.
pub fn client_flows(opening: Opening) -> RecordFlows {
    let Opening { flight, payload } = opening;
    let (encoder, decoder) = (RecordEncoder::after_client_hello(), RecordDecoder::from_server_hello());
    let framing = Framing { encoded: Direction::Up, encoder, decoder };
    Flows::new(framing).with_pending(Direction::Up, flight, payload)
}

/// The flows of a server that has received a hello; `bytes` begin with it. Its own hello goes out with
/// the first bytes from Shadowsocks: the apps read the length of that payload from a fixed place, and
/// it must not be zero.
pub fn server_flows(hello: &ReceivedHello, mut bytes: Vec<u8>) -> RecordFlows {
    let mut records = bytes.split_off(hello.length.min(bytes.len()));
    let first = bytes[hello.payload.clone()].to_vec();
    let random = random(&mut rand::rng(), now());
    let encoder = RecordEncoder::from_server_hello(random, hello.session_id);
    let decoder = RecordDecoder::after_client_hello();
    let mut flows =
        Flows::new(Framing { encoded: Direction::Down, encoder, decoder }).with_payload(Direction::Up, first);
    flows.feed(Direction::Up, &mut records);
    flows
}

/// One direction is payload that becomes records, the other one records that become payload.
#[derive(Debug)]
pub struct Framing {
    /// Which one becomes records.
    encoded: Direction,
    /// What makes them.
    encoder: RecordEncoder,
    /// What reads those that come the other way.
    decoder: RecordDecoder,
}

impl Protocol for Framing {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        let (mut at, mut payload_len) = (0, 0);
        if direction == self.encoded {
            for payload in input.chunks_mut(RecordEncoder::PAYLOAD) {
                let end = at + payload.len();
                out.head(|head| self.encoder.encode(payload, head));
                out.input(at..end);
                at = end;
            }
            return Ok(at);
        }
        loop {
            match self.decoder.decode(input, &mut at)? {
                Step::Payload(range) => {
                    payload_len += range.len();
                    out.input(range);
                }
                Step::NeedMore => return Ok(payload_len),
            }
        }
    }
}

/// Opens a tunnel in which `first` is said first: with `unknown_cuts`, before there is a connection where that is
/// possible, and in a hello that is cut nowhere.
///
/// # Errors
///
/// The server cannot be reached, or the name is too long for a hello.
pub(super) async fn open(
    dialer: &Dialer,
    server_name: &str,
    unknown_cuts: bool,
    first: Vec<u8>,
) -> Result<Tunnel, NotOpened> {
    let opening = |first, cut| opening(server_name, first, cut).map_err(NotOpened::Malformed);
    let (server, opening) = if unknown_cuts {
        let mut opening = opening(first, Cut::Syn)?;
        let (server, sent) = dialer.connect_with(&opening.flight).await?;
        opening.flight.drain(..sent);
        (server, opening)
    } else {
        let server = dialer.connect().await?;
        let cut = Cut::Segments(net::segment_size(&server));
        (server, opening(first, cut)?)
    };
    Ok(Tunnel::dialled(Unanswered::new(server.into(), true), client_flows(opening)))
}

/// Takes a client, of which `bytes` were read, with its hello in front.
pub(super) fn accept(client: Stream, hello: &ReceivedHello, bytes: Vec<u8>) -> Tunnel {
    Tunnel::accepted(client, server_flows(hello, bytes), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_never_cut_behind_its_ticket() {
        let name = "www.example.com";
        let tail = SentHello::OVERHEAD_BEHIND_TICKET + name.len();
        for mss in [536, 1220, 1448, 9000] {
            for first in 0..=17_000 {
                let len = ticket_len(name, first, Cut::Segments(Some(mss)));
                let total = SentHello::OVERHEAD + name.len() + len;
                assert!(total <= SentHello::SIMPLE_OBFS_LIMIT && len <= first);
                let behind_last_cut = total % usize::from(mss);
                assert!(
                    total <= usize::from(mss) || behind_last_cut == 0 || behind_last_cut > tail,
                    "mss {mss}, first {first}: {behind_last_cut} bytes in the last segment"
                );
            }
        }
        assert_eq!(ticket_len(name, 517, Cut::Segments(Some(1448))), 517);
        assert_eq!(ticket_len(name, 517, Cut::Syn), 517);
        assert!(SentHello::OVERHEAD + name.len() + ticket_len(name, 20_000, Cut::Syn) <= SYN_ROOM);
        assert_eq!(
            ticket_len(name, 20_000, Cut::Segments(None)),
            SentHello::max_payload(name, SentHello::SIMPLE_OBFS_LIMIT)
        );
    }
}
