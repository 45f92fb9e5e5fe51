//! The init script, run by busybox's shell, and what it starts.

use super::{Sdk, feed};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect};
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, our_path};
use crate::support::ports::free_port;
use crate::support::{STEP, eventually, netns, noise, secs, within};
use rustix::process::Signal;
use std::net::SocketAddr;

/// What the service manager would be told.
#[derive(Debug, Default)]
struct Told {
    instances: Vec<Instance>,
    triggers: Vec<String>,
    /// What the script says in the system's log.
    complaints: Vec<String>,
}

/// One process, with its parameters: kind and value, in order.
#[derive(Debug, Default)]
struct Instance {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Instance {
    fn all(&self, kind: &str) -> Vec<&str> {
        self.parameters.iter().filter(|(of, _)| of == kind).map(|(_, value)| value.as_str()).collect()
    }

    /// Starts it as procd would: with these words and these variables.
    #[track_caller]
    fn start(&self) -> Child {
        let command = self.all("command");
        assert_eq!(command[0], "/usr/bin/obfs-rs");
        let mut started = bare(our_path());
        started.args(&command[1..]).env_clear();
        started.envs(self.all("env").iter().map(|it| it.split_once('=').expect("a variable")));
        Child::spawn(&self.name, started)
    }
}

/// Runs the script on these settings.
#[track_caller]
fn run(sdk: &Sdk, settings: &str, action: &str) -> Told {
    let rc_common = sdk.0.write("rc.common", include_str!("rc.common"));
    sdk.0.write("router/lib/functions/network.sh", include_str!("network.sh"));
    let settings = sdk.0.write("settings", settings);
    let mut shell = bare(peers::path("busybox"));
    shell.arg("sh").arg(rc_common).arg(sdk.path().join("router")).arg(settings);
    shell.arg(action).arg(feed().join("obfs-rs/files/obfs-rs.init"));
    let shell = Child::spawn("the init script", shell);
    assert_eq!(shell.wait_exit(secs(20)), Exit::Code(0), "{}", shell.show_log());
    let mut told = Told::default();
    let mut open = false;
    for line in shell.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match word {
            "instance" => {
                assert!(!open, "{}", shell.show_log());
                open = true;
                told.instances.push(Instance { name: rest.to_owned(), ..Instance::default() });
            }
            "end" => open = false,
            "trigger" => told.triggers.push(rest.to_owned()),
            "log" => told.complaints.push(rest.to_owned()),
            _ => {
                assert!(open, "outside of any instance: {line}");
                let parameters = &mut told.instances.last_mut().expect("an instance").parameters;
                // Said twice, procd would know the last one alone.
                let again = word == "set" && parameters.iter().any(|(kind, of)| kind == "set" && of == rest);
                assert!(!again, "{}", shell.show_log());
                parameters.push((word.to_owned(), rest.to_owned()));
            }
        }
    }
    assert!(!open, "{}", shell.show_log());
    told
}

fn shipped() -> String {
    std::fs::read_to_string(feed().join("obfs-rs/files/obfs-rs.config")).expect("the settings")
}

#[test]
fn as_installed_it_starts_nothing() {
    within(secs(60), || {
        need!("busybox");
        let sdk = Sdk::new();
        let told = run(&sdk, &shipped(), "start");
        assert!(told.instances.is_empty() && told.complaints.is_empty(), "{told:?}");
        assert_eq!(run(&sdk, &shipped(), "triggers").triggers, ["config obfs-rs"]);
    });
}

/// The settings that are installed are right as soon as they are enabled: both halves listen where they say, and go on
/// without root.
#[test]
fn the_examples_start_once_they_are_enabled() {
    netns::alone(secs(90), || {
        need!("busybox");
        let sdk = Sdk::new();
        let told = run(&sdk, &shipped().replace("enabled '0'", "enabled '1'"), "start");
        let names: Vec<_> = told.instances.iter().map(|it| it.name.as_str()).collect();
        assert_eq!((names, told.complaints.len()), (vec!["client", "server"], 0));
        for (instance, port) in told.instances.iter().zip([1984, 8443]) {
            let child = instance.start();
            child.wait_listening(port);
            let is_root = || {
                let status =
                    std::fs::read_to_string(format!("/proc/{}/status", child.pid())).expect("a process");
                let user =
                    status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a user").to_owned();
                user.split_whitespace().any(|id| id == "0")
            };
            assert!(eventually(STEP, || !is_root()), "{} stays root", instance.name);
            child.signal(Signal::TERM);
            assert_eq!(child.wait_exit(secs(5)), Exit::Code(0), "{}", child.show_log());
        }
    });
}

