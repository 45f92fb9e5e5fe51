//! Reads the captures of v2ray-plugin's connections.

use serde_json::Value;

/// A capture: what went through the tunnel, and what was seen of it on the wire.
pub struct Capture {
    /// What each session's client sent, and what it got.
    pub payload: Both,
    /// What the two ends of the connection sent, HTTP heads first.
    pub wire: Both,
}

/// The two directions of a stream.
pub struct Both {
    pub up: Vec<u8>,
    pub down: Vec<u8>,
}

impl Capture {
    pub fn read(json: &str) -> Self {
        let json: Value = serde_json::from_str(json).unwrap();
        let connections = json["connections"].as_array().unwrap();
        assert_eq!(connections.len(), 1);
        Self {
            payload: Both { up: bytes(&json["payload_up_hex"]), down: bytes(&json["payload_down_hex"]) },
            wire: Both {
                up: bytes(&connections[0]["client_to_server_hex"]),
                down: bytes(&connections[0]["server_to_client_hex"]),
            },
        }
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    let (digits, rest) = hex.as_str().unwrap().as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    digits.iter().map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// Splits a direction into its HTTP head and the frames after it.
pub fn split_head(stream: &[u8]) -> (&str, &[u8]) {
    let end = b"\r\n\r\n";
    let at = stream.windows(4).position(|window| window == end).unwrap();
    let (head, frames) = stream.split_at(at + end.len());
    (str::from_utf8(head).unwrap(), frames)
}
