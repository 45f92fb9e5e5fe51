//! A drop-in for simple-obfs: its command lines and its configuration file.

use crate::simple_obfs_process::line_of;
use crate::support::backend::{Backend, next};
use crate::support::child::{Child, Exit};
use crate::support::conn::{End, assert_echo, connect, recv_head, recv_to_end, send};
use crate::support::peers::{self, need};
use crate::support::plugin::{Ours, Vars, bare, client, our_path, ours, server};
use crate::support::ports::free_port;
use crate::support::tempdir::TempDir;
use crate::support::{STEP, noise, secs, within};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const CONFIG_ERROR: i32 = 23;

pub const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

pub fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("a path of ASCII").to_owned()
}

/// The binary under one of simple-obfs's names.
pub fn installed_as(dir: &TempDir, name: &str) -> PathBuf {
    let path = dir.path().join(name);
    if !path.exists() {
        std::os::unix::fs::symlink(our_path(), &path).expect("a symlink");
    }
    path
}

/// A command from words in one text.
pub fn command(program: PathBuf, words: &str) -> Command {
    let mut command = bare(program);
    command.args(words.split_whitespace());
    command
}

#[track_caller]
pub fn started(name: &str, command: Command, port: u16) -> Child {
    let child = Child::spawn(name, command);
    child.wait_listening(port);
    child
}

/// Runs a command that is to end at once; its exit code and what it wrote.
#[track_caller]
pub fn ended(command: Command) -> (Exit, Vec<String>) {
    let child = Child::spawn("a command that ends", command);
    let exit = child.wait_exit(secs(10));
    (exit, child.lines())
}

/// The same command lines for simple-obfs's programs and for ours under their names, each with each.
#[test]
fn command_lines_of_simple_obfs_work_under_its_names() {
    within(secs(90), || {
        need!("obfs-local", "obfs-server");
        let dir = TempDir::new("drop-in");
        let echo = Backend::echo();
        let program = |real: bool, name: &str| match real {
            true => peers::path(name),
            false => installed_as(&dir, name),
        };
        for obfs in ["http", "tls"] {
            for (real_server, real_client) in [(true, true), (true, false), (false, true), (false, false)] {
                for extra in ["-t 30 -v", "-n 4096 -6 --fast-open", "--mptcp -t 600"] {
                    let (port, local) = (free_port(), free_port());
                    let words = format!(
                        "-s 127.0.0.1 -p {port} -l {local} -r 127.0.0.1:{} --obfs {obfs} {extra}",
                        echo.addr.port()
                    );
                    let _server =
                        started("obfs-server", command(program(real_server, "obfs-server"), &words), port);
                    let words = format!(
                        "-s 127.0.0.1 -p {port} -l {local} -b 127.0.0.1 --obfs {obfs} --obfs-host www.bing.com {extra}"
                    );
                    let _client =
                        started("obfs-local", command(program(real_client, "obfs-local"), &words), local);
                    assert_echo(&connect(loopback(local)), &noise(300_000, 1));
                }
            }
        }
    });
}

/// Where each listens when it is not told: the server everywhere, the client for this machine.
#[test]
fn defaults_of_the_drop_in_programs() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let echo = Backend::echo();
        let port = free_port();
        let words = format!("-p {port} -r 127.0.0.1:{} --obfs=http", echo.addr.port());
        let server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
        server.wait_text(&format!("0.0.0.0:{port}"));
        server.wait_text(&format!("[::]:{port}"));
        let local = free_port();
        let words = format!("-s 127.0.0.9 -s 127.0.0.1 -p {port} -l {local} --obfs http");
        let client = started("obfs-local", command(installed_as(&dir, "obfs-local"), &words), local);
        client.wait_text(&format!("[127.0.0.1:{local}]"));
        client.wait_text("server 127.0.0.9");
        assert_echo(&connect(loopback(local)), b"several servers");
    });
}

