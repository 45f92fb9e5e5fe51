//! `docs/recipes.md` and `docs/troubleshooting.md`: the commands of each recipe's check are run beside what the recipe is
//! about, and what hosts say of a plugin that fails is what the page quotes.

use super::{carries, shadowsocks_client, shadowsocks_server};
use crate::blocks::{Block, blocks};
use crate::support::backend::Backend;
use crate::support::child::{Child, Exit};
use crate::support::deployed::{Machine, NAME, PATH, file, text};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::secs;
use std::os::unix::fs::symlink;
use std::path::Path;

const RECIPES: &str = "docs/recipes.md";
const TROUBLESHOOTING: &str = "docs/troubleshooting.md";

/// The commands of a recipe that check it: those that are not shown as a part of a file.
#[track_caller]
fn checks(recipe: &str) -> Vec<String> {
    let of_recipe = blocks(RECIPES).into_iter().filter(|block| block.heading == recipe);
    let checks = of_recipe.filter(|block| !block.intro.contains("`deploy/"));
    let commands: Vec<_> = checks.flat_map(|block| block.commands()).collect();
    assert!(!commands.is_empty(), "{recipe}");
    commands
}

/// Runs one in a folder, and returns what it says.
#[track_caller]
fn run(machine: &Machine, folder: &Path, command: &str) -> String {
    // Debian's compose is a program of its own.
    let command = command.replace("docker compose", "docker-compose");
    let mut shell = machine.command(&["sh", "-ec", &command]);
    shell.current_dir(folder);
    let shell = Child::spawn("sh", shell);
    assert_eq!(shell.wait_exit(secs(60)), Exit::Code(0), "{command}: {}", shell.show_log());
    shell.show_log()
}

/// Runs those of a recipe that begin so.
#[track_caller]
fn run_checks(machine: &Machine, recipe: &str, folder: &Path, start: &str) -> Vec<String> {
    let commands: Vec<_> = checks(recipe).into_iter().filter(|command| command.starts_with(start)).collect();
    assert!(!commands.is_empty(), "{recipe}: no command begins with {start}");
    commands.iter().map(|command| run(machine, folder, command)).collect()
}

/// The dry runs of a recipe, where the program has them.
#[track_caller]
fn run_dry_runs(machine: &Machine, recipe: &str) {
    let help = machine.command(&["obfs-rs", "check", "--help"]).output().expect("obfs-rs");
    if help.status.success() {
        run_checks(machine, recipe, Path::new("/"), "obfs-rs check");
    }
}

fn deploy(folder: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(folder)
}

/// A website of nginx's, by one of the files of `deploy/`.
fn nginx(machine: &Machine, name: &str, ports: &[u16]) -> Child {
    machine.certificate(NAME);
    machine.put("/var/www/html/index.html", "a shop for garden chairs\n");
    std::fs::remove_file("/etc/nginx/sites-enabled/default").expect("Debian's site");
    machine.install(name, "/etc/nginx/sites-enabled/site.conf");
    machine.serve("nginx", ports, &["nginx", "-g", "daemon off; master_process on;"])
}

#[test]
fn the_recipe_for_nginx_checks_well() {
    Machine::with(secs(90), |machine| {
        need!("nginx", "openssl", "ssserver", "curl");
        let _nginx = nginx(machine, "nginx/website.conf", &[80, 443, 8080]);
        let _server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
        run_checks(machine, "nginx", Path::new("/"), "nginx -t");
        run_dry_runs(machine, "nginx");
        let seen = run_checks(machine, "nginx", Path::new("/"), "curl");
        assert!(seen[0].contains(" 404"), "{}", seen[0]);
    });
}

/// WebSocket with mux passes, and whoever knows the path but is no client sees a missing page like any other.
#[test]
fn one_location_of_nginx_is_enough() {
    Machine::with(secs(90), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "curl");
        let recipe = "nginx with one location";
        let _nginx = nginx(machine, "nginx/location.conf", &[443]);
        let upgrade = ["--http1.1", "-H", "Connection: Upgrade", "-H", "Upgrade: websocket"];
        let page = |path: &str, more: &[&str]| {
            let url = format!("https://{NAME}{path}");
            let answer = curl(&[&["--include"], more, &[&url]].concat());
            let head = String::from_utf8_lossy(&answer.body).into_owned();
            let lines = head.lines().filter(|line| !line.to_lowercase().starts_with("date: "));
            (answer.status, lines.collect::<Vec<_>>().join("\n"))
        };
        // Without the plugin, too.
        let missing = page("/another-path", &upgrade);
        assert_eq!(missing.0, "404");
        assert_eq!(page(PATH, &upgrade), missing);

        let _server = shadowsocks_server(machine, "shadowsocks/server-behind-location.json", 8388);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        carries(Backend::echo().addr);
        let options = [&upgrade[..], &["-X", "OPTIONS"]].concat();
        let put = [&upgrade[..], &["-X", "PUT"]].concat();
        for more in [&["--http1.1"][..], &["--http2"], &["--http1.1", "-X", "PUT"], &options, &put] {
            assert_eq!(page(PATH, more), page("/another-path", more), "{more:?}");
        }
        run_checks(machine, recipe, Path::new("/"), "nginx -t");
        let seen = run_checks(machine, recipe, Path::new("/"), "curl");
        assert!(seen.len() == 2 && seen.iter().all(|seen| seen.contains(" 404")), "{seen:?}");
    });
}

