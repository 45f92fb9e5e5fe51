//! An independent WebSocket library at the other end: Python's `websockets`, as client and as server.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, exchange};
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, client, server};
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{assert_same, noise, secs, within};
use std::net::SocketAddr;
use std::process::Command;

/// Sends messages of many sizes, in fragments too, with pings between, and wants them back as a stream;
/// then closes in order, which takes the answer of the other end.
const CLIENT: &str = r#"
import asyncio, os, ssl, sys, websockets

async def main(url, cert):
    context = None
    if cert:
        context = ssl.create_default_context(cafile=cert)
    async with websockets.connect(url, ssl=context, server_hostname="live.example.com" if cert else None,
                                  compression=None, max_size=None, ping_interval=0.05, proxy=None) as ws:
        sent = bytearray()
        async def send():
            for size in (1, 125, 126, 65535, 65536, 1000003):
                data = os.urandom(size)
                sent.extend(data)
                if size == 126:
                    await ws.send([data[:50], data[50:]])
                else:
                    await ws.send(data)
                await (await ws.ping())
        task = asyncio.create_task(send())
        total = 1 + 125 + 126 + 65535 + 65536 + 1000003
        got = bytearray()
        while len(got) < total:
            got.extend(await ws.recv())
        await task
        assert got == sent, "damaged"
    assert ws.close_code == 1000, ws.close_code
    print("passed", flush=True)

asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
"#;

/// Echoes messages, cut in two now and then, and pings much.
const SERVER: &str = r#"
import asyncio, ssl, sys, websockets

async def echo(ws):
    try:
        async for message in ws:
            assert isinstance(message, bytes), "a client of ours sends binary messages"
            assert message, "an empty message"
            if len(message) > 1000:
                await ws.send([message[:500], message[500:]])
            else:
                await ws.send(message)
    except websockets.ConnectionClosed:
        pass
    await ws.wait_closed()
    print("closed", ws.close_code, flush=True)

async def main():
    context = None
    if len(sys.argv) > 1:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
    async with websockets.serve(echo, "127.0.0.1", 0, ssl=context, compression=None, max_size=None,
                                ping_interval=0.05) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

asyncio.run(main())
"#;

fn python(name: &str, script: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(peers::path("python-websockets"));
    command.args(["-c", script]).args(arguments);
    Child::spawn(name, command)
}

#[test]
fn it_is_a_client_of_our_server() {
    within(secs(60), || {
        need!("python-websockets", "openssl");
        let echo = Backend::echo();
        let certificate = Certificate::new(NAME);
        let cert = certificate.cert.display().to_string();
        for tls in [false, true] {
            let options = if tls { certificate.for_server() } else { "path=/".to_owned() };
            let server = server(Ours, echo.addr, &format!("mode=websocket;{options}"));
            let scheme = if tls { "wss" } else { "ws" };
            let url = format!("{scheme}://{}/", server.addr);
            let arguments: &[&str] = if tls { &[&url, &cert] } else { &[&url] };
            let library = python("the library's client", CLIENT, arguments);
            assert_eq!(library.wait_exit(secs(30)), Exit::Code(0), "{}", library.show_log());
            library.wait_text("passed");
        }
    });
}

#[test]
fn it_is_a_server_of_our_client() {
    within(secs(60), || {
        need!("python-websockets", "openssl");
        let certificate = Certificate::new(NAME);
        let (cert, key) = (certificate.cert.display().to_string(), certificate.key.display().to_string());
        for tls in [false, true] {
            let arguments: &[&str] = if tls { &[&cert, &key] } else { &[] };
            let library = python("the library's server", SERVER, arguments);
            let line = library.wait_text("port ");
            let port: u16 = line.trim_start_matches("port ").parse().expect("a port");
            let options = if tls { certificate.for_client() } else { "host=a.example".to_owned() };
            let remote = SocketAddr::from(([127, 0, 0, 1], port));
            let client = client(Ours, remote, &format!("mode=websocket;mux=0;{options}"));
            std::thread::scope(|scope| {
                for i in 0..4 {
                    let addr = client.addr;
                    scope.spawn(move || {
                        let stream = connect(addr);
                        assert_echo(&stream, b"short");
                        assert_echo(&stream, &noise(700_000, i));
                    });
                }
            });
            // An application that has ended still gets what comes.
            let file = noise(300_000, 9);
            let (back, _) = exchange(&connect(client.addr), &file, secs(30));
            assert_same("the echo", &back, &file);
            library.wait_line("an orderly close", |line| line.starts_with("closed") && line.contains("1000"));
        }
    });
}
