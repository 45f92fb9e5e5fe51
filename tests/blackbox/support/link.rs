//! A link that takes its time: each byte, each end and each reset comes out some milliseconds after it
//! went in, so that what was written apart may arrive together.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// A port behind which there is a link to another. It ends when this is dropped.
pub struct Link {
    pub addr: SocketAddr,
    _runtime: Runtime,
}

impl Link {
    pub fn to(target: SocketAddr, delay: Duration) -> Link {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("bind a link");
        let addr = listener.local_addr().expect("a link's address");
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(far) = TcpStream::connect(target).await {
                        join(near, far, delay).await;
                    }
                });
            }
        });
        Link { addr, _runtime: runtime }
    }
}

/// Carries both directions until both have ended, or one side is reset: then so is the other.
pub async fn join(mut near: TcpStream, mut far: TcpStream, delay: Duration) {
    for stream in [&near, &far] {
        stream.set_nodelay(true).expect("set TCP_NODELAY");
    }
    let (from_near, to_near) = near.split();
    let (from_far, to_far) = far.split();
    let result = tokio::try_join!(carry(from_near, to_far, delay), carry(from_far, to_near, delay));
    if result.is_err() {
        for stream in [&near, &far] {
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Carries one direction. Its end is an empty piece.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, delay: Duration) -> io::Result<()> {
    let (link, mut pieces) = mpsc::unbounded_channel();
    let reading = async move {
        loop {
            let mut piece = Vec::with_capacity(64 * 1024);
            let read = from.read_buf(&mut piece).await.map(|_| piece);
            let ended = !matches!(&read, Ok(piece) if !piece.is_empty());
            let _ = link.send((Instant::now() + delay, read));
            if ended {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = pieces.recv().await {
            sleep_until(due).await;
            let piece = piece?;
            if piece.is_empty() {
                to.shutdown().await?;
            }
            to.write_all(&piece).await?;
        }
        Ok(())
    };
    tokio::try_join!(reading, writing).map(drop)
}
