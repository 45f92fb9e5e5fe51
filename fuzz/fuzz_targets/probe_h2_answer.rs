#![no_main]

use obfs_rs_fuzz::{references, targets};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::run("probe_h2_answer", data);
    references::hpack::check(data);
});
