//! Container images: what is in the archives, for every processor, and what runs of them without an engine.

mod archive;
mod engine;
mod packager;
mod server;

use super::dist;
use crate::support::backend::Backend;
use crate::support::child::Exit;
use crate::support::conn::{assert_echo, connect};
use crate::support::peers::need;
use crate::support::tempdir::TempDir;
use crate::support::{netns, noise, secs, within};
use archive::{Archive, Image};
use engine::Container;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

const USER: &str = "65532:65532";
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

fn obfs_rs() -> Archive {
    Archive::open(&dist().join(format!("obfs-rs-image-v{}.tar", env!("CARGO_PKG_VERSION"))))
}

fn ssserver() -> Archive {
    Archive::open(&dist().join(format!("obfs-rs-ssserver-image-v{}.tar", env!("CARGO_PKG_VERSION"))))
}

/// A value of Cargo.toml's `[package]`.
fn cargo_toml(key: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .expect("Cargo.toml");
    let (package, _) = text.split_once("\n[lib]").expect("[package] and [lib]");
    let line = package.lines().find_map(|line| line.strip_prefix(&format!("{key} = ")))?;
    Some(line.trim_matches('"').to_owned())
}

/// What an image says of itself.
#[track_caller]
fn says(image: &Image, title: &str, license: &str) {
    let config = &image.config["config"];
    assert_eq!(
        (&image.config["os"], &image.config["architecture"]),
        (&"linux".into(), &image.architecture.as_str().into())
    );
    assert_eq!(config["User"], USER, "{}", image.name());
    let label =
        |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].as_str().map(str::to_owned);
    assert_eq!(label("title").as_deref(), Some(title));
    assert_eq!(label("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(label("licenses").as_deref(), Some(license));
    assert!(label("description").is_some_and(|text| text.len() > 20), "{config}");
    // An address that does not exist is told to nobody.
    assert_eq!(label("source"), cargo_toml("repository"));
}

/// Its files: these alone (and licences), all of them root's, which nobody else may write, and of one moment.
#[track_caller]
fn has_only(image: &Image, root: &Path, expected: &[&str]) {
    let files: Vec<_> =
        super::files(root).into_iter().filter(|file| !file.starts_with("/usr/share/licenses/")).collect();
    assert_eq!(files, expected, "{}", image.name());
    for file in super::files(root) {
        let metadata = root.join(&file[1..]).metadata().expect("a file");
        assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "{file}");
        assert!(metadata.is_file(), "{file}");
        let mode = metadata.permissions().mode() & 0o7777;
        let program = file.starts_with("/usr/local/bin/");
        assert_eq!(mode, if program { 0o755 } else { 0o644 }, "{file}: {mode:o}");
        let created = image.config["created"].as_str().expect("a time");
        let modified = humantime::format_rfc3339_seconds(metadata.modified().expect("a time")).to_string();
        assert_eq!(modified, created, "{file}");
    }
    let authorities = std::fs::read_to_string(root.join(&AUTHORITIES[1..])).expect("authorities");
    // Debian's, and none that this machine has besides.
    let mut files: Vec<_> = std::fs::read_dir("/usr/share/ca-certificates/mozilla")
        .expect("Debian's authorities")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let of_debian = files.iter().map(|file| std::fs::read_to_string(file).expect("an authority"));
    assert_eq!(authorities, of_debian.collect::<String>());
}

/// Anyone may look and nobody run: an image whose index names others' files would be no image.
#[test]
fn the_archive_is_read_by_others() {
    within(secs(120), || {
        need!("skopeo", "tar");
        for archive in [obfs_rs(), ssserver()] {
            assert!(!archive.images.is_empty());
            for image in &archive.images {
                // skopeo compares each file with its digest.
                let copy = TempDir::new("copy");
                let target = format!("oci:{}:copy", copy.path().join("image").display());
                let mut words = vec!["--override-os", "linux", "--override-arch", &image.architecture];
                if let Some(variant) = &image.variant {
                    words.extend(["--override-variant", variant]);
                }
                words.extend(["copy", "--quiet", &archive.reference, &target]);
                netns::run("skopeo", &words);
            }
        }
    });
}

