//! HTTP/2 as a visitor speaks it and reads it.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `frame` | frames, written and read |
//! | `hpack` | header fields, written and read |
//! | `answer` | what a server said |

pub mod answer;
pub mod frame;
pub mod hpack;
