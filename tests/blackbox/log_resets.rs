//! A server, or somebody on the way, that ends the connection before anything has come back: each tunnel has its line,
//! whatever the disguise, and whether the client waits for an answer or not.

use crate::support::backend::Backend;
use crate::support::conn::{connect, recv_to_end, reset, send};
use crate::support::plugin::{Ours, client};
use crate::support::{STEP, eventually, secs, within};
use std::io::Read;

#[test]
fn each_reset_before_the_answer_is_told() {
    within(secs(120), || {
        let censor = Backend::serve(|mut stream| {
            let _ = stream.read(&mut [0; 4096]);
            reset(stream);
        });
        for options in [
            "obfs=http",
            "obfs=http;handshake=standard",
            "obfs=tls",
            "mode=websocket;mux=0",
            "mode=httpupgrade",
        ] {
            let client = client(Ours, censor.addr, options);
            for _ in 0..5 {
                let app = connect(client.addr);
                send(&app, b"hello");
                assert!(recv_to_end(&app, STEP).0.is_empty(), "{options}");
            }
            let told = || {
                let is_told = |line: &&String| {
                    line.contains(" WARN ")
                        && (line.contains("reset before the server answered")
                            || line.contains("broke before it answered"))
                };
                client.child.lines().iter().filter(is_told).count()
            };
            assert!(eventually(secs(10), || told() >= 5), "{options}: {}", client.child.show_log());
            assert_eq!(told(), 5, "{options}: {}", client.child.show_log());
        }
    });
}
