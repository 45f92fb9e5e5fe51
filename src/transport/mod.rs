//! The disguises on sockets: what turns a fresh connection into a tunnel. Each has the same two functions:
//! a client's `open` and a server's `accept`.

mod accept;
mod answer;
pub mod fake_tls;
pub mod framing;
pub mod http;
mod open;
pub mod proxy_protocol;
mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
mod tunnel;
pub mod websocket;

pub use accept::{Accepted, NotAccepted, accept};
pub use open::{NotOpened, Opener, WebOpener};
pub use stream::Stream;
pub use tunnel::{Relaying, Tunnel};
