//! The lines of a request head, read byte by byte so that a wrong one is known at the byte at which
//! nginx knows it, whatever comes behind.
//!
//! Sources: RFC 9112 sections 2 to 5 for the grammar; where a server has a choice, what nginx 1.22 does:
//! single line feeds end lines, `GET /` alone is HTTP/0.9, methods are capitals, control characters end it.

/// Why a line has no meaning (yet).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It goes on.
    More,
    /// It is wrong. This is the status of the answer.
    Refuse(u16),
}

const BAD: Stop = Stop::Refuse(400);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `CONNECT`, which no website of this kind takes.
    Connect,
    /// `TRACE`, which none takes either.
    Trace,
    /// Any other.
    Other,
}

impl Method {
    fn of(word: &[u8]) -> Method {
        match word {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"CONNECT" => Method::Connect,
            b"TRACE" => Method::Trace,
            _ => Method::Other,
        }
    }
}

/// The versions that make a difference: HTTP/1.2 is taken for 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HttpVersion {
    /// HTTP/0.9: a line without a version.
    V09,
    /// HTTP/1.0
    V10,
    /// HTTP/1.1 and later.
    V11,
}

/// A request line.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// What is asked for.
    pub method: Method,
    /// The host of a target in absolute form (RFC 9112 section 3.2.2), not checked.
    pub host: Option<&'a [u8]>,
    /// The path with its query, as it was written. It begins with a slash, or with the query's mark
    /// where an absolute form has no path.
    pub target: &'a [u8],
    /// The version.
    pub version: HttpVersion,
}

/// A header line.
#[derive(Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// The empty line.
    End,
    /// One with a name that is passed over.
    Strange,
    /// A name and its value, without spaces around it.
    Named(&'a [u8], &'a [u8]),
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn next(&mut self) -> Result<u8, Stop> {
        let byte = self.bytes.get(self.at).copied().ok_or(Stop::More)?;
        self.at += 1;
        Ok(byte)
    }

    fn expect(&mut self, word: &[u8]) -> Result<(), Stop> {
        word.iter().try_for_each(|wanted| if self.next()? == *wanted { Ok(()) } else { Err(BAD) })
    }

    /// What was read since `start`, without the last byte.
    fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at.saturating_sub(1)).unwrap_or_default()
    }
}

/// Reads a request line from its first letter. `known` gets the method as soon as it has come. Returns the
/// line and its length.
///
/// # Errors
///
/// It has not ended, or is wrong.
pub fn request_line<'a>(
    bytes: &'a [u8],
    mut known: impl FnMut(Method),
) -> Result<(RequestLine<'a>, usize), Stop> {
    let mut scan = Scan { bytes, at: 0 };
    let is_method_byte = |b: u8| b.is_ascii_uppercase() || matches!(b, b'_' | b'-');
    let mut byte = scan.next()?;
    while is_method_byte(byte) {
        byte = scan.next()?;
    }
    let word = scan.since(0);
    if word.is_empty() || byte != b' ' {
        return Err(BAD);
    }
    let method = Method::of(word);
    known(method);
    while byte == b' ' {
        byte = scan.next()?;
    }
    let mut start = scan.at - 1;
    let mut host = None;
    if byte.is_ascii_alphabetic() {
        let (name, next) = authority(&mut scan)?;
        host = Some(name);
        byte = next;
        start = scan.at - 1;
    }
    let target = match byte {
        b'/' | b'?' if byte == b'/' || host.is_some() => loop {
            byte = scan.next()?;
            match byte {
                b' ' | b'\r' | b'\n' => break scan.since(start),
                0..0x20 | 0x7f => return Err(BAD),
                _ => {}
            }
        },
        b' ' if host.is_some() => b"/",
        _ => return Err(BAD),
    };
    let version = version(&mut scan, byte)?;
    Ok((RequestLine { method, host, target, version }, scan.at))
}

/// The rest of a scheme, and the authority; the byte behind it.
fn authority<'a>(scan: &mut Scan<'a>) -> Result<(&'a [u8], u8), Stop> {
    loop {
        match scan.next()? {
            b':' => break,
            b if b.is_ascii_alphanumeric() || b"+-.".contains(&b) => {}
            _ => return Err(BAD),
        }
    }
    scan.expect(b"//")?;
    let start = scan.at;
    let mut byte = scan.next()?;
    if byte == b'[' {
        while byte != b']' {
            byte = scan.next()?;
            if !byte.is_ascii_alphanumeric() && !b"]:-._~!$&'()*+,;=".contains(&byte) {
                return Err(BAD);
            }
        }
        byte = scan.next()?;
    } else {
        while byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-') {
            byte = scan.next()?;
        }
    }
    let host = scan.since(start);
    if byte == b':' {
        byte = scan.next()?;
        while byte.is_ascii_digit() {
            byte = scan.next()?;
        }
    }
    Ok((host, byte))
}

/// From the byte behind the target to the end of the line.
fn version(scan: &mut Scan<'_>, mut byte: u8) -> Result<HttpVersion, Stop> {
    while byte == b' ' {
        byte = scan.next()?;
    }
    let mut version = HttpVersion::V09;
    if byte == b'H' {
        scan.expect(b"TTP/")?;
        match scan.next()? {
            b'1' => {}
            b'2'..=b'9' => return Err(Stop::Refuse(505)),
            _ => return Err(BAD),
        }
        match scan.next()? {
            b'.' => {}
            b'0'..=b'9' => return Err(Stop::Refuse(505)),
            _ => return Err(BAD),
        }
        let mut minor = 0_u32;
        byte = scan.next()?;
        if !byte.is_ascii_digit() {
            return Err(BAD);
        }
        while byte.is_ascii_digit() {
            if minor > 99 {
                return Err(BAD);
            }
            minor = minor * 10 + u32::from(byte - b'0');
            byte = scan.next()?;
        }
        version = if minor == 0 { HttpVersion::V10 } else { HttpVersion::V11 };
        while byte == b' ' {
            byte = scan.next()?;
        }
    }
    match byte {
        b'\n' => Ok(version),
        b'\r' => scan.expect(b"\n").map(|()| version),
        _ => Err(BAD),
    }
}

/// Reads a header line. Returns it and its length.
///
/// # Errors
///
/// It has not ended, or is wrong.
pub fn header_line(bytes: &[u8]) -> Result<(Field<'_>, usize), Stop> {
    let mut scan = Scan { bytes, at: 0 };
    let mut byte = scan.next()?;
    match byte {
        b'\n' => return Ok((Field::End, scan.at)),
        b'\r' => return scan.expect(b"\n").map(|()| (Field::End, scan.at)),
        b':' => return Err(BAD),
        _ => {}
    }
    let mut strange = false;
    let name = loop {
        match byte {
            b':' | b'\r' | b'\n' => break scan.since(0),
            0..=b' ' | 0x7f => return Err(BAD),
            // Proxies and applications disagree on what these are.
            _ => strange |= !byte.is_ascii_alphanumeric() && byte != b'-',
        }
        byte = scan.next()?;
    };
    if byte == b':' {
        byte = scan.next()?;
    }
    let start = scan.at - 1;
    while !matches!(byte, b'\r' | b'\n') {
        if byte == 0 {
            return Err(BAD);
        }
        byte = scan.next()?;
    }
    let value = trim_spaces(scan.since(start));
    // Carriage returns may come in any number, but then the line is over.
    while byte == b'\r' {
        byte = scan.next()?;
    }
    if byte != b'\n' {
        return Err(BAD);
    }
    Ok((if strange { Field::Strange } else { Field::Named(name, value) }, scan.at))
}

/// Tabs are part of a value.
fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests;
