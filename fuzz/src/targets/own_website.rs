//! Our own website: what it is asked, it answers, each in turn, with answers that any client cuts as it meant them.

use super::detect::RULES;
use super::pieces::{Numbers, cuts, pieces};
use super::sockets;
use obfs_rs::config::Website;
use obfs_rs::detect::{Detection, Handoff, Rules, detect};
use obfs_rs::net::conn_info::ConnInfo;
use obfs_rs::site::serve;
use obfs_rs::wire::http::request::head::RequestReader;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

/// The most bytes that are asked with: what fits into a socket.
const MOST: usize = 64 * 1024;

static WEBSITES: LazyLock<[Website; 5]> = LazyLock::new(|| {
    [
        Website::Folder(folder()),
        Website::Bare,
        Website::Redirect("https://www.example.com".into()),
        Website::Status(503),
        Website::HttpsOnly,
    ]
});

/// A folder with a few files, beside the program. Another one may have it, too.
fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    let folder = program.with_file_name("fuzz-website");
    for (name, content) in [
        ("index.html", &b"<!doctype html>\n<title>A shop for garden chairs</title>\n"[..]),
        ("style.css", &[b'x'; 5000]),
        ("empty.txt", b""),
        ("shop/index.html", b"the shop\n"),
        ("without/x.txt", b"x\n"),
    ] {
        let path = folder.join(name);
        let begun = folder.join(format!("begun-{}", std::process::id()));
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&begun, content).expect("a file");
        let old = std::time::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let written = std::fs::File::options().write(true).open(&begun);
        written.and_then(|file| file.set_modified(old)).expect("its time");
        std::fs::rename(&begun, &path).expect("a file");
    }
    folder
}

pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let cuts = cuts(bytes);
    let mut numbers = Numbers::new(bytes);
    let asked = asked(bytes);
    for website in &*WEBSITES {
        let (whole, _) = ask(website, &Rules::default(), bytes, &[bytes.len()], Duration::ZERO);
        answers(website, &asked, &whole);
    }
    // After a pause it may have had enough.
    let website = &WEBSITES[numbers.below(WEBSITES.len())];
    let pause = Duration::from_millis([1, 7000, 70_000][numbers.below(3)]);
    let (in_pieces, _) = ask(website, &Rules::default(), bytes, &cuts[1 + numbers.below(3)], pause);
    answers(website, &asked, &in_pieces);
    // Who asks for an upgrade goes on where it is taken, with all that has come and was not answered.
    let rules = &RULES[1];
    let (_, left) = ask(&Website::Bare, rules, bytes, &[bytes.len()], Duration::ZERO);
    if let Some(left) = left {
        assert!(bytes.ends_with(&left));
        assert!(matches!(detect(&left, rules), Detection::Client(_)));
    }
}

/// What the website says to these bytes, and what it has not used of them where it goes no further.
fn ask(
    website: &Website,
    rules: &Rules,
    bytes: &[u8],
    ends: &[usize],
    pause: Duration,
) -> (Vec<u8>, Option<Vec<u8>>) {
    sockets::run(async {
        let (near, far) = sockets::pair();
        let c = Handoff::new(near, ConnInfo::new(([192, 0, 2, 1], 4711).into()), Instant::now());
        let (mut answers, mut requests) = far.into_split();
        let visitor = async {
            for piece in pieces(bytes, ends) {
                // It may have closed.
                let _ = requests.write_all(piece).await;
                sleep(pause).await;
            }
            let _ = requests.shutdown().await;
        };
        let reader = async {
            let mut said = Vec::new();
            let _ = answers.read_to_end(&mut said).await;
            said
        };
        let served = async {
            let (answered, left) = serve(website, c, rules).await;
            (answered, left.map(|c| c.into_parts().1))
        };
        let ((), said, (answered, left)) = tokio::join!(visitor, reader, served);
        assert!(answered.down >= said.len() as u64, "{answered:?}, and {} bytes came", said.len());
        assert!(answered.up <= bytes.len() as u64, "{answered:?} of {} bytes", bytes.len());
        (said, left)
    })
}

/// What is asked, as far as nginx's reader takes the bytes for requests: of each whether its answer has no body, and
/// whether it has no head. The last may be one that is refused, with its status.
#[derive(Debug)]
struct Asked {
    requests: Vec<(bool, bool)>,
    refused: Option<u16>,
}

fn asked(mut bytes: &[u8]) -> Asked {
    let mut asked = Asked { requests: Vec::new(), refused: None };
    loop {
        let mut reader = RequestReader::default();
        bytes = &bytes[reader.skip(bytes)..];
        match reader.advance(bytes) {
            Ok(None) => return asked,
            Ok(Some(mut request)) => {
                asked.requests.push((request.style.head_only, request.style.bare));
                bytes = &bytes[request.length..];
                let Ok(Some(length)) = request.body.read(bytes) else { return asked };
                bytes = &bytes[length..];
            }
            Err(refusal) => {
                asked.requests.push((refusal.style.head_only, refusal.style.bare));
                asked.refused = Some(refusal.status);
                return asked;
            }
        }
    }
}

/// The answers are such that httparse cuts them, one to each request at the most, in their order.
fn answers(website: &Website, asked: &Asked, mut said: &[u8]) {
    let mut requests = asked.requests.iter();
    while !said.is_empty() {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut answer = httparse::Response::new(&mut headers);
        let (head_only, bare) = *requests.as_slice().first().expect("an answer that nobody asked for");
        if bare && !said.starts_with(b"HTTP/1.1 100 ") {
            // HTTP/0.9: the body is all there is.
            return;
        }
        let Ok(httparse::Status::Complete(head)) = answer.parse(said) else {
            panic!("no whole head: {}", said.escape_ascii());
        };
        let status = answer.code.expect("a status");
        said = &said[head..];
        if status == 100 {
            continue;
        }
        requests.next();
        if let (Some(refused), true, false) =
            (asked.refused, requests.as_slice().is_empty(), *website == Website::HttpsOnly)
        {
            assert_eq!(status, if refused == 494 { 400 } else { refused });
        }
        let header = |name: &str| answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        assert_eq!(header("server").map(|header| header.value), Some(&b"nginx"[..]));
        let length: usize = match header("content-length") {
            Some(length) => std::str::from_utf8(length.value).expect("digits").parse().expect("a number"),
            None => 0,
        };
        if !head_only && !matches!(status, 204 | 304) {
            assert!(length <= said.len(), "{length} bytes are announced, and {} come", said.len());
            said = &said[length..];
        }
        if header("connection").is_some_and(|header| header.value == b"close") {
            assert_eq!(said, b"", "nothing comes behind the last answer");
        }
    }
}
