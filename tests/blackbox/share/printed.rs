//! Links, codes, and what is told where something is wrong.

use super::{PASSWORD, share, shared};
use crate::support::peers::{self, need};
use crate::support::plugin::{bare, ours};
use crate::support::tempdir::TempDir;
use crate::support::{secs, within};
use jsonc_parser::ast::Value as Json5;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;

/// What shadowsocks-rust's own tool makes of a link: the texts and numbers of its one server.
#[track_caller]
fn read_back(link: &str) -> impl Fn(&str) -> String + use<> {
    let output = bare(peers::path("ssurl")).args(["-d", link]).output().expect("ssurl");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let parsed = jsonc_parser::parse_to_ast(&text, &Default::default(), &Default::default());
    let parsed = parsed.unwrap_or_else(|error| panic!("{link}: {error}: {text}"));
    let Some(Json5::Object(settings)) = &parsed.value else { panic!("{text}") };
    let servers = &settings.get("servers").expect("servers").value;
    let Json5::Array(servers) = servers else { panic!("{text}") };
    let [Json5::Object(server)] = servers.elements.as_slice() else { panic!("{text}") };
    let fields: Vec<_> = server
        .properties
        .iter()
        .map(|property| {
            let value = match &property.value {
                Json5::StringLit(text) => text.value.to_string(),
                Json5::NumberLit(number) => number.value.to_owned(),
                other => format!("{other:?}"),
            };
            (property.name.as_str().to_owned(), value)
        })
        .collect();
    move |name| fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

#[test]
fn ssurl_reads_the_link_back() {
    within(secs(60), || {
        need!("ssurl");
        let dir = TempDir::new("links");
        let key = "4sNy4sNy4sNy4sNy4sNy4w==";
        for (host, shown) in [("www.example.com", "www.example.com"), ("2001:db8::1", "2001:db8::1")] {
            for (method, password) in [
                ("aes-256-gcm", PASSWORD),
                ("chacha20-ietf-poly1305", "密码 🔑\t"),
                ("2022-blake3-aes-128-gcm", key),
            ] {
                for (options, plugin, client) in [
                    ("mode=websocket;path=/x\\;y\\=z\\\\w", "v2ray-plugin", "path=/x\\;y\\=z\\\\w"),
                    ("obfs=http", "obfs-local", "obfs=http;obfs-host="),
                    ("mode=grpc;serviceName=s", "obfs-rs", "serviceName=s"),
                ] {
                    let settings = json!({
                        "server": host, "server_port": 8443, "method": method, "password": password,
                        "plugin": "obfs-rs", "plugin_opts": options, "remarks": "Ünser \"Server\" #1",
                    });
                    let file = dir.write("server.json", settings.to_string());
                    let file = file.to_str().expect("a path");
                    // (an ssurl that was built without SIP022 does not know its methods; the form is another all the same)
                    let known = |link: String| link.trim_end().replace("ss://2022-blake3-aes-", "ss://aes-");
                    let method = method.replace("2022-blake3-", "");
                    let link = known(shared(&["--config", file, "--format", "link"]));
                    let field = read_back(&link);
                    assert_eq!(field("server"), shown, "{link}");
                    assert_eq!(field("server_port"), "8443", "{link}");
                    assert_eq!((field("method"), field("password")), (method, password.into()), "{link}");
                    assert_eq!(field("plugin"), plugin, "{link}");
                    assert!(field("plugin_opts").contains(client), "{link}: {}", field("plugin_opts"));
                    assert_eq!(field("remarks"), "Ünser \"Server\" #1", "{link}");
                    // With our plugin, and the same options as in the JSON.
                    let link = known(shared(&["--config", file, "--format", "link", "--plugin", "obfs-rs"]));
                    let json: Value =
                        serde_json::from_str(&shared(&["--config", file, "--format", "json"])).expect("JSON");
                    let field = read_back(&link);
                    assert_eq!(json!(field("plugin_opts")), json["plugin_opts"]);
                    assert_eq!(json!(field("server")), json["server"]);
                }
            }
        }
    });
}

const PLAIN: &[&str] =
    &["--host", "a.example", "--port", "80", "--method", "aes-256-gcm", "--password", "word", "obfs=http"];

/// Reads half blocks as a camera does: each character is two modules, one above the other.
fn scanned(drawn: &str) -> String {
    const PIXELS: usize = 4;
    let rows: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
    let width = rows.first().map_or(0, Vec::len) * PIXELS;
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(width, rows.len() * 2 * PIXELS, |x, y| {
        let (column, row) = (x / PIXELS, y / PIXELS);
        let dark = matches!((rows[row / 2][column], row % 2), ('█', _) | ('▀', 0) | ('▄', 1));
        if dark { 0 } else { 255 }
    });
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1, "{drawn}");
    grids[0].decode().expect("a code").1
}