/// A tunnel between two sections, and nothing of it in a command line.
#[test]
fn what_it_starts_carries_a_tunnel() {
    within(secs(60), || {
        need!("busybox");
        let sdk = Sdk::new();
        let echo = Backend::echo();
        let (entry, public) = (free_port(), free_port());
        let settings = format!(
            "
config server 'far'
\toption enabled '1'
\toption listen '127.0.0.1'
\toption listen_port '{public}'
\toption backend_port '{}'
\toption options 'mode=websocket;path=/a path with spaces'

config client 'near'
\toption enabled 'on'
\toption server '127.0.0.1'
\toption server_port '{public}'
\toption listen_port '{entry}'
\toption options 'mode=websocket;path=/a path with spaces;host=www.example.com'
",
            echo.addr.port()
        );
        let told = run(&sdk, &settings, "start");
        let names: Vec<_> = told.instances.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["near", "far"]);
        for instance in &told.instances {
            let role = if instance.name == "near" { "client" } else { "server" };
            assert_eq!(instance.all("command"), ["/usr/bin/obfs-rs", role]);
            assert_eq!(instance.all("limits"), ["nofile=65536 65536"]);
            // (said, with no numbers: the system's own)
            assert!(instance.all("set").contains(&"respawn"), "{instance:?}");
            assert_eq!(instance.all("stderr"), ["1"]);
        }
        let far = told.instances[1].start();
        far.wait_listening(public);
        let near = told.instances[0].start();
        near.wait_listening(entry);
        let stream = connect(SocketAddr::from(([127, 0, 0, 1], entry)));
        assert_echo(&stream, &noise(1024 * 1024, 17));
        for child in [near, far] {
            child.signal(Signal::TERM);
            assert_eq!(child.wait_exit(secs(5)), Exit::Code(0), "{}", child.show_log());
        }
    });
}

/// A section listens where its network is, and waits for one that is not up; a change of either starts the script again.
#[test]
fn a_section_follows_its_network() {
    within(secs(60), || {
        need!("busybox");
        let sdk = Sdk::new();
        let section = |name: &str, network: &str| {
            format!(
                "config client '{name}'\n\toption enabled '1'\n\toption server '192.0.2.1'\n\
                 \toption listen_port '1984'\n\toption network '{network}'\n"
            )
        };
        let settings = [section("a", "lan"), section("b", "wan"), section("c", "wan6")].concat();
        let told = run(&sdk, &settings, "start");
        let addresses: Vec<_> = told
            .instances
            .iter()
            .map(|it| {
                (it.name.as_str(), it.all("env").into_iter().find(|it| it.starts_with("SS_LOCAL_HOST")))
            })
            .collect();
        let expected = [("a", Some("SS_LOCAL_HOST=127.0.0.2")), ("c", Some("SS_LOCAL_HOST=::1"))];
        assert_eq!(addresses, expected);
        assert!(told.complaints.is_empty(), "{told:?}");
        let triggers = run(&sdk, &settings, "triggers").triggers;
        assert_eq!(triggers, ["config obfs-rs", "network lan", "network wan", "network wan6"]);
    });
}

/// What cannot start is named, and the rest starts; a file of settings is one that a reload looks at.
#[test]
fn a_section_that_says_too_little_is_named() {
    within(secs(60), || {
        need!("busybox");
        let sdk = Sdk::new();
        let settings = "
config client 'nowhere'
\toption enabled '1'
\toption listen_port '1984'
config server 'nothing'
\toption enabled '1'
config server 'well'
\toption enabled '1'
\toption listen_port '8443'
\toption config '/etc/obfs-rs/well.json'
\toption user 'nobody'
\toption term_timeout '30'
";
        let told = run(&sdk, settings, "start");
        assert_eq!(told.complaints.len(), 2, "{told:?}");
        for (complaint, section) in told.complaints.iter().zip(["nowhere", "nothing"]) {
            assert!(complaint.contains(&format!("section {section} ")), "{complaint}");
        }
        let [well] = &told.instances[..] else { panic!("{told:?}") };
        let command = well.all("command");
        let told = ["/usr/bin/obfs-rs", "server", "--config", "/etc/obfs-rs/well.json", "--user", "nobody"];
        assert_eq!(command, told);
        assert_eq!(well.all("file"), ["/etc/obfs-rs/well.json"]);
        assert_eq!(well.all("term_timeout"), ["30"]);
    });
}
