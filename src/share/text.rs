//! Texts as they stand in links, in JSON and on a terminal.

/// Percent-encodes all but the unreserved characters (RFC 3986 section 2.3).
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Characters that a terminal obeys or that turn what stands beside them: controls, and marks of direction.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A string of JSON, which is one of YAML, too (1.2, double-quoted), and harmless on a terminal.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            // (none of these is beyond 16 bits)
            c if is_harmful(c) => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A name on one line, without what a terminal obeys.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|&c| !is_harmful(c)).collect::<String>().trim().to_owned()
}

/// Whether a value can stand in a line of comma-separated values that knows no escapes.
pub(super) fn fits_a_line(value: &str) -> bool {
    let harmful = |c: char| c == ',' || c == '"' || is_harmful(c);
    !value.is_empty() && value.trim() == value && !value.contains(harmful)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_not_printed() {
        assert_eq!(
            quoted("a\"b\\c\n\u{1b}[31m\u{9b}\u{202e}\u{7f}é"),
            r#""a\"b\\c\u000a\u001b[31m\u009b\u202e\u007fé""#
        );
        assert_eq!(printable(" a\u{1b}[2J\u{202e}b\n"), "a[2Jb");
        assert!(fits_a_line("a b=c;d'") && !fits_a_line("a,b") && !fits_a_line("a\"") && !fits_a_line(" a"));
        assert!(!fits_a_line("") && !fits_a_line("a\u{85}"));
    }

    #[test]
    fn percent_encoding_leaves_the_unreserved() {
        assert_eq!(percent_encoded("aZ09-._~ :@/#\"'\\é"), "aZ09-._~%20%3A%40%2F%23%22%27%5C%C3%A9");
    }
}
