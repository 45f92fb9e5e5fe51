//! What an engine makes of a resolved compose file, as far as the suite needs it: networks, and containers on them.

use crate::support::child::{Child, Exit};
use crate::support::deployed::Machine;
use crate::support::{STEP, eventually, netns, proc, secs};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;

/// The first process of a container: its files are the machine's programs and what is mounted, its rights are none.
const CONTAINER: &str = r#"
set -e
root=/run/containers/$name
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs $root
cd $root
mkdir proc dev etc usr tmp
ln -s usr/bin usr/sbin usr/lib usr/lib64 .
mount --rbind /usr usr
mount --bind /etc etc
mount --bind /dev dev
mount -t proc proc proc
mount --bind $root.hosts etc/hosts
eval "$mounts"
mount -o remount,bind,ro etc
mount -o remount,bind,ro usr
mount -o remount,ro $root
exec chroot $root setpriv --reuid "${user%:*}" --regid "${user#*:}" --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all env --ignore-environment PATH=/usr/local/bin:/usr/sbin:/usr/bin "$@"
"#;

/// The networks of a file, each a bridge, and the addresses of its services.
pub struct Engine<'a> {
    machine: &'a Machine,
    config: Value,
}

pub struct Container {
    /// All that it writes is its log.
    pub child: Child,
}

/// A list of texts.
pub fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|item| item.as_str().expect("a text")).collect()
}

/// An object's keys.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