#[test]
fn the_code_is_that_of_the_link() {
    within(secs(30), || {
        let with = |format| shared(&[&["--format", format], PLAIN].concat());
        assert_eq!(scanned(&with("qr")), with("link").trim_end());
        // Not on a terminal, it is printed only where it is asked for, and nothing that a terminal obeys.
        let all = shared(PLAIN);
        assert!(!all.contains('█') && !all.contains('\u{1b}'), "{all}");
        assert!(all.contains(with("link").trim_end()), "{all}");
        let long = format!("obfs=http;obfs-uri=/{}", "a".repeat(1500));
        let words = [&["--format", "qr"], &PLAIN[..8], &[&*long]].concat();
        let output = share(&words);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("too long for a QR code"), "{told}");
    });
}

/// A terminal breaks lines that are longer than its own.
#[test]
fn a_narrow_terminal_is_shown_no_torn_code() {
    within(secs(30), || {
        need!("script");
        let on = |columns: u16, format: &str| {
            let words = PLAIN.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            let program = crate::support::plugin::our_path();
            let line = format!(
                "stty cols {columns} rows 24; '{}' share --format {format} {words}",
                program.display()
            );
            let mut command = bare(peers::path("script"));
            let output = command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
            String::from_utf8_lossy(&output.expect("script").stdout).into_owned()
        };
        for format in ["qr", "all"] {
            assert!(on(200, format).contains('█'), "{}", on(200, format));
            let narrow = on(40, format);
            assert!(!narrow.contains('█') && narrow.contains("and this terminal has 40"), "{narrow}");
        }
    });
}

#[test]
fn what_is_wrong_is_one_line_and_no_password() {
    within(secs(60), || {
        let dir = TempDir::new("wrong");
        let file = |name: &str, text: &str| dir.write(name, text).display().to_string();
        let server = |more: &str| {
            format!("{{\"server\":\"a.example\",\"server_port\":80,\"method\":\"aes-256-gcm\"{more}}}")
        };
        let plugin = ",\"password\":\"s3cret-word\",\"plugin\":\"obfs-rs\",\"plugin_opts\":";
        let cases = [
            (file("a", "no JSON"), "configuration file "),
            (file("b", "[]"), "expected a JSON object"),
            (file("c", &server("")), "Shadowsocks's password is not set"),
            (file("d", &server(",\"password\":\"s3cret-word\"")), "`plugin` (or SERVER-OPTIONS) is not set"),
            (file("e", &server(&format!("{plugin}\"obfs=nonsense\""))), "option `obfs`: `nonsense` is not"),
            (file("f", &server(&format!("{plugin}\"client\""))), "these are a client's options"),
            (file("g", &"[".repeat(2 << 20)), "longer than 1024 KiB"),
            ("/no/such/file".to_owned(), "No such file"),
            ("/dev/zero".to_owned(), "longer than 1024 KiB"),
        ];
        for (file, wanted) in cases {
            let output = share(&["--config", &file]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(23), "{file}: {told}");
            assert!(output.stdout.is_empty() && told.contains(wanted), "{file}: {told}");
            assert_eq!(told.lines().count(), 1, "{told}");
            assert!(!told.contains("s3cret-word"), "{told}");
        }
        // Only what was asked for is on standard output.
        let surge = [&["--format", "surge"], &PLAIN[..8], &["mode=websocket"]].concat();
        let output = share(&surge);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            told.contains("Surge has none of what this server takes") && !told.contains("word "),
            "{told}"
        );
    });
}

/// A password that stands on no command line.
#[test]
fn the_password_comes_from_a_file_a_variable_or_standard_input() {
    within(secs(30), || {
        let dir = TempDir::new("password");
        let file = dir.write("password", "word\n").display().to_string();
        let words = [&PLAIN[..6], &["--format", "link", "obfs=http"]].concat();
        let wanted = shared(&[PLAIN, &["--format", "link"]].concat());
        assert_eq!(shared(&[&words[..], &["--password-file", &file]].concat()), wanted);
        let output =
            ours().arg("share").args(&words).env("OBFS_RS_PASSWORD", "word").output().expect("share");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);
        let mut child = ours()
            .arg("share")
            .args([&words[..], &["--password-file", "-"]].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("share");
        child.stdin.take().expect("a pipe").write_all(b"word\nmore\n").expect("room");
        let output = child.wait_with_output().expect("share");
        assert_eq!(String::from_utf8_lossy(&output.stdout), wanted);
    });
}
