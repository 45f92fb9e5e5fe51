//! The first bytes of a stream in a header, and where a path says that they may be there.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use obfs_rs::wire::websocket::{accept_key, decode_early_data, encode_early_data, split_early_data};

/// As much as a server takes.
const LIMIT: usize = 8192;

pub fn check(bytes: &[u8]) {
    // As a value that somebody sends. Beside the four alphabets of the library, one text may mix them, have padding or
    // not, and stray bits at its end: the deployed servers take all that.
    let found = decode_early_data(bytes, LIMIT);
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        if let Ok(data) = engine.decode(bytes.trim_ascii())
            && data.len() <= LIMIT
        {
            assert_eq!(found.as_ref(), Some(&data));
        }
    }
    if let Some(data) = &found {
        assert!(data.len() <= bytes.len());
        assert_eq!(decode_early_data(bytes, data.len()).as_ref(), Some(data));
        assert!(data.is_empty() || decode_early_data(bytes, data.len() - 1).is_none());
        // It is echoed: nothing in it ends a line.
        assert!(
            bytes.trim_ascii().iter().all(|&byte| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte))
        );
    }
    // As the data.
    let data = &bytes[..bytes.len().min(LIMIT)];
    for value in [encode_early_data(data), STANDARD.encode(data), URL_SAFE.encode(data)] {
        assert_eq!(decode_early_data(value.as_bytes(), LIMIT).as_deref(), Some(data));
    }
    assert_eq!(accept_key(bytes).len(), 28);
    // As a path.
    if let Ok(path) = std::str::from_utf8(bytes) {
        let (kept, limit) = split_early_data(path);
        assert_eq!(limit.is_none(), kept == path);
        assert!(path.starts_with(kept.split('?').next().unwrap_or_default()));
        assert_eq!(split_early_data(&kept).1, None, "it is taken out once and for all");
    }
}
