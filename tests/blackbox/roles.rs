//! Which half it is: told by flag, subcommand, name, address, option or parent.

use crate::support::child::Child;
use crate::support::peers::skip;
use crate::support::plugin::{Vars, bare, our_path, ours};
use crate::support::ports::free_port;
use crate::support::proc;
use crate::support::tempdir::TempDir;
use crate::support::{eventually, secs, within};
use std::process::Command;

/// Two ports, and the variables in which a server would listen on the first, a client on the second.
struct Doors {
    remote: u16,
    local: u16,
}

impl Doors {
    fn put(host: &str, options: &str, command: &mut Command) -> Doors {
        let doors = Doors { remote: free_port(), local: free_port() };
        Vars {
            remote: (host.to_owned(), doors.remote),
            local: ("127.0.0.1".to_owned(), doors.local),
            options: options.to_owned(),
        }
        .put(command);
        doors
    }

    /// Which of the two opens says which half it is; so does the start-up line, and why.
    #[track_caller]
    fn assert_role(&self, what: &str, child: &Child, role: &str, why: &str) {
        let (open, shut) = match role {
            "server" => (self.remote, self.local),
            _ => (self.local, self.remote),
        };
        let opened = eventually(secs(10), || {
            proc::port_listens(open) || proc::port_listens(shut) || child.peek_exit().is_some()
        });
        assert!(opened && proc::port_listens(open), "{what}: not a {role}; {}", child.show_log());
        let line = child.wait_line(&format!("{role} and why"), |l| {
            let l = l.to_lowercase();
            l.contains(role) && l.contains(&why.to_lowercase())
        });
        assert!(!line.is_empty());
    }
}

#[track_caller]
fn check(what: &str, mut command: Command, host: &str, options: &str, role: &str, why: &str) {
    let doors = Doors::put(host, options, &mut command);
    let child = Child::spawn(what, command);
    doors.assert_role(what, &child, role, why);
}

#[test]
fn the_flag_says_it() {
    within(secs(30), || {
        check("flag server", ours(), "127.0.0.1", "server;obfs=http", "server", "option");
        check("flag client", ours(), "127.0.0.1", "obfs=http;client", "client", "option");
        // also against everything else
        check("flag client, wildcard", ours(), "0.0.0.0", "client", "client", "option");
    });
}

#[test]
fn the_subcommand_says_it() {
    within(secs(30), || {
        for role in ["client", "server"] {
            let mut command = ours();
            command.arg(role);
            check(role, command, "127.0.0.1", "obfs=http", role, "command");
        }
    });
}

#[test]
fn the_program_name_says_it() {
    within(secs(30), || {
        let dir = TempDir::new("names");
        for (name, role) in [("obfs-server", "server"), ("obfs-local", "client")] {
            let link = dir.path().join(name);
            std::os::unix::fs::symlink(our_path(), &link).expect("a link");
            check(name, bare(link), "127.0.0.1", "obfs=http", role, name);
        }
    });
}

#[test]
fn a_wildcard_address_is_nothing_to_dial() {
    within(secs(30), || {
        for host in ["0.0.0.0", "::", "[::]"] {
            if host.contains(':') && std::net::TcpListener::bind("[::]:0").is_err() {
                skip("IPv6");
                continue;
            }
            check(host, ours(), host, "obfs=http", "server", "SS_REMOTE_HOST");
        }
    });
}

#[test]
fn an_option_that_only_servers_have() {
    within(secs(30), || {
        for option in ["failover=127.0.0.1:80", "fallback=127.0.0.1:80"] {
            let name = option.split('=').next().expect("a name");
            check(option, ours(), "127.0.0.1", &format!("obfs=http;{option}"), "server", name);
        }
    });
}

/// A shell under the name of a host starts it as its child; the shell's name is the parent's name.
#[test]
fn the_parent_name_says_it() {
    within(secs(60), || {
        let dir = TempDir::new("parents");
        for (name, role) in [
            ("ss-server", "server"),
            ("ssserver", "server"),
            ("ss-local", "client"),
            ("sslocal", "client"),
            ("ss-tunnel", "client"),
        ] {
            let host = dir.path().join(name);
            std::fs::copy("/bin/sh", &host).expect("copy a shell");
            let mut command = bare(host);
            command.arg("-c").arg("\"$1\"; exit $?").arg(name).arg(our_path());
            check(name, command, "127.0.0.1", "obfs=http", role, name);
        }
    });
}

/// One string is handed to both halves: what a client cannot use makes no server of it, and the log says
/// that it is not used.
#[test]
fn a_host_is_stronger_than_a_stray_option() {
    within(secs(30), || {
        let dir = TempDir::new("parents");
        let host = dir.path().join("ss-local");
        std::fs::copy("/bin/sh", &host).expect("copy a shell");
        for options in ["obfs=http;failover=127.0.0.1:80", "mode=websocket;host=a.example;key=/no/such/file"]
        {
            let mut command = bare(host.clone());
            command.arg("-c").arg("\"$1\"; exit $?").arg("ss-local").arg(our_path());
            let doors = Doors::put("127.0.0.1", options, &mut command);
            let child = Child::spawn(options, command);
            doors.assert_role(options, &child, "client", "ss-local");
            let name =
                options.rsplit(';').next().and_then(|option| option.split('=').next()).expect("a name");
            let line = child.wait_text(&format!("`{name}` is a server's"));
            assert!(line.contains("WARN"), "{line}");
        }
    });
}

#[test]
fn else_it_is_a_client() {
    within(secs(30), || {
        check("nothing", ours(), "127.0.0.1", "obfs=http", "client", "client");
        check("no options", ours(), "localhost", "", "client", "client");
    });
}

/// The start-up line: version, role, addresses, disguise, fallback.
#[test]
fn the_start_up_line_says_what_runs() {
    within(secs(30), || {
        let mut command = ours();
        let doors = Doors::put("127.0.0.1", "obfs=http;failover=127.0.0.1:8080", &mut command);
        let child = Child::spawn("server", command);
        child.wait_listening(doors.remote);
        let line = child.wait_text(env!("CARGO_PKG_VERSION"));
        for word in [
            "server",
            "http",
            "127.0.0.1:8080",
            &format!("127.0.0.1:{}", doors.remote),
            &format!("127.0.0.1:{}", doors.local),
        ] {
            assert!(line.contains(word), "no “{word}” in {line}");
        }
    });
}
