//! OCI archives, as far as the tests read them: an index, images for processors, and their files.

use crate::support::netns;
use crate::support::tempdir::TempDir;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub struct Archive {
    folder: TempDir,
    /// By which skopeo knows it.
    pub reference: String,
    pub images: Vec<Image>,
}

/// One processor's.
pub struct Image {
    pub architecture: String,
    pub variant: Option<String>,
    pub config: Value,
    layers: Vec<PathBuf>,
}

impl Image {
    pub fn name(&self) -> String {
        [Some(self.architecture.as_str()), self.variant.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join("/")
    }
}

impl Archive {
    #[track_caller]
    pub fn open(file: &Path) -> Archive {
        assert!(file.is_file(), "{} is not there", file.display());
        let folder = TempDir::new("archive");
        let root = folder.path().display().to_string();
        netns::run("tar", &["--extract", "--file", &file.display().to_string(), "--directory", &root]);
        let outer = json(&folder.path().join("index.json"));
        let [list] = array(&outer["manifests"]) else { panic!("one list of images, not {outer}") };
        let tag = list["annotations"]["org.opencontainers.image.ref.name"].as_str();
        // By which Podman has it once it is loaded.
        let name = file.file_name().and_then(|name| name.to_str()?.split_once("-image-v"));
        let (name, _) = name.expect("an image's archive");
        assert_eq!(tag, Some(format!("{name}:{}", env!("CARGO_PKG_VERSION")).as_str()), "{outer}");
        let list = json(&blob(folder.path(), list));
        let images = array(&list["manifests"]).iter().map(|entry| image(folder.path(), entry)).collect();
        Archive { folder, reference: format!("oci-archive:{}", file.display()), images }
    }

    /// The image that runs on this machine.
    #[track_caller]
    pub fn native(&self) -> &Image {
        let wanted = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let names: Vec<_> = self.images.iter().map(Image::name).collect();
        self.images
            .iter()
            .find(|it| it.architecture == wanted)
            .unwrap_or_else(|| panic!("no {wanted} among {names:?}"))
    }

    /// The files of an image, with their owners (so, as root).
    #[track_caller]
    pub fn unpack(&self, image: &Image) -> TempDir {
        assert!(self.folder.path().exists());
        let root = TempDir::new("root");
        for layer in &image.layers {
            let (layer, root) = (layer.display().to_string(), root.path().display().to_string());
            netns::run(
                "tar",
                &[
                    "--extract",
                    "--gzip",
                    "--numeric-owner",
                    "--preserve-permissions",
                    "--file",
                    &layer,
                    "-C",
                    &root,
                ],
            );
        }
        root
    }
}

fn image(folder: &Path, entry: &Value) -> Image {
    let manifest = json(&blob(folder, entry));
    let platform = &entry["platform"];
    assert_eq!(platform["os"], "linux", "{entry}");
    Image {
        architecture: platform["architecture"].as_str().expect("an architecture").to_owned(),
        variant: platform["variant"].as_str().map(str::to_owned),
        config: json(&blob(folder, &manifest["config"])),
        layers: array(&manifest["layers"]).iter().map(|layer| blob(folder, layer)).collect(),
    }
}

/// The file that a descriptor names; of the length that it says.
#[track_caller]
fn blob(folder: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().expect("a digest");
    let digest = digest.strip_prefix("sha256:").expect("SHA-256");
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    let path = folder.join("blobs/sha256").join(digest);
    let length = path.metadata().expect("a blob").len();
    assert_eq!(Some(length), descriptor["size"].as_u64(), "{digest}");
    path
}

#[track_caller]
fn json(path: &Path) -> Value {
    let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

/// What the head of a program says.
pub struct Elf {
    /// As images name it.
    pub architecture: &'static str,
    /// It names a program that loads it: then it is not static.
    pub wants_a_loader: bool,
}

impl Elf {
    /// `None` if it is no program of a processor that images are made for.
    pub fn read(file: &[u8]) -> Option<Elf> {
        let (wide, little) = match file.get(..6)? {
            [0x7f, b'E', b'L', b'F', class @ (1 | 2), data @ (1 | 2)] => (*class == 2, *data == 1),
            _ => return None,
        };
        // A number of so many bytes.
        let number = |at: usize, length: usize| {
            let bytes = file.get(at..at.checked_add(length)?)?;
            let add = |sum: usize, byte: &u8| sum << 8 | usize::from(*byte);
            Some(if little { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) })
        };
        let architecture = match (number(18, 2)?, wide, little) {
            (62, true, true) => "amd64",
            (3, false, true) => "386",
            (183, true, true) => "arm64",
            (40, false, true) => "arm",
            (243, true, true) => "riscv64",
            (8, false, true) => "mipsle",
            (8, false, false) => "mips",
            _ => return None,
        };
        let (start, size, count) = if wide {
            (number(32, 8)?, number(54, 2)?, number(56, 2)?)
        } else {
            (number(28, 4)?, number(42, 2)?, number(44, 2)?)
        };
        // PT_INTERP
        let wants_a_loader = (0..count).any(|at| number(start + at * size, 4) == Some(3));
        Some(Elf { architecture, wants_a_loader })
    }
}

#[test]
fn the_tests_own_program_wants_a_loader() {
    let elf = Elf::read(&std::fs::read("/proc/self/exe").expect("this program")).expect("a program");
    assert!(elf.wants_a_loader);
    assert!(Elf::read(b"#!/bin/sh\n").is_none());
}
