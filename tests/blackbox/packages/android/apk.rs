//! An APK, and what is in it.

use super::super::dist;
use super::manifest::{self, Element};
use crate::support::peers;
use crate::support::tempdir::TempDir;
use std::path::PathBuf;
use std::process::Command;

/// One of the programs, under the name by which Android unpacks it.
#[derive(Clone, Copy)]
pub struct Library {
    pub abi: &'static str,
    /// The release's name of the target.
    target: &'static str,
    /// As `readelf` names the processor.
    machine: &'static str,
}

pub const LIBRARIES: [Library; 3] = [
    Library { abi: "arm64-v8a", target: "android-arm64", machine: "AArch64" },
    Library { abi: "armeabi-v7a", target: "android-arm7", machine: "ARM" },
    Library { abi: "x86_64", target: "android-amd64", machine: "Advanced Micro Devices X86-64" },
];

impl Library {
    pub fn path(self) -> String {
        format!("lib/{}/libobfs-rs.so", self.abi)
    }

    /// The same file in the release's archive.
    #[track_caller]
    pub fn in_release(self) -> Vec<u8> {
        let name = format!("obfs-rs-{}-v{}", self.target, env!("CARGO_PKG_VERSION"));
        let archive = dist().join(format!("{name}.tar.gz"));
        let archive = archive.to_str().expect("a name");
        output("tar", &["--extract", "--to-stdout", "--file", archive, &format!("{name}/libobfs-rs.so")])
    }

    /// bionic's linker is not asked, and the kernel of a phone takes it: position-independent, without an interpreter or
    /// libraries, and with segments that begin on pages of 16 KiB too.
    #[track_caller]
    pub fn assert_starts(self, program: &[u8]) {
        let folder = TempDir::new("library");
        let file = folder.write("libobfs-rs.so", program);
        let file = file.to_str().expect("a name");
        let header = run("readelf", &["--file-header", file]);
        let value = |name: &str| {
            let line = header.lines().find_map(|line| line.trim().strip_prefix(name));
            line.unwrap_or_else(|| panic!("{name} in {header}")).trim().to_owned()
        };
        assert_eq!(value("Machine:"), self.machine);
        assert!(value("Type:").starts_with("DYN "), "{header}");
        let segments = run("readelf", &["--program-headers", "--wide", file]);
        let mut loaded = 0;
        for line in segments.lines().map(str::trim) {
            assert!(!line.starts_with("INTERP "), "{segments}");
            if line.starts_with("LOAD ") {
                let align = line.rsplit(' ').next().and_then(|text| text.strip_prefix("0x"));
                let align = align.and_then(|text| u64::from_str_radix(text, 16).ok()).expect("an alignment");
                // (there are no phones of 32 bits with such pages)
                assert!(self.abi == "armeabi-v7a" || align >= 16 * 1024, "{}: {segments}", self.abi);
                loaded += 1;
            }
        }
        assert!(loaded > 0, "{segments}");
        assert!(!run("readelf", &["--dynamic", file]).contains("(NEEDED)"), "it wants libraries");
    }
}

pub struct Apk(PathBuf);

impl Apk {
    /// The only one in the release's folder.
    #[track_caller]
    pub fn of_release() -> Apk {
        let entries = std::fs::read_dir(dist()).expect("the release's folder");
        let found: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "apk"))
            .collect();
        let [path] = &*found else { panic!("one APK, not {found:?}") };
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name");
        let plain = format!("obfs-rs-android-v{}", env!("CARGO_PKG_VERSION"));
        assert!(name == plain || name == format!("{plain}-test-key-do-not-publish"), "{name}");
        Apk(path.clone())
    }

    pub fn name(&self) -> &str {
        self.0.to_str().expect("a name")
    }

    #[track_caller]
    pub fn manifest(&self) -> Element {
        manifest::read(&run("aapt", &["dump", "xmltree", self.name(), "AndroidManifest.xml"]))
    }

    /// One of its files.
    #[track_caller]
    pub fn read(&self, file: &str) -> Vec<u8> {
        output("unzip", &["-p", self.name(), file])
    }
}

/// What a program says that ends well.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    String::from_utf8(output(program, arguments)).expect("text")
}

#[track_caller]
fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new(peers::path(program));
    let output = command.args(arguments).env("LC_ALL", "C").output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}