/// `-b`: where the client listens; where the server dials from.
#[test]
fn b_means_what_it_means_in_each_program() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let (remote, connections) = Backend::manual();
        let local = free_port();
        let words = format!("-s 127.0.0.1 -p {} -l {local} -b 127.0.0.5 --obfs http", remote.addr.port());
        let client = started("obfs-local", command(installed_as(&dir, "obfs-local"), &words), local);
        client.wait_text(&format!("[127.0.0.5:{local}]"));
        let app = connect(SocketAddr::from(([127, 0, 0, 5], local)));
        send(&app, b"x");
        assert_eq!(next(&connections).peer_addr().expect("who came").ip().to_string(), "127.0.0.1");

        let port = free_port();
        let words = format!("-s 127.0.0.1 -p {port} -r {} -b 127.0.0.6 --obfs http", remote.addr);
        let _server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
        let tunnel = connect(loopback(port));
        send(&tunnel, REQUEST);
        assert_eq!(next(&connections).peer_addr().expect("who came").ip().to_string(), "127.0.0.6");
    });
}

/// `--obfs-host`, `--obfs-uri`, `--http-method` on the wire, also cut short as getopt allows.
#[test]
fn what_the_client_sends_follows_the_command_line() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let (remote, connections) = Backend::manual();
        for words in [
            "--obfs http --obfs-host a.example --obfs-uri /way --http-method PUT",
            "--obfs=http --obfs-h=a.example --obfs-u=/way --http-m PUT",
        ] {
            let local = free_port();
            let words = format!("-s127.0.0.1 -p{} -l{local} {words}", remote.addr.port());
            let _client = started("obfs-local", command(installed_as(&dir, "obfs-local"), &words), local);
            let app = connect(loopback(local));
            send(&app, b"x");
            let head = recv_head(&next(&connections));
            let port = remote.addr.port();
            assert!(head.starts_with(&format!("PUT /way HTTP/1.1\r\nHost: a.example:{port}\r\n")), "{head}");
        }
    });
}

/// `--failover`, `--obfs-host` and `--http-method` decide on the server who is a visitor.
#[test]
fn what_the_server_takes_follows_the_command_line() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let site = Backend::serve(|stream| send(&stream, b"the website"));
        let shadowsocks = Backend::greeter(b"shadowsocks");
        let port = free_port();
        let words = format!(
            "-s 127.0.0.1 -p {port} -r {} --obfs http --obfs-host a.example --http-method PUT --failover {} \
             --reverse_proxy",
            shadowsocks.addr, site.addr
        );
        let _server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
        for (method, host, ours) in
            [("PUT", "a.example", true), ("GET", "a.example", false), ("PUT", "b.example", false)]
        {
            let stream = connect(loopback(port));
            let request = format!(
                "{method} / HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            );
            send(&stream, request.as_bytes());
            if ours {
                recv_head(&stream);
                assert_eq!(crate::support::conn::recv(&stream, 11), b"shadowsocks");
            } else {
                assert_eq!(crate::support::conn::recv(&stream, 11), b"the website", "{method} {host}");
            }
        }
    });
}

/// Under these names it is a plugin too, as simple-obfs's programs are.
#[test]
fn the_drop_in_programs_are_plugins() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let echo = Backend::echo();
        let start = |name: &str, remote: u16, local: u16, listens: u16| {
            let mut command = bare(installed_as(&dir, name));
            let vars = Vars {
                remote: ("127.0.0.1".into(), remote),
                local: ("127.0.0.1".into(), local),
                options: "obfs=http;obfs-host=www.bing.com;fast-open".into(),
            };
            vars.put(&mut command);
            started(name, command, listens)
        };
        let (port, local) = (free_port(), free_port());
        let _server = start("obfs-server", port, echo.addr.port(), port);
        let _client = start("obfs-local", port, local, local);
        assert_echo(&connect(loopback(local)), b"plugin");
    });
}

