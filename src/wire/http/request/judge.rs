//! Whether a web server has refused a head by now, though it has not ended.

use super::head::RequestReader;

/// Reads along in a head that may become an upgrade request. A web server answers a wrong line as soon as
/// it is complete, so whoever sent it cannot be kept waiting for the end of the head.
#[derive(Debug)]
pub(crate) struct Judge {
    reading: RequestReader,
    /// Where the header lines begin, once that is known; it is all that is looked at where the operator has
    /// named the request line.
    fields: Option<usize>,
    fields_only: bool,
}

impl Judge {
    /// One for the first head on a connection. Where `fields_only`, the request line is taken as it is.
    pub(crate) fn new(fields_only: bool) -> Judge {
        Judge { reading: RequestReader::for_judging(), fields: None, fields_only }
    }

    /// Whether these bytes of a head, all that have come, are refused however they go on.
    pub(crate) fn refuses(&mut self, bytes: &[u8]) -> bool {
        if !self.fields_only {
            return self.reading.is_refused(bytes);
        }
        let fields = match self.fields {
            Some(fields) => fields,
            None => {
                let Some(end) = bytes.iter().position(|&b| b == b'\n') else { return false };
                self.reading.pass_request_line(end + 1);
                *self.fields.insert(end + 1)
            }
        };
        self.reading.is_refused(bytes.get(fields..).unwrap_or_default())
    }
}
