//! That no code block is left out: each is of a kind that a test reads or runs.

use crate::PAGES;
use crate::blocks::{Block, blocks, read, root};
use crate::strings;

/// The first word of a command: who reads or runs it.
#[track_caller]
fn assert_known(command: &str, block: &Block) {
    let program = command.split(' ').find(|word| *word != "sudo").unwrap_or_default();
    let known = match program {
        // Here, in `commands` and `strings`.
        "obfs-rs" | "./obfs-rs" | "ss-server" | "ss-local" | "sslocal" | "ssserver" => true,
        // By `tests/blackbox/readme`, which runs the recommended set-up.
        "apt" | "certbot" | "systemctl" => block.page.starts_with("README"),
        "curl" => block.page.starts_with("README") || block.page == "docs/metrics.md",
        // By the same, which installs a release file.
        "sha256sum" | "tar" | "setcap" => block.page == "docs/packages.md",
        "install" => block.page == "docs/packages.md" || block.page.starts_with("README"),
        "cargo" => ["cargo run --release -- ", "cargo build --release"]
            .iter()
            .any(|start| command.starts_with(start)),
        script if script.starts_with("scripts/") => root().join(script).is_file(),
        variable => command.contains(" scripts/install") && variable.starts_with("BINARY="),
    };
    assert!(known, "{}: no test runs {command}", block.at());
}

#[test]
fn every_block_is_read_or_run() {
    for block in PAGES.iter().flat_map(|page| blocks(page)) {
        match block.language.as_str() {
            "sh" => block.commands().iter().for_each(|command| assert_known(command, &block)),
            // Option strings, in `strings`.
            "" => {}
            // Configurations: here, in `configuration`, and in `tests/blackbox/readme`.
            "json" | "yaml" | "nginx" | "haproxy" | "logrotate" | "ini" => {}
            // What a command prints.
            "text" => assert!(block.page == "docs/concealment.md", "{}", block.at()),
            other => panic!("{}: no test reads {other}", block.at()),
        }
    }
}

/// Files of Shadowsocks programs. (Those of obfs-rs itself have comments.)
#[test]
fn every_json_file_is_read() {
    let mut seen = 0;
    for block in PAGES.iter().flat_map(|page| blocks(page)) {
        if block.language != "json" || block.page == "docs/configuration-file.md" {
            continue;
        }
        let value: serde_json::Value =
            serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.at()));
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        let options = text("plugin_opts").unwrap_or_else(|| panic!("{}: no options", block.at()));
        // sing-box speaks v2ray-plugin itself; its options are that one's client's.
        let server = value.get("local_port").is_none() && text("type").is_none();
        strings::check(&options, server, &block);
        seen += 1;
    }
    assert_eq!(seen, 6);
}

/// The files in the README are those of `deploy/`, so that either may be copied.
#[test]
fn the_files_of_the_recommended_set_up_are_those_of_deploy() {
    let found = blocks("README.md");
    for (name, deployed) in
        [("server.json", "deploy/shadowsocks/server.json"), ("client.json", "deploy/shadowsocks/client.json")]
    {
        let shown = found.iter().find(|block| block.file().is_some_and(|file| file.ends_with(name)));
        let shown = shown.unwrap_or_else(|| panic!("{name} is not in the README"));
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(json(&shown.text), json(&read(deployed)), "{}", shown.at());
    }
}

/// A line of Quantumult X and one of Surge: what they send is what the server takes.
#[test]
fn the_lines_of_closed_apps_have_the_servers_path_and_name() {
    let found: Vec<_> =
        blocks("docs/clients.md").into_iter().filter(|block| block.language == "ini").collect();
    assert_eq!(found.len(), 2);
    for block in found {
        for part in
            ["obfs-host=www.example.com", "obfs-uri=/a-path-of-your-own", "password=a-password-of-your-own"]
        {
            assert!(block.text.contains(part), "{} lacks {part}", block.at());
        }
    }
}

/// What the release script is told to make is what it can make.
#[test]
fn every_release_target_is_one() {
    let list =
        std::process::Command::new(root().join("scripts/release")).arg("--list").output().expect("a script");
    let list = String::from_utf8(list.stdout).expect("text");
    let known: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(known.len() > 10, "{list}");
    let mut seen = 0;
    for block in blocks("docs/packages.md") {
        for command in block.commands() {
            let command = command.split(" # ").next().unwrap_or_default();
            let Some(words) = command.strip_prefix("scripts/release") else { continue };
            for word in words.split_whitespace().filter(|word| !word.starts_with("--")) {
                assert!(known.contains(&word), "{}: {word}", block.at());
                seen += 1;
            }
        }
    }
    assert!(seen >= 5, "{seen}");
    // The page's table of names is that list.
    let page = read("docs/packages.md");
    for name in known.iter().filter(|name| name.contains('-')) {
        let short = name.trim_start_matches("android");
        assert!(page.contains(&format!("`{name}`")) || page.contains(&format!("`{short}`")), "{name}");
    }
}

/// The features that the page names are those of `Cargo.toml`, and what is built with some of them names no other.
#[test]
fn every_feature_is_one() {
    let manifest = read("Cargo.toml");
    let (_, default) = manifest.split_once("\ndefault = [").expect("features");
    let default: Vec<_> =
        default.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2).collect();
    let page = read("docs/packages.md");
    let (_, said) = page.split_once("The features ").expect("features");
    let said: Vec<_> =
        said.split(" are on").next().unwrap_or_default().split('`').skip(1).step_by(2).collect();
    assert_eq!(said, default);
    let blocks = blocks("docs/packages.md");
    let commands: Vec<_> =
        blocks.iter().flat_map(Block::commands).filter(|line| line.contains("--features")).collect();
    assert_eq!(commands.len(), 1);
    let chosen = commands[0].rsplit(' ').next().expect("features");
    assert!(chosen.split(',').all(|feature| default.contains(&feature)), "{chosen}");
}