/// The usage text of each program has every option that simple-obfs's own has.
#[test]
fn help_has_every_option_of_simple_obfs() {
    within(secs(30), || {
        need!("obfs-local", "obfs-server");
        let dir = TempDir::new("drop-in");
        for name in ["obfs-local", "obfs-server"] {
            let options = |program: PathBuf| -> BTreeSet<String> {
                let (exit, lines) = ended(command(program, "-h"));
                assert_eq!(exit, Exit::Code(0), "{name}");
                let text = lines.join("\n");
                assert!(text.contains(name), "{text}");
                text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
                    .filter(|word| word.starts_with('-') && word.len() > 1)
                    .map(str::to_owned)
                    .collect()
            };
            let theirs = options(peers::path(name));
            let ours = options(installed_as(&dir, name));
            // The server's -l stands in its usage text and does nothing.
            let missing: Vec<_> =
                theirs.difference(&ours).filter(|o| !(name == "obfs-server" && *o == "-l")).collect();
            assert!(missing.is_empty(), "{name} -h lacks {missing:?}");
            assert!(theirs.len() > 10, "{theirs:?}");
        }
    });
}

/// `-d`: simple-obfs 0.0.5 takes a name server and asks it nothing; nor do we, and say so.
#[test]
fn d_is_taken_and_the_log_says_that_it_is_not_followed() {
    within(secs(60), || {
        let echo = Backend::echo();
        for (option, wanted) in [(";d=192.0.2.53", true), (";nameserver=192.0.2.53", true), ("", false)] {
            let server = server(Ours, echo.addr, &format!("obfs=http{option}"));
            let client = client(Ours, server.addr, "obfs=http");
            assert_echo(&connect(client.addr), b"works all the same");
            server.child.signal(Signal::TERM);
            server.child.wait_exit(STEP);
            let lines = server.child.lines();
            let told = lines.iter().any(|line| line.contains("WARN") && line.contains("192.0.2.53"));
            assert_eq!(told, wanted, "{option}: {lines:?}");
        }
    });
}

/// `-t`: a tunnel on which nothing moves is ended.
#[test]
fn t_ends_idle_tunnels() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let echo = Backend::echo();
        let port = free_port();
        let words = format!("-s 127.0.0.1 -p {port} -r {} --obfs http -t 1", echo.addr);
        let _server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
        let stream = connect(loopback(port));
        send(&stream, REQUEST);
        recv_head(&stream);
        assert_echo(&stream, b"awake");
        let (_, end) = recv_to_end(&stream, secs(10));
        assert_ne!(end, End::Open);
    });
}

/// `-v`, and that nothing of it is there without.
#[test]
fn v_logs_every_tunnel() {
    within(secs(60), || {
        let dir = TempDir::new("drop-in");
        let echo = Backend::echo();
        for (flag, wanted) in [("-v", true), ("", false)] {
            let port = free_port();
            let words = format!("-s 127.0.0.1 -p {port} -r {} --obfs http {flag}", echo.addr);
            let server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
            let stream = connect(loopback(port));
            send(&stream, REQUEST);
            recv_head(&stream);
            let from = stream.local_addr().expect("an address").to_string();
            crate::support::hosts::close(&stream);
            if wanted {
                server.wait_text(&from);
            } else {
                server.signal(Signal::TERM);
                server.wait_exit(STEP);
                assert!(!server.lines().join("\n").contains(&from), "{}", server.show_log());
            }
        }
    });
}

