//! The program for Windows, under Wine: as a host starts it, with the native program at the other end.

use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::{assert_echo, connect, recv_to_end};
use crate::support::plugin::{self, Ours, Vars};
use crate::support::ports::free_port;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::wine::{Host, Wine, client_vars, option_path, server_vars};
use crate::support::{STEP, eventually, noise, proc, secs, within};
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;

const MB: usize = 1024 * 1024;

/// Wine takes its time to start, and so does whoever makes the first one.
const LIMIT: u64 = 300;

/// What is the same at both ends.
const DISGUISES: [&str; 4] =
    ["obfs=http", "obfs=tls", "mode=websocket;mux=0;path=/way", "mode=websocket;mux=4;path=/way"];

fn carries(client: SocketAddr) {
    assert_echo(&connect(client), &noise(8 * MB, 1));
    // A name of its own for each: with mux they share a connection.
    for seed in 2..6 {
        assert_echo(&connect(client), &noise(1000, seed));
    }
}

/// The options of a server with a certificate whose files have these names in options.
fn tls_server(cert: &str, key: &str) -> String {
    format!("mode=websocket;mux=0;tls;host={NAME};cert={cert};key={key}")
}

fn tls_client(cert: &str) -> String {
    format!("mode=websocket;mux=0;tls;host={NAME};cert={cert}")
}

#[test]
fn a_client_on_windows_carries_in_all_disguises() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        for options in DISGUISES {
            let server = plugin::server(Ours, backend.addr, options);
            let client = wine.client(server.addr, options);
            carries(client.addr);
        }
    });
}

#[test]
fn a_server_on_windows_carries_in_all_disguises() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        for options in DISGUISES {
            let server = wine.server(backend.addr, options);
            let client = plugin::client(Ours, server.addr, options);
            carries(client.addr);
        }
    });
}

#[test]
fn both_halves_on_windows_carry_in_tls() {
    within(secs(LIMIT), || {
        let (wine, backend, certificate) = (Wine::start(), Backend::echo(), Certificate::new(NAME));
        // Letters of another script, and a space.
        let in_folder = |name: &str, of: &Path| {
            let file = wine.folder().join(name);
            std::fs::copy(of, &file).expect("a copy");
            file
        };
        let cert = in_folder("сертификат 证书.pem", &certificate.cert);
        let key = in_folder("ключ 🔑.pem", &certificate.key);
        let (of_server, of_client) =
            (tls_server(&option_path(&cert), &option_path(&key)), tls_client(&option_path(&cert)));
        let native = (
            tls_server(&certificate.cert.display().to_string(), &certificate.key.display().to_string()),
            tls_client(&certificate.cert.display().to_string()),
        );
        let server = wine.server(backend.addr, &of_server);
        carries(plugin::client(Ours, server.addr, &native.1).addr);
        carries(wine.client(server.addr, &of_client).addr);
        let server = plugin::server(Ours, backend.addr, &native.0);
        carries(wine.client(server.addr, &of_client).addr);
    });
}

#[test]
fn a_client_on_windows_trusts_nobody_whom_windows_does_not() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let authority = Certificate::authority("An authority of this test");
        let certificate = Certificate::signed(NAME, &authority);
        let (cert, key) = (certificate.cert.display().to_string(), certificate.key.display().to_string());
        let server = plugin::server(Ours, backend.addr, &tls_server(&cert, &key));
        let options = format!("mode=websocket;mux=0;tls;host={NAME}");
        let untrusting = wine.client(server.addr, &options);
        let stream = connect(untrusting.addr);
        let (answer, _) = recv_to_end(&stream, STEP);
        assert!(answer.is_empty());
        untrusting.child.wait_text("nobody whom this machine trusts has signed it");
    });
}

#[test]
fn the_demo_passes() {
    within(secs(LIMIT), || {
        let wine = Wine::start();
        let mut command = wine.command("obfs-rs.exe");
        command.arg("demo");
        let child = Child::spawn("the demo on Windows", command);
        assert_eq!(child.wait_exit(secs(200)), Exit::Code(0), "{}", child.show_log());
        assert!(child.lines().iter().any(|line| line.contains("100 MB")), "{}", child.show_log());
    });
}

