//! What holds of the rendered objects, whichever choice is made.

use super::rendered::{Folder, Objects, bytes, labels, list, text};
use crate::support::deployed;
use crate::support::peers::need;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Every choice that the comments offer.
fn choices() -> Vec<Folder> {
    let service = "service-nodeport.yaml";
    let as_it_is = Folder::new();
    let balanced = Folder::new();
    balanced.choose("kustomization.yaml", "service-loadbalancer.yaml", service);
    balanced.choose("envoy/kustomization.yaml", "service-loadbalancer.yaml", service);
    let everything = Folder::new();
    everything.choose("kustomization.yaml", "service-clusterip.yaml", service);
    everything.uncomment("kustomization.yaml", &["- certificate.yaml", "- podmonitor.yaml"]);
    everything.uncomment("networkpolicy.yaml", &["from:", FROM_ENVOY]);
    everything.uncomment("deployment.yaml", &[ANNOTATIONS]);
    vec![as_it_is, balanced, everything]
}

const FROM_ENVOY: &str =
    "- podSelector: {matchLabels: {app.kubernetes.io/name: envoy, app.kubernetes.io/part-of: obfs-rs}}";
const ANNOTATIONS: &str = r#"annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9180", prometheus.io/path: /metrics}"#;

/// With each choice, the pods of all and Envoy's.
fn each(check: impl Fn(&Objects, &Deployments)) {
    need!("kubectl", "python-kubernetes-validate");
    for folder in choices() {
        let (own, envoy) = (folder.render(), folder.render_of("envoy"));
        let deployments =
            Deployments(own.of_kind("Deployment").chain(envoy.of_kind("Deployment")).cloned().collect());
        assert_eq!(deployments.0.len(), 2);
        check(&own, &deployments);
        check(&envoy, &deployments);
    }
}

/// All that there are in the cluster.
struct Deployments(Vec<Value>);

impl Deployments {
    /// Those whose pods have these labels.
    fn selected(&self, selector: &BTreeMap<String, String>) -> Vec<&Value> {
        let has = |it: &&Value| {
            let labels = labels(&it["spec"]["template"]["metadata"]["labels"]);
            selector.iter().all(|(name, value)| labels.get(name) == Some(value))
        };
        self.0.iter().filter(has).collect()
    }

    /// The one whose pods have these labels.
    #[track_caller]
    fn one(&self, selector: &Value) -> &Value {
        let found = self.selected(&labels(selector));
        assert!(found.len() == 1 && !labels(selector).is_empty(), "{selector} selects {}", found.len());
        found[0]
    }
}

#[test]
fn every_choice_is_valid_for_the_api() {
    need!("kubectl", "python-kubernetes-validate");
    for folder in choices() {
        folder.validate("");
        folder.validate("envoy");
    }
}

fn containers(deployment: &Value) -> impl Iterator<Item = &Value> {
    let spec = &deployment["spec"]["template"]["spec"];
    list(&spec["initContainers"]).iter().chain(list(&spec["containers"]))
}

fn ports(deployment: &Value) -> BTreeSet<&str> {
    containers(deployment).flat_map(|it| list(&it["ports"])).map(|it| text(&it["name"])).collect()
}

#[test]
fn selectors_and_ports_meet_the_pods() {
    each(|objects, all| {
        for service in objects.of_kind("Service") {
            let found = ports(all.one(&service["spec"]["selector"]));
            for port in list(&service["spec"]["ports"]) {
                assert!(found.contains(text(&port["targetPort"])), "{port} of {found:?}");
            }
        }
        for budget in objects.of_kind("PodDisruptionBudget") {
            let deployment = all.one(&budget["spec"]["selector"]["matchLabels"]);
            assert!(deployment["spec"]["replicas"].as_u64() > budget["spec"]["maxUnavailable"].as_u64());
        }
        for deployment in objects.of_kind("Deployment") {
            let spec = &deployment["spec"];
            let own = &deployment["metadata"]["name"];
            assert_eq!(&all.one(&spec["selector"]["matchLabels"])["metadata"]["name"], own);
            for spread in list(&spec["template"]["spec"]["topologySpreadConstraints"]) {
                assert_eq!(&all.one(&spread["labelSelector"]["matchLabels"])["metadata"]["name"], own);
            }
            for container in containers(deployment) {
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                    let get = &container[probe]["httpGet"];
                    assert!(get.is_null() || ports(deployment).contains(text(&get["port"])), "{get}");
                }
            }
        }
        for monitor in objects.of_kind("PodMonitor") {
            let found = ports(all.one(&monitor["spec"]["selector"]["matchLabels"]));
            for endpoint in list(&monitor["spec"]["podMetricsEndpoints"]) {
                assert!(found.contains(text(&endpoint["port"])));
            }
        }
    });
}

