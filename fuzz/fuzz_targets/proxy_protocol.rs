#![no_main]

use obfs_rs_fuzz::{references, targets};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    targets::run("proxy_protocol", data);
    references::proxy_protocol::check(data);
});
