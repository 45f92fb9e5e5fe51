//! Debian 12 in a folder: made once, and changed only in a layer that ends with the test.

use crate::support::child::{Child, Exit};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, eventually, netns, peers, proc, secs, within};
use rustix::fs::{FlockOperation, flock};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What is in it beside the essential packages: systemd, what ours depend on, and what they meet.
const PACKAGES: &str =
    "systemd,systemd-sysv,dbus,ca-certificates,libcap2-bin,shadowsocks-libev,shadowsocks-v2ray-plugin";

/// simple-obfs waits there: some tests install it.
const FETCH: &str = r#"cd "$1/srv" && APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -qq download simple-obfs && mv simple-obfs_*.deb simple-obfs.deb"#;

/// Debian starts what it installs; the tests start their own.
const QUIET: &str = r#"rm -f "$1"/etc/systemd/system/*.wants/shadowsocks-libev.service"#;

/// Into groups of its own, where systemd makes more. Its process is the first of a namespace, and so ends with what has
/// started it, and takes all that it has started in turn along.
const ENTER: &str = r#"
for group in $OWN_GROUPS; do echo $$ >"$group/cgroup.procs"; done
exec unshare --pid --fork --kill-child --mount-proc "$@"
"#;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The first one makes it, which takes minutes and the network; the others wait.
#[track_caller]
fn made() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(target).expect("a folder");
    // Another list makes another one.
    let name = crate::support::digest([PACKAGES, FETCH, QUIET].concat().as_bytes());
    let made = target.join(format!("debian-{}", &name[..12]));
    let lock = std::fs::File::create(made.with_extension("lock")).expect("a lock");
    flock(&lock, FlockOperation::LockExclusive).expect("a lock");
    if !made.is_dir() {
        let half = made.with_extension("half");
        let _ = std::fs::remove_dir_all(&half);
        let mut mmdebstrap = Command::new(peers::path("mmdebstrap"));
        mmdebstrap.args(["--quiet", "--variant=minbase", &format!("--include={PACKAGES}")]);
        mmdebstrap.arg(format!("--customize-hook={FETCH}")).arg(format!("--customize-hook={QUIET}"));
        let mmdebstrap = Child::spawn("mmdebstrap", {
            mmdebstrap.arg("bookworm").arg(&half);
            mmdebstrap
        });
        assert_eq!(mmdebstrap.wait_exit(secs(300)), Exit::Code(0), "{}", mmdebstrap.show_log());
        std::fs::rename(&half, &made).expect("the root is whole");
    }
    made
}

pub struct Root {
    dir: TempDir,
    /// Where its `/` is.
    pub path: PathBuf,
}

impl Root {
    /// Runs a test's body beside a fresh root, in a network of its own.
    pub fn with(limit: Duration, body: impl FnOnce(&Root) + Send + 'static) {
        assert!(netns::may(), "packages are installed by root");
        let lower = made();
        let dir = TempDir::new("root");
        within(limit, move || {
            netns::enter();
            body(&Root::over(&lower, dir));
        });
    }

    fn over(lower: &Path, dir: TempDir) -> Root {
        let layers = dir.path().display().to_string();
        netns::run("mount", &["-t", "tmpfs", "tmpfs", &layers]);
        let folders = ["upper", "work", "root"].map(|name| dir.path().join(name));
        for folder in &folders {
            std::fs::create_dir(folder).expect("a layer");
        }
        let [upper, work, path] = folders;
        let layers = [("lowerdir", lower), ("upperdir", &upper), ("workdir", &work)];
        let layers = layers.map(|(name, folder)| format!("{name}={}", folder.display())).join(",");
        netns::run("mount", &["-t", "overlay", "overlay", "-o", &layers, &path.display().to_string()]);
        // It notes there which folders are in use.
        netns::run("mount", &["-t", "tmpfs", "tmpfs", "/run"]);
        Root { dir, path }
    }