#[test]
fn the_recipe_for_caddy_checks_well() {
    Machine::with(secs(60), |machine| {
        need!("caddy", "openssl");
        machine.certificate(NAME);
        machine.install("caddy/Caddyfile", "/etc/caddy/Caddyfile");
        run_checks(machine, "Caddy", Path::new("/"), "caddy validate");
    });
}

#[test]
fn the_recipe_for_apache_checks_well() {
    Machine::with(secs(60), |machine| {
        need!("apache2", "openssl");
        machine.certificate(NAME);
        machine.install("apache/website.conf", "/etc/apache2/sites-available/website.conf");
        run(machine, Path::new("/"), "a2enmod ssl http2 rewrite proxy_http remoteip && a2ensite website");
        std::fs::create_dir("/run/lock").expect("a folder");
        run_checks(machine, "Apache", Path::new("/"), "apache2ctl");
    });
}

#[test]
fn the_recipes_for_haproxy_check_well() {
    Machine::with(secs(60), |machine| {
        need!("haproxy", "openssl");
        machine.certificate(NAME);
        symlink(format!("{NAME}.key"), format!("/etc/ssl/{NAME}.pem.key")).expect("a link");
        for (recipe, name) in [
            ("HAProxy", "haproxy/haproxy.cfg"),
            ("Share port 443 by name", "haproxy/tcp.cfg"),
            ("A load balancer", "haproxy/tcp.cfg"),
        ] {
            machine.install(name, "/etc/haproxy/haproxy.cfg");
            run_checks(machine, recipe, Path::new("/"), "haproxy");
        }
    });
}

#[test]
fn the_recipes_for_envoy_check_well() {
    Machine::with(secs(90), |machine| {
        need!("envoy", "openssl");
        machine.certificate(NAME);
        machine.install("envoy/sds.yaml", "/etc/envoy/sds.yaml");
        for recipe in ["Envoy", "Share port 443 by name", "A load balancer"] {
            run_checks(machine, recipe, &deploy("envoy"), "envoy");
        }
    });
}

#[test]
fn the_recipe_for_compose_checks_well() {
    Machine::with(secs(60), |machine| {
        need!("docker-compose");
        for name in ["compose.yaml", "example.env"] {
            machine.install(&format!("compose/{name}"), &format!("/srv/compose/{name}"));
        }
        run(machine, Path::new("/srv/compose"), "cp example.env .env");
        run_checks(machine, "Docker and compose", Path::new("/srv/compose"), "docker compose config");
    });
}

#[test]
fn the_recipe_for_kubernetes_checks_well() {
    Machine::with(secs(60), |machine| {
        need!("kubectl");
        let seen =
            run_checks(machine, "Kubernetes", Path::new(env!("CARGO_MANIFEST_DIR")), "kubectl kustomize");
        assert!(seen[0].contains("kind: Deployment"), "{}", seen[0]);
    });
}

/// With the client of all recipes.
#[test]
fn the_recipe_for_a_server_of_its_own_checks_well() {
    Machine::with(secs(90), |machine| {
        need!("nginx", "openssl", "ssserver", "sslocal", "curl");
        let _nginx = nginx(machine, "nginx/loopback-tls.conf", &[80, 8443]);
        let _server = shadowsocks_server(machine, "shadowsocks/server.json", 443);
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        // `alone` runs this one, as the file has it.
        let probe =
            checks("A server of its own").into_iter().find(|command| command.starts_with("obfs-rs probe"));
        assert!(text("nginx/loopback-tls.conf").contains(&probe.expect("a probe")));
        run_dry_runs(machine, "A server of its own");
        run_dry_runs(machine, "The client");
        // As curl does there, to a website that there is here.
        let through =
            checks("The client").into_iter().find(|command| command.starts_with("curl")).expect("curl");
        let page = run(machine, Path::new("/"), &through.replace("example.net", NAME));
        assert!(page.contains("a shop for garden chairs"), "{page}");
    });
}

