//! Our halves with simple-obfs 0.0.5 at the other end, and both of ours together.

use crate::support::backend::Backend;
use crate::support::conn::{End, assert_echo, connect, exchange};
use crate::support::peers::need;
use crate::support::plugin::{Make, Ours, Plugin, SimpleObfs, client, server};
use crate::support::{STEP, assert_same, digest, noise, secs, within};

const MB: usize = 1024 * 1024;

/// client half → server half → backend.
fn pair(client_make: Make, server_make: Make, backend: &Backend) -> (Plugin, Plugin) {
    let server = server(server_make, backend.addr, "obfs=http");
    let client = client(client_make, server.addr, "obfs=http;obfs-host=www.bing.com");
    (client, server)
}

/// Megabytes up and back at the same time, on several tunnels at once.
fn echoes(client_make: Make, server_make: Make) {
    within(secs(60), move || {
        need!("obfs-local", "obfs-server");
        let backend = Backend::echo();
        let (client, _server) = pair(client_make, server_make, &backend);
        std::thread::scope(|scope| {
            for i in 0..6 {
                let addr = client.addr;
                scope.spawn(move || {
                    let stream = connect(addr);
                    assert_echo(&stream, &noise(1000 + i, i as u64));
                    assert_echo(&stream, &noise(3 * MB, 100 + i as u64));
                });
            }
        });
        assert_eq!(backend.accepted(), 6, "one backend connection for each tunnel");
    });
}

/// A download that the backend ends: all of it arrives, then a FIN.
fn downloads(client_make: Make, server_make: Make) {
    within(secs(60), move || {
        need!("obfs-local", "obfs-server");
        let file = noise(8 * MB, 8);
        let sent = file.clone();
        let backend = Backend::serve(move |stream| {
            crate::support::conn::recv(&stream, 3);
            crate::support::conn::send(&stream, &sent);
        });
        let (client, _server) = pair(client_make, server_make, &backend);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let stream = connect(client.addr);
                    crate::support::conn::send(&stream, b"get");
                    let (got, end) = crate::support::conn::recv_to_end(&stream, STEP);
                    assert_same("the download", &got, &file);
                    assert_eq!(end, End::Fin);
                });
            }
        });
    });
}

#[test]
fn our_client_echoes_through_our_server() {
    echoes(Ours, Ours);
}

#[test]
fn our_client_echoes_through_simple_obfs_server() {
    echoes(Ours, SimpleObfs);
}

#[test]
fn simple_obfs_client_echoes_through_our_server() {
    echoes(SimpleObfs, Ours);
}

#[test]
fn our_client_downloads_through_our_server() {
    downloads(Ours, Ours);
}

#[test]
fn our_client_downloads_through_simple_obfs_server() {
    downloads(Ours, SimpleObfs);
}

#[test]
fn simple_obfs_client_downloads_through_our_server() {
    downloads(SimpleObfs, Ours);
}

/// The yardstick itself: what these checks want is what simple-obfs does.
#[test]
fn simple_obfs_alone_passes_the_same_checks() {
    echoes(SimpleObfs, SimpleObfs);
    downloads(SimpleObfs, SimpleObfs);
}

/// simple-obfs sends uploads in small pieces and pauses when told to; the digest is only
/// written after the FIN, which simple-obfs's client half passes on by closing: so only ours here.
#[test]
fn uploads_end_with_a_fin_and_are_answered_after_it() {
    within(secs(60), || {
        let backend = Backend::digester();
        let (client, _server) = pair(Ours, Ours, &backend);
        std::thread::scope(|scope| {
            for i in 0..4 {
                let addr = client.addr;
                scope.spawn(move || {
                    let file = noise(6 * MB, i);
                    let (answer, end) = exchange(&connect(addr), &file, secs(40));
                    assert_eq!(String::from_utf8_lossy(&answer), digest(&file));
                    assert_eq!(end, End::Fin);
                });
            }
        });
    });
}
