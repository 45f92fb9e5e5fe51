//! A machine of a test's own, on which the files of `deploy/` stand where they say and run as they are: its ports,
//! names, addresses and folders are nobody else's, and end with the test.

use super::child::Child;
use super::plugin::our_path;
use super::tempdir::TempDir;
use super::v2ray::Certificate;
use super::{STEP, eventually, netns, peers, within};
use std::cell::OnceCell;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The name, the path and the password that stand in the files of `deploy/`.
pub const NAME: &str = "www.example.com";
pub const PATH: &str = "/a-path-of-your-own";
pub const PASSWORD: &str = "a-password-of-your-own";

/// A file of `deploy/`.
#[track_caller]
pub fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    assert!(path.exists(), "deploy/{name} is not there");
    path
}

#[track_caller]
pub fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect(name)
}

/// The folders that may be written to on such a machine: what is there shows through.
const FOLDERS: [&str; 4] = ["/etc", "/var", "/usr/local", "/srv"];

pub struct Machine {
    dir: TempDir,
    authority: OnceCell<Certificate>,
}

impl Machine {
    /// Runs a test's body on a machine of its own. Only loopback is up, `NAME` is there, and obfs-rs is in
    /// `/usr/local/bin`.
    pub fn with(limit: Duration, body: impl FnOnce(&Machine) + Send + 'static) {
        if !netns::may() {
            return;
        }
        let dir = TempDir::new("machine");
        within(limit, move || {
            netns::enter();
            body(&Machine::new(dir));
        });
    }

    fn new(dir: TempDir) -> Machine {
        let layers = dir.path().display().to_string();
        netns::run("mount", &["-t", "tmpfs", "tmpfs", &layers]);
        for folder in FOLDERS.into_iter().filter(|folder| Path::new(folder).is_dir()) {
            let layer = dir.path().join(folder.replace('/', "-"));
            let (upper, work) = (layer.join("upper"), layer.join("work"));
            for part in [&upper, &work] {
                std::fs::create_dir_all(part).expect("a layer");
            }
            let layers = format!("lowerdir={folder},upperdir={},workdir={}", upper.display(), work.display());
            netns::run("mount", &["-t", "overlay", "overlay", "-o", &layers, folder]);
        }
        netns::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
        let machine = Machine { dir, authority: OnceCell::new() };
        machine.put("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
        machine.name("127.0.0.1", NAME);
        // Its user may have it in a home that others may not enter.
        machine.put("/usr/local/bin/obfs-rs", "");
        netns::run("mount", &["--bind", &our_path().display().to_string(), "/usr/local/bin/obfs-rs"]);
        machine
    }

    /// A folder for what this machine's programs keep.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file at its place, folders included.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = PathBuf::from(path);
        assert!(
            FOLDERS.iter().chain(&["/run"]).any(|folder| path.starts_with(folder)),
            "{} would be everybody's",
            path.display()
        );
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, content).expect("write a file");
        path
    }

    /// Puts a file of `deploy/` at its place, as it is.
    pub fn install(&self, name: &str, path: &str) -> PathBuf {
        self.put(path, text(name))
    }

    /// A name at an address, which becomes one of this machine's. A name may have several.
    pub fn name(&self, address: &str, name: &str) {
        self.address(address);
        let mut hosts = std::fs::File::options().append(true).open("/etc/hosts").expect("/etc/hosts");
        writeln!(hosts, "{address} {name}").expect("a line");
    }

    /// One more address of this machine.
    pub fn address(&self, address: &str) {
        let parsed: IpAddr = address.parse().expect("an address");
        if !parsed.is_loopback() {
            let length = if parsed.is_ipv4() { 32 } else { 128 };
            netns::run("ip", &["address", "replace", &format!("{address}/{length}"), "dev", "lo"]);
            // The kernel's route to one of IPv6 comes a moment later.
            let reached = || TcpStream::connect(TcpListener::bind((parsed, 0))?.local_addr()?);
            assert!(eventually(STEP, || reached().is_ok()), "{address} is not this machine's");
        }
    }

    /// A certificate for a name, where the files of `deploy/` have it, by an authority that this machine trusts. Once
    /// more for the same name: a renewal.
    pub fn certificate(&self, name: &str) -> Certificate {
        let authority = self.authority.get_or_init(|| {
            let authority = Certificate::authority("the tests' authority");
            let bundle = "/etc/ssl/certs/ca-certificates.crt";
            let known = std::fs::read(bundle).unwrap_or_default();
            let new = std::fs::read(&authority.cert).expect("a certificate");
            self.put(bundle, [known, new].concat());
            authority
        });
        let certificate = Certificate::signed(name, authority);
        for (file, end) in [(&certificate.cert, "pem"), (&certificate.key, "key")] {
            self.put(&format!("/etc/ssl/{name}.{end}"), std::fs::read(file).expect("a file"));
        }
        certificate
    }

    /// A command of this machine, in words.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = super::plugin::bare(peers::find(words[0]).unwrap_or_else(|| words[0].into()));
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("/usr/local/bin:{path}:/usr/sbin:/sbin"));
        command.env("HOME", self.dir.path()).args(&words[1..]).current_dir("/");
        command
    }

    #[track_caller]
    pub fn start(&self, name: &str, words: &[&str]) -> Child {
        Child::spawn(name, self.command(words))
    }

    /// Starts it, and waits until it listens on all these ports.
    #[track_caller]
    pub fn serve(&self, name: &str, ports: &[u16], words: &[&str]) -> Child {
        let child = self.start(name, words);
        for port in ports {
            child.wait_listening(*port);
        }
        child
    }
}

/// `127.0.0.1` and this port.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
