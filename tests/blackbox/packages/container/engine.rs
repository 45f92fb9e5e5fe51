//! What an engine does with an image, as far as the tests need it.

use super::archive::Image;
use crate::support::child::{Child, Exit};
use crate::support::peers;
use crate::support::plugin::bare;
use crate::support::proc::{self, Proc};
use crate::support::{STEP, eventually, secs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::path::Path;

/// The first process of a container: its file system is the image's, which cannot be written to, with what every engine puts
/// into it; its rights are none; its numbers are its own. (The network is the test's.)
const CONTAINER: &str = r#"
set -e
root=$1
shift
mount --make-rprivate /
mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
eval "$mounts"
mount -o remount,bind,ro "$root"
exec env -i "$@"
"#;

pub struct Container {
    pub child: Child,
}

/// A list of texts.
fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().expect("a text")).collect()
}

impl Container {
    /// `docker run --read-only -e ENV… -v FILE:PATH:ro… IMAGE WORDS`: without words, those of the image.
    #[track_caller]
    pub fn start(
        name: &str,
        image: &Image,
        root: &Path,
        env: &[(&str, &str)],
        files: &[(&Path, &str)],
        words: &[&str],
    ) -> Container {
        let config = &image.config["config"];
        let mut mounts = String::new();
        for (from, to) in files {
            let to = root.join(to.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder of the test");
            if !to.exists() {
                std::fs::write(&to, "").expect("a place for a mount");
            }
            let (from, to) = (from.display(), to.display());
            mounts += &format!("mount --bind '{from}' '{to}'; mount -o remount,bind,ro '{to}'\n");
        }
        let mut command = bare(peers::path("setpriv"));
        command.args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--uts",
            "--ipc",
            "--kill-child",
        ]);
        command.args(["sh", "-c", CONTAINER, name]).arg(root).env("mounts", mounts);
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        // Its environment is the image's and what is given, and nothing of the test's.
        command.args(texts(&config["Env"])).args(env.iter().map(|(name, value)| format!("{name}={value}")));
        command.arg(peers::path("setpriv")).arg("--no-new-privs").arg(peers::path("chroot"));
        let user = config["User"].as_str().expect("a user");
        command.args([&format!("--userspec={user}"), "--groups="]).arg(root);
        command.args(texts(&config["Entrypoint"]));
        command.args(if words.is_empty() { texts(&config["Cmd"]) } else { words.to_vec() });
        Container { child: Child::spawn(name, command) }
    }

    /// Its first process, which is number 1 there.
    #[track_caller]
    pub fn first(&self) -> Proc {
        let mut found = None;
        eventually(STEP, || {
            // (setpriv and unshare are one process, one after the other)
            found = proc::children_of(self.child.pid()).into_iter().next();
            found.is_some() || self.child.peek_exit().is_some()
        });
        found.unwrap_or_else(|| panic!("it does not run; {}", self.child.show_log()))
    }

    /// What `docker stop` sends first.
    #[track_caller]
    pub fn stop(&self) {
        kill_process(Pid::from_raw(self.first().pid).expect("a number"), Signal::TERM).expect("a signal");
    }

    /// Runs a command in it, as its user: whether it ends well.
    #[track_caller]
    pub fn exec(&self, words: &[&str]) -> bool {
        let pid = self.first().pid.to_string();
        let mut command = bare(peers::path("nsenter"));
        command.args([
            "--target", &pid, "--mount", "--pid", "--root", "--setuid", "65532", "--setgid", "65532", "--",
        ]);
        command.args(words);
        Child::spawn(words[0], command).wait_exit(secs(10)) == Exit::Code(0)
    }
}
