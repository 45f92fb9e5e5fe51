#![no_main]

use obfs_rs_fuzz::{references, targets};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::run("websocket_frames", data);
    references::websocket_frames::check(data);
});
