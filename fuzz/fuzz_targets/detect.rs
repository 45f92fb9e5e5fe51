//! The first bytes of a connection, whatever they are: no panic, and one verdict however they are cut.
//!
//! `cargo fuzz run detect` (nightly, or `RUSTC_BOOTSTRAP=1`).

#![no_main]

use libfuzzer_sys::fuzz_target;
use obfs_rs::detect::{ClientKind, Detection, FakeTlsRule, HttpRule, Rules, detect};
use obfs_rs::wire::http::PathTable;

fuzz_target!(|data: &[u8]| {
    // The first byte says where the rest is cut.
    let Some((&cut, bytes)) = data.split_first() else { return };
    for named in [false, true] {
        let name = named.then(|| "www.example.com".to_owned());
        let rules = Rules {
            http: Some(HttpRule {
                method: "GET".into(),
                path: named.then(|| "/".to_owned()),
                host: name.clone(),
                web_path: Some("/stream".into()),
                routes: PathTable::new(["/a", "/routed?x"].into_iter()),
            }),
            fake_tls: Some(FakeTlsRule { server_names: name.into_iter().collect() }),
            tls: true,
            tls_alone: false,
        };
        let whole = detect(bytes, &rules);
        let at = usize::from(cut) * (bytes.len() + 1) / 256;
        let first = detect(&bytes[..at], &rules);
        assert!(first == Detection::NeedMore || first == whole, "cut at {at}: {first:?}, then {whole:?}");
        if let Detection::Client(ClientKind::Web(upgrade)) = &whole {
            assert!(upgrade.head_len <= bytes.len());
            let _ = (upgrade.key(bytes), upgrade.protocol(bytes));
        }
    }
});
