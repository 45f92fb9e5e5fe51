//! The files of `deploy/`, each on a machine of its own (`support::deployed`), as they are.

use crate::support::child::Child;
use crate::support::conn::assert_echo;
use crate::support::deployed::{Machine, file, local};
use crate::support::hosts::socks;
use crate::support::noise;
use std::net::SocketAddr;

mod apache;
mod caddy;
mod compose;
mod envoy_http;
mod envoy_sni;
mod envoy_tcp;
mod faults;
mod haproxy;
mod instance;
mod instances;
mod kubernetes;
mod nginx;
mod prometheus;
mod systemd;
mod web_front;

const MB: usize = 1024 * 1024;

/// A Shadowsocks server and its plugin, by a file of `deploy/`; listens at its `server_port`.
#[track_caller]
fn shadowsocks_server(machine: &Machine, name: &str, port: u16) -> Child {
    machine.serve("ssserver", &[port], &["ssserver", "-c", &file(name).display().to_string()])
}

/// A Shadowsocks client and its plugin, by a file of `deploy/`; listens at 1080.
#[track_caller]
fn shadowsocks_client(machine: &Machine, name: &str) -> Child {
    machine.serve("sslocal", &[1080], &["sslocal", "-c", &file(name).display().to_string()])
}

/// Several tunnels at once, with short and long messages.
#[track_caller]
fn carries(target: SocketAddr) {
    std::thread::scope(|scope| {
        for seed in 0..4 {
            scope.spawn(move || {
                let stream = socks(local(1080), target);
                assert_echo(&stream, b"hello");
                assert_echo(&stream, &noise(2 * MB, seed));
            });
        }
    });
}
