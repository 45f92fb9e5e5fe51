//! The README's `obfs=http`, as it is written.

use super::{PAGE, assert_website, command_of, nginx};
use crate::support::deployed::Machine;
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::secs;

#[test]
fn obfs_http_works_as_written() {
    Machine::with(secs(60), |machine| {
        need!("nginx", "ss-server", "ss-local", "curl");
        // The website, on the port that the text names.
        machine.put(
            "/etc/nginx/sites-enabled/default",
            "server { listen 127.0.0.1:8080; root /var/www/html; }\n",
        );
        let _nginx = nginx(machine, &[8080]);
        let start = |name: &str, port: u16| {
            let command = format!("exec {}", command_of("README.md", &format!("{name} -s")));
            machine.serve(name, &[port], &["sh", "-c", &command])
        };
        let server = start("ss-server", 80);
        let client = start("ss-local", 1080);
        client.wait_text(" obfs-rs client ");
        let got = curl(&["-x", "socks5h://127.0.0.1:1080", "http://127.0.0.1:8080/"]);
        assert_eq!(String::from_utf8_lossy(&got.body), PAGE, "{}\n{}", server.show_log(), client.show_log());
        assert_website("http");
    });
}
