//! `deploy/compose`: resolved by docker-compose, and its services' commands run as the file says, without an engine.

mod engine;

use super::{carries, fingerprint, local, put_program, shadowsocks_client, shown};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::conn::assert_echo;
use crate::support::deployed::{Machine, NAME, file, text};
use crate::support::hosts::{close, curl, socks};
use crate::support::peers::need;
use crate::support::{STEP, eventually, secs};
use engine::{Engine, texts};
use serde_json::Value;
use std::path::Path;

const FILES: [&str; 4] = ["compose.yaml", "example.env", "website/nginx.conf", "website/html/index.html"];

/// Where the files are put.
const FOLDER: &str = "/srv/compose";

/// The commands at the top of the file that begin so.
#[track_caller]
fn run_as_told(machine: &Machine, beginning: &str) {
    let text = text("compose/compose.yaml");
    let commands: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("#   ").filter(|line| line.starts_with(beginning)))
        // Behind a command there may be words for its reader.
        .map(|line| line.split("   ").next().unwrap_or(line))
        .collect();
    assert!(!commands.is_empty(), "{beginning}");
    let mut shell = machine.command(&["sh", "-ec", &commands.join("\n")]);
    shell.current_dir(FOLDER).env("RENEWED_LINEAGE", "/etc/letsencrypt/live/site");
    let shell = Child::spawn("sh", shell);
    assert_eq!(shell.wait_exit(secs(20)), Exit::Code(0), "{}", shell.show_log());
}

/// A certificate, or a newer one, as certbot leaves it and as its hook copies it.
fn certificate(machine: &Machine) {
    machine.certificate(NAME);
    for (file, end) in [("fullchain", "pem"), ("privkey", "key")] {
        let content = std::fs::read(format!("/etc/ssl/{NAME}.{end}")).expect("a file");
        machine.put(&format!("/etc/letsencrypt/live/site/{file}.pem"), content);
    }
    run_as_told(machine, "install");
}

fn put(machine: &Machine) {
    for name in FILES {
        machine.install(&format!("compose/{name}"), &format!("{FOLDER}/{name}"));
    }
    machine.install("kubernetes/ssserver.acl", "/srv/kubernetes/ssserver.acl");
    std::fs::create_dir(Path::new(FOLDER).join("certificates")).expect("a folder");
    run_as_told(machine, "cp");
    certificate(machine);
}

/// What docker-compose makes of the file, or what it says against it.
#[track_caller]
fn resolve(machine: &Machine) -> Result<Value, String> {
    let mut compose = machine.command(&["docker-compose", "config"]);
    compose.current_dir(FOLDER);
    let compose = Child::spawn("docker-compose", compose);
    if compose.wait_exit(secs(60)) != Exit::Code(0) {
        return Err(compose.show_log());
    }
    let resolved = machine.put("/run/resolved.yaml", compose.lines().join("\n")).display().to_string();
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let json = machine.start("yaml", &["python-kubernetes-validate", "-c", script, &resolved]);
    assert_eq!(json.wait_exit(secs(20)), Exit::Code(0), "{}", json.show_log());
    Ok(serde_json::from_str(&json.lines().join("\n")).expect("JSON"))
}

/// The value of a key of the image's file.
fn of_the_image(key: &str) -> String {
    let text = text("container/Dockerfile");
    let line = text.lines().rev().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.expect(key).to_owned()
}

#[test]
fn what_compose_resolves_is_confined() {
    Machine::with(secs(150), |machine| {
        need!("docker-compose", "python-kubernetes-validate", "openssl");
        put(machine);
        let config = resolve(machine).expect("a resolved file");
        for (name, service) in config["services"].as_object().expect("services") {
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
            assert!(service["cap_add"].is_null() && service["privileged"].is_null(), "{name}");
            assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
            assert_eq!(service["restart"], "unless-stopped", "{name}");
            assert!(service["logging"]["options"]["max-size"].is_string(), "{name}");
            assert!(!service["user"].as_str().expect("a user").starts_with('0'), "{name}");
            assert_eq!(service["ports"].is_array(), name == "obfs-rs", "{name}");
            assert!(texts(&service["volumes"]).iter().all(|volume| volume.ends_with(":ro")), "{name}");
        }
        let networks = |service: &str| config["services"][service]["networks"].as_object().expect("networks");
        assert!(networks("website").keys().all(|network| config["networks"][network]["internal"] == true));
        assert!(networks("website").keys().all(|network| !networks("shadowsocks").contains_key(network)));
        let ours = &config["services"]["obfs-rs"];
        assert_eq!(ours["user"].as_str().expect("a user"), of_the_image("USER"));
        assert_eq!(of_the_image("ENTRYPOINT"), r#"["/usr/local/bin/obfs-rs"]"#);
        let dockerfile = ours["build"]["dockerfile"].as_str().expect("a file");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(dockerfile).exists(), "{dockerfile}");
        // It has the time to drain.
        let options = ours["environment"]["SS_PLUGIN_OPTIONS"].as_str().expect("options");
        let drain = options.split(';').find_map(|option| option.strip_prefix("drain=")?.parse::<u64>().ok());
        let grace =
            ours["stop_grace_period"].as_str().and_then(|grace| grace.strip_suffix('s')?.parse::<u64>().ok());
        assert!(grace.expect("seconds") > drain.expect("seconds") + 5);

        // What has to be said is asked for.
        for name in ["TUNNEL_PATH", "PASSWORD", "CERTIFICATES"] {
            let env = text("compose/example.env");
            let without: Vec<_> = env.lines().filter(|line| !line.starts_with(name)).collect();
            machine.put(&format!("{FOLDER}/.env"), without.join("\n"));
            let error = resolve(machine).expect_err("something is missing");
            assert!(error.contains(name) && error.contains("see example.env"), "{error}");
        }
    });
}

