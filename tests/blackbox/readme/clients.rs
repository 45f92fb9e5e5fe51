//! The configurations of apps in `docs/clients.md`, each run by the app.

use super::{PAGE, assert_website, file_of, nginx};
use crate::blocks::{Block, blocks, read};
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

/// mihomo with these proxies, listening for SOCKS.
#[track_caller]
fn mihomo(machine: &Machine, proxies: &str) -> Child {
    // It reads no /etc/hosts for its servers.
    let before = format!("socks-port: 1080\nmode: rule\nlog-level: debug\nhosts:\n  {NAME}: 127.0.0.1\n");
    let file = machine.path().join("config.yaml");
    std::fs::write(&file, format!("{before}{proxies}rules:\n  - MATCH,obfs-rs\n")).expect("a file");
    let [folder, file] = [machine.path(), file.as_path()].map(|path| path.display().to_string());
    machine.serve("mihomo", &[1080], &["mihomo", "-d", &folder, "-f", &file])
}

/// sing-box with this outbound, listening for SOCKS.
#[track_caller]
fn sing_box(machine: &Machine, outbound: &Value) -> Child {
    let config = json!({
        "dns": {"servers": [{"type": "local", "tag": "local"}]},
        "route": {"default_domain_resolver": "local"},
        "inbounds": [{"type": "socks", "listen": "127.0.0.1", "listen_port": 1080}],
        "outbounds": [outbound],
    });
    let file = machine.path().join("config.json");
    std::fs::write(&file, config.to_string()).expect("a file");
    machine.serve("sing-box", &[1080], &["sing-box", "run", "-c", &file.display().to_string()])
}

#[test]
fn mihomo_is_served_as_written() {
    with_server(|machine| {
        let app = mihomo(machine, &under("mihomo (Clash)", "yaml").text);
        assert_carries(machine, &app);
    });
}

#[test]
fn sing_box_is_served_as_written() {
    with_server(|machine| {
        let outbound = serde_json::from_str(&under("sing-box", "json").text).expect("JSON");
        assert_carries(machine, &sing_box(machine, &outbound));
    });
}

/// The code in the text of a section that begins so.
#[track_caller]
fn said(heading: &str, start: &str) -> String {
    let page = read(CLIENTS);
    let (_, section) =
        page.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let found = section.split('`').skip(1).step_by(2).find(|code| code.starts_with(start));
    found.unwrap_or_else(|| panic!("{heading} has no `{start}`")).to_owned()
}

/// With `obfs=http`, as the text beside says: what stands in place of the block's plugin.
#[test]
fn apps_are_served_over_obfs_http_as_written() {
    Machine::with(secs(60), |machine| {
        need!("nginx", "ssserver", "mihomo", "sing-box", "curl");
        machine.put(
            "/etc/nginx/sites-enabled/default",
            "server { listen 127.0.0.1:8080; root /var/www/html; }\n",
        );
        let _nginx = nginx(machine, &[8080]);
        let options = "obfs=http;failover=127.0.0.1:8080";
        let server =
            ["-s", "0.0.0.0:80", "-k", PASSWORD, "-m", "aes-256-gcm", "--plugin", "obfs-rs", "--plugin-opts"];
        let _server = machine.serve("ssserver", &[80], &[&["ssserver"], &server[..], &[options]].concat());

        let proxy = under("mihomo (Clash)", "yaml").text.replace("443", "80");
        let (before, _) = proxy.split_once("    plugin:").expect("a plugin");
        let parts = ["plugin: ", "plugin-opts: "].map(|start| said("mihomo (Clash)", start));
        let app = mihomo(machine, &format!("{before}    {}\n    {}\n", parts[0], parts[1]));
        assert_carries(machine, &app);
        drop(app);

        let mut outbound: Value = serde_json::from_str(&under("sing-box", "json").text).expect("JSON");
        outbound["server_port"] = json!(80);
        for key in ["plugin", "plugin_opts"] {
            let part: Value =
                serde_json::from_str(&format!("{{{}}}", said("sing-box", &format!("\"{key}\": "))))
                    .expect("JSON");
            outbound[key] = part[key].clone();
        }
        assert_eq!(outbound["plugin"], "obfs-local");
        assert_carries(machine, &sing_box(machine, &outbound));
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