/// Ingress is of ports that the pods have; egress between pods meets an ingress.
#[test]
fn network_policies_let_pass_what_is_to_pass() {
    need!("kubectl", "python-kubernetes-validate");
    for folder in choices() {
        let (own, envoy) = (folder.render(), folder.render_of("envoy"));
        let all =
            Deployments(own.of_kind("Deployment").chain(envoy.of_kind("Deployment")).cloned().collect());
        let policies: Vec<&Value> =
            own.of_kind("NetworkPolicy").chain(envoy.of_kind("NetworkPolicy")).collect();
        assert_eq!(policies.len(), 2);
        let peers = |rule: &Value, side: &str| -> Vec<String> {
            let pods = list(&rule[side]).iter().map(|it| &it["podSelector"]["matchLabels"]);
            let selected = pods.flat_map(|it| all.selected(&labels(it)));
            selected.map(|it| text(&it["metadata"]["name"]).to_owned()).collect()
        };
        for policy in &policies {
            let spec = &policy["spec"];
            assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]));
            let deployment = all.one(&spec["podSelector"]["matchLabels"]);
            let found = ports(deployment);
            for port in list(&spec["ingress"]).iter().flat_map(|it| list(&it["ports"])) {
                assert!(found.contains(text(&port["port"])), "{port} of {found:?}");
            }
            // Envoy may come to the tunnels and to the health checks, and goes there.
            for port in ["tunnel", "metrics"].into_iter().filter(|it| found.contains(it)) {
                let of_port = |rule: &&Value| list(&rule["ports"]).iter().any(|it| it["port"] == port);
                let rule = list(&spec["ingress"]).iter().find(of_port).expect("a rule");
                let from = peers(rule, "from");
                assert!(list(&rule["from"]).is_empty() || from.iter().any(|it| it == "envoy"), "{rule}");
                assert!(port == "tunnel" || !from.is_empty(), "the metrics are everybody's");
                let rules = list(&policies[1]["spec"]["egress"]).iter().filter(of_port);
                let to: Vec<String> = rules.flat_map(|rule| peers(rule, "to")).collect();
                assert_eq!(to, ["obfs-rs"], "{port}");
            }
        }
    }
}

/// The `restricted` level of the pod security standards, and a little more.
#[test]
fn pods_ask_for_no_rights() {
    each(|objects, _| {
        for deployment in objects.of_kind("Deployment") {
            let spec = &deployment["spec"]["template"]["spec"];
            for (name, value) in [
                ("automountServiceAccountToken", json!(false)),
                ("enableServiceLinks", json!(false)),
                ("hostNetwork", Value::Null),
                ("hostPID", Value::Null),
                ("hostIPC", Value::Null),
                ("shareProcessNamespace", Value::Null),
            ] {
                assert_eq!(spec[name], value, "{name}");
            }
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
            assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
            assert_ne!(spec["securityContext"]["runAsUser"], 0);
            for container in containers(deployment) {
                let wanted = json!({
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                });
                assert_eq!(container["securityContext"], wanted, "{}", container["name"]);
                let tag = text(&container["image"]).rsplit_once(':').expect("a tag").1;
                assert_ne!(tag, "latest");
                let resources = &container["resources"];
                let (asked, limit) = (&resources["requests"]["memory"], &resources["limits"]["memory"]);
                assert!(bytes(text(asked)) <= bytes(text(limit)) && resources["requests"]["cpu"].is_string());
                assert!(list(&container["ports"]).iter().all(|it| it["hostPort"].is_null()));
            }
            for volume in list(&spec["volumes"]) {
                let secret = &volume["secret"];
                assert!(volume["configMap"].is_object() || secret["defaultMode"] == 0o440, "{volume}");
            }
        }
        for object in objects.all() {
            let labels = labels(&object["metadata"]["labels"]);
            let made = matches!(text(&object["kind"]), "ConfigMap" | "Secret");
            assert!(made || labels["app.kubernetes.io/part-of"] == "obfs-rs", "{object}");
            let namespace = &object["metadata"]["namespace"];
            assert!(object["kind"] == "Namespace" || namespace == "obfs-rs", "{object}");
        }
    });
}