/// `.dockerignore` lets through what the build reads.
#[test]
fn the_image_is_built_from_all_that_it_needs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ignore = std::fs::read_to_string(root.join(".dockerignore")).expect("the file");
    let taken: Vec<_> = ignore.lines().filter_map(|line| line.strip_prefix('!')).collect();
    assert!(ignore.lines().any(|line| line == "*"));
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).expect("the file");
    assert_eq!(manifest.contains("[[bench]]"), taken.contains(&"benches"));
    // Cargo finds it by its name.
    assert_eq!(root.join("build.rs").exists(), taken.contains(&"build.rs"));
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a file");
            let included = text.split("include_str!(\"").chain(text.split("include_bytes!(\"")).skip(1);
            for name in included.filter_map(|rest| rest.split_once("\")").map(|(name, _)| name)) {
                let Ok(file) = folder.join(name).canonicalize() else { continue };
                let inside = file.strip_prefix(root.canonicalize().expect("the root")).expect("inside");
                let tests = path.components().any(|part| part.as_os_str().to_string_lossy().contains("test"));
                let is_taken = taken.iter().any(|taken| inside.starts_with(taken));
                assert!(is_taken || tests, "{} is not let through", inside.display());
            }
        }
    }
}

#[test]
fn its_services_are_a_website_and_a_tunnel() {
    Machine::with(secs(180), |machine| {
        need!("docker-compose", "python-kubernetes-validate", "openssl", "curl", "socat");
        need!("nginx", "ssserver", "sslocal", "unshare", "setpriv", "nsenter", "wget", "nc");
        put(machine);
        put_program(machine, "ssserver");
        let config = resolve(machine).expect("a resolved file");
        let engine = Engine::new(machine, config);
        let shadowsocks = engine.start("shadowsocks", &[]);
        let website = engine.start("website", &["nginx", "-g", "daemon off;"]);
        engine.wait_healthy(&shadowsocks);
        engine.wait_healthy(&website);
        let ours = engine.start("obfs-rs", &["/usr/local/bin/obfs-rs"]);
        engine.wait_healthy(&ours);
        let _published = engine.publish("obfs-rs");
        // What Shadowsocks connects to is on the way out of its network.
        let echo = Backend::echo_on("198.18.0.1:0".parse().expect("an address"));
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        carries(echo.addr);
        let url = format!("https://{NAME}/");
        let page = || curl(&[&url]).body;
        assert_eq!(page(), std::fs::read(file("compose/website/html/index.html")).expect("a page"));
        assert_eq!(curl(&["--no-alpn", &url]).status, "200");

        // A certificate that is renewed.
        let before = fingerprint();
        certificate(machine);
        let renewed = fingerprint();
        assert_ne!(before, renewed);
        assert!(eventually(STEP, || shown(&[]) == renewed), "{}", ours.child.show_log());
        // Who offers HTTP/2 is the website's.
        assert_eq!(shown(&["-alpn", "h2,http/1.1"]), before);
        assert!(engine.exec(&website, &["nginx", "-s", "reload"]), "{}", website.child.show_log());
        assert!(
            eventually(STEP, || shown(&["-alpn", "h2,http/1.1"]) == renewed),
            "{}",
            website.child.show_log()
        );

        // It drains, and is gone when the last tunnel is.
        let open = socks(local(1080), echo.addr);
        assert_echo(&open, b"hello");
        ours.stop();
        ours.child.wait_text("draining");
        assert!(!engine.is_healthy(&ours));
        assert_echo(&open, b"it goes on");
        close(&open);
        assert_eq!(ours.child.wait_exit(secs(15)), Exit::Code(0), "{}", ours.child.show_log());
    });
}

#[test]
fn a_wrong_option_is_told_in_one_line() {
    Machine::with(secs(150), |machine| {
        need!("docker-compose", "python-kubernetes-validate", "openssl", "unshare", "setpriv");
        put(machine);
        let env = text("compose/example.env").replace("OPTIONS=", "OPTIONS=;keepalive=never");
        machine.put(&format!("{FOLDER}/.env"), env);
        let engine = Engine::new(machine, resolve(machine).expect("a resolved file"));
        let wrong = engine.start("obfs-rs", &["/usr/local/bin/obfs-rs"]);
        assert_eq!(wrong.child.wait_exit(secs(10)), Exit::Code(23), "{}", wrong.child.show_log());
        let lines = wrong.child.lines();
        assert!(lines.len() == 1 && lines[0].contains("keepalive"), "{lines:?}");
    });
}
