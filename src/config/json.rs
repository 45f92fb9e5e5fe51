//! What is wrong with a text that is to be JSON, in words that need no grammar of JSON.

use jsonc_parser::errors::ParseErrorKind;

/// What is wrong, as a sentence.
pub(super) fn problem(kind: &ParseErrorKind) -> String {
    let words = match kind {
        ParseErrorKind::ExpectedComma => "expected a comma before this",
        ParseErrorKind::UnexpectedCloseBrace => "unexpected `}`",
        ParseErrorKind::UnexpectedCloseBracket => "unexpected `]`",
        ParseErrorKind::UnexpectedColon => "unexpected `:`",
        ParseErrorKind::UnexpectedComma => "unexpected `,`",
        ParseErrorKind::ExpectedStringObjectProperty => "expected a key in double quotes",
        ParseErrorKind::ExpectedColonAfterObjectKey => "expected `:` behind the key",
        ParseErrorKind::UnexpectedWord => "unexpected word: texts stand in double quotes",
        ParseErrorKind::UnexpectedToken => "unexpected character or word: texts stand in double quotes",
        ParseErrorKind::SingleQuotedStringsNotAllowed => {
            "single-quoted texts are not allowed: use double quotes"
        }
        ParseErrorKind::MultipleRootJsonValues => "unexpected text behind the JSON object",
        other => return lower_first(&other.to_string()),
    };
    words.to_owned()
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
