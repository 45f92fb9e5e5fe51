//! What it costs to tell what a connection is: time and allocations for each kind of first bytes, on a
//! server that takes every kind. `cargo bench --bench detect`

#![expect(clippy::disallowed_types, reason = "it measures")]

use obfs_rs::detect::{Detection, FakeTlsRule, HttpRule, Rules, detect};
use obfs_rs::wire::fake_tls::SentHello;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The system's allocator, and how often it was asked.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: it came from `alloc` above, which is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn request(path: &str, more: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: Go-http-client/1.1\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n"
    )
    .into_bytes()
}

fn fake_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let hello = SentHello::new(&mut rand::rng(), 1_800_000_000);
    hello.encode("www.example.com", &[0x55; 800], &mut bytes).expect("a hello");
    bytes
}

fn real_hello() -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = "www.example.com".try_into().expect("a name");
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    bytes
}

const BROWSER: &str = "GET /index.html HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n\
    Upgrade-Insecure-Requests: 1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8\r\n\
    Accept-Encoding: gzip, deflate\r\nAccept-Language: en-GB,en;q=0.9\r\n\r\n";

fn main() {
    const ROUNDS: u32 = 200_000;
    let rules = Rules {
        http: Some(HttpRule {
            method: "GET".into(),
            path: None,
            host: Some("www.example.com".into()),
            web_path: Some("/stream".into()),
            routes: Default::default(),
        }),
        fake_tls: Some(FakeTlsRule { server_names: vec!["www.example.com".into()] }),
        grpc: None,
        tls: true,
        tls_alone: false,
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let kinds = [
        ("obfs=http", request("/", key)),
        ("HTTPUpgrade", request("/stream", "")),
        ("WebSocket", request("/stream", &format!("{key}{version}"))),
        ("obfs=tls", fake_hello()),
        ("TLS", real_hello()),
        ("a browser's request", BROWSER.as_bytes().to_vec()),
        ("random bytes", (0..200_u8).map(|n| n.wrapping_mul(151)).collect()),
    ];
    println!("{:22} {:>6} {:>8} {:>12}", "first bytes", "bytes", "ns", "allocations");
    for (name, bytes) in &kinds {
        assert_ne!(detect(bytes, &rules), Detection::NeedMore, "{name}");
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        let began = Instant::now();
        for _ in 0..ROUNDS {
            black_box(detect(black_box(bytes), &rules));
        }
        let each = began.elapsed().as_nanos() / u128::from(ROUNDS);
        let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - before) / ROUNDS as usize;
        println!("{name:22} {:>6} {each:>8} {allocations:>12}", bytes.len());
    }
}
