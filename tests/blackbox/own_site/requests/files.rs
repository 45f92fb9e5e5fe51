//! What is asked of files: conditions and ranges.

use super::{get, request, says};
use crate::fallback::compare::Probe;

/// When `style.css` was changed, and what its entity tag is therefore.
const DAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const TAG: &str = "\"2ebc98a1-1f40\"";

/// For a folder.
pub fn files() -> Vec<Probe> {
    let mut all = Vec::new();
    let before = "Sun, 06 Nov 1994 08:49:36 GMT";
    let after = "Sun, 06 Nov 1994 08:49:38 GMT";
    let other = "Sunday, 06-Nov-94 08:49:37 GMT";
    let oldest = "Sun Nov  6 08:49:37 1994";
    for date in [DAY, before, after, other, oldest, "", "then", "0"] {
        for name in ["If-Modified-Since", "If-Unmodified-Since"] {
            all.push(get("/style.css", &format!("{name}: {date}\r\n")));
        }
        all.push(get("/style.css", &format!("Range: bytes=0-9\r\nIf-Range: {date}\r\n")));
    }
    let weak = format!("W/{TAG}");
    let list = format!("\"a\", W/\"b\" ,{TAG} , \"c\"");
    let bare = TAG.trim_matches('"');
    for tags in [
        TAG,
        &weak,
        &list,
        bare,
        "*",
        "\"*\"",
        "*, *",
        "",
        "\"\"",
        ",",
        "\"a\"",
        &format!("{TAG}x"),
        &format!("{TAG} x"),
    ] {
        for name in ["If-None-Match", "If-Match"] {
            all.push(get("/style.css", &format!("{name}: {tags}\r\n")));
        }
        all.push(get("/style.css", &format!("Range: bytes=0-9\r\nIf-Range: {tags}\r\n")));
        all.push(get("/style.css", &format!("If-None-Match: {tags}\r\nIf-Modified-Since: {DAY}\r\n")));
        all.push(get("/style.css", &format!("If-None-Match: {tags}\r\nIf-Modified-Since: {before}\r\n")));
    }
    for both in [
        format!("If-Match: {TAG}\r\nIf-None-Match: {TAG}\r\n"),
        "If-Match: \"a\"\r\nRange: bytes=0-9\r\n".to_owned(),
        format!("If-None-Match: {TAG}\r\nRange: bytes=0-9\r\n"),
        format!("If-Unmodified-Since: {before}\r\nIf-Modified-Since: {DAY}\r\n"),
    ] {
        all.push(get("/style.css", &both));
        all.push(says(&format!("HEAD {both:?}"), request("HEAD /style.css", &both)));
    }
    for range in [
        "bytes=0-9",
        "Bytes=0-0",
        "bytes=10-",
        "bytes=-10",
        "bytes=-9000",
        "bytes=7999-7999",
        "bytes=7999-",
        "bytes=0-9000",
        "bytes=8000-",
        "bytes=-0",
        "bytes=9-5",
        "bytes=x",
        "bytes=5",
        "bytes=-",
        "bytes=",
        "bytes",
        "lines=0-9",
        "bytes =0-9",
        "bytes= 0 - 9 ",
        "bytes=- 9",
        "bytes=0--9",
        "bytes=+1-2",
        "bytes=0-9,",
        "bytes=,0-9",
        "bytes=0-9;10-19",
        "bytes=0x1-2",
        "bytes=99999999999999999999-",
        "bytes=9223372036854775807-",
        "bytes=0-9223372036854775807",
        "bytes=0-99999999999999999999",
        "bytes=0-9,20-29",
        "bytes=20-29, 0-9 ,-1",
        "bytes=0-9,9000-9001",
        "bytes=9000-9001,9002-",
        "bytes=0-,0-",
        "bytes=0-3999,3999-",
        "bytes=0-3999,4000-",
        "bytes=0-0,0-0,0-0",
        "bytes=5-4,0-9",
        "bytes=0-9,5-4",
        "bytes=-0,0-9",
        "bytes=0-9\t",
    ] {
        all.push(get("/style.css", &format!("Range: {range}\r\n")));
        all.push(says(&format!("HEAD {range}"), request("HEAD /style.css", &format!("Range: {range}\r\n"))));
        all.push(get("/empty.txt", &format!("Range: {range}\r\n")));
    }
    all.push(get("/no-ending", "Range: bytes=0-0,2-2\r\n"));
    all.push(get("/none", "Range: bytes=0-9\r\n"));
    all.push(get("/shop/", "Range: bytes=0-2\r\n"));
    let many: Vec<String> = (0..1500).map(|i| format!("{i}-{i}")).collect();
    all.push(get("/style.css", &format!("Range: bytes={}\r\n", many.join(","))));
    all.push(says("HTTP/1.0, a range", "GET /style.css HTTP/1.0\r\nRange: bytes=0-9\r\n\r\n"));
    all.push(get("/noise.bin", ""));
    all.push(get("/noise.bin", "Range: bytes=65000-200000,250000-299999\r\n"));
    all
}
