//! The README's `obfs=http`, as it is written.

use super::{PAGE, assert_website, command_of, nginx};
use crate::blocks::blocks;
use crate::support::deployed::Machine;
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::secs;

/// Debian's site of nginx, moved to loopback as the text above the commands says.
fn move_site(machine: &Machine) {
    let found = blocks("README.md");
    let commands = found.iter().find(|block| block.text.contains("\"obfs=http;")).expect("the commands");
    let words: Vec<_> = commands.intro.split('`').skip(1).step_by(2).collect();
    let [site, old, new, gone] = words.as_slice() else { panic!("{}: {words:?}", commands.at()) };
    let text = std::fs::read_to_string(site).expect("Debian's site");
    assert!(text.contains(old) && text.contains(gone), "{site} has other lines:\n{text}");
    machine.put(site, text.replace(old, new).replace(gone, ""));
}

#[test]
fn obfs_http_works_as_written() {
    Machine::with(secs(60), |machine| {
        need!("nginx", "ss-server", "ss-local", "curl");
        move_site(machine);
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
