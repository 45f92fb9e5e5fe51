//! What is wrong in a Secret or a ConfigMap is told, and the pod is not ready.

use super::kubelet::Pod;
use super::pods::with_certificate;
use super::rendered::{Folder, Objects};
use crate::support::child::Exit;
use crate::support::deployed::Machine;
use crate::support::peers::need;
use crate::support::{STEP, secs};
use base64::Engine as _;
use serde_json::json;

fn encode(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// obfs-rs ends with 23 and one line, which is the pod's log.
#[track_caller]
fn ends_with(objects: &Objects, wanted: &str) {
    let pod = Pod::start(objects, "obfs-rs", 1).expect("it is started");
    let child = &pod.container("obfs-rs").child;
    assert_eq!(child.wait_exit(STEP), Exit::Code(23), "{}", child.show_log());
    let lines = child.lines();
    assert!(lines.len() == 1 && lines[0].contains(wanted), "{lines:?} is not {wanted}");
    assert!(!lines[0].contains("a-path-of-your-own"), "{lines:?}");
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        assert!(!pod.passes(probe), "{probe} passes");
    }
}

#[test]
fn the_log_of_the_pod_tells_what_is_wrong() {
    Machine::with(secs(120), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver");
        let good = with_certificate(machine, Folder::new().render());
        let file = "/etc/obfs-rs/secret/obfs-rs.json";
        for (content, wanted) in [
            (None, format!("obfs-rs: configuration file {file}: No such file or directory")),
            (
                Some(""),
                format!("obfs-rs: configuration file {file}:1: the file is empty: expected a JSON object"),
            ),
            (
                Some("{\"path\": \"/a-path-of-your-own\",\n"),
                format!("obfs-rs: configuration file {file}:1: the file ends too early, after line 1"),
            ),
            (
                Some("{\"path\": \"/a-path-"),
                format!("obfs-rs: configuration file {file}:1:10: unterminated string"),
            ),
            (Some("path=/a-path-of-your-own"), format!("obfs-rs: configuration file {file}:1:1: ")),
        ] {
            let mut objects = good.clone();
            let secret = objects.generated("Secret", "obfs-rs");
            match content {
                None => secret.remove("obfs-rs.json").map(|_| ()),
                Some(content) => secret.insert("obfs-rs.json".to_owned(), json!(encode(content))).map(|_| ()),
            }
            .expect("it was there");
            ends_with(&objects, &wanted);
        }
        for (from, to, wanted) in [
            ("drain=300", "drain=soon", "obfs-rs: option `drain`: `soon` is not a number of seconds"),
            ("tls;cert", "tsl;cert", "obfs-rs: SS_PLUGIN_OPTIONS: `tsl` is no option: did you mean `tls`?"),
            ("failover=redirect:", "failover=redirct:", "obfs-rs: option `failover`"),
            (
                "tls.key;",
                "tls.kye;",
                "obfs-rs: tls (options `cert` and `key`): /etc/obfs-rs/tls/tls.kye: No such file",
            ),
        ] {
            let mut objects = good.clone();
            let options = &mut objects.generated("ConfigMap", "obfs-rs")["options"];
            let text = options.as_str().expect("a text");
            assert!(text.contains(from), "{text}");
            *options = json!(text.replace(from, to));
            ends_with(&objects, wanted);
        }
        for (key, value, wanted) in [
            ("tls.key", None, "/etc/obfs-rs/tls/tls.key: No such file"),
            ("tls.key", Some("nonsense"), "/etc/obfs-rs/tls/tls.key"),
            ("tls.crt", Some(""), "/etc/obfs-rs/tls/tls.crt"),
        ] {
            let mut objects = good.clone();
            let secret = objects.data_mut("Secret", "obfs-rs-tls");
            match value {
                None => secret.remove(key).map(|_| ()),
                Some(value) => secret.insert(key.to_owned(), json!(encode(value))).map(|_| ()),
            }
            .expect("it was there");
            ends_with(&objects, wanted);
        }
    });
}

/// What keeps the node from starting a pod at all it says itself, in the pod's events.
#[test]
fn the_node_tells_what_it_lacks() {
    Machine::with(secs(60), |machine| {
        need!("kubectl", "python-kubernetes-validate", "ssserver");
        let bare = Folder::new().render();
        let start = |objects: &Objects| Pod::start(objects, "obfs-rs", 1).err().expect("it does not start");
        assert_eq!(start(&bare), "Secret obfs-rs-tls not found");
        let good = with_certificate(machine, bare);
        for (kind, key) in [("Secret", "password"), ("ConfigMap", "options")] {
            let mut objects = good.clone();
            objects.generated(kind, "obfs-rs").remove(key).expect("it was there");
            assert!(start(&objects).starts_with(&format!("couldn't find key {key} in {kind} obfs-rs-")));
        }
        let mut objects = good;
        objects.generated("ConfigMap", "obfs-rs").remove("ssserver.acl").expect("it was there");
        assert_eq!(start(&objects), "references non-existent key: \"ssserver.acl\"");
    });
}
