//! The same bytes beside other libraries, which the fuzz targets alone depend on.

pub mod hpack;
pub mod proxy_protocol;
pub mod websocket_frames;
