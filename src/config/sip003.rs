//! What a Shadowsocks program tells its plugin: the five `SS_*` variables and the option grammar.
//!
//! Source: SIP003 (<https://shadowsocks.org/doc/sip003.html>), which takes the grammar of the options
//! from Tor's pluggable transports: `;` separates, the first unescaped `=` splits, a backslash takes
//! the next character as it is.

use super::error::{ConfigError, one_line};
use std::fmt;

/// The remote host: what a client half dials, what a server half listens on.
pub const REMOTE_HOST: &str = "SS_REMOTE_HOST";
/// The port that belongs to [`REMOTE_HOST`].
pub const REMOTE_PORT: &str = "SS_REMOTE_PORT";
/// The local host: where a client half listens for its host, what a server half dials.
pub const LOCAL_HOST: &str = "SS_LOCAL_HOST";
/// The port that belongs to [`LOCAL_HOST`].
pub const LOCAL_PORT: &str = "SS_LOCAL_PORT";
/// The options, in the grammar of [`parse_options`].
pub const PLUGIN_OPTIONS: &str = "SS_PLUGIN_OPTIONS";

/// One option as it was written: a key, and what stood after its first `=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginOption {
    /// The name, unescaped, in the case it was written in.
    pub key: String,
    /// The value, unescaped; `None` for a flag (no `=` at all).
    pub value: Option<String>,
}

impl fmt::Display for PluginOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.as_deref() {
            None | Some("") => f.write_str(&one_line(&self.key)),
            Some(value) => f.write_str(&one_line(&format!("{}={value}", self.key))),
        }
    }
}

/// Splits an option string into its options, in their order.
///
/// Empty pieces (`;;`, a leading or trailing `;`) occur in the wild and mean nothing. So do spaces and
/// line ends around an option, its name and its value, and quotes around a value or all of it: option
/// strings are copied out of compose files, web pages and files from Windows.
///
/// # Errors
///
/// A backslash with nothing behind it, a piece that has a value but no key, and separators that only
/// look like some.
pub fn parse_options(text: &str) -> Result<Vec<PluginOption>, ConfigError> {
    parse_with_notes(text).map(|(options, _)| options)
}

/// The same, and what the log says of oddities that were put right.
///
/// # Errors
///
/// As of [`parse_options`].
pub fn parse_with_notes(text: &str) -> Result<(Vec<PluginOption>, Vec<String>), ConfigError> {
    parse(text, true)
}

/// Parses, and decodes first what is percent-encoded as a whole: once.
fn parse(text: &str, may_decode: bool) -> Result<(Vec<PluginOption>, Vec<String>), ConfigError> {
    let mut options = Vec::new();
    let mut notes = Notes::default();
    let mut piece = Piece::default();
    let inner = without_quotes(text, &mut notes);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped) => piece.push(escaped, true),
                None => {
                    return Err(ConfigError::variable(
                        PLUGIN_OPTIONS,
                        text,
                        "an option string: the backslash at its end escapes nothing",
                    ));
                }
            },
            ';' => options.extend(std::mem::take(&mut piece).finish(&mut notes)?),
            '=' if piece.value.is_none() => piece.value = Some(Vec::new()),
            // Taken for a part of a value, they would change what is meant.
            '；' | '＝' => {
                let plain = if c == '；' { ';' } else { '=' };
                let expected = format!(
                    "an option string: `{c}` is a full-width character, expected `{plain}` (`\\{c}` where it \
                     is meant)"
                );
                return Err(ConfigError::variable(PLUGIN_OPTIONS, text, expected));
            }
            _ => piece.push(c, false),
        }
    }
    options.extend(piece.finish(&mut notes)?);
    // A link has its options percent-encoded, and not every program that takes links decodes them. No
    // option has a `%` in its name.
    if may_decode && options.iter().any(|option| is_encoded(&option.key)) && !inner.contains('\\') {
        let (options, mut more) = parse(&percent_decoded(inner), false)?;
        more.push("the options are percent-encoded, as in a link: they are taken decoded".to_owned());
        return Ok((options, more));
    }
    Ok((options, notes.into_lines()))
}

/// What was odd in an option string.
#[derive(Default)]
struct Notes {
    spaces: bool,
    quotes: bool,
    path: Option<String>,
}

