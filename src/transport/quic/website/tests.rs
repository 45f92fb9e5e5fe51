use super::*;
use crate::net::addr::HostPort;
use crate::net::options::SocketOptions;
use crate::transport::quic::test_socket::{LOCAL, TestSocket, address, meta, welcome};
use tokio::time::advance;

struct Port {
    socket: Arc<TestSocket>,
    visitors: Arc<Visitors>,
    website: UdpSocket,
    dialer: Arc<Dialer>,
}

/// A long head of version 1 between these ids.
fn long(destination: &[u8], source: &[u8]) -> Vec<u8> {
    let id = |id: &[u8]| [&[id.len() as u8], id].concat();
    [&b"\xe0\0\0\0\x01"[..], &id(destination), &id(source), b"\x05hands"].concat()
}

impl Port {
    async fn new() -> Port {
        let socket = Arc::new(TestSocket::default());
        let visitors = Visitors::new(Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>, Arc::new(welcome));
        let website = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = HostPort::parse(&website.local_addr().unwrap().to_string()).unwrap();
        let dialer = Arc::new(Dialer::new(vec![target], SocketOptions::default()));
        Port { socket, visitors, website, dialer }
    }

    fn pass(&self, from: SocketAddr, bytes: &[u8]) {
        self.visitors.pass(Some(&self.dialer), bytes, &meta(from, bytes.len(), bytes.len()));
    }

    /// What the website gets next, and from where.
    async fn at_website(&self) -> (Vec<u8>, SocketAddr) {
        let mut bytes = vec![0; 2048];
        let (length, from) = self.website.recv_from(&mut bytes).await.unwrap();
        bytes.truncate(length);
        (bytes, from)
    }

    /// Waits until so much was sent to visitors.
    async fn sent(&self, length: usize) -> Vec<(SocketAddr, Option<IpAddr>, Vec<u8>, Option<usize>)> {
        let mut sent = Vec::new();
        while sent.iter().map(|(.., bytes, _): &(_, _, Vec<u8>, _)| bytes.len()).sum::<usize>() < length {
            sent.extend(self.socket.take_sent());
            tokio::task::yield_now().await;
        }
        sent
    }

    fn count(&self) -> usize {
        self.visitors.known().visitors.len()
    }

