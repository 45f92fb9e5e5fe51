//! What the fuzz targets of requests begin with, asked of nginx and of us. With `FUZZ_CORPUS=FOLDER`, whatever else a
//! fuzzer has come upon: a corpus of `scripts/fuzz`, say. Two things differ on purpose, which no seed asks for: links that
//! lead out of the folder (`/up`), and redirects for those who name no host, which tell the address of the server.

use super::assert_alike;
use super::requests::with_ends;
use super::twins::Folder;
use crate::fallback::compare::{Probe, Step};
use crate::support::peers::need;
use crate::support::{secs, within};
use std::fs;
use std::path::{Path, PathBuf};

/// What makes a seed the chunks of a request, and the request behind it.
const CHUNKED: &[u8] = b"POST /nothing HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
const BEHIND: &[u8] = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";

/// One probe for each file of a folder, but for requests that we take for a client's.
fn probes(folder: &Path) -> Vec<Probe> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let probe = |path: PathBuf| {
        let bytes = fs::read(&path).expect("a seed");
        let asks_for_us = bytes.to_ascii_lowercase().windows(9).any(|word| word == b"websocket");
        let name = path.display().to_string();
        (!bytes.is_empty() && !asks_for_us).then(|| Probe { name, steps: vec![Step::Send(bytes)] })
    };
    paths.into_iter().filter_map(probe).collect()
}

#[test]
fn the_seeds_of_fuzzing_are_like_nginx() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let mut all = probes(&seeds.join("request"));
    all.extend(probes(&seeds.join("own_website")));
    // Where messages end: what our framing begins with as it is, and as the chunks of a request that others follow.
    for probe in probes(&seeds.join("framing")) {
        let chunks = probe.steps.iter().map(|step| match step {
            Step::Send(bytes) => Step::Send([CHUNKED, bytes, BEHIND].concat()),
            _ => unreachable!("a probe of a seed sends"),
        });
        let as_chunks = Probe { name: format!("{} as chunks", probe.name), steps: chunks.collect() };
        all.extend([as_chunks, probe]);
    }
    assert!(all.len() > 50, "{}", all.len());
    let corpus = std::env::var_os("FUZZ_CORPUS").map(|folder| probes(Path::new(&folder)));
    all.extend(corpus.into_iter().flatten());
    within(secs(280), move || {
        need!("nginx");
        assert_alike(&Folder::new().twins(""), with_ends(all));
    });
}
