//! The code blocks of the pages below `docs` against the program, and against the files of `deploy/`, which the black-box
//! tests run. What needs other programs (`nginx -t`, `curl` …) is run by the black-box tests, too (`deploy::pages`).

#[path = "common/blocks.rs"]
mod blocks;
#[path = "common/hosted.rs"]
mod hosted;

use blocks::{Block, blocks, headings, read, root};
use obfs_rs::cli::{self, Command};
use obfs_rs::config::options::OPTIONS;
use obfs_rs::config::{Half, ProcessEnv};

/// The pages, each with the least number of its blocks.
const PAGES: [(&str, usize); 8] = [
    ("docs/recipes.md", 40),
    ("docs/recipes.zh-CN.md", 40),
    ("docs/troubleshooting.md", 25),
    ("docs/troubleshooting.zh-CN.md", 25),
    ("docs/migrating.md", 5),
    ("docs/transports.md", 3),
    ("docs/benchmark.md", 1),
    ("CONTRIBUTING.md", 3),
];

/// Languages in which a page shows a part of a file.
const OF_FILES: [&str; 8] = ["nginx", "caddyfile", "apache", "haproxy", "yaml", "ini", "json", "jsonc"];

/// What a block in the place of something that was left out has.
const LEFT_OUT: &str = "# …";

/// Commands of others, which `deploy::pages` runs.
const RUN_ELSEWHERE: [&str; 9] =
    ["nginx", "caddy", "apache2ctl", "haproxy", "envoy", "docker", "kubectl", "curl", "openssl"];

fn all() -> impl Iterator<Item = Block> {
    PAGES.into_iter().flat_map(|(page, _)| blocks(page))
}

/// What the program makes of a host's option string, with nothing to warn of.
fn hosted(parent: &str, options: &str) -> Result<Half, String> {
    let config = hosted::hosted(parent, options)?;
    if config.warnings.is_empty() {
        Ok(config.half)
    } else {
        Err(format!("{options}: {:?}", config.warnings))
    }
}

/// Whether it is a server's option string, which the program reads without a word.
#[track_caller]
fn is_of_a_server(parent: &str, options: &str, at: &str) -> bool {
    let half = hosted(parent, options).unwrap_or_else(|why| panic!("{at}: {why}"));
    matches!(half, Half::Server(_))
}

/// The file of `deploy/` that the line above a block names.
fn file(block: &Block) -> Option<&str> {
    block.intro.split('`').skip(1).step_by(2).find(|word| word.starts_with("deploy/"))
}

#[test]
fn each_page_has_its_blocks() {
    for (page, least) in PAGES {
        let found = blocks(page).len();
        assert!(found >= least, "{page}: {found} blocks");
    }
}

#[test]
fn what_is_shown_of_a_file_is_in_the_file() {
    let mut shown = 0;
    for block in all().filter(|block| OF_FILES.contains(&block.language.as_str())) {
        let name = file(&block).unwrap_or_else(|| panic!("{}: which file of deploy/ is this?", block.at()));
        let content = read(name);
        if block.language.starts_with("json") {
            assert!(content.ends_with(&block.text), "{}: {name} says\n{content}", block.at());
        }
        let lines: Vec<_> = content.lines().collect();
        let mut from = 0;
        let wanted: Vec<_> = block.text.lines().collect();
        for part in wanted.split(|line| line.trim() == LEFT_OUT) {
            let found = lines[from..].windows(part.len()).position(|lines| lines == part);
            let Some(found) = found else { panic!("{}: not in {name}:\n{}", block.at(), part.join("\n")) };
            from += found + part.len();
        }
        shown += 1;
    }
    assert!(shown > 40, "{shown}");
}