/// `-c`: simple-obfs's keys, for both programs, and as a plugin option.
#[test]
fn c_reads_simple_obfs_configuration() {
    within(secs(60), || {
        let dir = TempDir::new("config");
        let (remote, connections) = Backend::manual();
        let local = free_port();
        let config = format!(
            r#"{{
    "server": ["127.0.0.1"], "server_port": {},
    "local_address": "127.0.0.7", "local_port": {local},
    "password": "x", "method": "y", "timeout": 60, "nofile": 2000, "mptcp": false,
    "obfs": "http", "obfs_host": "file.example", "obfs_uri": "/file", "http_method": "POST",
    "fast_open": true, "ipv6_first": false, "reverse_proxy": true
}}"#,
            remote.addr.port()
        );
        let file = text(&dir.write("client.json", config));
        let words = format!("-c {file}");
        let client = started("obfs-local", command(installed_as(&dir, "obfs-local"), &words), local);
        assert!(!client.lines().join("\n").contains("WARN"), "{}", client.show_log());
        let app = connect(SocketAddr::from(([127, 0, 0, 7], local)));
        send(&app, b"x");
        let head = recv_head(&next(&connections));
        assert!(head.starts_with("POST /file HTTP/1.1\r\nHost: file.example:"), "{head}");
        assert!(line_of(client.pid(), "limits", "Max open files").starts_with("2000 2000"));
        drop(client);

        // The command line wins over the file; and our own form of the command line takes it too.
        for (program, words) in [
            (installed_as(&dir, "obfs-local"), format!("-c {file} --obfs-host line.example -b 127.0.0.1")),
            (
                our_path(),
                format!("client --config {file} --obfs-host line.example --listen 127.0.0.1:{local}"),
            ),
        ] {
            let _client = started("client", command(program, &words), local);
            let app = connect(loopback(local));
            send(&app, b"x");
            let head = recv_head(&next(&connections));
            assert!(head.starts_with("POST /file HTTP/1.1\r\nHost: line.example:"), "{head}");
        }

        // And so do a host's variables and options.
        let mut plugin = ours();
        let vars = Vars {
            remote: ("127.0.0.1".into(), remote.addr.port()),
            local: ("127.0.0.1".into(), free_port()),
            options: format!("client;c={file};obfs-uri=/host"),
        };
        vars.put(&mut plugin);
        let _plugin = started("plugin", plugin, vars.local.1);
        let app = connect(loopback(vars.local.1));
        send(&app, b"x");
        let head = recv_head(&next(&connections));
        assert!(head.starts_with("POST /host HTTP/1.1\r\nHost: file.example:"), "{head}");

        // The server's: dst_addr, failover, user.
        let shadowsocks = Backend::greeter(b"shadowsocks");
        let site = Backend::serve(|stream| send(&stream, b"the website"));
        let port = free_port();
        let config = format!(
            r#"{{"server": "127.0.0.1", "server_port": "{port}", "local_port": 1080,
               "dst_addr": "{}", "failover": "{}", "obfs": "http", "nameserver": null}}"#,
            shadowsocks.addr, site.addr
        );
        let file = text(&dir.write("server.json", config));
        let words = format!("-c {file}");
        let _server = started("obfs-server", command(installed_as(&dir, "obfs-server"), &words), port);
        let stream = connect(loopback(port));
        send(&stream, REQUEST);
        recv_head(&stream);
        assert_eq!(crate::support::conn::recv(&stream, 11), b"shadowsocks");
        let stream = connect(loopback(port));
        send(&stream, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(crate::support::conn::recv(&stream, 11), b"the website");
    });
}

