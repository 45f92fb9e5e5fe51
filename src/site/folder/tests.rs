//! Folders with files, links and other things in them.

use super::*;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::Duration;

/// A fresh folder, removed on drop.
struct Fresh(PathBuf);

impl Fresh {
    fn new(name: &str) -> Fresh {
        let path = std::env::temp_dir().join(format!("obfs-rs-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("site")).unwrap();
        Fresh(path)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn find(&self, path: &str) -> String {
        match find(&self.0.join("site"), path.as_bytes()) {
            Ok(Found::File(mut open, path)) => {
                let mut text = String::new();
                open.file.read_to_string(&mut text).unwrap();
                assert_eq!(open.length, text.len() as u64);
                format!("{text} at {}", String::from_utf8(path).unwrap())
            }
            Ok(Found::Folder(path)) => format!("folder {}", String::from_utf8(path).unwrap()),
            Err(status) => status.to_string(),
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_folders_and_indexes() {
    let fresh = Fresh::new("files");
    fresh.write("site/a.txt", b"a");
    fresh.write("site/with/index.html", b"index");
    fresh.write("site/without/b.txt", b"b");
    fresh.write("site/odd/index.html/c.txt", b"c");
    fresh.write("site/a?b c%.txt", b"strange");
    for (path, wanted) in [
        ("/a.txt", "a at /a.txt"),
        ("/a?b c%.txt", "strange at /a?b c%.txt"),
        ("/with/", "index at /with/index.html"),
        ("/with", "folder /with"),
        ("/without", "folder /without"),
        ("/without/", "403"),
        ("/odd/", "folder /odd/index.html"),
        ("/", "403"),
        ("/none", "404"),
        ("/none/", "404"),
        ("/a.txt/", "404"),
        ("/a.txt/b", "404"),
    ] {
        assert_eq!(fresh.find(path), wanted, "{path}");
    }
    assert_eq!(fresh.find(&format!("/{}", "a".repeat(300))), "404");
    assert_eq!(fresh.find(&"/a".repeat(4000)), "404");
}

#[test]
fn links_may_not_lead_out() {
    let fresh = Fresh::new("links");
    fresh.write("outside.txt", b"outside");
    fresh.write("site-not/a.txt", b"not");
    fresh.write("site/a.txt", b"a");
    fresh.write("site/sub/b.txt", b"b");
    let link = |target: &Path, name: &str| symlink(target, fresh.0.join("site").join(name)).unwrap();
    link(Path::new("a.txt"), "near");
    link(Path::new("sub"), "folder");
    link(&fresh.0.join("site/sub/b.txt"), "absolute");
    link(Path::new("../site/a.txt"), "there-and-back");
    link(Path::new("../outside.txt"), "out");
    link(Path::new(".."), "up");
    link(Path::new("../site-not"), "beside");
    link(Path::new("/etc/passwd"), "passwd");
    link(Path::new("loop"), "loop");
    link(Path::new("nowhere"), "dangling");
    link(Path::new("."), "self");
    for (path, wanted) in [
        ("/near", "a at /near"),
        ("/folder/b.txt", "b at /folder/b.txt"),
        ("/folder", "folder /folder"),
        ("/absolute", "b at /absolute"),
        ("/there-and-back", "a at /there-and-back"),
        ("/self", "folder /self"),
        ("/self/a.txt", "a at /self/a.txt"),
        ("/out", "403"),
        ("/up", "403"),
        ("/up/", "403"),
        ("/up/outside.txt", "403"),
        ("/up/site/a.txt", "a at /up/site/a.txt"),
        ("/beside/a.txt", "403"),
        ("/passwd", "403"),
        ("/loop", "403"),
        ("/loop/x", "403"),
        ("/dangling", "404"),
    ] {
        assert_eq!(fresh.find(path), wanted, "{path}");
    }
}

/// A link that is put in the place of a folder after it was looked at.
#[test]
#[cfg(target_os = "linux")]
fn a_path_is_opened_without_links() {
    let fresh = Fresh::new("swapped");
    fresh.write("outside/a.txt", b"outside");
    symlink(fresh.0.join("outside"), fresh.0.join("site/sub")).unwrap();
    let root = fresh.0.join("site").canonicalize().unwrap();
    for inside in ["sub/a.txt", "sub", "../outside/a.txt"] {
        assert!(open_inside(&root, Path::new(inside)).is_err(), "{inside}");
    }
}

/// Where there is no such call, the last part of a path at least is not followed.
#[test]
fn a_link_is_not_opened_plainly() {
    let fresh = Fresh::new("plainly");
    fresh.write("site/a.txt", b"a");
    symlink("a.txt", fresh.0.join("site/link")).unwrap();
    assert!(open_plainly(&fresh.0.join("site/a.txt")).is_ok());
    assert!(open_plainly(&fresh.0.join("site")).unwrap().metadata().unwrap().is_dir());
    assert!(open_plainly(&fresh.0.join("site/link")).is_err());
}

#[test]
#[cfg(target_os = "linux")]
fn what_is_no_file_is_not_there() {
    let fresh = Fresh::new("special");
    let fifo = fresh.0.join("site/fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(fresh.find("/fifo"), "404");
}

#[test]
fn what_may_not_be_read_is_forbidden() {
    let fresh = Fresh::new("forbidden");
    fresh.write("site/secret.txt", b"secret");
    let secret = fresh.0.join("site/secret.txt");
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).unwrap();
    let wanted = if rustix::process::geteuid().is_root() { "secret at /secret.txt" } else { "403" };
    assert_eq!(fresh.find("/secret.txt"), wanted);
}

#[test]
fn times_are_whole_seconds() {
    let fresh = Fresh::new("times");
    fresh.write("site/a.txt", b"a");
    let file = File::options().write(true).open(fresh.0.join("site/a.txt")).unwrap();
    let half = Duration::from_millis(1500);
    for (time, wanted) in [(UNIX_EPOCH + half, 1), (UNIX_EPOCH - half, -2)] {
        file.set_modified(time).unwrap();
        match find(&fresh.0.join("site"), b"/a.txt") {
            Ok(Found::File(open, _)) => assert_eq!(open.modified, wanted),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn parts_come_in_pieces_of_any_length() {
    let fresh = Fresh::new("parts");
    let content: Vec<u8> = (0..=255).collect();
    fresh.write("site/a.bin", &content);
    let open = || File::open(fresh.0.join("site/a.bin")).unwrap();
    let parts = vec![Part { start: 0, end: 100 }, Part { start: 200, end: 256 }, Part { start: 7, end: 8 }];
    let multipart = Multipart::new("image/png", 256);
    let wanted: Vec<u8> = parts
        .iter()
        .flat_map(|part| {
            [multipart.head(*part).as_bytes(), &content[part.start as usize..part.end as usize]].concat()
        })
        .chain(multipart.tail().into_bytes())
        .collect();
    assert_eq!(wanted.len() as u64, multipart.total(&parts));
    for length in [1, 10, 150, 1000] {
        let mut source = Source::new(open(), parts.clone(), Some(multipart));
        let mut got = Vec::new();
        loop {
            let mut piece = Vec::new();
            let more = source.fill(&mut piece, length).unwrap();
            got.extend(piece);
            if !more {
                break;
            }
        }
        assert_eq!(got, wanted, "in pieces of {length}");
    }
    // A file that has become shorter than it was.
    let mut source = Source::new(open(), vec![Part { start: 0, end: 300 }], None);
    let mut piece = Vec::new();
    assert_eq!(source.fill(&mut piece, 1000).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
