//! Sessions in the hunks of gRPC.

use super::engine::Engine;
use super::source::{Connecting, SessionSource};
use crate::relay::test_streams::connection;
use crate::relay::{Direction, End, Timeouts};
use crate::transport::framed::Framed;
use crate::transport::grpc::Hunks;
use crate::wire::grpc::{HunkDecoder, Method};
use crate::wire::mux::{Decoder, Encoder, Status, end};
use crate::wire::websocket::Role;
use crate::wire::{Decoder as _, Step};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Backends, whose other ends the test has.
struct Backends(mpsc::UnboundedSender<TcpStream>);

impl SessionSource for Backends {
    const ROLE: Role = Role::Server;

    fn connect(&mut self) -> Option<Connecting> {
        let fresh = self.0.clone();
        Some(Connecting::new(async move {
            let (near, far) = connection().await;
            let _ = fresh.send(far);
            Ok(near)
        }))
    }
}

/// A message with these fields. (All are short.)
fn message(fields: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for field in fields {
        message.extend([0x0a, u8::try_from(field.len()).unwrap()]);
        message.extend_from_slice(field);
    }
    let len = u32::try_from(message.len()).unwrap();
    [&[0][..], &len.to_be_bytes(), &message].concat()
}

fn server(method: Method) -> (TcpStream, mpsc::UnboundedReceiver<TcpStream>, impl Future<Output = End>) {
    let (near, far) = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| {
            let near = std::net::TcpStream::connect(listener.local_addr()?)?;
            Ok((near, listener.accept()?.0))
        })
        .unwrap();
    let [near, far] = [near, far].map(|socket| {
        socket.set_nonblocking(true).unwrap();
        TcpStream::from_std(socket).unwrap()
    });
    let (fresh, backends) = mpsc::unbounded_channel();
    let open = Framed::new(near, Hunks::new(Direction::Down, method), Vec::new());
    let timeouts = Timeouts::new(Duration::from_secs(60));
    let running = Engine::new(open, Backends(fresh), timeouts).run();
    (far, backends, async move { running.await.end })
}

/// xray says several pieces in one message where it calls TunMulti: a head and its data, or several frames.
#[tokio::test]
async fn fields_of_a_message_are_one_stream() {
    let (mut client, mut backends, running) = server(Method::TunMulti);
    let task = tokio::spawn(running);
    let open = Encoder::client(1).open().unwrap();
    let mut data = vec![0; Encoder::HEAD];
    data.extend(b"the question");
    let start = Encoder::server(1).encode_in_place(&mut data).unwrap();
    let (head, rest) = data[start..].split_at(6);
    // Each byte alone.
    for byte in message(&[&open, head, rest]) {
        client.write_all(&[byte]).await.unwrap();
    }
    let mut backend = backends.recv().await.unwrap();
    let mut got = [0; 12];
    backend.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"the question");
    backend.write_all(b"the answer").await.unwrap();
    drop(backend);
    client.write_all(&message(&[&end(1, false)])).await.unwrap();

    let (mut hunks, mut frames) = (HunkDecoder::new(Method::Tun), Decoder::default());
    let (mut answer, mut ended) = (Vec::new(), false);
    while !ended {
        let mut bytes = Vec::new();
        assert!(client.read_buf(&mut bytes).await.unwrap() > 0, "the session does not end");
        let mut at = 0;
        while let Step::Payload(range) = hunks.decode(&mut bytes, &mut at).unwrap() {
            let mut from = range.start;
            let inside = &bytes[..range.end];
            loop {
                match frames.decode(inside, &mut from).unwrap() {
                    Step::NeedMore => break,
                    Step::Payload(data) => answer.extend_from_slice(&inside[data]),
                    Step::Event(head) => ended |= head.status == Status::End,
                }
            }
        }
    }
    assert_eq!(answer, b"the answer");
    drop(client);
    assert!(matches!(task.await.unwrap(), End::Closed));
}

/// A stream that is cut is none that has ended in order: nobody may take what it got for all there was.
#[tokio::test]
async fn an_end_within_a_hunk_is_none_in_order() {
    let (mut client, mut backends, running) = server(Method::Tun);
    let task = tokio::spawn(running);
    let open = Encoder::client(1).open().unwrap();
    let mut data = vec![0; Encoder::HEAD];
    data.extend(b"half of it");
    let start = Encoder::server(1).encode_in_place(&mut data).unwrap();
    let whole = message(&[&data[start..]]);
    client.write_all(&message(&[&open])).await.unwrap();
    client.write_all(&whole[..whole.len() - 3]).await.unwrap();
    let mut backend = backends.recv().await.unwrap();
    drop(client);
    assert!(matches!(task.await.unwrap(), End::Malformed(..)));
    let mut got = Vec::new();
    let error = backend.read_to_end(&mut got).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}