impl Notes {
    fn into_lines(self) -> Vec<String> {
        let spaces = "spaces or line ends around options and their values are left out".to_owned();
        let quotes = "quotes around options and their values are left out".to_owned();
        let path = |name| {
            format!(
                "option `{name}`: a backslash takes the next character as it is and is left out: write each \
                 backslash of a path as two"
            )
        };
        let spaces = self.spaces.then_some(spaces);
        spaces.into_iter().chain(self.quotes.then_some(quotes)).chain(self.path.map(path)).collect()
    }
}

/// What surrounds text that is copied: white space, also that of web pages and of Chinese text, a byte
/// order mark, a space of no width.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}')
}

fn is_pair_of_quotes(first: char, last: char) -> bool {
    matches!((first, last), ('"', '"') | ('\'', '\'') | ('“', '”') | ('‘', '’'))
}

/// The string without quotes around the whole of it.
fn without_quotes<'a>(text: &'a str, notes: &mut Notes) -> &'a str {
    let trimmed = text.trim_matches(is_space);
    let mut chars = trimmed.chars();
    match (chars.next(), chars.next_back()) {
        (Some(first), Some(last)) if is_pair_of_quotes(first, last) && !chars.as_str().ends_with('\\') => {
            notes.quotes = true;
            chars.as_str()
        }
        _ => text,
    }
}

/// Whether a name holds a separator in percent-encoding.
fn is_encoded(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.contains("%3b") || key.contains("%3d")
}

fn percent_decoded(text: &str) -> String {
    let decoded: Vec<u8> = crate::wire::http::host::decoded(text).collect();
    String::from_utf8_lossy(&decoded).into_owned()
}

/// An option that is being read: its characters, and which of them a backslash stood before.
#[derive(Default)]
struct Piece {
    key: Vec<(char, bool)>,
    value: Option<Vec<(char, bool)>>,
}

impl Piece {
    fn push(&mut self, c: char, escaped: bool) {
        self.value.as_mut().unwrap_or(&mut self.key).push((c, escaped));
    }

    fn finish(self, notes: &mut Notes) -> Result<Option<PluginOption>, ConfigError> {
        let key = tidy(&self.key, false, notes);
        let drive = matches!(
            self.value.as_deref(),
            Some([(letter, false), (':', false), (c, true), ..]) if letter.is_ascii_alphabetic() && *c != '\\'
        );
        let value = self.value.map(|value| tidy(&value, true, notes));
        match (key, value) {
            (key, None) if key.is_empty() => Ok(None),
            (key, Some(_)) if key.is_empty() => Err(ConfigError::variable(
                PLUGIN_OPTIONS,
                // (what stands there may be a part of a password with a `;` in it)
                "…",
                "an option string: a `=` has no name before it (a `;` in a value is written `\\;`)",
            )),
            (key, value) => {
                if drive {
                    notes.path = Some(key.clone());
                }
                Ok(Some(PluginOption { key, value }))
            }
        }
    }
}

