//! `deploy/nginx`: a website of nginx's, with the tunnel on one of its paths.

use super::web_front::{Kind, WebFront};
use crate::support::child::Child;
use crate::support::deployed::Machine;
use crate::support::peers::need;
use rustix::process::Signal;

/// Debian's own configuration, with the file beside its default site.
fn start(machine: &Machine) -> Vec<Child> {
    vec![machine.serve("nginx", &[80, 443, 8080], &["nginx", "-g", "daemon off; master_process on;"])]
}

const NGINX: WebFront = WebFront {
    file: ("nginx/website.conf", "/etc/nginx/sites-enabled/website.conf"),
    start,
    reload: |_, nginx| nginx.signal(Signal::HUP),
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
    half_closes: &[Kind::Mux, Kind::WebSocket],
    reload_keeps_tunnels: true,
    redirects: "301",
    two_hours: Some(("2h;", "2s;")),
};

#[test]
fn carries_tunnels() {
    need!("nginx", "openssl", "ssserver", "sslocal", "ss-v2ray-plugin");
    NGINX.carries_tunnels();
}

#[test]
fn carries_tunnels_of_libev() {
    need!("nginx", "openssl", "ss-server", "ss-local");
    NGINX.carries_libev();
}

#[test]
fn shows_visitors_the_website() {
    need!("nginx", "openssl", "ssserver", "curl");
    NGINX.shows_visitors_the_website();
}

#[test]
fn a_reload_ends_no_tunnel() {
    need!("nginx", "openssl", "ssserver", "sslocal", "curl");
    NGINX.reloads();
}

#[test]
fn tells_the_visitors_address() {
    need!("nginx", "openssl", "ssserver", "sslocal");
    NGINX.tells_the_visitors_address();
}

#[test]
fn keeps_idle_tunnels() {
    need!("nginx", "openssl", "ssserver", "sslocal");
    NGINX.keeps_idle_tunnels();
}

#[test]
fn does_without_the_plugin() {
    need!("nginx", "openssl", "ssserver", "sslocal", "curl");
    NGINX.does_without_the_plugin();
}