    /// The place outside of a path inside.
    pub fn place(&self, path: &str) -> PathBuf {
        self.path.join(path.trim_start_matches('/'))
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.place(path)).expect(path)
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.place(path), content).expect(path);
    }

    /// The packages, where apt in there finds them.
    pub fn copy(&self, packages: &[PathBuf]) -> Vec<String> {
        let copy = |file: &PathBuf| {
            let path = format!("/srv/{}", file.file_name().expect("a name").display());
            std::fs::copy(file, self.place(&path)).expect("a copy");
            path
        };
        packages.iter().map(copy).collect()
    }

    fn nspawn(&self, words: &[&str]) -> Nspawn {
        let groups = groups();
        let mut nspawn = bare("/bin/sh".into());
        nspawn
            .args(["-ec", ENTER, "sh"])
            .env("OWN_GROUPS", groups.join(" "))
            .arg(peers::path("systemd-nspawn"));
        nspawn.args(["--quiet", "--register=no", "--keep-unit", "-D"]).arg(&self.path).args(words);
        Nspawn { child: Some(Child::spawn("systemd-nspawn", nspawn)), groups }
    }

    /// Runs a command there, where nothing has been booted: what it wrote, and how it ended.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> (String, Exit) {
        let options = ["--pipe", "--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LC_ALL=C", "--"];
        let nspawn = self.nspawn(&[&options, words].concat());
        let child = nspawn.child();
        let exit = child.wait_exit(secs(120));
        (child.lines().join("\n"), exit)
    }

    /// Runs one that ends well.
    #[track_caller]
    pub fn does(&self, words: &[&str]) -> String {
        let (said, exit) = self.run(words);
        assert_eq!(exit, Exit::Code(0), "{words:?}: {said}");
        said
    }

    /// Boots it.
    #[track_caller]
    pub fn boot(&self) -> Booted {
        let running = self.nspawn(&["--boot"]);
        let nspawn = running.child();
        let mut init = None;
        let found = eventually(STEP, || {
            // unshare, nspawn, and the first process in there.
            let nspawn_is = proc::children_of(nspawn.pid()).into_iter().next();
            init = nspawn_is
                .and_then(|it| proc::children_of(it.pid).into_iter().find(|it| it.name == "systemd"));
            init.is_some() || nspawn.peek_exit().is_some()
        });
        assert!(found, "it does not boot; {}", nspawn.show_log());
        let pid = init.unwrap_or_else(|| panic!("it does not boot; {}", nspawn.show_log())).pid;
        let booted = Booted { nspawn: running, pid };
        let is_up = || {
            let state = booted.run(&["systemctl", "is-system-running"]).0;
            ["running", "degraded"].contains(&state.trim())
        };
        assert!(eventually(secs(90), is_up), "{}", booted.nspawn.child().show_log());
        booted
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // The folder can go when nothing lies over it.
        netns::succeeds("umount", &["--recursive", "--lazy", &self.dir.path().display().to_string()]);
    }
}

/// New groups for a process, in each tree that systemd has groups in.
fn groups() -> Vec<String> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("obfs-rs-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let mine = std::fs::read_to_string("/proc/self/cgroup").expect("my groups");
    let group = |line: &str| {
        let (names, path) = line.split_once(':')?.1.split_once(':')?;
        let tree = match names {
            "name=systemd" => "/sys/fs/cgroup/systemd",
            "" if Path::new("/sys/fs/cgroup/unified").is_dir() => "/sys/fs/cgroup/unified",
            "" => "/sys/fs/cgroup",
            _ => return None,
        };
        let group = format!("{tree}{}/{name}", path.trim_end_matches('/'));
        std::fs::create_dir(&group).expect("a group");
        Some(group)
    };
    mine.lines().filter_map(group).collect()
}

struct Nspawn {
    /// There until the end.
    child: Option<Child>,
    groups: Vec<String>,
}

impl Nspawn {
    fn child(&self) -> &Child {
        self.child.as_ref().expect("it was started")
    }
}

impl Drop for Nspawn {
    fn drop(&mut self) {
        drop(self.child.take());
        // Its processes are ending, and only groups without any can be removed.
        let remove = |group: &String| {
            netns::succeeds("find", &[group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
        };
        let removed =
            eventually(secs(10), || self.groups.iter().all(|it| !Path::new(it).exists() || remove(it)));
        if !removed && !std::thread::panicking() {
            panic!("processes have outlived systemd-nspawn: {:?}", self.groups);
        }
    }
}

/// A root whose systemd runs. All of it ends with this.
pub struct Booted {
    nspawn: Nspawn,
    pid: i32,
}

impl Booted {
    /// A command there.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(peers::path("nsenter"));
        command.args([
            "--target",
            &self.pid.to_string(),
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
            "--",
        ]);
        command.args(words).env_clear().env("PATH", PATH).env("LC_ALL", "C");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    #[track_caller]
    pub fn start(&self, words: &[&str]) -> Child {
        Child::spawn(words[0], self.command(words))
    }

    /// Runs a command there: what it wrote, and how it ended.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> (String, Exit) {
        let child = self.start(words);
        let exit = child.wait_exit(secs(150));
        (child.lines().join("\n"), exit)
    }

    /// Runs one that ends well.
    #[track_caller]
    pub fn does(&self, words: &[&str]) -> String {
        let (said, exit) = self.run(words);
        assert_eq!(exit, Exit::Code(0), "{words:?}: {said}");
        said
    }

    /// One of a unit's properties.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.does(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--sync"]);
        self.run(&["journalctl", "--no-pager", "--output=cat", "--unit", unit]).0
    }

    /// Ends it as a machine ends.
    #[track_caller]
    pub fn power_off(self) {
        self.run(&["systemctl", "poweroff"]);
        let nspawn = self.nspawn.child();
        assert_eq!(nspawn.wait_exit(secs(60)), Exit::Code(0), "{}", nspawn.show_log());
    }
}
