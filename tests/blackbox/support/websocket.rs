//! A WebSocket client of the tests' own, written after RFC 6455 and independent of what it tests.

use super::conn::{connect, recv, recv_head, send};
use std::net::{SocketAddr, TcpStream};

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// An open connection.
pub struct Ws {
    pub stream: TcpStream,
    /// Payload that was received and not asked for yet.
    rest: Vec<u8>,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Ws {
    /// Opens a connection with the request of a Go program.
    #[track_caller]
    pub fn open(addr: SocketAddr, path: &str) -> Ws {
        Ws::open_with(addr, path, "").0
    }

    /// The same with further headers; returns the answer's head, too.
    #[track_caller]
    pub fn open_with(addr: SocketAddr, path: &str, headers: &str) -> (Ws, String) {
        Ws::upgrade(connect(addr), path, headers)
    }

    /// The same on a connection that is there.
    #[track_caller]
    pub fn upgrade(stream: TcpStream, path: &str, headers: &str) -> (Ws, String) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: live.example.com\r\nUser-Agent: Go-http-client/1.1\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             {headers}Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
        );
        send(&stream, request.as_bytes());
        let head = recv_head(&stream);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "the accept value of RFC 6455: {head}");
        (Ws { stream, rest: Vec::new() }, head)
    }

    /// A connection that is open.
    pub fn of(stream: TcpStream) -> Ws {
        Ws { stream, rest: Vec::new() }
    }

    #[track_caller]
    pub fn send(&self, opcode: u8, payload: &[u8]) {
        send(&self.stream, &frame(0x80 | opcode, payload));
    }

    #[track_caller]
    pub fn send_raw(&self, bytes: &[u8]) {
        send(&self.stream, bytes);
    }

    /// The next frame, whole.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        let head = recv(&self.stream, 2);
        assert_eq!(head[0] & 0x70, 0, "reserved bits");
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let len = match head[1] {
            126 => {
                let len = recv(&self.stream, 2);
                usize::from(u16::from_be_bytes([len[0], len[1]]))
            }
            127 => {
                let len = recv(&self.stream, 8);
                usize::try_from(u64::from_be_bytes(len.try_into().expect("eight bytes"))).expect("a length")
            }
            len => usize::from(len),
        };
        Frame { opcode: head[0] & 0x0f, payload: recv(&self.stream, len) }
    }

    /// So many payload bytes; pings are answered on the way.
    #[track_caller]
    pub fn recv(&mut self, len: usize) -> Vec<u8> {
        while self.rest.len() < len {
            let frame = self.frame();
            match frame.opcode {
                BINARY => {
                    assert!(!frame.payload.is_empty(), "an empty message says nothing");
                    self.rest.extend_from_slice(&frame.payload);
                }
                PING => self.send(PONG, &frame.payload),
                PONG => {}
                other => panic!("opcode {other} with {:?} while payload was wanted", frame.payload),
            }
        }
        let left = self.rest.split_off(len);
        std::mem::replace(&mut self.rest, left)
    }
}

/// A client's frame: `first` is its first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let key = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Mux.Cool frames, as v2ray, mihomo and sing-box write them.
pub mod mux {
    use super::{BINARY, Ws};

    pub const KEEP: u8 = 2;
    pub const END: u8 = 3;

    /// A new session to the target that v2ray-plugin and mihomo name, without data.
    pub fn open(id: u16) -> Vec<u8> {
        let mut frame = vec![0, 12];
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(&[1, 0, 1, 0, 0, 1, 127, 0, 0, 1]);
        frame
    }

    /// A new session as sing-box opens it: with data, to a name.
    pub fn open_named(id: u16, data: &[u8]) -> Vec<u8> {
        let name = b"v1.mux.cool";
        let mut frame = vec![0, (4 + 4 + 1 + name.len()) as u8];
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(&[1, 1, 1]);
        frame.extend_from_slice(&666_u16.to_be_bytes());
        frame.extend_from_slice(&[2, name.len() as u8]);
        frame.extend_from_slice(name);
        frame.extend_from_slice(&(data.len() as u16).to_be_bytes());
        frame.extend_from_slice(data);
        frame
    }

    /// A session for packets.
    pub fn open_udp(id: u16) -> Vec<u8> {
        let mut frame = open(id);
        frame[6] = 2;
        frame
    }

    pub fn keep(id: u16, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 4];
        frame.extend_from_slice(&id.to_be_bytes());
        frame.extend_from_slice(&[KEEP, 1]);
        frame.extend_from_slice(&(data.len() as u16).to_be_bytes());
        frame.extend_from_slice(data);
        frame
    }

    pub fn end(id: u16) -> Vec<u8> {
        let [high, low] = id.to_be_bytes();
        vec![0, 4, high, low, END, 0]
    }

    /// What a server sent.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Frame {
        pub id: u16,
        pub status: u8,
        pub option: u8,
        pub data: Vec<u8>,
    }

    impl Ws {
        pub fn send_mux(&self, frame: &[u8]) {
            self.send(BINARY, frame);
        }

        /// The next mux frame; it must stand in one message, as mihomo reads it.
        #[track_caller]
        pub fn mux(&mut self) -> Frame {
            let head = self.recv(6);
            assert_eq!(head[..2], [0, 4], "mihomo skips no metadata");
            let (id, status, option) = (u16::from_be_bytes([head[2], head[3]]), head[4], head[5]);
            let data = if option & 1 == 1 {
                let len = self.recv(2);
                self.recv(usize::from(u16::from_be_bytes([len[0], len[1]])))
            } else {
                Vec::new()
            };
            Frame { id, status, option, data }
        }

        /// So many bytes of one session, when no other speaks.
        #[track_caller]
        pub fn mux_recv(&mut self, id: u16, len: usize) -> Vec<u8> {
            let mut data = Vec::new();
            while data.len() < len {
                let frame = self.mux();
                assert_eq!((frame.id, frame.status), (id, KEEP), "{frame:?}");
                data.extend_from_slice(&frame.data);
            }
            data
        }
    }
}
