#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| obfs_rs_fuzz::targets::run("forwarded_for", data));
