//! `deploy/caddy`: a website of Caddy's, with the tunnel on one of its paths.

use super::web_front::{Kind, WebFront};
use crate::support::child::{Child, Exit};
use crate::support::deployed::{Machine, NAME};
use crate::support::netns;
use crate::support::peers::need;
use crate::support::secs;

/// Caddy's user, with what Debian's unit gives it.
const AS_CADDY: [&str; 7] = [
    "setpriv",
    "--reuid=caddy",
    "--regid=caddy",
    "--init-groups",
    "--inh-caps=+net_bind_service",
    "--ambient-caps=+net_bind_service",
    "caddy",
];

fn start(machine: &Machine) -> Vec<Child> {
    let key = format!("/etc/ssl/{NAME}.key");
    netns::run("chgrp", &["caddy", &key]);
    netns::run("chmod", &["640", &key]);
    let mut command =
        machine.command(&[&AS_CADDY[..], &["run", "--config", "/etc/caddy/Caddyfile"]].concat());
    command.env("HOME", "/var/lib/caddy");
    let caddy = Child::spawn("caddy", command);
    for port in [80, 443, 8080] {
        caddy.wait_listening(port);
    }
    vec![caddy]
}

/// As Debian's unit does it.
fn reload(machine: &Machine, _: &Child) {
    let words = ["caddy", "reload", "--config", "/etc/caddy/Caddyfile", "--force"];
    let reload = machine.start("caddy reload", &words);
    assert_eq!(reload.wait_exit(secs(20)), Exit::Code(0), "{}", reload.show_log());
}

const CADDY: WebFront = WebFront {
    file: ("caddy/Caddyfile", "/etc/caddy/Caddyfile"),
    start,
    reload,
    passes: &[Kind::Mux, Kind::WebSocket, Kind::HttpUpgrade, Kind::HttpStandard, Kind::V2rayMux, Kind::V2ray],
    refuses: &[],
    half_closes: &[Kind::Mux, Kind::WebSocket],
    reload_keeps_tunnels: false,
    redirects: "308",
    two_hours: None,
};

#[test]
fn carries_tunnels() {
    need!("caddy", "openssl", "ssserver", "sslocal", "ss-v2ray-plugin");
    CADDY.carries_tunnels();
}

#[test]
fn carries_tunnels_of_libev() {
    need!("caddy", "openssl", "ss-server", "ss-local");
    CADDY.carries_libev();
}

#[test]
fn shows_visitors_the_website() {
    need!("caddy", "openssl", "ssserver", "curl");
    CADDY.shows_visitors_the_website();
}

#[test]
fn a_reload_ends_the_tunnels_and_takes_new_ones() {
    need!("caddy", "openssl", "ssserver", "sslocal", "curl");
    CADDY.reloads();
}

#[test]
fn tells_the_visitors_address() {
    need!("caddy", "openssl", "ssserver", "sslocal");
    CADDY.tells_the_visitors_address();
}

#[test]
fn does_without_the_plugin() {
    need!("caddy", "openssl", "ssserver", "sslocal", "curl");
    CADDY.does_without_the_plugin();
}