    async fn wait_for_count(&self, count: usize) {
        while self.count() != count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_visitor_has_a_socket_and_its_answers_leave_by_the_port() {
    let port = Port::new().await;
    port.pass(address(1), b"first");
    port.pass(address(2), b"second");
    port.pass(address(1), b"third");
    let ((first, one), (second, two), (third, again)) =
        (port.at_website().await, port.at_website().await, port.at_website().await);
    assert_eq!([&first[..], &second, &third], [&b"first"[..], b"second", b"third"]);
    assert!(one == again && one != two);
    for (upstream, visitor) in [(two, address(2)), (one, address(1))] {
        port.website.send_to(b"answer", upstream).await.unwrap();
        assert_eq!(port.sent(6).await, [(visitor, Some(LOCAL), b"answer".to_vec(), None)]);
    }
    assert_eq!(port.count(), 2);
}

/// What the socket has no room for is sent when it has.
#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_room() {
    let port = Port::new().await;
    port.pass(address(1), b"first");
    let (_, upstream) = port.at_website().await;
    port.socket.set_room(Some(0));
    port.website.send_to(b"answer", upstream).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(port.socket.take_sent(), []);
    port.socket.set_room(None);
    assert_eq!(port.sent(6).await, [(address(1), Some(LOCAL), b"answer".to_vec(), None)]);
}

#[test]
fn no_more_is_sent_at_once_than_the_socket_takes() {
    let socket = Arc::new(TestSocket::default());
    let visitors = Visitors::new(Arc::clone(&socket) as Arc<dyn AsyncUdpSocket>, Arc::new(welcome));
    let key = Key { from: address(1), to: Some(LOCAL) };
    let bytes: Vec<u8> = (0..95).collect();
    assert_eq!(visitors.answer(key, &bytes, &meta(address(9), 10, 95)), 95);
    let lengths: Vec<_> =
        socket.take_sent().into_iter().map(|(.., bytes, segment)| (bytes.len(), segment)).collect();
    assert_eq!(lengths, [(40, Some(10)), (40, Some(10)), (15, Some(10))]);
    socket.set_room(Some(1));
    assert_eq!(visitors.answer(key, &bytes, &meta(address(9), 10, 95)), 40, "and the rest later");
}

#[tokio::test(start_paused = true)]
async fn without_a_website_nothing_is_kept() {
    let port = Port::new().await;
    port.visitors.pass(None, b"first", &meta(address(1), 5, 5));
    assert_eq!((port.count(), port.socket.take_sent()), (0, vec![]));
    // Who has come goes on, whatever others meet.
    port.pass(address(1), b"second");
    port.visitors.pass(None, b"third", &meta(address(1), 5, 5));
    assert_eq!(
        (port.at_website().await.0, port.at_website().await.0),
        (b"second".to_vec(), b"third".to_vec())
    );
}

#[tokio::test(start_paused = true)]
async fn who_gets_the_answers_is_remembered_longer() {
    let port = Port::new().await;
    for (number, confirms) in
        [(1, None), (2, Some(long(b"its id", b""))), (3, Some(b"\x40its id and data".to_vec()))]
    {
        let from = address(number);
        let mut first = long(b"a choice", b"visitor");
        first.resize(LEAST_INITIAL, 0);
        port.pass(from, &first);
        let (_, upstream) = port.at_website().await;
        let answer = long(b"visitor", b"its id");
        port.website.send_to(&answer, upstream).await.unwrap();
        port.sent(answer.len()).await;
        if let Some(bytes) = confirms {
            port.pass(from, &bytes);
            port.at_website().await;
        } else {
            // As may say who does not see the answers.
            port.pass(from, b"\x40no id and data");
            port.at_website().await;
        }
    }
    assert_eq!(port.count(), 3);
    advance(IDLE_AT_FIRST + Duration::from_millis(1)).await;
    port.wait_for_count(2).await;
    advance(IDLE - IDLE_AT_FIRST - Duration::from_secs(1)).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(port.count(), 2);
    // Whoever says something is remembered for as long again.
    port.pass(address(3), b"\x40its id and data");
    advance(Duration::from_secs(2)).await;
    port.wait_for_count(1).await;
    advance(IDLE).await;
    port.wait_for_count(0).await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_listens_the_visitor_is_forgotten() {
    let Port { socket: _socket, visitors, website, dialer } = Port::new().await;
    drop(website);
    let pass = || visitors.pass(Some(&dialer), b"first", &meta(address(1), 5, 5));
    pass();
    // (the clock of the test stands still meanwhile)
    while !visitors.known().visitors.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn visitors_are_few() {
    let port = Port::new().await;
    // (as many as an address may have, since each is a socket)
    for number in 0..MOST_OF_SOURCE as u16 {
        port.pass(address(number), b"garbage");
    }
    assert_eq!(port.count(), MOST_OF_SOURCE);
    port.pass(address(900), b"one more");
    assert_eq!(port.count(), MOST_OF_SOURCE);
    let is_known =
        |number| port.visitors.known().visitors.contains_key(&Key { from: address(number), to: Some(LOCAL) });
    assert!(!is_known(900), "there is no room");
    port.pass(address(1900), b"of another address");
    assert!(is_known(1900));
    advance(MAKES_ROOM_AFTER).await;
    port.pass(address(0), b"is heard again");
    port.pass(address(900), b"one more");
    assert!(is_known(900) && is_known(0), "one that was silent made room");
    port.wait_for_count(MOST_OF_SOURCE + 1).await;
}

/// The sockets of a port that is closed are closed, too.
#[tokio::test(start_paused = true)]
async fn visitors_do_not_outlive_their_port() {
    let Port { socket, visitors, website, dialer } = Port::new().await;
    visitors.pass(Some(&dialer), b"first", &meta(address(1), 5, 5));
    let visitor = Arc::downgrade(visitors.known().visitors.values().next().unwrap());
    drop(visitors);
    while visitor.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
    drop((socket, website));
}