impl Engine<'_> {
    pub fn new(machine: &Machine, config: Value) -> Engine<'_> {
        std::fs::create_dir_all("/run/containers").expect("a folder");
        let engine = Engine { machine, config };
        for (subnet, network) in keys(&engine.config["networks"]).into_iter().enumerate() {
            netns::ip(&format!("link add {network} type bridge"));
            // (Of a range from which ssserver.acl keeps nobody: what is dialled here is at one of these.)
            netns::ip(&format!("address add 198.18.{subnet}.1/24 dev {network}"));
            netns::ip(&format!("link set {network} up"));
        }
        for (number, name) in keys(&engine.config["services"]).into_iter().enumerate() {
            netns::ip(&format!("netns add {name}"));
            netns::ip(&format!("-n {name} link set lo up"));
            for network in engine.networks(name) {
                let (inner, outer) = (format!("{network}-in"), format!("v{number}{network}"));
                netns::ip(&format!("link add {outer} type veth peer name {inner} netns {name}"));
                netns::ip(&format!("link set {outer} master {network} up"));
                let address = engine.address(name, network);
                netns::ip(&format!("-n {name} address add {address}/24 dev {inner}"));
                netns::ip(&format!("-n {name} link set {inner} up"));
            }
        }
        engine
    }

    pub fn networks(&self, service: &str) -> Vec<&str> {
        keys(&self.config["services"][service]["networks"])
    }

    fn address(&self, service: &str, network: &str) -> String {
        let at = |of: &str, name: &str| keys(&self.config[of]).iter().position(|key| *key == name);
        let subnet = at("networks", network).expect("a network");
        format!("198.18.{subnet}.{}", 10 + at("services", service).expect("a service"))
    }

    /// Starts a service: `command` is its image's, where the file has none.
    #[track_caller]
    pub fn start(&self, name: &str, command: &[&str]) -> Container {
        let service = &self.config["services"][name];
        let mut hosts = String::from("127.0.0.1 localhost\n");
        for network in self.networks(name) {
            for other in keys(&self.config["services"]) {
                if self.networks(other).contains(&network) {
                    writeln!(hosts, "{} {other}", self.address(other, network)).expect("a text");
                }
            }
        }
        self.machine.put(&format!("/run/containers/{name}.hosts"), hosts);
        std::fs::create_dir_all(format!("/run/containers/{name}")).expect("a folder");
        let mut mounts = String::new();
        for volume in texts(&service["volumes"]) {
            let (from, to) = volume.trim_end_matches(":ro").split_once(':').expect("a source and a target");
            let to = to.trim_start_matches('/');
            let make = match Path::new(from).is_dir() {
                true => format!("mkdir -p {to}"),
                false => format!("mkdir -p $(dirname {to}); touch {to}"),
            };
            writeln!(mounts, "[ -e {to} ] || {{ {make}; }}").expect("a text");
            writeln!(mounts, "mount --bind {from} {to}; mount -o remount,bind,ro {to}").expect("a text");
        }
        for tmpfs in texts(&service["tmpfs"]) {
            let (to, options) = tmpfs.split_once(':').expect("a target and options");
            writeln!(mounts, "mount -t tmpfs -o {options} tmpfs .{to}").expect("a text");
        }
        let variables: Vec<_> = service["environment"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", value.as_str().expect("a text")))
            .collect();
        let own = texts(&service["command"]);
        let mut words = vec![
            "setpriv",
            "--pdeathsig",
            "KILL",
            "ip",
            "netns",
            "exec",
            name,
            "unshare",
            "--mount",
            "--pid",
            "--fork",
        ];
        words.extend(["--uts", "--ipc", "--kill-child", "sh", "-c", CONTAINER, name]);
        words.extend(variables.iter().map(String::as_str));
        words.extend(if own.is_empty() { command } else { own.as_slice() });
        let mut container = self.machine.command(&words);
        let user = service["user"].as_str().expect("a user");
        container.envs([("name", name), ("mounts", &mounts), ("user", user)]);
        Container { child: Child::spawn(name, container) }
    }

    /// Runs a command in a container: whether it ends well.
    pub fn exec(&self, container: &Container, words: &[&str]) -> bool {
        let (pid, user) = (container.pid(), self.config["services"][&container.child.name]["user"].as_str());
        let (user, group) = user.expect("a user").split_once(':').expect("a user and a group");
        let pid = pid.as_raw_nonzero().to_string();
        let enter =
            ["nsenter", "--target", &pid, "--all", "--root", "--setuid", user, "--setgid", group, "--"];
        self.machine.start(words[0], &[&enter, words].concat()).wait_exit(secs(10)) == Exit::Code(0)
    }

    /// What is published, for whoever comes from outside.
    #[track_caller]
    pub fn publish(&self, name: &str) -> Vec<Child> {
        let ports = self.config["services"][name]["ports"].as_array().expect("ports");
        let address = self.address(name, self.networks(name)[0]);
        let publish = |port: &Value| {
            let (outer, inner) = (&port["published"], &port["target"]);
            let outer_port = outer.as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
            let listen = format!("TCP-LISTEN:{outer},fork,reuseaddr,backlog=100");
            self.machine.serve("socat", &[outer_port], &["socat", &listen, &format!("TCP:{address}:{inner}")])
        };
        ports.iter().map(publish).collect()
    }

    /// What its health check says.
    #[track_caller]
    pub fn is_healthy(&self, container: &Container) -> bool {
        let check = texts(&self.config["services"][&container.child.name]["healthcheck"]["test"]);
        assert_eq!(check.first(), Some(&"CMD"), "a check that needs no shell");
        container.is_alive() && self.exec(container, &check[1..])
    }

    /// Waits until its health check says that it serves.
    #[track_caller]
    pub fn wait_healthy(&self, container: &Container) {
        let healthy = eventually(STEP, || self.is_healthy(container));
        assert!(healthy, "{}", container.child.show_log());
    }
}

impl Container {
    fn pid(&self) -> Pid {
        let mut found = Vec::new();
        eventually(STEP, || {
            found = proc::children_of(self.child.pid());
            !found.is_empty() || self.child.peek_exit().is_some()
        });
        Pid::from_raw(found.first().expect("it runs").pid).expect("a number")
    }

    fn is_alive(&self) -> bool {
        self.child.peek_exit().is_none()
    }

    /// What `docker stop` sends first.
    pub fn stop(&self) {
        kill_process(self.pid(), Signal::TERM).expect("a signal");
    }
}
