//! `deploy/apache`: a website of Apache's, with the tunnel on one of its paths.

use super::web_front::{Kind, WebFront};
use crate::support::child::{Child, Exit};
use crate::support::deployed::Machine;
use crate::support::peers::need;
use crate::support::secs;

#[track_caller]
fn run(machine: &Machine, words: &[&str]) {
    let child = machine.start(words[0], words);
    assert_eq!(child.wait_exit(secs(20)), Exit::Code(0), "{}", child.show_log());
}

/// Debian's own configuration and modules, with the file beside its default site.
fn start(machine: &Machine) -> Vec<Child> {
    run(machine, &["a2enmod", "ssl", "http2", "rewrite", "proxy_http", "remoteip"]);
    run(machine, &["a2ensite", "website"]);
    std::fs::create_dir("/run/lock").expect("a folder");
    vec![machine.serve("apache2", &[80, 443, 8080], &["apachectl", "-DFOREGROUND"])]
}

const APACHE: WebFront = WebFront {
    file: ("apache/website.conf", "/etc/apache2/sites-available/website.conf"),
    start,
    reload: |machine, _| run(machine, &["apachectl", "graceful"]),
    passes: &[
        Kind::Mux,
        Kind::WebSocket,
        Kind::HttpUpgrade,
        Kind::HttpEager,
        Kind::HttpStandard,
        Kind::V2rayMux,
        Kind::V2ray,
    ],
    refuses: &[],
    half_closes: &[Kind::Mux, Kind::WebSocket, Kind::HttpUpgrade, Kind::HttpEager, Kind::HttpStandard],
    reload_keeps_tunnels: true,
    redirects: "301",
    // It takes the longer one of its two.
    two_hours: Some(("timeout=7200\n</Proxy>", "timeout=2\n</Proxy>\nTimeout 2")),
};

#[test]
fn carries_tunnels() {
    need!("apache2", "openssl", "ssserver", "sslocal", "ss-v2ray-plugin");
    APACHE.carries_tunnels();
}

#[test]
fn carries_tunnels_of_libev() {
    need!("apache2", "openssl", "ss-server", "ss-local");
    APACHE.carries_libev();
}

#[test]
fn shows_visitors_the_website() {
    need!("apache2", "openssl", "ssserver", "curl");
    APACHE.shows_visitors_the_website();
}

#[test]
fn a_reload_ends_no_tunnel() {
    need!("apache2", "openssl", "ssserver", "sslocal", "curl");
    APACHE.reloads();
}

#[test]
fn tells_the_visitors_address() {
    need!("apache2", "openssl", "ssserver", "sslocal");
    APACHE.tells_the_visitors_address();
}

#[test]
fn keeps_idle_tunnels() {
    need!("apache2", "openssl", "ssserver", "sslocal");
    APACHE.keeps_idle_tunnels();
}

#[test]
fn does_without_the_plugin() {
    need!("apache2", "openssl", "ssserver", "sslocal", "curl");
    APACHE.does_without_the_plugin();
}
