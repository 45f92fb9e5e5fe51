#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| obfs_rs_fuzz::targets::run("quic_datagram", data));