/// preStop, then `drain`, then some: all within the time after which the node kills.
#[test]
fn there_is_time_to_drain() {
    each(|objects, _| {
        for deployment in objects.of_kind("Deployment") {
            let spec = &deployment["spec"]["template"]["spec"];
            let main = &list(&spec["containers"])[0];
            let sleep = main["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().expect("a sleep");
            let drain = match text(&deployment["metadata"]["name"]) {
                "obfs-rs" => {
                    let map = objects.generated_name("ConfigMap", "obfs-rs");
                    let options = text(&objects.get("ConfigMap", &map)["data"]["options"]);
                    let drain = options.split(';').find_map(|it| it.strip_prefix("drain=")).expect("drain");
                    drain.parse::<u64>().expect("seconds")
                }
                _ => 0,
            };
            let grace = spec["terminationGracePeriodSeconds"].as_u64().expect("seconds");
            assert!(sleep + drain + 20 <= grace, "{sleep} + {drain} of {grace}");
            assert!(sleep >= 5);
        }
    });
}

/// What is changed in a ConfigMap or a Secret reaches the pods, since they are rolled; a certificate does it without.
#[test]
fn changes_of_settings_roll_the_pods() {
    need!("kubectl", "python-kubernetes-validate");
    let template = |folder: &Folder, kustomization: &str, name: &str| {
        folder.render_of(kustomization).get("Deployment", name)["spec"]["template"].clone()
    };
    let (before, envoy_before) =
        (template(&Folder::new(), "", "obfs-rs"), template(&Folder::new(), "envoy", "envoy"));
    for (file, from, to) in [
        ("kustomization.yaml", ";drain=300", ";drain=200"),
        ("kustomization.yaml", "password=a-password-of-your-own", "password=another"),
        ("kustomization.yaml", "/a-path-of-your-own", "/another"),
        ("ssserver.json", "aes-256-gcm", "chacha20-ietf-poly1305"),
        ("ssserver.acl", "10.0.0.0/8\n", ""),
        ("kustomization.yaml", "newTag: \"0.1.0\"", "newTag: \"0.2.0\""),
    ] {
        let folder = Folder::new();
        folder.change(file, from, to);
        assert_ne!(template(&folder, "", "obfs-rs"), before, "{file}: {from}");
    }
    for (file, from, to) in [
        ("envoy.yaml", "/a-path-of-your-own", "/another"),
        ("envoy.yaml", "connect_timeout: 1s", "connect_timeout: 2s"),
        ("certificate.yaml", "tls.key", "another.key"),
    ] {
        let folder = Folder::new();
        folder.change(&format!("envoy/{file}"), from, to);
        assert_ne!(template(&folder, "envoy", "envoy"), envoy_before, "{file}: {from}");
    }
    for template in [before, envoy_before] {
        let volumes = list(&template["spec"]["volumes"]);
        let tls = volumes.iter().find(|it| it["name"] == "tls").expect("a volume");
        assert_eq!(tls["secret"]["secretName"], "obfs-rs-tls");
        let mounts = list(&template["spec"]["containers"]).iter().flat_map(|it| list(&it["volumeMounts"]));
        assert!(mounts.clone().count() > 0 && mounts.into_iter().all(|it| it["subPath"].is_null()));
    }
}

/// Shadowsocks and the network keep the pods' users out of the same places.
#[test]
fn users_stay_out_of_the_cluster() {
    need!("kubectl", "python-kubernetes-validate");
    let objects = Folder::new().render();
    let egress = list(&objects.get("NetworkPolicy", "obfs-rs")["spec"]["egress"]);
    let blocks = egress.iter().flat_map(|it| list(&it["to"])).map(|it| &it["ipBlock"]);
    let kept: Vec<&str> = blocks.flat_map(|it| list(&it["except"])).map(text).collect();
    let acl = deployed::text("kubernetes/ssserver.acl");
    let lines: Vec<&str> = acl.lines().filter(|it| !it.starts_with(['#', '['])).collect();
    assert_eq!(lines, kept);
    for network in ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10"] {
        assert!(kept.contains(&network), "{network}");
    }
}

/// What is a user's own stands where the comments say, and nowhere else.
#[test]
fn what_is_to_be_changed_stands_at_one_place() {
    let folder = deployed::file("kubernetes");
    let mut found = BTreeMap::<&str, Vec<String>>::new();
    for folder in [folder.clone(), folder.join("envoy")] {
        let entries = std::fs::read_dir(folder).expect("a folder").map(|it| it.expect("an entry").path());
        for path in entries.filter(|it| it.is_file()) {
            let text = std::fs::read_to_string(&path).expect("a text");
            let name = path.strip_prefix(deployed::file("kubernetes")).expect("a name").display().to_string();
            let lines = || text.lines().filter(|it| !it.starts_with('#'));
            for own in [deployed::PASSWORD, deployed::PATH, deployed::NAME] {
                let there = lines().filter(|it| it.contains(own)).map(|_| name.clone());
                found.entry(own).or_default().extend(there);
            }
        }
    }
    for files in found.values_mut() {
        files.sort();
    }
    assert_eq!(found[deployed::PASSWORD], ["kustomization.yaml"]);
    assert_eq!(found[deployed::PATH], ["envoy/envoy.yaml", "kustomization.yaml"]);
    assert_eq!(found[deployed::NAME], ["certificate.yaml", "envoy/envoy.yaml"]);
}
