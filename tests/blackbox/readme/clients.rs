//! The configurations of apps in `docs/clients.md`, each run by the app.

use super::{PAGE, assert_website, file_of, nginx};
use crate::blocks::{Block, blocks};
use crate::support::child::Child;
use crate::support::deployed::{Machine, NAME, PASSWORD, PATH};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::secs;
use serde_json::{Value, json};

const CLIENTS: &str = "docs/clients.md";

/// The block under a heading.
#[track_caller]
fn under(heading: &str, language: &str) -> Block {
    let mut found =
        blocks(CLIENTS).into_iter().filter(|block| block.heading == heading && block.language == language);
    found.next().unwrap_or_else(|| panic!("{CLIENTS} has no {language} under {heading}"))
}

/// The README's server with its website, on the test's machine.
fn with_server(body: impl FnOnce(&Machine) + Send + 'static) {
    Machine::with(secs(120), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "mihomo", "sing-box", "curl");
        machine.certificate(NAME);
        let website = file_of("README.md", ".conf");
        machine.put(website.file().expect("a path"), &website.text);
        let _nginx = nginx(machine, &[80, 8443]);
        let server = file_of("README.md", "server.json");
        let at = machine.put(server.file().expect("a path"), &server.text);
        let _server = machine.serve("ssserver", &[443], &["ssserver", "-c", &at.display().to_string()]);
        assert_website("https");
        body(machine);
    });
}

/// 2 MB come through the app's SOCKS port, from a name that the server knows and the app cannot look up.
#[track_caller]
fn assert_carries(machine: &Machine, app: &Child) {
    machine.name("127.0.0.1", "shop.example.com");
    let big = "0123456789abcdef".repeat(128 * 1024);
    machine.put("/var/www/html/big.txt", &big);
    for (path, wanted) in [("", PAGE), ("big.txt", big.as_str())] {
        let got = curl(&["-x", "socks5h://127.0.0.1:1080", &format!("http://shop.example.com/{path}")]);
        assert!(got.body == wanted.as_bytes(), "{} bytes\n{}", got.body.len(), app.show_log());
    }
}

#[test]
fn mihomo_is_served_as_written() {
    with_server(|machine| {
        let proxies = under("mihomo (Clash)", "yaml").text;
        // It reads no /etc/hosts for its servers.
        let before = format!("socks-port: 1080\nmode: rule\nlog-level: debug\nhosts:\n  {NAME}: 127.0.0.1\n");
        let config = format!("{before}{proxies}rules:\n  - MATCH,obfs-rs\n");
        let file = machine.path().join("config.yaml");
        std::fs::write(&file, config).expect("a file");
        let [folder, file] = [machine.path(), file.as_path()].map(|path| path.display().to_string());
        let app = machine.serve("mihomo", &[1080], &["mihomo", "-d", &folder, "-f", &file]);
        assert_carries(machine, &app);
    });
}

#[test]
fn sing_box_is_served_as_written() {
    with_server(|machine| {
        let outbound: Value = serde_json::from_str(&under("sing-box", "json").text).expect("JSON");
        let config = json!({
            "dns": {"servers": [{"type": "local", "tag": "local"}]},
            "route": {"default_domain_resolver": "local"},
            "inbounds": [{"type": "socks", "listen": "127.0.0.1", "listen_port": 1080}],
            "outbounds": [outbound],
        });
        let file = machine.path().join("config.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let app = machine.serve("sing-box", &[1080], &["sing-box", "run", "-c", &file.display().to_string()]);
        assert_carries(machine, &app);
    });
}

/// What shadowsocks-windows and -android hand to their plugin, as a Shadowsocks program does; and the file of
/// shadowsocks-rust.
#[test]
fn the_plugins_options_work_as_written() {
    with_server(|machine| {
        let windows = under("shadowsocks-windows", "").text.trim().to_owned();
        let android = under("shadowsocks-android", "").text.trim().to_owned();
        for options in [windows, android] {
            let server = format!("{NAME}:443");
            let app = machine.serve(
                "sslocal",
                &[1080],
                &[
                    "sslocal",
                    "-b",
                    "127.0.0.1:1080",
                    "-s",
                    &server,
                    "-k",
                    PASSWORD,
                    "-m",
                    "aes-256-gcm",
                    "--plugin",
                    "obfs-rs",
                    "--plugin-opts",
                    &options,
                ],
            );
            assert_carries(machine, &app);
        }
        let file = machine.path().join("client.json");
        std::fs::write(&file, under("shadowsocks-rust, shadowsocks-libev", "json").text).expect("a file");
        let app = machine.serve("sslocal", &[1080], &["sslocal", "-c", &file.display().to_string()]);
        assert_carries(machine, &app);
        assert!(under("Quantumult X", "ini").text.contains(PATH));
    });
}
