//! The fuzz targets without a fuzzer: each with its seeds, with these cut anywhere, and with mutations of them that
//! are the same each time.

#![cfg(unix)]

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use targets::{TARGETS, run};

/// How many mutations a target gets, and one that takes long.
const MUTATIONS: usize = 1000;
const MUTATIONS_IF_SLOW: usize = 150;

/// The most cuts of a seed, spread over it.
const CUTS: usize = 50;

macro_rules! seeds_of {
    ($($target:ident)*) => {
        $(#[test]
        fn $target() {
            try_seeds(stringify!($target));
        })*

        const TRIED: &[&str] = &[$(stringify!($target)),*];
    };
}

seeds_of! {
    answers client_hello detect early_data fake_tls_hello fake_tls_records first_bytes follow forwarded_for framing
    grpc_hunks h2_takeover metrics_port mux mux_sessions options own_website probe_h2_answer probe_http_answer
    probe_quic_answer probe_tls_answer
    proxy_protocol quic_datagram quic_first_flight request upgrade upstream_proxy websocket_frames websocket_stream
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a folder by their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// A target, its program and its seeds are there together.
#[test]
fn each_target_is_complete() {
    let names: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stems = |folder: &str| -> BTreeSet<String> {
        let stem = |path: &PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
        files(&fuzz().join(folder)).iter().map(stem).collect()
    };
    assert_eq!(names, TRIED.iter().map(|name| (*name).to_owned()).collect(), "tried here");
    assert_eq!(names, stems("fuzz_targets"), "in fuzz/fuzz_targets");
    assert_eq!(names, stems("seeds"), "in fuzz/seeds");
    assert!(stems("dictionaries").is_subset(&names), "in fuzz/dictionaries");
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).expect("the manifest");
    for name in &names {
        assert!(
            manifest.contains(&format!("\nname = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")),
            "{name}"
        );
        let program = fuzz().join("fuzz_targets").join(name).with_extension("rs");
        let program = fs::read_to_string(program).expect("a target");
        assert!(program.contains(&format!("targets::run(\"{name}\", data)")), "{name}");
    }
}

/// Runs a target; its input is told where it finds something.
fn try_one(target: &str, what: &str, data: &[u8]) {
    if catch_unwind(|| run(target, data)).is_ok() {
        return;
    }
    let finding = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("finding-{target}"));
    fs::write(&finding, data).expect("a file");
    panic!("{what}: found with {} (which scripts/fuzz --run {target} runs again)", finding.display());
}

fn try_seeds(target: &str) {
    let paths = files(&fuzz().join("seeds").join(target));
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("a seed")).collect();
    assert!(!seeds.is_empty(), "{target} has no seeds");
    let is_slow = matches!(target, "detect" | "follow" | "own_website" | "mux_sessions" | "first_bytes");
    try_one(target, "nothing", b"");
    for (path, seed) in paths.iter().zip(&seeds) {
        let name = path.display();
        try_one(target, &format!("{name}"), seed);
        let step = seed.len().div_ceil(if is_slow { CUTS / 5 } else { CUTS }).max(1);
        for end in (0..seed.len()).step_by(step) {
            try_one(target, &format!("the first {end} bytes of {name}"), &seed[..end]);
        }
    }
    let mut random = StdRng::seed_from_u64(0x5eed);
    for number in 0..if is_slow { MUTATIONS_IF_SLOW } else { MUTATIONS } {
        let mut data = seeds.choose(&mut random).expect("a seed").clone();
        for _ in 0..random.random_range(1..5) {
            mutate(&mut data, &seeds, &mut random);
        }
        try_one(target, &format!("mutation {number}"), &data);
    }
}

/// One change, as fuzzers make them.
fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut StdRng) {
    const BYTES: &[u8] = b"\0\x01\x7f\x80\xff\r\n\t :;,=/%0\"";
    let at = random.random_range(0..=data.len());
    let end = (at + random.random_range(0..24)).min(data.len());
    match random.random_range(0..7) {
        0 if at < data.len() => data[at] ^= 1 << random.random_range(0..8),
        1 if at < data.len() => data[at] = random.random(),
        2 => data.insert(at, *BYTES.choose(random).expect("a byte")),
        3 => drop(data.drain(at..end)),
        4 => {
            let again = data[at..end].to_vec();
            data.splice(at..at, again);
        }
        5 => data.truncate(at),
        _ => {
            let other = seeds.choose(random).expect("a seed");
            data.truncate(at);
            data.extend_from_slice(&other[random.random_range(0..=other.len())..]);
        }
    }
}
