//! What a connection has come to on its way to be a tunnel, for one who follows it.

use std::net::SocketAddr;
use std::sync::Arc;

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// There is a connection to this address: the server's, or that of the proxy which leads to it.
    Connected(SocketAddr),
    /// The proxy has joined it to this server.
    Joined(String),
    /// There is TLS, of this version.
    Tls(String),
    /// The server has said something that is no whole answer: its first line, where it is a text.
    Said(String),
    /// The server speaks HTTP/2.
    Http2,
    /// The server has granted the tunnel.
    Granted,
}

/// Who is told.
pub type Follower = Arc<dyn Fn(Reached) + Send + Sync>;

tokio::task_local! {
    static FOLLOWER: Follower;
}

/// Does the work, and tells the follower what its connections reach, as far as that is in the same task.
pub async fn followed<T>(follower: Follower, work: impl Future<Output = T>) -> T {
    FOLLOWER.scope(follower, work).await
}

/// Who follows this task, for another task that works for it.
#[cfg(feature = "grpc")]
pub(crate) fn follower() -> Option<Follower> {
    FOLLOWER.try_with(Arc::clone).ok()
}

/// Tells whoever follows this task.
pub(crate) fn note(reached: impl FnOnce() -> Reached) {
    let _ = FOLLOWER.try_with(|follower| follower(reached()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};

    #[tokio::test]
    async fn a_follower_hears_of_its_own_task_alone() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let follower: Follower =
            Arc::new(move |reached| told.lock().unwrap_or_else(PoisonError::into_inner).push(reached));
        note(|| panic!("nobody follows"));
        let work = async {
            note(|| Reached::Granted);
            let other = tokio::spawn(async { note(|| panic!("nobody follows the other one")) });
            other.await.unwrap();
        };
        followed(follower, work).await;
        assert_eq!(*heard.lock().unwrap(), [Reached::Granted]);
    }
}
