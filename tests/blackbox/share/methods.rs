//! The methods that apps have: what is printed starts them, and what is not printed would not.

use super::share;
use crate::support::peers::{self, need};
use crate::support::plugin::bare;
use crate::support::tempdir::TempDir;
use crate::support::{secs, within};

/// Those that Shadowsocks programs have.
const METHODS: &[&str] = &[
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
    "2022-blake3-chacha8-poly1305",
    "aes-128-gcm",
    "aes-192-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "xchacha20-ietf-poly1305",
    "none",
    "plain",
    "aes-128-ctr",
    "aes-192-ctr",
    "aes-256-ctr",
    "aes-128-cfb",
    "aes-192-cfb",
    "aes-256-cfb",
    "camellia-128-cfb",
    "camellia-192-cfb",
    "camellia-256-cfb",
    "chacha20-ietf",
    "chacha20",
    "salsa20",
    "bf-cfb",
    "rc4-md5",
    "table",
    "AES-128-GCM",
];

/// What is printed for a method, or what is said instead.
fn printed(format: &str, method: &str) -> Result<String, String> {
    let password = match method {
        "2022-blake3-aes-128-gcm" => "4sNy4sNy4sNy4sNy4sNy4w==",
        _ if method.starts_with("2022-") => "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        _ => "word",
    };
    let words = ["--host", "127.0.0.1", "--port", "80", "--method", method, "--password", password];
    let output = share(&[&["--format", format][..], &words, &["obfs=http"]].concat());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    match output.status.code() {
        Some(0) => Ok(text(output.stdout)),
        Some(1) => Err(text(output.stderr)),
        code => panic!("{format} {method}: {code:?} {}", text(output.stderr)),
    }
}

/// Whether the app takes a configuration.
type Takes = fn(&TempDir, &str) -> bool;

fn mihomo_takes(dir: &TempDir, proxies: &str) -> bool {
    let file = dir.write("m.yaml", format!("mixed-port: 1\nmode: rule\n{proxies}"));
    let mut command = bare(peers::path("mihomo"));
    command.arg("-t").arg("-d").arg(dir.path()).arg("-f").arg(file);
    command.output().expect("mihomo").status.success()
}

fn sing_box_takes(dir: &TempDir, outbound: &str) -> bool {
    let file = dir.write("s.json", format!("{{\"outbounds\": [{outbound}]}}"));
    let mut command = bare(peers::path("sing-box"));
    command.arg("check").arg("-c").arg(file);
    command.output().expect("sing-box").status.success()
}

#[test]
fn what_is_printed_starts_the_app_and_what_is_not_would_not() {
    within(secs(240), || {
        need!("mihomo", "sing-box");
        let dir = TempDir::new("methods");
        let apps: [(&str, Takes); 2] = [("mihomo", mihomo_takes), ("sing-box", sing_box_takes)];
        for (format, takes) in apps {
            let good = printed(format, "aes-256-gcm").expect("each has it");
            for &method in METHODS {
                match printed(format, method) {
                    Ok(text) => assert!(takes(&dir, &text), "{format} {method}: {text}"),
                    Err(why) => {
                        assert!(why.contains(&format!("{format} does not have the method")), "{why}");
                        let instead = good.replace("aes-256-gcm", method);
                        assert!(!takes(&dir, &instead), "{format} has {method}");
                    }
                }
            }
        }
    });
}
