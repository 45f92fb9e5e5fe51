//! Requests for a tunnel with a wrong path or a wrong form.

use super::ProbeContext;
use crate::probe::script::{Action, Probe, says, says_and_ends};
use crate::wire::http::{HeaderOrder, UpgradeRequest};
use crate::wire::websocket::key;

use Action::{Listen, Send};

const CONNECTION: &str = "Connection: Upgrade\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
/// The example of RFC 6455 section 1.3.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

pub fn all(context: &mut ProbeContext) -> Vec<Probe> {
    [to_nowhere(context), spoilt(context), beside_the_tunnel(context)].concat()
}

/// As v2ray-plugin's client, written in Go, asks.
fn of_v2ray_plugin(path: &str, host: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Go-http-client/1.1\r\n{CONNECTION}{KEY}{VERSION}{UPGRADE}\r\n"
    )
}

/// Well-formed requests to a path where there is no tunnel.
fn to_nowhere(context: &mut ProbeContext) -> Vec<Probe> {
    let payload = context.noise.bytes(70);
    let key = key(context.noise.array());
    let foreign = format!("{}.example", context.noise.word(9));
    let (nowhere, host) = (context.nowhere.as_str(), context.host.as_str());
    let get = |headers: &[&str]| context.request(&format!("GET {nowhere}"), &headers.concat());
    let of_simple_obfs = UpgradeRequest {
        method: "GET",
        path: nowhere,
        host,
        user_agent: "curl/7.81.0",
        key: Some(&key),
        versioned: false,
        protocol: None,
        content_length: Some(payload.len()),
        headers: &[],
        order: HeaderOrder::SIMPLE_OBFS,
    };
    // A text frame, masked with zeros: "hello" (RFC 6455 section 5.2).
    let frame = b"\x81\x85\0\0\0\0hello";
    let go = of_v2ray_plugin(nowhere, host);
    let mut probes = vec![
        says(
            "simple-obfs's request, to a random path",
            [of_simple_obfs.encode().as_slice(), &payload].concat(),
        ),
        says("v2ray-plugin's request, to a random path", &go),
        says("v2ray-plugin's request for a random name", of_v2ray_plugin(nowhere, &foreign)),
        says("HTTPUpgrade's request, to a random path", get(&[CONNECTION, UPGRADE])),
        says("a WebSocket frame behind the request", [go.as_bytes(), frame].concat()),
        says(
            "WebSocket with early data",
            get(&[CONNECTION, UPGRADE, KEY, VERSION, "Sec-WebSocket-Protocol: aGVsbG8\r\n"]),
        ),
        says("WebSocket without a version", get(&[CONNECTION, UPGRADE, KEY])),
        says("WebSocket without a key", get(&[CONNECTION, UPGRADE, VERSION])),
        says("WebSocket of version 12", get(&[CONNECTION, UPGRADE, KEY, "Sec-WebSocket-Version: 12\r\n"])),
        says_and_ends("v2ray-plugin's request, then the end", &go),
        says("an upgrade as the second request", get(&[]) + &go),
        Probe::new(
            "an upgrade behind an answer",
            vec![Send(get(&[]).into()), Listen, Send(go.clone().into())],
        ),
    ];
    if context.tunnel.as_deref() != Some("/") {
        probes.push(says("v2ray-plugin's request, to /", of_v2ray_plugin("/", host)));
    }
    probes
}

/// Requests to the tunnel's path where the user gives it, each with a fault that no client has.
fn spoilt(context: &ProbeContext) -> Vec<Probe> {
    let path = context.tunnel.as_deref().unwrap_or(&context.nowhere);
    let get = |headers: &[&str]| context.request(&format!("GET {path}"), &headers.concat());
    let whole = of_v2ray_plugin(path, &context.host);
    let body = "Content-Length: 2\r\n\r\nhi";
    let in_body = whole.len();
    vec![
        says(
            "Upgrade: h2c",
            get(&[
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
                "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
            ]),
        ),
        says("Upgrade: websockets", get(&[CONNECTION, "Upgrade: websockets\r\n", KEY, VERSION])),
        says("an empty Upgrade", get(&[CONNECTION, "Upgrade:\r\n", KEY, VERSION])),
        says("no Upgrade", get(&[CONNECTION, KEY, VERSION])),
        says("no Connection", get(&[UPGRADE, KEY, VERSION])),
        says("Connection: close in an upgrade", get(&["Connection: close\r\n", UPGRADE, KEY, VERSION])),
        says("Connection: upgrades", get(&["Connection: upgrades\r\n", UPGRADE, KEY, VERSION])),
        says("an upgrade by POST", whole.replacen("GET", "POST", 1).replacen("\r\n\r\n", "\r\n", 1) + body),
        says("an upgrade by HEAD", whole.replacen("GET", "HEAD", 1)),
        says("an upgrade by get", whole.replacen("GET", "get", 1)),
        says("an upgrade in HTTP/1.0", whole.replacen("HTTP/1.1", "HTTP/1.0", 1)),
        says(
            "an upgrade with a broken header",
            whole.replacen("\r\nUpgrade", "\r\nBro ken: x\r\nUpgrade", 1),
        ),
        says(
            "an upgrade with a folded header",
            whole.replacen("\r\nUpgrade", "\r\nX: a\r\n b\r\nUpgrade", 1),
        ),
        says_and_ends("half an upgrade, then the end", whole.trim_end()),
        says(
            "an upgrade in the body",
            context.request(&format!("POST {}", context.nowhere), &format!("Content-Length: {in_body}\r\n"))
                + &whole,
        ),
    ]
}

/// Requests near the tunnel's path, where the user gives it.
fn beside_the_tunnel(context: &ProbeContext) -> Vec<Probe> {
    let Some(path) = context.tunnel.as_deref() else { return Vec::new() };
    let to = |path: &str| of_v2ray_plugin(path, &context.host);
    let mut probes = vec![
        says("GET of the tunnel's path", context.request(&format!("GET {path}"), "")),
        says("an upgrade to a longer path", to(&format!("{path}x"))),
        says("an upgrade to a path below", to(&format!("{}/x", path.trim_end_matches('/')))),
        says("an upgrade with the path in the query", to(&format!("{}?{path}", context.nowhere))),
    ];
    let other_case = path.to_ascii_uppercase();
    if other_case != path {
        probes.push(says("an upgrade to the path in capitals", to(&other_case)));
    }
    probes
}
