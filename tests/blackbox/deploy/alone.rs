//! `deploy/shadowsocks/server.json` with `deploy/nginx/loopback-tls.conf`: a machine with nothing else on port 443.

use super::{carries, shadowsocks_client, shadowsocks_server};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::deployed::{Machine, NAME, PATH, file};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::{STEP, secs};

/// Debian's own configuration, in which the order of ciphers is the server's.
fn website(machine: &Machine) -> Child {
    machine.certificate(NAME);
    machine.put("/var/www/html/index.html", "a shop for garden chairs\n");
    std::fs::remove_file("/etc/nginx/sites-enabled/default").expect("Debian's site");
    machine.install("nginx/loopback-tls.conf", "/etc/nginx/sites-enabled/loopback-tls.conf");
    machine.serve("nginx", &[80, 8443], &["nginx", "-g", "daemon off; master_process on;"])
}

#[test]
fn a_machine_of_its_own_is_a_website_and_a_tunnel() {
    Machine::with(secs(90), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "ss-server", "ss-local", "curl");
        let echo = Backend::echo();
        let _website = website(machine);
        for (server, client) in [("ssserver", "sslocal"), ("ss-server", "ss-local")] {
            let start = |program: &str, name: &str, port| {
                machine.serve(program, &[port], &[program, "-c", &file(name).display().to_string()])
            };
            let _server = start(server, "shadowsocks/server.json", 443);
            let client = start(client, "shadowsocks/client.json", 1080);
            // Some listen before their plugin does.
            client.wait_text(" obfs-rs client ");
            carries(echo.addr);
            let page = curl(&["https://www.example.com/"]);
            assert_eq!(
                (page.status.as_str(), page.body.as_slice()),
                ("200", &b"a shop for garden chairs\n"[..])
            );
            assert_eq!(curl(&["http://www.example.com/"]).status, "301");
        }
    });
}

/// As the file's own comment has it.
#[test]
fn the_probe_finds_no_difference() {
    Machine::with(secs(300), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal");
        let echo = Backend::echo();
        let _website = website(machine);
        let _server = shadowsocks_server(machine, "shadowsocks/server.json", 443);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        carries(echo.addr);
        let at = format!("{NAME}:443");
        let probe = machine.start(
            "the probe",
            &["obfs-rs", "probe", &at, "--site", "127.0.0.1:8443", "--tls", "--path", PATH],
        );
        assert_eq!(probe.wait_exit(STEP * 10), Exit::Code(0), "{}", probe.show_log());
        probe.wait_text(" probes, 0 differ");
    });
}
