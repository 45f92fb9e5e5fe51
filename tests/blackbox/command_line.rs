//! Its command line, as somebody at a prompt uses it: help, suggestions, both halves; and as a host or a service starts it.

use crate::simple_obfs_options::installed_as;
use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_head, send};
use crate::support::plugin::{Vars, bare, ours};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{secs, within};
use std::net::SocketAddr;
use std::process::Stdio;

/// Exit code of a configuration error, so that a service manager can tell it from a crash.
const CONFIG_ERROR: i32 = 23;

/// Without a variable of a host: whoever tries it out gets the short help, and whoever started a service, a container or
/// a plugin so is told by the exit code that nothing runs.
#[test]
fn a_bare_start_prints_the_short_help_and_is_no_success() {
    within(secs(30), || {
        for arguments in [&[][..], &["-v"]] {
            let output = ours().args(arguments).stdin(Stdio::null()).output().expect("run it");
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (help, error) = (text(&output.stdout), text(&output.stderr));
            assert_eq!(output.status.code(), Some(CONFIG_ERROR), "{arguments:?}: {help}{error}");
            assert!(error.starts_with("obfs-rs: SS_REMOTE_HOST is not set: "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            for word in ["Usage: obfs-rs", "\n  client ", "\n  server ", "\n  help ", "obfs-rs demo"] {
                assert!(help.contains(word), "{word}: {help}");
            }
            assert!(help.lines().count() < 50, "{help}");
        }
    });
}

/// To Android hosts `-V` is the VPN mode, and they pass it beside their variables.
#[test]
fn a_lone_v_is_the_version_only_where_no_host_speaks() {
    within(secs(30), || {
        let (exit, text) = run(&["-V"]);
        assert_eq!(exit, Exit::Code(0), "{text}");
        assert!(text.starts_with("obfs-rs 0."), "{text}");
        let port = free_port();
        let mut command = ours();
        Vars { remote: ("127.0.0.1".into(), 1), local: ("127.0.0.1".into(), port), options: String::new() }
            .put(&mut command);
        command.arg("-V");
        let child = Child::spawn("a plugin in VPN mode", command);
        child.wait_listening(port);
        // One variable is a host that speaks, if only half of it.
        let mut command = ours();
        command.arg("-V").env("SS_PLUGIN_OPTIONS", "obfs=http");
        let child = Child::spawn("a host that says little", command);
        assert_eq!(child.wait_exit(secs(10)), Exit::Code(CONFIG_ERROR), "{}", child.show_log());
    });
}

/// Whoever asks for help is given it, wherever the flag stands.
#[test]
fn help_has_help_of_its_own() {
    within(secs(30), || {
        let (exit, of_help) = run(&["help", "help"]);
        assert_eq!(exit, Exit::Code(0), "{of_help}");
        assert!(of_help.contains("Usage: obfs-rs help"), "{of_help}");
        for words in [&["help", "--help"][..], &["help", "-h"], &["help", "help", "--help"]] {
            assert_eq!(run(words), (Exit::Code(0), of_help.clone()), "{words:?}");
        }
        assert_eq!(run(&["help", "check", "--help"]), run(&["help", "check"]));
        let (exit, text) = run(&["help", "chekc", "--help"]);
        assert!(exit == Exit::Code(CONFIG_ERROR) && text.contains("check"), "{text}");
    });
}

/// What is used most under `-h`, everything under `--help` and `help`; of the other half nothing.
#[test]
fn the_help_of_a_half_has_groups_and_a_short_form() {
    within(secs(30), || {
        for (half, own, other) in [
            ("server", ["--failover", "--key", "--trusted"], ["--handshake", "--proxy <", "--certRaw"]),
            ("client", ["--proxy <", "--mux", "--host"], ["--failover", "--key", "--trusted"]),
        ] {
            let (exit, short) = run(&[half, "-h"]);
            assert_eq!(exit, Exit::Code(0), "{short}");
            let (exit, all) = run(&[half, "--help"]);
            assert_eq!(exit, Exit::Code(0), "{all}");
            assert_eq!(run(&["help", half]).1.replace("\n\n", "\n"), all.replace("\n\n", "\n"));
            for word in own {
                assert!(short.contains(word) && all.contains(word), "{half} lacks {word}: {short}");
            }
            for word in other {
                assert!(!all.contains(word), "{half} has {word}: {all}");
            }
            assert!(short.lines().count() * 2 < all.lines().count() + 20, "{short}");
            assert!(!short.contains("--fwmark") && all.contains("--fwmark"), "{short}");
            let headings: Vec<_> = all.lines().filter(|line| HEADINGS.contains(line)).collect();
            let wanted = HEADINGS.iter().filter(|heading| half == "server" || **heading != "Website:");
            assert_eq!(headings, wanted.copied().collect::<Vec<_>>());
        }
        let (_, server) = run(&["help", "server"]);
        assert!(server.replace('\n', " ").contains("[server only]"), "{server}");
    });
}

const HEADINGS: &[&str] = &[
    "Addresses:",
    "Disguise:",
    "TLS and QUIC:",
    "Website:",
    "Proxies in front:",
    "Tuning:",
    "Process and log:",
    "Compatibility:",
    "Help:",
];

/// Each name has its own program's flags in its help, and a slip is told there, too.
#[test]
fn the_other_names_have_their_own_help() {
    within(secs(30), || {
        let dir = TempDir::new("names");
        for (name, flag, own, ours_alone) in [
            ("v2ray-plugin", "-help", "-localAddr HOST", None),
            ("v2ray-plugin", "--help", "-failover WEBSITE", None),
            ("v2ray-plugin", "-h", "-version", None),
            ("obfs-local", "-h", "-s <HOST>", Some("--serviceName")),
            ("obfs-server", "-h", "-r <HOST:PORT>", Some("--limit-tunnels")),
            ("obfs-local", "--help", "--serviceName", None),
        ] {
            let mut command = bare(installed_as(&dir, name));
            command.arg(flag);
            let child = Child::spawn(name, command);
            assert_eq!(child.wait_exit(secs(10)), Exit::Code(0), "{}", child.show_log());
            let text = child.lines().join("\n");
            assert!(text.contains(own), "{name} {flag}: {text}");
            assert!(ours_alone.is_none_or(|word| !text.contains(word)), "{name} {flag}: {text}");
        }
        for (name, flag, meant) in [
            ("v2ray-plugin", "-locaPort", "did you mean `-localPort`?"),
            ("obfs-local", "--obfs-hots", "'--obfs-host'"),
        ] {
            let mut command = bare(installed_as(&dir, name));
            command.args([flag, "1"]);
            let child = Child::spawn(name, command);
            assert_eq!(child.wait_exit(secs(10)), Exit::Code(CONFIG_ERROR), "{}", child.show_log());
            assert!(child.lines().join("\n").contains(meant), "{}", child.show_log());
        }
    });
}

fn run(arguments: &[&str]) -> (Exit, String) {
    let mut command = ours();
    command.args(arguments);
    let child = Child::spawn(&format!("{arguments:?}"), command);
    let exit = child.wait_exit(secs(5));
    (exit, child.lines().join("\n"))
}

#[test]
fn help_and_version_are_answered() {
    within(secs(30), || {
        let (exit, text) = run(&["--version"]);
        assert_eq!(exit, Exit::Code(0));
        // What a report of a fault has to say.
        for word in [env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, "features: ", "client"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let (exit, text) = run(&["--help"]);
        assert_eq!(exit, Exit::Code(0));
        for word in ["client", "server", "demo", "probe"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        for arguments in [&["help"][..], &["help", "server"]] {
            let (exit, text) = run(arguments);
            assert_eq!(exit, Exit::Code(0), "{text}");
            assert!(text.contains("Usage: obfs-rs"), "{arguments:?}: {text}");
        }
        // An example for each, and the options by their names.
        for (role, words) in [
            ("client", ["obfs-rs client --", "--obfs-host", "--handshake"]),
            ("server", ["obfs-rs server --", "--failover", "--obfs-uri"]),
        ] {
            let (exit, text) = run(&[role, "--help"]);
            assert_eq!(exit, Exit::Code(0));
            for word in words {
                assert!(text.contains(word), "{role}, {word}: {text}");
            }
        }
    });
}

#[test]
fn a_bad_command_line_is_refused() {
    within(secs(30), || {
        for (arguments, words) in [
            (
                &["server", "--listen", "127.0.0.1:1", "--backend", "127.0.0.1:2", "--failover", "nowhere"][..],
                &["failover", "nowhere"][..],
            ),
            (&["client", "--no-such-flag"], &["--no-such-flag"]),
            (&["clinet"], &["clinet", "client"]),
            (&["serve"], &["serve", "'server'"]),
            (&["client", "--lisen", "127.0.0.1:1"], &["--lisen", "'--listen'"]),
            (&["client", "--backend", "127.0.0.1:1"], &["'--backend'", "it is a flag of `obfs-rs server`"]),
            (&["--lisen", "127.0.0.1:1"], &["'--lisen'", "`obfs-rs client --listen`"]),
            (&["--remote", "127.0.0.1:1"], &["'--remote'", "it is a flag of `obfs-rs client`"]),
            (&["help", "serve"], &["'serve'", "'server'"]),
            (&["demo", "--stya"], &["'--stya'", "'--stay'"]),
            (&["client", "--listen="], &["--listen is empty", "HOST:PORT"]),
            (&["client", "--listen", "127.0.0.1:1", "--remote", "127.0.0.1"], &["remote", "127.0.0.1"]),
        ] {
            let (exit, text) = run(arguments);
            assert_eq!(exit, Exit::Code(CONFIG_ERROR), "{arguments:?}: {text}");
            for word in words {
                assert!(text.contains(word), "{arguments:?} lacks {word}: {text}");
            }
        }
    });
}

/// Without a host: both halves by the command line alone.
#[test]
fn both_halves_run_from_the_command_line() {
    within(secs(60), || {
        let echo = Backend::echo();
        let (public, local) = (free_port(), free_port());
        let mut command = ours();
        command.args(["server", "--listen", &format!("127.0.0.1:{public}")]);
        command.args(["--backend", &echo.addr.to_string(), "--obfs", "http", "--obfs-uri", "/s"]);
        let server = Child::spawn("server by command line", command);
        server.wait_listening(public);
        let mut command = ours();
        command.args(["client", "--listen", &format!("127.0.0.1:{local}")]);
        command.args(["--remote", &format!("127.0.0.1:{public}"), "--obfs-uri", "/s"]);
        command.args(["--obfs-host", "www.bing.com"]);
        let client = Child::spawn("client by command line", command);
        client.wait_listening(local);
        assert_echo(&connect(SocketAddr::from(([127, 0, 0, 1], local))), b"hello");
    });
}

/// Both given: the command line wins, and what it does not say comes from the environment.
#[test]
fn the_command_line_beats_the_environment() {
    within(secs(60), || {
        let (remote, connections) = Backend::manual();
        let port = free_port();
        let mut command = ours();
        Vars {
            remote: ("127.0.0.1".into(), remote.addr.port()),
            local: ("127.0.0.1".into(), port),
            options: "obfs=http;obfs-host=environment.example;obfs-uri=/kept".into(),
        }
        .put(&mut command);
        command.args(["client", "--obfs-host", "command.example"]);
        let child = Child::spawn("client", command);
        child.wait_listening(port);
        let app = connect(SocketAddr::from(([127, 0, 0, 1], port)));
        send(&app, b"x");
        let head = recv_head(&next(&connections));
        assert!(head.starts_with("GET /kept HTTP/1.1\r\nHost: command.example:"), "{head}");
    });
}