#[test]
fn help_and_version_are_printed() {
    within(secs(LIMIT), || {
        let wine = Wine::start();
        for (argument, wanted) in [("--help", "obfs-rs demo"), ("--version", "windows")] {
            let mut command = wine.command("obfs-rs.exe");
            command.arg(argument);
            let child = Child::spawn(argument, command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(0), "{}", child.show_log());
            assert!(child.lines().iter().any(|line| line.contains(wanted)), "{}", child.show_log());
        }
    });
}

#[test]
fn a_plugin_ends_when_its_host_is_killed() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let vars = server_vars(backend.addr, "obfs=http");
        let port = vars.remote.1;
        let host = wine.host("obfs-rs.exe", &vars, &[]);
        host.wait_listening(port);
        // With a tunnel that stands, which does not hold it up.
        let client = plugin::client(Ours, ([127, 0, 0, 1], port).into(), "obfs=http");
        let tunnel = connect(client.addr);
        assert_echo(&tunnel, &noise(1000, 1));
        assert_eq!(wine.processes("obfs-rs.exe"), 1, "it runs");
        host.child.signal(Signal::KILL);
        assert_eq!(host.child.wait_exit(STEP), Exit::Signal(9));
        assert!(eventually(secs(5), || !proc::port_listens(port)), "it listens; {}", host.child.show_log());
        assert!(eventually(secs(5), || wine.processes("obfs-rs.exe") == 0), "it still runs");
        host.child.wait_text("ending: the program that started us is gone");
    });
}

#[test]
fn a_plugin_ends_when_its_host_has_left() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let vars = client_vars(backend.addr, "obfs=http");
        let mut host = wine.host("obfs-rs.exe", &vars, &[]);
        host.wait_listening(vars.local.1);
        host.end();
        assert_eq!(host.child.wait_exit(STEP), Exit::Code(0));
        assert!(eventually(secs(5), || !proc::port_listens(vars.local.1)), "{}", host.child.show_log());
    });
}

/// The client half, started by a program that is no host: its words say everything.
fn not_as_plugin(wine: &Wine, remote: SocketAddr) -> (Host, u16) {
    let port = free_port();
    let [listen, remote] = [format!("+127.0.0.1:{port}"), format!("+{remote}")];
    let none = Vars { remote: (String::new(), 0), local: (String::new(), 0), options: String::new() };
    let unset = ["SS_REMOTE_HOST=", "SS_REMOTE_PORT=", "SS_LOCAL_HOST=", "SS_LOCAL_PORT="];
    let words = ["+client", "+--listen", &listen, "+--remote", &remote, "+--obfs", "+http"];
    let words: Vec<_> = unset.into_iter().chain(words).collect();
    let host = wine.host("obfs-rs.exe", &none, &words);
    host.wait_listening(port);
    (host, port)
}

#[test]
fn without_a_host_it_outlives_who_started_it() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let (host, port) = not_as_plugin(&wine, backend.addr);
        host.child.signal(Signal::KILL);
        host.child.wait_exit(STEP);
        // As long as a plugin would have had to end.
        assert!(!eventually(secs(4), || !proc::port_listens(port)), "{}", host.child.show_log());
    });
}

#[test]
fn the_hosts_name_says_which_half() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        for (name, said) in
            [("SSServer.exe", "role from the parent process, ssserver"), ("sslocal.exe", "sslocal")]
        {
            let port = free_port();
            // Both addresses can be listened on, so that either half starts.
            let address = ("127.0.0.1".to_owned(), port);
            let to = (backend.addr.ip().to_string(), backend.addr.port());
            let (remote, local) = if name == "sslocal.exe" { (to, address) } else { (address, to) };
            let vars = Vars { remote, local, options: "obfs=http".to_owned() };
            let host = wine.host_named(name, "obfs-rs.exe", &vars, &[]);
            host.wait_listening(port);
            host.child.wait_text(said);
        }
    });
}

