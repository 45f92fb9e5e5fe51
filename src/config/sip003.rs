//! What a Shadowsocks program tells its plugin: the five `SS_*` variables and the option grammar.
//!
//! Source: SIP003 (<https://shadowsocks.org/doc/sip003.html>), which takes the grammar of the options
//! from Tor's pluggable transports: `;` separates, the first unescaped `=` splits, a backslash takes
//! the next character as it is.

use super::ConfigError;

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

/// Splits an option string into its options, in their order.
///
/// Empty pieces (`;;`, a leading or trailing `;`) occur in the wild and mean nothing.
///
/// # Errors
///
/// A backslash with nothing behind it, and a piece that has a value but no key.
pub fn parse_options(text: &str) -> Result<Vec<PluginOption>, ConfigError> {
    let mut options = Vec::new();
    let mut piece = Piece::default();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped) => piece.push(escaped),
                None => {
                    return Err(ConfigError::variable(
                        PLUGIN_OPTIONS,
                        text,
                        "an option string: the backslash at its end escapes nothing",
                    ));
                }
            },
            ';' => options.extend(std::mem::take(&mut piece).finish(text)?),
            '=' if piece.value.is_none() => piece.value = Some(String::new()),
            _ => piece.push(c),
        }
    }
    options.extend(piece.finish(text)?);
    Ok(options)
}

/// An option that is being read.
#[derive(Default)]
struct Piece {
    key: String,
    value: Option<String>,
}

impl Piece {
    fn push(&mut self, c: char) {
        self.value.as_mut().unwrap_or(&mut self.key).push(c);
    }

    fn finish(self, text: &str) -> Result<Option<PluginOption>, ConfigError> {
        match self {
            Piece { key, value: None } if key.is_empty() => Ok(None),
            Piece { key, value: Some(value) } if key.is_empty() => Err(ConfigError::variable(
                PLUGIN_OPTIONS,
                text,
                format!("an option string: `={value}` has no name before its `=`"),
            )),
            Piece { key, value } => Ok(Some(PluginOption { key, value })),
        }
    }
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
        assert!(error.contains("`=x`"), "{error}");
    }

    /// The inverse of the grammar, written the other way round than the parser.
    fn escape(text: &str) -> String {
        text.chars()
            .flat_map(|c| if matches!(c, '\\' | ';' | '=') { vec!['\\', c] } else { vec![c] })
            .collect()
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
