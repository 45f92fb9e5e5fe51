//! `deploy/prometheus` and `deploy/grafana`: each query of the dashboard has an answer in a real Prometheus that reads
//! the configuration, and each alert is known to it.

use super::{carries, shadowsocks_client};
use crate::support::backend::Backend;
use crate::support::child::Child;
use crate::support::conn::{connect, recv_to_end, send};
use crate::support::deployed::{Machine, NAME, PASSWORD, PATH, local, text};
use crate::support::hosts::curl;
use crate::support::peers::need;
use crate::support::scrape::request;
use crate::support::{STEP, eventually, secs};
use serde_json::Value;
use std::collections::BTreeSet;

/// Where the configuration has obfs-rs.
const METRICS: &str = "127.0.0.1:9180";
/// Where Prometheus listens.
const PORT: u16 = 9090;

/// Prometheus with the configuration and these rules. The interval of scrapes is the only thing that is changed: a
/// rate wants two of them.
#[track_caller]
fn start(machine: &Machine, rules: &str) -> Child {
    let config = text("prometheus/prometheus.yml");
    assert_eq!(config.matches("_interval: 15s").count(), 2, "{config}");
    let config = config.replace("_interval: 15s", "_interval: 1s");
    let config = machine.put("/etc/prometheus/prometheus.yml", config).display().to_string();
    machine.put("/etc/prometheus/obfs-rs.rules.yml", rules);
    let data = machine.path().join("prometheus").display().to_string();
    let words = [
        "prometheus",
        &format!("--config.file={config}"),
        &format!("--storage.tsdb.path={data}"),
        &format!("--web.listen-address=127.0.0.1:{PORT}"),
    ];
    let prometheus = machine.start("prometheus", &words);
    prometheus.wait_text("Server is ready to receive web requests");
    prometheus
}

/// What Prometheus's API answers.
fn api(path: &str) -> Value {
    // HTTP/1.0 has no chunks.
    let answer = request(local(PORT), &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {answer:?}"))
}

/// The series that a query finds; `Err` if it cannot be read.
fn query(expression: &str) -> Result<Vec<Value>, String> {
    let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let answer = api(&format!("/api/v1/query?query={encoded}"));
    match answer["data"]["result"].as_array() {
        Some(series) => Ok(series.clone()),
        None => Err(answer["error"].to_string()),
    }
}

/// A query of the dashboard, as Grafana asks it with all jobs and all instances.
fn filled_in(expression: &str) -> String {
    let full = expression.replace("$__rate_interval", "1m").replace("$instance", ".+").replace("$job", ".+");
    assert!(!full.contains('$'), "another variable: {expression}");
    full
}

/// The queries of a dashboard, in the panels and in the variables.
fn queries() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&text("grafana/obfs-rs.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

#[test]
fn each_query_of_the_dashboard_finds_something() {
    Machine::with(secs(120), |machine| {
        need!("prometheus", "ssserver", "sslocal", "openssl", "curl");
        let echo = Backend::echo();
        machine.certificate(NAME);
        let prometheus = start(machine, &text("prometheus/obfs-rs.rules.yml"));
        let options = format!(
            "tls;cert=/etc/ssl/{NAME}.pem;key=/etc/ssl/{NAME}.key;path={PATH};failover=status:404;metrics={METRICS}"
        );
        let server = ["-s", "0.0.0.0:443", "-k", PASSWORD, "-m", "aes-256-gcm"];
        let plugin = ["--plugin", "obfs-rs", "--plugin-opts", &options];
        let _server =
            machine.serve("ssserver", &[443, 9180], &[&["ssserver"], &server[..], &plugin].concat());
        // From before the first connection on: what comes up between two scrapes is a rate.
        let up = || query("obfs_rs_build_info").is_ok_and(|found| found.len() == 1);
        assert!(eventually(STEP, up), "{}", prometheus.show_log());
        let _client = shadowsocks_client(machine, "shadowsocks/client.json");
        let mut asked: BTreeSet<String> = queries().iter().map(|query| filled_in(query)).collect();
        let all = asked.len();
        assert!(all > 20, "{asked:?}");
        let answered = eventually(secs(60), || {
            // Mux connections and visitors that come anew each time.
            carries(echo.addr);
            curl(&["-k", "--resolve", "www.example.com:443:127.0.0.1", "https://www.example.com/"]);
            asked.retain(|expression| {
                let found = query(expression).unwrap_or_else(|error| panic!("{expression}: {error}"));
                // A quantile of nothing is no number.
                found.is_empty() || found.iter().all(|series| series["value"][1] == "NaN")
            });
            asked.is_empty()
        });
        assert!(answered, "{} of {all} find nothing: {asked:#?}", asked.len());

        // The alerts: each is there and sound, and nothing is wrong here.
        let rules = api("/api/v1/rules");
        let rules = rules["data"]["groups"][0]["rules"].as_array().expect("rules");
        let named = text("prometheus/obfs-rs.rules.yml").matches("- alert:").count();
        assert!(named > 5 && rules.len() == named, "{rules:?}");
        for rule in rules {
            assert_ne!(rule["health"], "err", "{rule}");
            query(rule["query"].as_str().expect("its query")).expect("a query that can be read");
        }
    });
}

/// An alert is there when its reason is.
#[test]
fn the_alerts_see_a_server_that_is_down_or_cannot_reach_shadowsocks() {
    Machine::with(secs(120), |machine| {
        need!("prometheus");
        // What an alert waits for, it waits for here, too, but in seconds.
        let rules = text("prometheus/obfs-rs.rules.yml").replace("for: 2m", "for: 1s");
        let _prometheus = start(machine, &rules);
        let firing = |alert: &str| {
            let alerts = api("/api/v1/alerts");
            let alerts = alerts["data"]["alerts"].as_array().cloned().unwrap_or_default();
            alerts.iter().any(|it| it["labels"]["alertname"] == alert && it["state"] == "firing")
        };
        assert!(eventually(STEP, || firing("ObfsRsDown")), "{}", api("/api/v1/alerts"));
        let nobody = local(9);
        let words = ["obfs-rs", "server", "--listen", "127.0.0.1:8388", "--backend", &nobody.to_string()];
        let more = ["--obfs", "http", "--metrics", METRICS];
        let _server = machine.serve("a server", &[8388, 9180], &[&words[..], &more].concat());
        assert!(eventually(STEP, || !firing("ObfsRsDown")), "it is up");
        let client = [
            "obfs-rs",
            "client",
            "--listen",
            "127.0.0.1:1984",
            "--remote",
            "127.0.0.1:8388",
            "--obfs",
            "http",
        ];
        let _client = machine.serve("a client", &[1984], &client);
        let seen = eventually(STEP * 2, || {
            let stream = connect(local(1984));
            send(&stream, b"hello");
            recv_to_end(&stream, STEP);
            firing("ObfsRsBackendUnreachable")
        });
        assert!(seen, "{}", api("/api/v1/alerts"));
    });
}
