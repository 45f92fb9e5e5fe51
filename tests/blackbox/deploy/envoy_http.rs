//! `deploy/envoy/http.yaml`: one port is a website and a tunnel.

use super::{carries, shadowsocks_client, shadowsocks_server};
use crate::support::backend::Backend;
use crate::support::deployed::{Machine, file};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::secs;

#[test]
fn the_path_is_a_tunnel_and_everything_else_is_redirected() {
    Machine::with(secs(60), |machine| {
        need!("envoy", "ssserver", "sslocal", "curl");
        let echo = Backend::echo();
        let _server = shadowsocks_server(machine, "shadowsocks/server-behind-proxy.json", 8388);
        let config = file("envoy/http.yaml").display().to_string();
        let envoy = machine.serve(
            "envoy",
            &[80],
            &["envoy", "--disable-hot-restart", "-l", "warning", "-c", &config],
        );
        let _client = shadowsocks_client(machine, "shadowsocks/client-http.json");
        carries(echo.addr);
        let page = curl(&["http://www.example.com/a-path-of-your-own"]);
        assert_eq!(page.status, "301", "{}", envoy.show_log());
    });
}
