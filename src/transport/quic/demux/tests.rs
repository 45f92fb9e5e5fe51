use super::*;
use crate::transport::quic::test_socket::{TestSocket, address, welcome};
use crate::wire::quic::test_packets::{crypto, flight, hello, initial};
use crate::wire::tls::ClientHello;
use proptest::prelude::*;
use quinn::ConnectionIdGenerator as _;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{advance, timeout};

mod loopback;

struct Port {
    socket: Arc<TestSocket>,
    demux: Arc<Demux>,
    ids: ConnectionIds,
}

fn rules(website: Option<Arc<Dialer>>) -> Rules {
    Rules {
        is_ours: Box::new(|hello, _| hello.server_name == Some(b"ours.example")),
        website,
        welcome: Arc::new(welcome),
    }
}

impl Port {
    fn new() -> Port {
        Port::with(rules(None))
    }

    fn with(rules: Rules) -> Port {
        let (socket, ids) = (Arc::new(TestSocket::default()), ConnectionIds::random());
        let demux = Demux::new(Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>, ids.clone(), rules);
        Port { socket, demux, ids }
    }

    fn id(&self) -> Vec<u8> {
        self.ids.clone().generate_cid().to_vec()
    }

    /// What quinn receives until there is nothing more, datagram by datagram, with who sent it.
    fn received(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut received = Vec::new();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        while let Some(more) = self.receive(&mut cx) {
            received.extend(more);
        }
        received
    }

    fn receive(&self, cx: &mut Context<'_>) -> Option<Vec<(SocketAddr, Vec<u8>)>> {
        let mut room = vec![vec![0xee; 8192]; 3];
        let mut buffers: Vec<_> = room.iter_mut().map(|room| IoSliceMut::new(room)).collect();
        let mut metas = [RecvMeta::default(); 3];
        let Poll::Ready(count) = self.demux.poll_recv(cx, &mut buffers, &mut metas) else { return None };
        let mut received = Vec::new();
        for (meta, room) in metas.iter().zip(&room).take(count.unwrap()) {
            received
                .extend(room[..meta.len].chunks(meta.stride.max(1)).map(|bytes| (meta.addr, bytes.to_vec())));
        }
        Some(received)
    }
}

fn short(id: &[u8], rest: &[u8]) -> Vec<u8> {
    [&[0x41], id, rest].concat()
}

fn handshake(id: &[u8]) -> Vec<u8> {
    [&b"\xe0\0\0\0\x01"[..], &[id.len() as u8], id, b"\0\x05hands"].concat()
}

fn whole(id: &[u8], name: &str) -> Vec<u8> {
    initial(id, 0, &crypto(0, &hello(name, &[b"h3"], 0)))
}

#[tokio::test]
async fn what_has_an_id_of_ours_is_quinns_wherever_it_comes_from() {
    let port = Port::new();
    let (own, other) = (port.id(), vec![7; ID_LENGTH]);
    let datagrams = [short(&own, b"data"), handshake(&own), short(&own, b"")];
    for (from, datagram) in (0..).zip(&datagrams) {
        port.socket.bring(address(from), datagram.len(), datagram.clone());
        for foreign in [
            short(&other, b"data"),
            handshake(&other),
            b"".to_vec(),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            [&b"\xc0\0\0\0\x02\x0c"[..], &own, b"\0rest"].concat(),
            [&b"\x80\0\0\0\0\x0c"[..], &own, b"\0\0\0\0\x01"].concat(),
            own[..11].to_vec(),
        ] {
            port.socket.bring(address(from), foreign.len(), foreign);
        }
    }
    let received: Vec<_> = port.received().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(received, datagrams);
    assert_eq!(port.socket.take_sent(), [], "nobody is answered");
}

/// Several datagrams of one length in a buffer, and a shorter one at the end.
#[tokio::test]
async fn of_datagrams_in_one_buffer_each_goes_where_it_belongs() {
    let port = Port::new();
    let (own, other) = (port.id(), vec![7; ID_LENGTH]);
    for pattern in [
        [true; 4],
        [false; 4],
        [true, false, false, true],
        [false, true, true, false],
        [false, false, true, true],
    ] {
        let rest = |n: usize| if n < 3 { vec![n as u8; 30] } else { vec![n as u8; 7] };
        let datagram = |(n, &is_own): (usize, &bool)| short(if is_own { &own } else { &other }, &rest(n));
        let all: Vec<_> = pattern.iter().enumerate().map(datagram).collect();
        port.socket.bring(address(1), all[0].len(), all.concat());
        let wanted: Vec<_> =
            all.into_iter().zip(pattern).filter(|(_, is_own)| *is_own).map(|(bytes, _)| bytes).collect();
        let received: Vec<_> = port.received().into_iter().map(|(_, bytes)| bytes).collect();
        assert_eq!(received, wanted, "{pattern:?}");
    }
}

#[tokio::test]
async fn a_connection_begins_where_its_hello_says() {
    let port = Port::new();
    for (number, turned) in [(0, false), (1, true)] {
        let (ours, others) = (vec![number; 8], vec![number + 10; 20]);
        let [one, two] = flight(&ours, &hello("ours.example", &[b"h3"], 1000), 70, turned);
        let [foreign_one, foreign_two] =
            flight(&others, &hello("others.example", &[b"h3"], 1000), 70, turned);
        let single = whole(&[number + 20; 8], "ours.example");
        let from = address(number.into());
        for datagram in [&one, &foreign_one, &single, &two, &foreign_two, &one] {
            port.socket.bring(from, datagram.len(), datagram.clone());
        }
        // What is whole at once has no reason to wait; of each connection the order is that in which it came.
        let wanted = [&single, &one, &two, &one].map(|datagram| (from, datagram.clone()));
        assert_eq!(port.received(), wanted);
    }
}

