//! Backends in threads: what the far end of a tunnel may be.

use super::conn::{self, End};
use super::{STEP, digest};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};

/// A listener on a free port with one thread for each connection.
pub struct Backend {
    pub addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Backend {
    pub fn serve(service: impl Fn(TcpStream) + Send + Sync + 'static) -> Backend {
        Backend::serve_on("127.0.0.1:0".parse().expect("an address"), service)
    }

    pub fn serve_on(addr: SocketAddr, service: impl Fn(TcpStream) + Send + Sync + 'static) -> Backend {
        let listener = TcpListener::bind(addr).expect("bind a backend");
        let addr = listener.local_addr().expect("a backend's address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (counter, stopped, service) = (accepted.clone(), stop.clone(), Arc::new(service));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                counter.fetch_add(1, Ordering::SeqCst);
                conn::prepare(&stream);
                let service = service.clone();
                std::thread::spawn(move || service(stream));
            }
        });
        Backend { addr, accepted, stop }
    }

    /// How many connections came so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// The test itself plays the backend, connection by connection.
    pub fn manual() -> (Backend, Receiver<TcpStream>) {
        let (sender, receiver) = mpsc::channel();
        let backend = Backend::serve(move |stream| {
            let _ = sender.send(stream);
        });
        (backend, receiver)
    }

    /// Sends back what comes, and a FIN after a FIN.
    pub fn echo() -> Backend {
        Backend::serve(echo_service)
    }

    pub fn echo_on(addr: SocketAddr) -> Backend {
        Backend::serve_on(addr, echo_service)
    }

    /// Reads to the end, then answers with the digest of all that came.
    pub fn digester() -> Backend {
        Backend::serve(|mut stream| {
            let (bytes, end) = conn::recv_to_end(&stream, STEP * 3);
            if end == End::Fin {
                let _ = stream.write_all(digest(&bytes).as_bytes());
            }
        })
    }

    /// Speaks first, as SSH, SMTP and MySQL servers do; then echoes.
    pub fn greeter(greeting: &'static [u8]) -> Backend {
        Backend::serve(move |mut stream| {
            if stream.write_all(greeting).is_ok() {
                echo_service(stream);
            }
        })
    }
}

fn echo_service(stream: TcpStream) {
    // A tunnel may be silent for as long as its test takes for others.
    let _ = stream.set_read_timeout(None);
    let (Ok(mut from), Ok(mut to)) = (stream.try_clone(), stream.try_clone()) else {
        return;
    };
    if std::io::copy(&mut from, &mut to).is_ok() {
        conn::fin(&stream);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // wakes the accept
        let _ = TcpStream::connect_timeout(&self.addr, super::secs(1));
    }
}

/// The next connection of a backend that the test plays itself.
#[track_caller]
pub fn next(connections: &Receiver<TcpStream>) -> TcpStream {
    match connections.recv_timeout(STEP) {
        Ok(stream) => stream,
        Err(_) => panic!("no connection came to the backend"),
    }
}