#[test]
fn each_image_says_what_it_is() {
    within(secs(60), || {
        need!("tar");
        let license = cargo_toml("license").expect("a licence");
        for image in &obfs_rs().images {
            says(image, "obfs-rs", &license);
            assert_eq!(image.config["config"]["Entrypoint"], serde_json::json!(["/usr/local/bin/obfs-rs"]));
            assert!(image.config["config"]["Cmd"].is_null(), "{}", image.config);
        }
        for image in &ssserver().images {
            says(image, "obfs-rs-ssserver", &format!("({license}) AND MIT"));
            assert_eq!(image.config["config"]["Entrypoint"], serde_json::json!(["/usr/local/bin/ssserver"]));
            let text = image.config.to_string().to_lowercase();
            assert!(!text.contains("password=") && !text.contains("ss_"), "secrets in an image: {text}");
        }
    });
}

/// No two are for the same processor, and each has a program for its own, which needs no other file.
#[test]
fn each_image_has_static_programs_of_its_processor() {
    netns::alone(secs(180), || {
        need!("tar");
        for (archive, programs) in [(obfs_rs(), &["obfs-rs"][..]), (ssserver(), &["obfs-rs", "ssserver"])] {
            let mut names: Vec<_> = archive.images.iter().map(Image::name).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), archive.images.len(), "{names:?}");
            for image in &archive.images {
                let root = archive.unpack(image);
                let mut expected = Vec::new();
                if programs.len() > 1 {
                    expected.push("/etc/shadowsocks-rust/ssserver.acl".to_owned());
                }
                expected.push(AUTHORITIES.to_owned());
                expected.extend(programs.iter().map(|program| format!("/usr/local/bin/{program}")));
                has_only(image, root.path(), &expected.iter().map(String::as_str).collect::<Vec<_>>());
                for program in programs {
                    let file =
                        std::fs::read(root.path().join("usr/local/bin").join(program)).expect("a program");
                    let elf = archive::Elf::read(&file).unwrap_or_else(|| panic!("{program} is no program"));
                    assert_eq!(elf.architecture, image.architecture, "{program} of {}", image.name());
                    assert!(!elf.wants_a_loader, "{program} of {} is not static", image.name());
                }
            }
        }
    });
}

/// The image of this machine's processor runs as it is: nobody's user, a file system that nobody writes to, no shell.
#[test]
fn it_demonstrates_itself() {
    netns::alone(secs(120), || {
        need!("tar", "setpriv", "unshare");
        let archive = obfs_rs();
        let image = archive.native();
        let root = archive.unpack(image);
        let container = Container::start("demo", image, root.path(), &[], &[], &["demo"]);
        assert_eq!(container.child.wait_exit(secs(100)), Exit::Code(0), "{}", container.child.show_log());
    });
}

/// Two containers, as `deploy/compose` has one: a tunnel through both, and both end as soon as they are asked to, though
/// each is the first process of its world, which a signal without a handler would not end.
#[test]
fn a_tunnel_leads_through_two_of_it() {
    netns::alone(secs(60), || {
        need!("tar", "setpriv", "unshare");
        let archive = obfs_rs();
        let image = archive.native();
        let root = archive.unpack(image);
        let echo = Backend::echo();
        let backend = echo.addr.port().to_string();
        let half = |name: &str, port: u16, other: &str, options: &str| {
            let (remote, local) = if name == "server" { ("8443", other) } else { (other, "1984") };
            let env = [
                ("SS_REMOTE_HOST", "127.0.0.1"),
                ("SS_REMOTE_PORT", remote),
                ("SS_LOCAL_HOST", "127.0.0.1"),
                ("SS_LOCAL_PORT", local),
                ("SS_PLUGIN_OPTIONS", options),
            ];
            let container = Container::start(name, image, root.path(), &env, &[], &[name]);
            container.child.wait_listening(port);
            container
        };
        let server = half("server", 8443, &backend, "mode=websocket;path=/tunnel");
        let client = half("client", 1984, "8443", "mode=websocket;path=/tunnel;host=www.example.com");
        let stream = connect(SocketAddr::from(([127, 0, 0, 1], 1984)));
        assert_echo(&stream, &noise(4 * 1024 * 1024, 5));
        for container in [client, server] {
            container.stop();
            assert_eq!(container.child.wait_exit(secs(5)), Exit::Code(0), "{}", container.child.show_log());
        }
    });
}
