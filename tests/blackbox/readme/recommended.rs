//! The README's recommended set-up, step by step, in both languages.

use super::{PAGE, assert_website, command_of, file_of, nginx, script};
use crate::blocks::{Block, blocks};
use crate::support::child::Exit;
use crate::support::deployed::{Machine, NAME};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::{STEP, secs};

/// The programs that `apt` is told to install, and what of each is used here.
const PACKAGES: &[(&str, &str)] = &[("nginx", "nginx"), ("certbot", ""), ("shadowsocks-libev", "ss-server")];

/// certbot, as far as it takes no authority: it shows that the website serves a file below `-w` to whoever asks for the
/// name `-d` on port 80, puts chain and key where certbot has them, and runs the hook.
const CERTBOT: &str = r#"set -e
[ "$1" = certonly ] && [ "$2" = --webroot ]
shift 2
while [ $# -gt 0 ]; do
    case $1 in
    -w) root=$2 ;;
    -d) name=$2 ;;
    --deploy-hook) hook=$2 ;;
    *) exit 2 ;;
    esac
    shift 2
done
mkdir -p "$root/.well-known/acme-challenge"
echo token >"$root/.well-known/acme-challenge/token"
[ "$(curl -sf "http://$name/.well-known/acme-challenge/token")" = token ]
export RENEWED_LINEAGE=/etc/letsencrypt/live/$name
sh -ec "$hook"
"#;

/// systemd, as far as the steps ask for it. It has started no server of the package's own here.
const SYSTEMCTL: &str = r#"case $* in
'reload nginx') exec nginx -s reload ;;
'disable --now shadowsocks-libev') ;;
*) exit 2 ;;
esac
"#;

/// The commands of the certificate's step.
fn first_step(page: &str) -> Block {
    let found = blocks(page).into_iter().find(|block| block.text.contains("certbot certonly"));
    found.unwrap_or_else(|| panic!("{page} has no step for the certificate"))
}

fn follow(machine: &Machine, page: &str) {
    // What the name's authority would sign, where certbot keeps it.
    machine.certificate(NAME);
    for (from, to) in [("pem", "fullchain.pem"), ("key", "privkey.pem")] {
        let file = format!("/etc/ssl/{NAME}.{from}");
        machine.put(&format!("/etc/letsencrypt/live/{NAME}/{to}"), std::fs::read(&file).expect("a file"));
        std::fs::remove_file(file).expect("a file");
    }
    script(machine, "sudo", "exec \"$@\"\n");
    script(machine, "apt", "[ \"$1\" = install ]\n");
    script(machine, "certbot", CERTBOT);
    script(machine, "systemctl", SYSTEMCTL);

    // 1. Programs and certificate. nginx is Debian's, with its default site.
    let step = first_step(page);
    let wanted = &step.commands()[0];
    let packages: Vec<_> = wanted.split(' ').skip(3).collect();
    assert_eq!(packages, PACKAGES.iter().map(|(package, _)| *package).collect::<Vec<_>>(), "{}", step.at());
    let nginx = nginx(machine, &[80]);
    let done = machine.start("step 1", &["sh", "-ec", &step.text]);
    assert_eq!(done.wait_exit(STEP), Exit::Code(0), "{}\n{}", done.show_log(), nginx.show_log());

    // 2. The website.
    let website = file_of(page, ".conf");
    machine.put(website.file().expect("a path"), &website.text);
    let reload = website
        .intro
        .split('`')
        .find(|word| word.starts_with("sudo systemctl"))
        .expect("how to reload nginx");
    let done = machine.start("step 2", &["sh", "-ec", reload]);
    assert_eq!(done.wait_exit(STEP), Exit::Code(0), "{}", done.show_log());
    nginx.wait_listening(8443);

    // 3. The server half, and 5. the client half, each with both programs.
    let [server, client] = ["server.json", "client.json"].map(|name| file_of(page, name));
    machine.put(server.file().expect("a path"), &server.text);
    let at_client = machine.path().join(client.file().expect("a name"));
    std::fs::write(&at_client, &client.text).expect("a file");
    let at_client = at_client.display().to_string();
    for (server, client) in [("ss-server", "ss-local"), ("ssserver", "sslocal")] {
        let start = |program: &str, command: String, port| {
            let words: Vec<_> = command.split(' ').skip(1).collect();
            assert_eq!(words[0], "-c", "{command}");
            let file = if words[1].starts_with('/') { words[1] } else { &at_client };
            machine.serve(program, &[port], &[program, "-c", file])
        };
        let _server = start(server, command_of(page, "ss-server -c"), 443);
        let client = start(client, command_of(page, "ss-local -c"), 1080);
        // Some listen before their plugin does.
        client.wait_text(" obfs-rs client ");
        let fetch = command_of(page, "curl -x");
        let words: Vec<_> = fetch.split(' ').collect();
        // (There is no other machine here: the website itself is fetched through the tunnel.)
        let through = curl(&[words[1], words[2], "http://127.0.0.1/"]);
        assert_eq!(String::from_utf8_lossy(&through.body), PAGE, "{}", client.show_log());
        assert_website("https");
        // 4. As a stranger: a minute, so once.
        if (page, server) == ("README.md", "ss-server") {
            let probe = command_of(page, "obfs-rs probe");
            let probe = machine.start("the probe", &probe.split(' ').collect::<Vec<_>>());
            assert_eq!(probe.wait_exit(STEP * 12), Exit::Code(0), "{}", probe.show_log());
            probe.wait_text(" probes, 0 differ");
        }
    }
}

#[test]
fn it_works_as_written() {
    Machine::with(secs(300), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "ss-server", "ss-local", "curl");
        follow(machine, "README.md");
    });
}

#[test]
fn it_works_as_written_in_chinese() {
    Machine::with(secs(300), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "ss-server", "ss-local", "curl");
        follow(machine, "README.zh-CN.md");
    });
}
