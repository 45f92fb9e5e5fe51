//! The README against the program.

use obfs_rs::cli::{Command, read};
use obfs_rs::config::options::OPTIONS;
use obfs_rs::config::{Half, ProcessEnv};

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_names_every_option() {
    for spec in OPTIONS {
        let named = [format!("`{}`", spec.name), format!("`{}=", spec.name)];
        assert!(named.iter().any(|text| README.contains(text)), "{} is not in the README", spec.name);
    }
}

/// What the program makes of a host's option string.
#[track_caller]
fn hosted(parent: &str, options: &str) -> Half {
    let vars = [
        ("SS_REMOTE_HOST", "192.0.2.1"),
        ("SS_REMOTE_PORT", "443"),
        ("SS_LOCAL_HOST", "127.0.0.1"),
        ("SS_LOCAL_PORT", "9000"),
        ("SS_PLUGIN_OPTIONS", options),
        ("HOME", "/root"),
    ];
    let env = ProcessEnv {
        vars: vars.map(|(name, value)| (name.into(), value.into())).into(),
        parent: Some(parent.to_owned()),
    };
    match read(&["obfs-rs".into()], &env) {
        Ok(Command::Run(config)) => {
            assert!(config.unknown.is_empty(), "{options}: {:?}", config.unknown);
            config.half
        }
        other => panic!("{options}: {other:?}"),
    }
}

/// The text between this and the next quotation mark.
fn quoted<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split('"').next()
}

/// The commands of the blocks for shells, each on one line.
fn commands() -> Vec<String> {
    let blocks = README.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap_or_default());
    let joined = blocks.map(|block| block.replace("\\\n", " "));
    joined.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn every_option_string_works_as_written() {
    let mut seen = (0, 0);
    for command in commands() {
        // (the space behind the name of the option may be a line's end)
        let words: Vec<_> = command.split_whitespace().collect();
        let command = words.join(" ");
        let Some(options) = quoted(&command, "--plugin-opts \"") else { continue };
        match words[0] {
            "ss-server" => {
                assert!(matches!(hosted("ss-server", options), Half::Server(_)), "{options}");
                seen.0 += 1;
            }
            "ss-local" => {
                assert!(matches!(hosted("ss-local", options), Half::Client(_)), "{options}");
                seen.1 += 1;
            }
            other => panic!("who is {other}?"),
        }
    }
    assert!(seen.0 >= 4 && seen.1 >= 3, "{seen:?}");
    let configurations = README.split("```json\n").skip(1).map(|block| block.split("```").next());
    for configuration in configurations {
        let text = configuration.unwrap_or_default();
        let options = quoted(text, "\"plugin_opts\": \"").expect("options");
        let parent = if text.contains("local_port") { "sslocal" } else { "ssserver" };
        assert_eq!(matches!(hosted(parent, options), Half::Server(_)), parent == "ssserver", "{options}");
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
    }
}

/// Those of the program itself, and of the names under which it takes another's command line.
#[test]
fn every_command_line_works_as_written() {
    let mut seen = 0;
    for command in commands() {
        let words: Vec<_> = command.split_whitespace().collect();
        if !matches!(words.first(), Some(&("obfs-rs" | "obfs-server" | "obfs-local"))) {
            continue;
        }
        // The file is not there.
        if words.contains(&"-c") {
            continue;
        }
        let args: Vec<_> = words.iter().map(|word| word.replace("SERVER", "192.0.2.1").into()).collect();
        let done = read(&args, &ProcessEnv::default());
        assert!(matches!(done, Ok(Command::Run(_) | Command::Probe(_))), "{command}: {done:?}");
        seen += 1;
    }
    assert!(seen >= 7, "{seen}");
}

/// The first recipe names no site of somebody else.
#[test]
fn the_first_recipe_is_a_true_one() {
    let first = commands().into_iter().find(|command| command.starts_with("ss-server")).expect("a recipe");
    assert!(first.contains(";tls;") && first.contains("path=/") && first.contains("failover"), "{first}");
    for command in commands() {
        assert!(!command.contains("bing.com"), "{command}");
    }
}

/// A link to a file of the project leads to one.
#[test]
fn every_link_leads_somewhere() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut links = 0;
    for document in ["README.md", "ARCHITECTURE.md", "docs/metrics.md", "deploy/README.md"] {
        let text = std::fs::read_to_string(root.join(document)).expect(document);
        let folder = root.join(document);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().expect("a path");
            assert!(folder.with_file_name(file).exists(), "{document} links to {target}");
            links += 1;
        }
    }
    assert!(links > 10, "{links} links");
}
