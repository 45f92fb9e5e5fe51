//! Requests as nginx reads them: line by line, so that a wrong head is known at the byte at which nginx
//! knows it, whether it has ended or not.

pub mod buffers;
pub mod head;
pub mod line;
pub mod target;