/// Exit code 23 and one line with all the words.
#[test]
fn bad_input_is_refused_with_one_line() {
    within(secs(120), || {
        let dir = TempDir::new("bad");
        let wrong = |name: &str, content: &str| text(&dir.write(name, content));
        let missing = text(&dir.path().join("missing.json"));
        let folder = text(dir.path());
        let no_comma = wrong("comma.json", "{\n  \"server\": \"127.0.0.1\"\n  \"server_port\": 80\n}");
        let no_value = wrong("value.json", "{\n\n  \"timeout\": sixty\n}");
        let no_number = wrong("number.json", "{\n  \"obfs\": \"http\",\n  \"timeout\": \"soon\"\n}");
        let no_flag = wrong("flag.json", "{\n  \"fast_open\": \"perhaps\"\n}");
        let no_text = wrong("text.json", "{\"obfs\": {\"a\": 1}}");
        let no_port = wrong("port.json", "{\"server\": \"127.0.0.1\",\n\"server_port\": 99999}");
        let no_object = wrong("array.json", "[1]");
        let empty = wrong("empty.json", "");
        let pid = text(&dir.path().join("no/pid"));
        // What else each program needs stands in front.
        let base = "-s 127.0.0.1 -p 8388";
        let cases: Vec<(String, Vec<&str>)> = vec![
            (format!("-c {missing}"), vec![&missing]),
            (format!("-c {folder}"), vec![&folder]),
            (format!("-c {no_comma}"), vec![&no_comma, ":2:", "expected a comma"]),
            (format!("-c {no_value}"), vec![&no_value, ":3:", "unexpected"]),
            (format!("{base} -c {no_number}"), vec![&no_number, ":3", "timeout", "soon"]),
            (format!("{base} -c {no_flag}"), vec![&no_flag, ":2", "fast_open", "perhaps"]),
            (format!("-c {no_text}"), vec![&no_text, ":1", "obfs"]),
            (format!("-c {no_port}"), vec![&no_port, ":2", "server_port", "99999"]),
            (format!("-c {no_object}"), vec![&no_object, ":1"]),
            (format!("-c {empty}"), vec![&empty, ":1"]),
            (format!("{base} -a no-such-user"), vec!["user", "no-such-user"]),
            (format!("{base} -a 4294967294"), vec!["user", "4294967294"]),
            (format!("{base} -i no-such-dev"), vec!["interface", "no-such-dev"]),
            (format!("{base} -i a-name-that-is-much-too-long"), vec!["a-name-that-is-much-too-long"]),
            (format!("{base} --source-address here"), vec!["here", "address"]),
            (format!("{base} -n many"), vec!["many", "open files"]),
            (format!("{base} -n 0"), vec!["`0`", "open files"]),
            (format!("{base} -t never"), vec!["never", "seconds"]),
            (format!("{base} -f {pid}"), vec![&pid]),
            (format!("{base} --obfs htpp"), vec!["obfs", "htpp", "tls"]),
            (format!("{base} --no-such-flag"), vec!["no-such-flag", "--help"]),
            (format!("{base} -p"), vec!["-p"]),
            ("-s 127.0.0.1".to_owned(), vec!["-p"]),
            ("-s 127.0.0.1 -p x".to_owned(), vec!["-p", "`x`", "port"]),
        ];
        let mut problems = Vec::new();
        for (words, wanted) in &cases {
            for (name, needed) in [("obfs-server", "-r 127.0.0.1:9"), ("obfs-local", "-l 1080")] {
                let words = format!("{needed} {words}");
                let (exit, lines) = ended(command(installed_as(&dir, name), &words));
                let all = wanted.iter().all(|word| lines.join("\n").contains(word));
                if exit != Exit::Code(CONFIG_ERROR) || lines.len() != 1 || !all {
                    problems.push(format!("{name} {words}: {exit:?} {lines:?}, wanted {wanted:?}"));
                }
            }
        }
        for (words, word) in [("-r 127.0.0.1", "127.0.0.1"), ("-r 127.0.0.1:x", "`x`"), ("", "-r")] {
            let words = format!("-p 8388 {words}");
            let (exit, lines) = ended(command(installed_as(&dir, "obfs-server"), &words));
            if exit != Exit::Code(CONFIG_ERROR) || lines.len() != 1 || !lines[0].contains(word) {
                problems.push(format!("{words}: {exit:?} {lines:?}"));
            }
        }
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    });
}

/// `scripts/install`: the program under its three names, each of which runs, its pages and completions;
/// paths are those of whoever calls it.
#[test]
fn the_install_script_installs_all_names_and_pages() {
    within(secs(60), || {
        let dir = TempDir::new("install");
        std::os::unix::fs::symlink(our_path(), dir.path().join("built")).expect("a link");
        for (destination, prefix, root) in [(Some("pkg"), "/usr", "pkg/usr"), (None, "local", "local")] {
            let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/install"));
            script.current_dir(dir.path()).env("BINARY", "built").env("PREFIX", prefix);
            if let Some(destination) = destination {
                script.env("DESTDIR", destination);
            }
            let (exit, lines) = ended(script);
            assert_eq!(exit, Exit::Code(0), "{lines:?}");
            let root = dir.path().join(root);
            for name in ["obfs-rs", "obfs-local", "obfs-server"] {
                let (exit, lines) = ended(command(root.join("bin").join(name), "--help"));
                assert_eq!(exit, Exit::Code(0), "{lines:?}");
                assert!(lines.join("\n").contains(&format!("Usage: {name}")), "{lines:?}");
                for file in [
                    format!("man/man1/{name}.1"),
                    format!("bash-completion/completions/{name}"),
                    format!("zsh/site-functions/_{name}"),
                    format!("fish/vendor_completions.d/{name}.fish"),
                ] {
                    assert!(root.join("share").join(&file).is_file(), "{file}");
                }
            }
            assert!(root.join("share/man/man1/obfs-rs-server.1").is_file());
        }
    });
}
