//! `deploy/haproxy`: a tunnel and a website behind HAProxy.

use super::web_front::{Kind, WebFront};
use crate::support::child::Child;
use crate::support::deployed::{Machine, NAME};
use crate::support::peers::need;
use rustix::process::Signal;
use std::os::unix::fs::symlink;

/// As Debian's unit does it, with nginx as the website.
fn start(machine: &Machine) -> Vec<Child> {
    machine.install("nginx/loopback.conf", "/etc/nginx/sites-enabled/loopback.conf");
    std::fs::remove_file("/etc/nginx/sites-enabled/default").expect("Debian's default site");
    let nginx = machine.serve("nginx", &[8080], &["nginx", "-g", "daemon off; master_process on;"]);
    machine.install("haproxy/haproxy.cfg", "/etc/haproxy/haproxy.cfg");
    symlink(format!("{NAME}.key"), format!("/etc/ssl/{NAME}.pem.key")).expect("a link");
    std::fs::create_dir("/run/haproxy").expect("a folder");
    let words = ["haproxy", "-Ws", "-f", "/etc/haproxy/haproxy.cfg", "-p", "/run/haproxy.pid"];
    vec![machine.serve("haproxy", &[80, 443], &words), nginx]
}

const HAPROXY: WebFront = WebFront {
    start,
    reload: |_, haproxy| haproxy.signal(Signal::USR2),
    passes: &[Kind::Mux, Kind::WebSocket, Kind::HttpStandard, Kind::V2rayMux, Kind::V2ray],
    half_closes: &[Kind::Mux, Kind::WebSocket, Kind::HttpStandard],
    reload_keeps_tunnels: true,
    redirects: "301",
};

#[test]
fn carries_tunnels() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal", "ss-v2ray-plugin");
    HAPROXY.carries_tunnels();
}

#[test]
fn carries_tunnels_of_libev() {
    need!("haproxy", "nginx", "openssl", "ss-server", "ss-local");
    HAPROXY.carries_libev();
}

#[test]
fn shows_visitors_the_website() {
    need!("haproxy", "nginx", "openssl", "ssserver", "curl");
    HAPROXY.shows_visitors_the_website();
}

#[test]
fn a_reload_ends_no_tunnel() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal", "curl");
    HAPROXY.reloads();
}

#[test]
fn tells_the_visitors_address() {
    need!("haproxy", "nginx", "openssl", "ssserver", "sslocal");
    HAPROXY.tells_the_visitors_address();
}
