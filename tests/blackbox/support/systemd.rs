//! A real systemd, the first process of a machine of a test's own.

use super::child::{Child, Exit};
use super::deployed::Machine;
use super::{STEP, eventually, netns, proc, secs};
use std::path::{Path, PathBuf};

/// Into a group of its own, and namespaces. It ends with the test, however that ends.
const ENTER: &str = r#"
set -e
mkdir -p /run/groups
mount -t cgroup2 cgroup2 /run/groups
mine=$(sed -n 's/^0:://p' /proc/self/cgroup)
group=/run/groups$mine/obfs-rs-test-$$
mkdir "$group"
echo $$ >"$group/cgroup.procs"
echo "group=$group"
exec setpriv --pdeathsig KILL unshare --mount --pid --fork --uts --ipc --cgroup --kill-child sh -c "$1"
"#;

/// What systemd sets up at a boot would be everybody's: files are written to nowhere but the machine's own folders,
/// devices and settings of the kernel not at all, and of the units of a boot none is there.
const BOOT: &str = r#"
set -e
for folder in /tmp /root /home; do mount -t tmpfs -o mode=1777 tmpfs $folder; done
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys
mount -t sysfs -o ro sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /run/dev
mount -t tmpfs -o mode=755 tmpfs /run/dev
for device in null zero full random urandom tty; do
    touch /run/dev/$device
    mount --bind /dev/$device /run/dev/$device
done
mkdir /run/dev/pts /run/dev/shm
mount -t devpts -o newinstance,ptmxmode=666 devpts /run/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /run/dev/shm
ln -s pts/ptmx /run/dev/ptmx
ln -s /proc/self/fd /run/dev/fd
mount --move /run/dev /dev
mount -o remount,bind,ro /
rm -rf /etc/systemd/system /etc/fstab
mkdir -p /etc/systemd/system
mkdir /run/nothing
for wants in /usr/lib/systemd/system/*.wants; do
    case $wants in */sockets.target.wants) ;; *) mount --bind /run/nothing "$wants" ;; esac
done
exec env -i container=test PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin \
    /usr/lib/systemd/systemd --system --unit=basic.target --show-status=no </dev/null
"#;

pub struct Systemd<'a> {
    machine: &'a Machine,
    init: Option<Child>,
    pid: i32,
    group: PathBuf,
}

impl Systemd<'_> {
    /// Starts it, on the machine's network.
    #[track_caller]
    pub fn boot(machine: &Machine) -> Systemd<'_> {
        let init = machine.start("systemd", &["sh", "-c", ENTER, "sh", BOOT]);
        let group = init.wait_text("group=").trim_start_matches("group=").into();
        let mut systemd = Systemd { machine, init: Some(init), pid: 0, group };
        let init = systemd.init.as_ref().expect("it was started");
        let is_there = || Path::new("/run/systemd/private").exists();
        let booted = eventually(STEP, || init.peek_exit().is_some() || is_there());
        let children = proc::children_of(init.pid());
        assert!(booted && children.len() == 1, "it does not boot; {}", init.show_log());
        systemd.pid = children[0].pid;
        let state = systemd.run(&["systemctl", "is-system-running", "--wait"]).0;
        assert!(matches!(state.trim(), "running" | "degraded"), "{state}");
        systemd
    }

    /// Runs a command there: what it wrote, and how it ended.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> (String, Exit) {
        let pid = self.pid.to_string();
        let enter = ["nsenter", "--target", &pid, "--mount", "--pid", "--uts", "--ipc", "--"];
        let child = self.machine.start(words[0], &[&enter, words].concat());
        let exit = child.wait_exit(secs(100));
        (child.lines().join("\n"), exit)
    }

    /// Runs a command there that ends well.
    #[track_caller]
    pub fn does(&self, words: &[&str]) -> String {
        let (said, exit) = self.run(words);
        let unit = words.last().expect("words");
        assert_eq!(exit, Exit::Code(0), "{words:?}: {said}\n{}", self.journal(unit));
        said
    }

    /// One of a unit's properties.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.does(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> String {
        // What was written before is in the journal when this returns.
        self.run(&["journalctl", "--sync"]);
        self.run(&["journalctl", "--no-pager", "--output=cat", "--unit", unit]).0
    }
}

impl Drop for Systemd<'_> {
    fn drop(&mut self) {
        // Its first process takes all others with it; their groups are empty then.
        drop(self.init.take());
        let group = self.group.display().to_string();
        eventually(secs(5), || {
            netns::succeeds("find", &[&group, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
        });
    }
}
