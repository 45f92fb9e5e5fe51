//! The heads of `obfs=http` held against a captured stream of simple-obfs 0.0.5.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use obfs_rs::wire::http::{
    HeaderOrder, HttpRule, Upgrade, UpgradeAnswer, UpgradeDetector, UpgradeParse, UpgradeRequest,
};
use proptest::prelude::*;
use std::sync::LazyLock;

struct Vector {
    up: Vec<u8>,
    down: Vec<u8>,
    payload_up: Vec<u8>,
    payload_down: Vec<u8>,
}

static VECTOR: LazyLock<Vector> = LazyLock::new(|| {
    let json: serde_json::Value =
        serde_json::from_str(include_str!("vectors/simple-obfs-http.json")).expect("JSON");
    let hex = |value: &serde_json::Value| {
        let text = value.as_str().expect("a string");
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).expect("hex"))
            .collect::<Vec<_>>()
    };
    let connection = &json["connections"][0];
    Vector {
        up: hex(&connection["client_to_server_hex"]),
        down: hex(&connection["server_to_client_hex"]),
        payload_up: hex(&json["payload_up_hex"]),
        payload_down: hex(&json["payload_down_hex"]),
    }
});

static ANY: LazyLock<HttpRule> = LazyLock::new(|| HttpRule {
    method: "GET".into(),
    path: None,
    web_path: None,
    routes: Default::default(),
    host: None,
});

fn upgrade(bytes: &[u8]) -> Upgrade {
    match UpgradeDetector::default().detect(bytes, &ANY) {
        UpgradeParse::Upgrade(upgrade) => upgrade,
        other => panic!("{other:?}"),
    }
}

/// The value of a header in a head.
fn value<'a>(head: &'a str, name: &str) -> &'a str {
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[test]
fn the_request_is_taken_and_its_payload_found() {
    let upgrade = upgrade(&VECTOR.up);
    assert_eq!(&VECTOR.up[upgrade.head_len..], VECTOR.payload_up);
    let head = std::str::from_utf8(&VECTOR.up[..upgrade.head_len]).expect("ASCII");
    assert_eq!(upgrade.key(&VECTOR.up), Some(value(head, "Sec-WebSocket-Key").as_bytes()));
}

#[test]
fn our_request_is_the_captured_one_to_the_byte() {
    let head_len = upgrade(&VECTOR.up).head_len;
    let head = std::str::from_utf8(&VECTOR.up[..head_len]).expect("ASCII");
    let key = value(head, "Sec-WebSocket-Key");
    let nonce: [u8; 16] = STANDARD.decode(key).expect("base64").try_into().expect("16 bytes");
    let ours = UpgradeRequest {
        method: "GET",
        path: "/",
        host: value(head, "Host"),
        user_agent: value(head, "User-Agent"),
        key: Some(&obfs_rs::wire::websocket::key(nonce)),
        versioned: false,
        protocol: None,
        content_length: Some(value(head, "Content-Length").parse().expect("a number")),
        headers: &[],
        order: HeaderOrder::SIMPLE_OBFS,
    };
    assert_eq!(String::from_utf8_lossy(&ours.encode()), head);
}

#[test]
fn the_answer_is_taken_and_its_payload_found() {
    match UpgradeAnswer::read(&VECTOR.down, None) {
        UpgradeAnswer::Switched(head_len) => assert_eq!(&VECTOR.down[head_len..], VECTOR.payload_down),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_cut_in_a_head_waits_for_more_and_every_cut_behind_it_changes_nothing() {
    let whole = upgrade(&VECTOR.up);
    for cut in 0..whole.head_len + 500 {
        let verdict = UpgradeDetector::default().detect(&VECTOR.up[..cut], &ANY);
        let wanted =
            if cut < whole.head_len { UpgradeParse::NeedMore } else { UpgradeParse::Upgrade(whole.clone()) };
        assert_eq!(verdict, wanted, "cut at {cut}");
    }
    let UpgradeAnswer::Switched(head_len) = UpgradeAnswer::read(&VECTOR.down, None) else {
        panic!("not switched")
    };
    for cut in 0..head_len + 500 {
        // The first bytes of nothing are no answer yet either.
        let wanted = if cut < head_len { UpgradeAnswer::NeedMore } else { UpgradeAnswer::Switched(head_len) };
        assert_eq!(UpgradeAnswer::read(&VECTOR.down[..cut], None), wanted, "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn a_spoilt_byte_never_moves_the_payload(at in 0..230_usize, byte in any::<u8>()) {
        let mut bytes = VECTOR.up.clone();
        let head_len = upgrade(&bytes).head_len;
        bytes[at.min(head_len - 1)] = byte;
        if let UpgradeParse::Upgrade(found) = UpgradeDetector::default().detect(&bytes, &ANY) {
            // Only an end of the head that comes earlier may move it.
            prop_assert!(found.head_len <= head_len);
        }
    }
}
