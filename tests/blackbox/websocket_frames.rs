//! RFC 6455 on the server's port: what clients may send, what they may not, and how it ends.

use crate::support::backend::{Backend, next};
use crate::support::conn::{End, fin, recv, recv_to_end, send};
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::websocket::{BINARY, CLOSE, PING, PONG, TEXT, Ws, frame};
use crate::support::{STEP, assert_same, noise, secs, within};

fn echo_server() -> (Backend, Plugin) {
    let echo = Backend::echo();
    let server = server(Ours, echo.addr, "mode=websocket");
    (echo, server)
}

#[test]
fn fragments_text_and_empty_frames_are_one_stream() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        ws.send(TEXT, b"text, ");
        ws.send(BINARY, b"");
        ws.send_raw(&frame(0x02, b"three "));
        ws.send(PING, b"between");
        ws.send_raw(&frame(0x00, b"frag"));
        ws.send_raw(&frame(0x80, b"ments"));
        let mut stream = Vec::new();
        let mut ponged = false;
        while stream != b"text, three fragments" || !ponged {
            let frame = ws.frame();
            match frame.opcode {
                BINARY => stream.extend_from_slice(&frame.payload),
                PONG => {
                    assert_eq!(frame.payload, b"between");
                    ponged = true;
                }
                other => panic!("opcode {other}"),
            }
        }
    });
}

/// A message of megabytes passes piece by piece, and pings are answered between frames, not inside.
#[test]
fn long_messages_pass_and_pings_are_answered_under_load() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        let data = noise(6 * 1024 * 1024, 1);
        let message = frame(0x82, &data);
        let writer = ws.stream.try_clone().expect("a second handle");
        let (mut back, mut pongs) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                send(&writer, &message);
                for i in 0..50 {
                    send(&writer, &frame(0x80 | PING, &[i]));
                    send(&writer, &frame(0x82, b"x"));
                }
                send(&writer, &frame(0x80 | PING, b"last"));
            });
            loop {
                let frame = ws.frame();
                match frame.opcode {
                    BINARY => back.extend_from_slice(&frame.payload),
                    PONG => {
                        pongs += 1;
                        if frame.payload == b"last" {
                            break;
                        }
                    }
                    other => panic!("opcode {other}"),
                }
            }
        });
        assert!(pongs >= 1);
        let left = data.len() + 50 - back.len();
        back.extend_from_slice(&ws.recv(left));
        assert_same("the echo", &back[..data.len()], &data);
    });
}

#[test]
fn what_breaks_the_protocol_is_answered_with_its_code() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut huge = vec![0x82, 0xff];
        huge.extend_from_slice(&[0xff; 8]);
        huge.extend_from_slice(&[0; 4]);
        for (what, bytes, code) in [
            ("unmasked", vec![0x82, 1, b'x'], 1002_u16),
            ("a reserved bit", frame(0xc2, b"x"), 1002),
            ("a reserved opcode", frame(0x83, b"x"), 1002),
            ("an absurd length", huge, 1002),
            ("a fragmented ping", frame(PING, b"x"), 1002),
            ("a continuation of nothing", frame(0x80, b"x"), 1002),
            ("a reason that is no text", frame(0x88, b"\x03\xe8\xff\xff"), 1007),
        ] {
            for before in [false, true] {
                let mut ws = Ws::open(server.addr, "/");
                if before {
                    ws.send(BINARY, b"hello");
                    assert_eq!(ws.recv(5), b"hello");
                }
                ws.send_raw(&bytes);
                let frame = ws.frame();
                assert_eq!(frame.opcode, CLOSE, "{what}");
                assert_eq!(frame.payload.get(..2), Some(&code.to_be_bytes()[..]), "{what}");
                let (rest, end) = recv_to_end(&ws.stream, STEP);
                assert_eq!((rest.len(), end), (0, End::Fin), "{what}");
            }
        }
    });
}

#[test]
fn a_close_frame_is_answered_and_the_backend_sees_the_end() {
    within(secs(60), || {
        let (backend, connections) = Backend::manual();
        let server = server(Ours, backend.addr, "mode=websocket");
        let mut ws = Ws::open(server.addr, "/");
        ws.send(BINARY, b"hello");
        let behind = next(&connections);
        assert_eq!(recv(&behind, 5), b"hello");
        ws.send(CLOSE, b"\x03\xe9bye");
        let frame = ws.frame();
        assert_eq!((frame.opcode, frame.payload), (CLOSE, b"\x03\xe9".to_vec()));
        assert_eq!(recv_to_end(&ws.stream, STEP), (Vec::new(), End::Fin));
        assert_eq!(recv_to_end(&behind, STEP).0, b"");
    });
}

/// The backend's end: a client that is not ours is told by a close frame, after as long as v2ray-plugin's
/// server takes. It answers pings, as RFC 6455 wants it; until then it may have to read what comes before.
#[test]
fn the_end_of_the_backend_closes_the_connection() {
    within(secs(60), || {
        let backend = Backend::serve(|stream| {
            recv(&stream, 1);
            send(&stream, b"all there is");
        });
        let server = server(Ours, backend.addr, "mode=websocket");
        let mut ws = Ws::open(server.addr, "/");
        ws.send(BINARY, b"?");
        assert_eq!(ws.recv(12), b"all there is");
        let ping = ws.frame();
        assert_eq!(ping.opcode, PING);
        ws.send(PONG, &ping.payload);
        assert_eq!(ws.frame().opcode, CLOSE);
    });
}

#[test]
fn early_data_come_first_and_the_header_is_echoed() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        // "hello" in the alphabets that clients use.
        for value in ["aGVsbG8", "aGVsbG8=", "  aGVsbG8"] {
            let header = format!("Sec-WebSocket-Protocol: {value}\r\n");
            let (mut ws, head) = Ws::open_with(server.addr, "/?ed=2048", &header);
            assert!(head.contains(&format!("Sec-WebSocket-Protocol: {}\r\n", value.trim())), "{head}");
            ws.send(BINARY, b" world");
            assert_eq!(ws.recv(11), b"hello world");
        }
        // What is no base64 is nobody's data, and is not echoed.
        let (mut ws, head) = Ws::open_with(server.addr, "/", "Sec-WebSocket-Protocol: chat, super\r\n");
        assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
        ws.send(BINARY, b"hi");
        assert_eq!(ws.recv(2), b"hi");
    });
}

/// Bytes that come cut at every place, the request included.
#[test]
fn bytes_one_by_one_are_taken() {
    within(secs(60), || {
        let (_echo, server) = echo_server();
        let mut ws = Ws::open(server.addr, "/");
        for byte in frame(0x82, b"one by one") {
            ws.send_raw(&[byte]);
        }
        assert_eq!(ws.recv(10), b"one by one");
        fin(&ws.stream);
    });
}
