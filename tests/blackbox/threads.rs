//! Which threads work: one for small exchanges, as many as there is work for with bulk, also where all the
//! tunnels began while one was enough.

use crate::support::backend::{Backend, next};
use crate::support::conn::{connect, recv, send};
use crate::support::plugin::{Ours, Plugin, client, server};
use crate::support::{eventually, secs, within};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const TUNNELS: usize = 4;

/// What CPU time each thread of a process has used, in ticks of the system.
fn ticks(plugin: &Plugin) -> HashMap<String, u64> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", plugin.child.pid())).expect("its threads");
    let of = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let used = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        Some((task.file_name().into_string().ok()?, used))
    };
    tasks.filter_map(|task| of(task.ok()?)).collect()
}

/// How many threads have worked for a tenth of a second since then.
fn workers(plugin: &Plugin, before: &HashMap<String, u64>) -> usize {
    const TENTH: u64 = 10;
    let now = ticks(plugin);
    now.iter().filter(|(thread, used)| *used - before.get(*thread).unwrap_or(&0) >= TENTH).count()
}

/// Tunnels that are opened one after the other while nothing else is done.
fn quiet_tunnels(client: &Plugin, connections: &std::sync::mpsc::Receiver<TcpStream>) -> Vec<[TcpStream; 2]> {
    let open = |_| {
        let app = connect(client.addr);
        send(&app, b"?");
        let behind = next(connections);
        assert_eq!(recv(&behind, 1), b"?");
        send(&behind, b"!");
        assert_eq!(recv(&app, 1), b"!");
        [app, behind]
    };
    (0..TUNNELS).map(open).collect()
}

#[test]
fn bulk_in_tunnels_that_began_in_quiet_times_uses_the_cores() {
    within(secs(300), || {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for (ours, theirs) in [
            ("obfs=http;obfs-host=example.com", "obfs=http"),
            ("obfs=tls;obfs-host=example.com", "obfs=tls"),
            ("mode=websocket;mux=0", "mode=websocket"),
            ("mode=websocket;mux=1", "mode=websocket"),
        ] {
            let (backend, connections) = Backend::manual();
            let server = server(Ours, backend.addr, theirs);
            let client = client(Ours, server.addr, ours);
            let tunnels = quiet_tunnels(&client, &connections);
            let before = (ticks(&client), ticks(&server));
            let stop = Arc::new(AtomicBool::new(false));
            let loads = tunnels.into_iter().flat_map(|[mut app, mut behind]| {
                let stop = Arc::clone(&stop);
                let source = std::thread::spawn(move || {
                    let block = vec![7; 1 << 18];
                    while !stop.load(Ordering::Relaxed) && behind.write_all(&block).is_ok() {}
                });
                let sink = std::thread::spawn(move || {
                    let mut block = vec![0; 1 << 18];
                    while let Ok(1..) = app.read(&mut block) {}
                });
                [source, sink]
            });
            let loads: Vec<_> = loads.collect();
            let want = TUNNELS.min(cores);
            // On a loaded machine each of them gets little time; what is asked is that it gets some.
            let spread = eventually(secs(60), || {
                workers(&client, &before.0) >= want && workers(&server, &before.1) >= want
            });
            let found = (workers(&client, &before.0), workers(&server, &before.1));
            stop.store(true, Ordering::Relaxed);
            for load in loads {
                load.join().expect("a source or a sink");
            }
            assert!(spread, "{ours}: {found:?} threads of client and server worked, on {cores} cores");
        }
    });
}