#[test]
fn mistakes_have_an_exit_code_of_their_own() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let good = client_vars(backend.addr, "obfs=http");
        let missing = format!("obfs=http;c={}", option_path(&wine.folder().join("none.json")));
        for (options, words, said) in [
            ("obfs=nothing", vec![], "`nothing` is not"),
            (
                "obfs=http",
                vec!["SS_REMOTE_HOST=a{d800}b"],
                "SS_REMOTE_HOST: `a\u{fffd}b` is not Unicode text",
            ),
            ("obfs=http", vec!["SS_PLUGIN_OPTIONS=obfs=http;path=/{d800}"], "SS_PLUGIN_OPTIONS: "),
            ("obfs=http", vec!["+--obfs-host", "+a{d800}b"], "command line: "),
            (missing.as_str(), vec![], "none.json"),
        ] {
            let vars = Vars { options: options.to_owned(), ..good.clone() };
            let host = wine.host("obfs-rs.exe", &vars, &words);
            assert_eq!(host.wait_plugin_ended(), 23, "{options} {words:?}; {}", host.child.show_log());
            host.child.wait_line(said, |line| line.starts_with("obfs-rs: ") && line.contains(said));
        }
        // The code is what others than Windows' hosts see, too.
        let mut command = wine.command("obfs-rs.exe");
        Vars { options: "obfs=nothing".to_owned(), ..good }.put(&mut command);
        let child = Child::spawn("a plugin with a mistake", command);
        assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{}", child.show_log());
    });
}

#[test]
fn a_variable_that_is_not_asked_for_may_be_anything() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let vars = client_vars(backend.addr, "obfs=http");
        let host = wine.host("obfs-rs.exe", &vars, &["SOME_OTHER={d800}"]);
        host.wait_listening(vars.local.1);
    });
}

#[test]
fn it_listens_on_several_addresses_and_on_both_families() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        for (hosts, dialled) in [
            ("127.0.0.2|127.0.0.3", ["127.0.0.2", "127.0.0.3"]),
            ("0.0.0.0|::", ["127.0.0.1", "::1"]),
            ("::", ["127.0.0.1", "::1"]),
        ] {
            let vars = server_vars(backend.addr, "obfs=http");
            let vars = Vars { remote: (hosts.to_owned(), vars.remote.1), ..vars };
            let server = wine.plugin("a server with several addresses", &vars, vars.remote.1);
            for host in dialled {
                let address = SocketAddr::new(host.parse().expect("an address"), vars.remote.1);
                carries(plugin::client(Ours, address, "obfs=http").addr);
            }
            drop(server);
        }
    });
}

#[test]
fn a_port_that_is_not_to_be_had_is_told() {
    within(secs(LIMIT), || {
        let (wine, backend) = (Wine::start(), Backend::echo());
        let refused = |taken: u16| {
            let vars = client_vars(backend.addr, "obfs=http");
            let vars = Vars { local: ("127.0.0.1".to_owned(), taken), ..vars };
            let mut command = wine.command("obfs-rs.exe");
            vars.put(&mut command);
            let child = Child::spawn("a plugin without a port", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(1), "{}", child.show_log());
            child.wait_text("another program has this port: netstat -ano");
        };
        // One that a program outside has, and one that another of ours has.
        let native = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).expect("a port");
        refused(native.local_addr().expect("its address").port());
        let other = wine.client(backend.addr, "obfs=http");
        refused(other.addr.port());
        // It is still whose it was.
        assert!(proc::port_listens(other.addr.port()));
    });
}

/// Linux's word for a port that takes a right which one has not is the one by which Windows tells of a reserved port.
#[test]
fn a_port_that_is_reserved_is_told() {
    within(secs(LIMIT), || {
        let setpriv = ["setpriv", "--inh-caps=-all", "--bounding-set=-net_bind_service"];
        let (wine, backend) = (Wine::start_by(&setpriv), Backend::echo());
        let start = Command::new("sysctl").args(["-n", "net.ipv4.ip_unprivileged_port_start"]).output();
        let start = String::from_utf8(start.expect("run sysctl").stdout).expect("a number");
        assert!(start.trim().parse::<u16>().expect("a number") > 81, "port 81 is everybody's: {start}");
        for (options, protocol) in [("obfs=http", "tcp"), ("obfs=http;metrics=127.0.0.1:81", "tcp")] {
            let vars = client_vars(backend.addr, options);
            let local = if options.contains("metrics") { vars.local.1 } else { 81 };
            let vars = Vars { local: ("127.0.0.1".to_owned(), local), ..vars };
            let mut command = wine.command("obfs-rs.exe");
            vars.put(&mut command);
            let child = Child::spawn("a plugin without a port", command);
            assert_eq!(child.wait_exit(STEP), Exit::Code(1), "{}", child.show_log());
            child.wait_text(&format!(
                "reserved by Windows; see netsh interface ipv4 show excludedportrange protocol={protocol}"
            ));
        }
    });
}