/// Both datagrams of a flight, and more of it, in one buffer.
#[tokio::test]
async fn what_was_kept_comes_before_what_came_after_it() {
    let port = Port::new();
    let hello = hello("ours.example", &[b"h3"], 800);
    let parts = [hello[..50].to_vec(), hello[50..60].to_vec(), hello[60..].to_vec()];
    let offsets = [0, 50, 60];
    let datagrams: Vec<_> =
        (0..3).map(|n| initial(b"its choice", n as u32, &crypto(offsets[n], &parts[n]))).collect();
    assert!(datagrams.windows(2).all(|pair| pair[0].len() == pair[1].len()));
    let all = [&datagrams[2], &datagrams[0], &datagrams[1], &datagrams[0], &datagrams[2]];
    let bytes: Vec<u8> = all.iter().flat_map(|datagram| datagram.iter().copied()).collect();
    port.socket.bring(address(1), datagrams[0].len(), bytes);
    let received: Vec<_> = port.received().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(received, all.map(Clone::clone));
}

/// An id of ours is seen by others on the wire. With it, a connection for another name is no more ours than without.
#[tokio::test]
async fn an_id_of_ours_is_no_way_in_for_others() {
    let port = Port::new();
    for (name, is_ours) in [("ours.example", true), ("others.example", false)] {
        let id = port.id();
        let datagram = whole(&id, name);
        port.socket.bring(address(1), datagram.len(), datagram);
        assert_eq!(port.received().len(), usize::from(is_ours), "{name}");
        // Packets of the handshake, which have other keys, are its own all the same.
        let mut later = whole(&[1; 12], name);
        later[6..18].copy_from_slice(&id);
        port.socket.bring(address(2), later.len(), later.clone());
        assert_eq!(port.received(), [(address(2), later)], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_does_not_go_on_is_not_quinns_and_the_socket_sees_to_it_itself() {
    let port = Port::new();
    let [one, two] = flight(b"its choice", &hello("ours.example", &[b"h3"], 1000), 70, false);
    port.socket.bring(address(1), one.len(), one.clone());
    let next = poll_fn(|cx| match port.receive(cx) {
        Some(received) if !received.is_empty() => Poll::Ready(received),
        Some(_) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        None => Poll::Pending,
    });
    let ready = timeout(Duration::from_secs(5), next).await;
    assert!(ready.is_err(), "{ready:?}");
    assert_eq!(port.demux.state().flights.next_end(), None);
    port.socket.bring(address(1), two.len(), two);
    assert_eq!(port.received(), []);
    advance(Duration::from_secs(60)).await;
    // It is forgotten, and may begin anew.
    port.socket.bring(address(1), one.len(), one);
    assert_eq!(port.received(), []);
    assert!(port.demux.state().flights.next_end().is_some());
}

/// What was decided once holds for the connection, whatever is decided of others since.
#[tokio::test]
async fn other_rules_are_for_what_begins_from_then_on() {
    let all_are_ours = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&all_are_ours);
    let is_ours = Box::new(move |_: &ClientHello<'_>, _| asked.load(Ordering::Relaxed));
    let port = Port::with(Rules { is_ours, website: None, welcome: Arc::new(welcome) });
    let (one, two) = (whole(&[1; 8], "any.example"), whole(&[2; 8], "any.example"));
    port.socket.bring(address(1), one.len(), one.clone());
    assert_eq!(port.received(), []);
    all_are_ours.store(true, Ordering::Relaxed);
    for datagram in [&one, &two] {
        port.socket.bring(address(1), datagram.len(), datagram.clone());
    }
    assert_eq!(port.received(), [(address(1), two)]);
}

proptest! {
    /// Whatever comes, however it is cut: what quinn gets has come, in the same order, and what has an id of ours is
    /// always among it.
    #[test]
    fn any_datagrams_in_any_buffers(
        datagrams in prop::collection::vec(
            (any::<bool>(), 0..3_u8, prop::collection::vec(any::<u8>(), 0..60)),
            1..20,
        ),
        stride in 1..80_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _guard = runtime.enter();
        let port = Port::new();
        let own = port.id();
        let mut all = Vec::new();
        for (is_own, kind, rest) in &datagrams {
            let id = if *is_own { own.clone() } else { vec![9; 12] };
            let bytes = match kind {
                0 => short(&id, rest),
                1 => [&b"\xc1\0\0\0\x01\x0c"[..], &id, b"\0\0", rest].concat(),
                _ => rest.clone(),
            };
            all.extend(bytes);
        }
        port.socket.bring(address(1), stride, all.clone());
        let mut received = port.received().into_iter().map(|(_, bytes)| bytes).peekable();
        for datagram in all.chunks(stride) {
            let is_own = datagram.len() > ID_LENGTH && datagram[0] & 0x80 == 0 && datagram[1..].starts_with(&own);
            let was_received = received.next_if(|next| next == datagram).is_some();
            prop_assert!(was_received || !is_own);
        }
        prop_assert_eq!(received.next(), None);
    }
}
