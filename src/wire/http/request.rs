//! Requests as nginx reads them: line by line, so that a wrong head is known at the byte at which nginx
//! knows it, whether it has ended or not.

pub(crate) mod buffers;
pub(crate) mod head;
pub(crate) mod line;
pub(crate) mod target;