#[test]
fn every_configuration_has_options_that_the_program_reads() {
    let mut seen = (0, 0);
    for block in all().filter(|block| block.language.starts_with("json")) {
        if block.language == "jsonc" {
            let half = if block.text.contains("dst_addr") { "server" } else { "client" };
            let path = root().join(file(&block).expect("a file"));
            let args = ["obfs-rs", half, "-c", path.to_str().expect("Unicode")].map(Into::into);
            let done = cli::read(&args, &ProcessEnv::default());
            assert!(matches!(done, Ok(Command::Run(_))), "{}: {done:?}", block.at());
            continue;
        }
        let _read: serde_json::Value =
            serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.at()));
        let is_client = block.text.contains("local_port");
        let options = block.quoted("\"plugin_opts\": \"");
        assert_eq!(options.len(), 1, "{}", block.at());
        let parent = if is_client { "sslocal" } else { "ssserver" };
        assert_ne!(is_of_a_server(parent, options[0], &block.at()), is_client, "{}", block.at());
        if is_client { seen.1 += 1 } else { seen.0 += 1 }
    }
    assert!(seen.0 >= 10 && seen.1 >= 4, "{seen:?}");
}

/// The commands that a file's comments tell, without the words for their reader.
fn told(name: &str) -> Vec<String> {
    let content = read(name);
    let comments = content.lines().filter_map(|line| line.strip_prefix('#')).map(str::trim_start);
    let plain = comments.map(|line| line.split("   ").next().unwrap_or_default().trim_end());
    let joined = plain.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Whether a script of the project knows the flags of a command.
fn of_a_script(words: &[&str]) -> bool {
    let Ok(script) = std::fs::read_to_string(root().join(words[0])) else { return false };
    let library = root().join(format!("{}_lib", words[0]));
    assert!(library.is_dir() || !script.is_empty());
    words[1..].iter().filter(|word| word.starts_with("--")).all(|flag| script.contains(flag))
}

/// A command of this program, or of one that it stands in for.
fn own(words: &[&str], at: &str) {
    let quoted = words.join(" ");
    let has_subcommand = |name| {
        let programs = cli::programs();
        programs.iter().any(|(_, program)| program.get_subcommands().any(|one| one.get_name() == name))
    };
    if words.get(1) == Some(&"check") {
        let options = quoted.split('"').nth(1).unwrap_or_else(|| panic!("{at}: no options"));
        let parent = if options.starts_with("server;") { "ssserver" } else { "sslocal" };
        assert_eq!(is_of_a_server(parent, options, at), parent == "ssserver", "{at}");
        if !has_subcommand("check") {
            return;
        }
    }
    // The file is not there.
    if words.contains(&"-c") {
        return;
    }
    let args: Vec<_> =
        words.iter().map(|word| word.trim_matches('"').replace("SERVER", "192.0.2.1").into()).collect();
    let done = cli::read(&args, &ProcessEnv::default());
    assert!(done.is_ok(), "{at}: {quoted}: {done:?}");
}

#[test]
fn every_command_is_one_that_is_run() {
    let mut seen = 0;
    for block in all() {
        let told = file(&block).map(told).unwrap_or_default();
        for command in block.commands() {
            seen += 1;
            let at = block.at();
            if told.contains(&command) {
                continue;
            }
            let plain = command.split(" # ").next().unwrap_or_default().trim_start_matches("sudo ").trim();
            let words: Vec<_> = plain.split_whitespace().collect();
            match words[0] {
                "ss-server" | "ss-local" => {
                    let options =
                        plain.split("--plugin-opts \"").nth(1).and_then(|rest| rest.split('"').next());
                    let options = options.unwrap_or_else(|| panic!("{at}: no options"));
                    assert_eq!(is_of_a_server(words[0], options, &at), words[0] == "ss-server", "{at}");
                }
                "ssserver" | "sslocal" => {
                    let name = format!("deploy/shadowsocks/{}", words[2]);
                    assert!(words[1] == "-c" && root().join(&name).exists(), "{at}: {name}");
                }
                "obfs-rs" | "obfs-server" | "obfs-local" | "v2ray-plugin" => own(&words, &at),
                // Of the project's own tools those who build it run each.
                "cargo" | "git" | "UPDATE_DOCS=1" => {}
                script if script.starts_with("scripts/") => assert!(of_a_script(&words), "{at}: {command}"),
                other => assert!(RUN_ELSEWHERE.contains(&other), "{at}: nothing runs `{command}`"),
            }
        }
    }
    assert!(seen > 60, "{seen}");
}

/// Option strings in the midst of a text, and those in a block of their own.
#[test]
fn every_option_string_in_the_text_works_as_written() {
    let names = |text: &str| {
        let name = text.split([';', '=']).next().unwrap_or_default();
        OPTIONS.iter().any(|spec| spec.name == name)
    };
    let mut seen = 0;
    for (page, _) in PAGES {
        for paragraph in read(page).split("\n\n").filter(|paragraph| !paragraph.contains("```")) {
            // (a span may go over the end of a line, but no option string does)
            for span in paragraph.split('`').skip(1).step_by(2) {
                let is_options = span.contains(';') && span.contains('=') && !span.contains([' ', '…', '\n']);
                if is_options && names(span) {
                    // (a certificate may be told elsewhere)
                    let with_certificate = format!("{span};cert=/c.pem;key=/c.key");
                    let read = [("sslocal", span), ("ssserver", span), ("ssserver", &with_certificate)]
                        .map(|(parent, options)| hosted(parent, options));
                    assert!(read.iter().any(Result::is_ok), "{page}: {read:?}");
                    seen += 1;
                }
            }
        }
        for block in blocks(page).iter().filter(|block| block.language == "text") {
            assert!(is_of_a_server("ssserver", block.text.trim_end(), &block.at()), "{}", block.at());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

/// The form for bugs asks for all that helps to find one, and each form has what a forge wants of it.
#[test]
fn the_forms_for_issues_ask_for_what_helps() {
    let form = |name: &str| read(&format!(".github/ISSUE_TEMPLATE/{name}.yml"));
    for words in [
        "`obfs-rs --version`",
        "`obfs-rs check",
        "secrets removed",
        "log of both halves",
        "docs/troubleshooting.md",
    ] {
        assert!(form("bug").contains(words), "the form for bugs lacks {words}");
    }
    assert!(form("detection").contains("SECURITY.md") && form("detection").contains("`obfs-rs probe`"));
    for name in ["bug", "detection", "feature"] {
        for key in ["name: ", "description: ", "body:"] {
            assert!(form(name).lines().any(|line| line.starts_with(key)), "{name} lacks {key}");
        }
    }
}

/// A page in Chinese has the headings and the blocks of the one in English.
#[test]
fn the_pages_in_chinese_are_those_in_english() {
    for name in ["recipes", "troubleshooting"] {
        let [english, chinese] = ["", ".zh-CN"].map(|end| format!("docs/{name}{end}.md"));
        let depths = |page| headings(page).into_iter().map(|(depth, _)| depth).collect::<Vec<_>>();
        assert_eq!(depths(&english), depths(&chinese), "{name}: the headings");
        let of = |page: &str| {
            blocks(page).into_iter().map(|block| (block.language, block.text)).collect::<Vec<_>>()
        };
        for (one, other) in of(&english).into_iter().zip(of(&chinese)) {
            assert_eq!(one, other, "{name}");
        }
        assert_eq!(of(&english).len(), of(&chinese).len(), "{name}: the blocks");
        // As many items and rows of tables.
        let count =
            |page: &str, begins: &str| read(page).lines().filter(|line| line.starts_with(begins)).count();
        for begins in ["- ", "| ", "1. ", "2. ", "3. ", "4. ", "5. "] {
            assert_eq!(count(&english, begins), count(&chinese, begins), "{name}: lines with `{begins}`");
        }
        let text = read(&chinese);
        let is_chinese = |letter: &char| ('\u{4e00}'..='\u{9fff}').contains(letter);
        assert!(text.chars().filter(is_chinese).count() > 2000, "{name}: is it Chinese?");
    }
}
