//! What a program sees on a phone with Android: this machine's files, but none of its configuration, hardly any of its
//! devices, and a place for what Android has.

use super::netns;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};

/// The phone's own in place of this machine's.
const OWN: [&str; 4] = ["apex", "dev", "etc", "system"];

/// What programs of this machine do not start without, or say strange things.
const CONFIGURATION: [&str; 3] = ["group", "ld.so.cache", "passwd"];

/// Takes this thread, and what it starts, to a phone. It has to be in namespaces of its own ([`netns::alone`]), with which
/// the phone ends; of `folder` they are all that is left.
#[track_caller]
pub fn enter(folder: &Path, devices: &[&str]) {
    let mount = |words: &[&str]| netns::run("mount", words);
    let root = folder.to_str().expect("a folder's name");
    mount(&["-t", "tmpfs", "none", root]);
    for entry in std::fs::read_dir("/").expect("the root").map(|entry| entry.expect("a file of the root")) {
        let name = entry.file_name().into_string().expect("a name");
        let here = folder.join(&name);
        let kind = entry.file_type().expect("a file's type");
        if OWN.contains(&name.as_str()) {
            continue;
        }
        if kind.is_symlink() {
            symlink(std::fs::read_link(entry.path()).expect("a link"), here).expect("a link");
        } else if kind.is_dir() {
            std::fs::create_dir(&here).expect("a folder");
            mount(&["--rbind", &format!("/{name}"), &format!("{root}/{name}")]);
        }
    }
    for name in ["apex", "dev", "dev/shm", "dev/socket", "etc", "system"] {
        std::fs::DirBuilder::new().mode(0o755).create(folder.join(name)).expect("a folder");
    }
    for name in CONFIGURATION {
        let _ = std::fs::copy(Path::new("/etc").join(name), folder.join("etc").join(name));
    }
    for name in ["null", "zero"].iter().chain(devices) {
        std::fs::write(folder.join("dev").join(name), "").expect("a place for a device");
        mount(&["--bind", &format!("/dev/{name}"), &format!("{root}/dev/{name}")]);
    }
    std::os::unix::fs::chroot(folder).expect("the phone's root");
    std::env::set_current_dir("/").expect("the phone's root");
}

/// Writes one of the phone's files.
#[track_caller]
pub fn write(path: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = PathBuf::from(path);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder of the phone's");
    std::fs::write(&path, content).expect("a file of the phone's");
    path
}

/// The service that Android's programs ask for names.
pub struct Netd {
    /// What it was asked, each with its zero byte.
    pub questions: Receiver<String>,
}

impl Netd {
    /// Answers every question so.
    #[track_caller]
    pub fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Netd {
        let _ = std::fs::remove_file("/dev/socket/dnsproxyd");
        let listener = UnixListener::bind("/dev/socket/dnsproxyd").expect("netd's socket");
        let (tell, questions) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a question");
                let mut question = Vec::new();
                let mut byte = [0];
                while question.last() != Some(&0) && stream.read(&mut byte).expect("a question") == 1 {
                    question.push(byte[0]);
                }
                let question = String::from_utf8(question).expect("text");
                let answer = answer(&question);
                if tell.send(question).is_err() {
                    return;
                }
                let _ = stream.write_all(&answer);
            }
        });
        Netd { questions }
    }
}

/// netd's answer with addresses of IPv4.
pub fn addresses(found: &[Ipv4Addr]) -> Vec<u8> {
    let mut answer = b"222\0".to_vec();
    for ip in found {
        for number in [1, 0, libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_TCP, 16] {
            answer.extend(number.to_be_bytes());
        }
        answer.extend((libc::AF_INET as u16).to_ne_bytes());
        answer.extend([0; 2]);
        answer.extend(ip.octets());
        answer.extend([0; 8]);
        // (no canonical name)
        answer.extend([0; 4]);
    }
    answer.extend([0; 4]);
    answer
}

/// netd's answer without: one of Android's `EAI_…`.
pub fn failure(why: i32) -> Vec<u8> {
    [&b"401\0"[..], &4_u32.to_be_bytes(), &why.to_ne_bytes()].concat()
}