/// A certificate of one's own, as the page makes it, does for both halves.
#[test]
fn a_certificate_of_ones_own_is_made_as_told() {
    Machine::with(secs(60), |machine| {
        need!("openssl", "ssserver", "sslocal");
        let folder = machine.path().to_owned();
        let found = blocks("docs/transports.md");
        let made = found.iter().flat_map(Block::commands).find(|command| command.starts_with("openssl"));
        run(machine, &folder, &made.expect("a command"));
        machine.name("127.0.0.1", "example.com");
        let options = |host: &str| {
            let commands = found.iter().flat_map(Block::commands);
            let of_host =
                commands.filter(|command| command.starts_with(host) && command.contains("mode=quic"));
            let options: Vec<_> =
                of_host.filter_map(|command| command.split('"').nth(1).map(str::to_owned)).collect();
            assert_eq!(options.len(), 1, "{host}");
            options[0].clone()
        };
        let place = |options: String| {
            let at = |name: &str| folder.join(name).display().to_string();
            let options = options.replace("=fullchain.pem", &format!("={}", at("fullchain.pem")));
            options.replace("=key.pem", &format!("={}", at("key.pem")))
        };
        let server = text("shadowsocks/server.json").replace("\"0.0.0.0\"", "\"127.0.0.1\"");
        let server = with_options(&server, &place(options("ss-server")));
        let server = machine.put("/etc/server.json", server).display().to_string();
        let server = machine.start("ssserver", &["ssserver", "-c", &server]);
        server.wait_text(" obfs-rs server ");
        let client = text("shadowsocks/client.json").replace("www.example.com", "example.com");
        let client = with_options(&client, &place(format!("{};cert=fullchain.pem", options("ss-local"))));
        let client = machine.put("/etc/client.json", client).display().to_string();
        let _client = machine.serve("sslocal", &[1080], &["sslocal", "-c", &client]);
        carries(Backend::echo().addr);
    });
}

/// A host's file with other options for the plugin.
#[track_caller]
fn with_options(content: &str, options: &str) -> String {
    let (before, rest) = content.split_once("\"plugin_opts\": \"").expect("options");
    let (_, behind) = rest.split_once('"').expect("their end");
    format!("{before}\"plugin_opts\": \"{options}\"{behind}")
}

/// The lines of hosts that the page quotes below a heading.
#[track_caller]
fn hosts_say(heading: &str) -> Vec<String> {
    let found = blocks(TROUBLESHOOTING).into_iter().filter(|block| block.heading == heading);
    let lines = found.flat_map(|block| block.text.lines().map(str::to_owned).collect::<Vec<_>>());
    let said: Vec<_> = lines.filter_map(|line| line.strip_prefix("host: ").map(str::to_owned)).collect();
    assert!(!said.is_empty(), "{heading}");
    said
}

/// A host with these words of the plugin's, until it says something of these.
#[track_caller]
fn waits_for(machine: &Machine, host: &[&str], plugin: &str, options: &str, said: &str) {
    let words = [host, &["-m", "aes-256-gcm", "-k", "word", "--plugin", plugin, "--plugin-opts", options]];
    let host = machine.start(host[0], &words.concat());
    host.wait_text(said);
}

#[test]
fn hosts_say_of_a_plugin_that_exits_what_the_page_quotes() {
    Machine::with(secs(60), |machine| {
        need!("ss-server", "ssserver");
        let said = hosts_say("The host says that the plugin exited");
        let [libev, rust, not_there] = said.as_slice() else { panic!("{said:?}") };
        let (old, new) =
            (["ss-server", "-s", "127.0.0.1", "-p", "8388"], ["ssserver", "-s", "127.0.0.1:8388"]);
        waits_for(machine, &old, "obfs-rs", "obfs=plain", libev);
        waits_for(machine, &new, "obfs-rs", "obfs=plain", rust);
        waits_for(machine, &old, "no-such-plugin", "obfs=http", not_there);
        waits_for(machine, &new, "no-such-plugin", "obfs=http", not_there);
    });
}

#[test]
fn a_host_says_of_a_wrong_password_what_the_page_quotes() {
    Machine::with(secs(60), |machine| {
        need!("ss-server", "sslocal");
        let said = hosts_say("The password is wrong");
        let [said] = said.as_slice() else { panic!("{said:?}") };
        let (before, behind) = said.split_once('…').expect("an address");
        let config = file("shadowsocks/server-alone.json").display().to_string();
        let server = machine.serve("ss-server", &[8388], &["ss-server", "-c", &config]);
        let words =
            ["sslocal", "-s", "127.0.0.1:8388", "-b", "127.0.0.1:1080", "-m", "aes-256-gcm", "-k", "wrong"];
        let _client = machine.serve("sslocal", &[1080], &words);
        let stream = crate::support::hosts::socks(super::local(1080), Backend::echo().addr);
        crate::support::conn::send(&stream, b"hello");
        server.wait_line("of the password", |line| line.contains(before) && line.contains(behind));
        drop(stream);
    });
}