/// A name or a value without what surrounds it, as far as no backslash says that it is meant.
fn tidy(mut chars: &[(char, bool)], quotes: bool, notes: &mut Notes) -> String {
    let whole = chars.len();
    while let [(c, false), rest @ ..] = chars
        && is_space(*c)
    {
        chars = rest;
    }
    while let [rest @ .., (c, false)] = chars
        && is_space(*c)
    {
        chars = rest;
    }
    notes.spaces |= chars.len() < whole;
    if quotes
        && let [(first, false), inside @ .., (last, false)] = chars
        && is_pair_of_quotes(*first, *last)
    {
        chars = inside;
        notes.quotes = true;
    }
    chars.iter().map(|(c, _)| c).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flag(key: &str) -> PluginOption {
        PluginOption { key: key.into(), value: None }
    }

    fn pair(key: &str, value: &str) -> PluginOption {
        PluginOption { key: key.into(), value: Some(value.into()) }
    }

    #[test]
    fn keys_values_and_flags() {
        assert_eq!(
            parse_options("obfs=http;obfs-host=www.bing.com;fast-open").unwrap(),
            [pair("obfs", "http"), pair("obfs-host", "www.bing.com"), flag("fast-open")]
        );
    }

    #[test]
    fn empty_pieces_mean_nothing() {
        assert_eq!(parse_options("").unwrap(), []);
        assert_eq!(parse_options(";;obfs=http;;v;").unwrap(), [pair("obfs", "http"), flag("v")]);
    }

    #[test]
    fn a_backslash_takes_the_next_character_as_it_is() {
        assert_eq!(
            parse_options(r"path=/a\;b\=c\\d;k\=ey=v").unwrap(),
            [pair("path", r"/a;b=c\d"), pair("k=ey", "v")]
        );
    }

    #[test]
    fn only_the_first_equals_sign_splits() {
        assert_eq!(parse_options("path=/?a=b&c=").unwrap(), [pair("path", "/?a=b&c=")]);
        assert_eq!(parse_options("empty=").unwrap(), [pair("empty", "")]);
    }

    #[test]
    fn a_lone_backslash_and_a_nameless_value_are_errors() {
        let error = parse_options(r"obfs=http;path=/\").unwrap_err().to_string();
        assert!(error.contains("SS_PLUGIN_OPTIONS") && error.contains("backslash"), "{error}");
        let error = parse_options("obfs=http;=x").unwrap_err().to_string();
        assert!(error.contains("a `=` has no name before it"), "{error}");
        let error = parse_options("proxy=socks5://u:pa;=secret@h:1").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn what_surrounds_copied_text_is_left_out() {
        let wanted = [pair("obfs", "http"), pair("obfs-host", "www.bing.com")];
        for text in [
            "obfs=http; obfs-host=www.bing.com",
            " obfs = http ;\tobfs-host= www.bing.com ",
            "obfs=http;obfs-host=www.bing.com\r\n",
            "obfs=http;\r\nobfs-host=www.bing.com;\r\n",
            "\u{feff}obfs=http;obfs-host=www.bing.com\u{200b}",
            "obfs=http;\u{a0}obfs-host=www.bing.com\u{3000}",
            "obfs=http;obfs-host=\"www.bing.com\"",
            "obfs='http';obfs-host=“www.bing.com”",
            "\"obfs=http;obfs-host=www.bing.com\"",
            " 'obfs=http;obfs-host=www.bing.com'\n",
            "obfs%3Dhttp%3Bobfs-host%3Dwww.bing.com",
            "obfs%3dhttp;obfs-host%3dwww.bing.com",
        ] {
            let (options, notes) = parse_with_notes(text).unwrap();
            assert_eq!((options.as_slice(), notes.len()), (&wanted[..], 1), "{text:?}: {notes:?}");
        }
        assert_eq!(parse_with_notes("a=b;;c").unwrap().1, [""; 0]);
    }

    #[test]
    fn what_a_backslash_stands_before_is_meant() {
        assert_eq!(
            parse_options(r#"path=/a\ ;user-agent=\"x\";host="a"#).unwrap(),
            [pair("path", "/a "), pair("user-agent", "\"x\""), pair("host", "\"a")]
        );
        assert_eq!(parse_options(r"path=/a\；b").unwrap(), [pair("path", "/a；b")]);
        assert_eq!(parse_options("path=/a%3Bb;x").unwrap(), [pair("path", "/a%3Bb"), flag("x")]);
        let (options, notes) = parse_with_notes(r"cert=C:\certs\c.pem").unwrap();
        assert_eq!(options, [pair("cert", "C:certsc.pem")]);
        assert!(notes.concat().contains("`cert`") && notes.concat().contains("as two"), "{notes:?}");
        assert_eq!(parse_with_notes(r"cert=C:\\certs").unwrap().1, [""; 0]);
        assert_eq!(parse_with_notes("cert=C:/certs/c.pem").unwrap().1, [""; 0]);
    }

    #[test]
    fn what_only_looks_like_a_separator_is_an_error() {
        for (text, word) in
            [("obfs=http；mux=0", "`；`"), ("obfs＝tls", "`＝`"), ("path=/a；mux=0", "expected `;`")]
        {
            let error = parse_options(text).unwrap_err().to_string();
            assert!(error.contains("SS_PLUGIN_OPTIONS") && error.contains(word), "{error}");
        }
    }

    /// The inverse of the grammar, written the other way round than the parser.
    fn escape(text: &str) -> String {
        text.chars().flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] }).collect()
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(options in proptest::collection::vec((".{1,12}", proptest::option::of(".{0,12}")), 0..6)) {
            let text = options
                .iter()
                .map(|(key, value)| match value {
                    Some(value) => format!("{}={}", escape(key), escape(value)),
                    None => escape(key),
                })
                .collect::<Vec<_>>()
                .join(";");
            let wanted: Vec<_> =
                options.into_iter().map(|(key, value)| PluginOption { key, value }).collect();
            prop_assert_eq!(parse_options(&text).unwrap(), wanted);
        }

        #[test]
        fn no_text_panics(text in ".{0,64}") {
            let _ = parse_options(&text);
        }
    }
}
