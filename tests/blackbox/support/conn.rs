//! TCP connections with deadlines, and how they end.

use super::STEP;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How a connection ended, seen from its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum End {
    Fin,
    Reset,
    /// Neither, until the reader's time was up.
    Open,
}

/// Connects, without Nagle's delays: what a test writes in two pieces must leave in two pieces.
#[track_caller]
pub fn connect(addr: SocketAddr) -> TcpStream {
    match TcpStream::connect_timeout(&addr, STEP) {
        Ok(stream) => {
            prepare(&stream);
            stream
        }
        Err(e) => panic!("cannot connect to {addr}: {e}"),
    }
}

/// Connects from an address of this machine, by which a peer can tell one from another.
#[track_caller]
pub fn connect_from(source: IpAddr, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(source, 0).into()).expect("bind an address of this machine");
    if let Err(e) = socket.connect_timeout(&addr.into(), STEP) {
        panic!("cannot connect from {source} to {addr}: {e}");
    }
    let stream = TcpStream::from(socket);
    prepare(&stream);
    stream
}

/// Gives a stream the limits every test stream has.
pub fn prepare(stream: &TcpStream) {
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    stream.set_read_timeout(Some(STEP)).expect("set a limit");
    stream.set_write_timeout(Some(STEP)).expect("set a limit");
}

/// Sends all of it.
#[track_caller]
pub fn send(stream: &TcpStream, bytes: &[u8]) {
    let mut stream = stream;
    if let Err(e) = stream.write_all(bytes) {
        panic!("cannot send {} bytes: {e}", bytes.len());
    }
}

/// Ends our direction.
pub fn fin(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

/// Closes the connection with a reset.
pub fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set SO_LINGER");
    drop(stream);
}

/// Reads exactly that many bytes.
#[track_caller]
pub fn recv(stream: &TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut got = 0;
    let mut stream = stream;
    while got < len {
        match stream.read(&mut bytes[got..]) {
            Ok(n) if n > 0 => got += n,
            other => panic!(
                "got {got} of {len} bytes ({:?}), then {other:?}",
                String::from_utf8_lossy(&bytes[..got.min(200)])
            ),
        }
    }
    bytes
}

/// Reads up to and with the blank line that ends a head.
#[track_caller]
pub fn recv_head(stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut stream = stream;
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            other => panic!("the head ended early with {other:?} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).expect("a head of ASCII")
}

/// Reads until the connection ends, or for at most `limit`.
pub fn recv_to_end(stream: &TcpStream, limit: Duration) -> (Vec<u8>, End) {
    let end = Instant::now() + limit;
    let mut bytes = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    let mut reader = stream;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return (bytes, End::Open);
        }
        stream.set_read_timeout(Some(left)).expect("set a limit");
        match reader.read(&mut buffer) {
            Ok(0) => return (bytes, End::Fin),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) => match e.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return (bytes, End::Open),
                ErrorKind::Interrupted => {}
                _ => return (bytes, End::Reset),
            },
        }
    }
}

/// Sends `up` and then a FIN, while it reads to the end: what came back, and how it ended.
pub fn exchange(stream: &TcpStream, up: &[u8], limit: Duration) -> (Vec<u8>, End) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = stream;
            // A peer that ends early shows in what is read.
            if writer.write_all(up).is_ok() {
                fin(stream);
            }
        });
        recv_to_end(stream, limit)
    })
}

/// Sends `up` to something that echoes, and wants it back; the connection stays open.
#[track_caller]
pub fn assert_echo(stream: &TcpStream, up: &[u8]) {
    let back = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = stream;
            let _ = writer.write_all(up);
        });
        recv(stream, up.len())
    });
    super::assert_same("the echo", &back, up);
}
