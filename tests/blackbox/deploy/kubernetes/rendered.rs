//! What `kubectl kustomize` makes of the manifests.

use crate::support::deployed;
use crate::support::peers;
use crate::support::tempdir::TempDir;
use base64::Engine as _;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// The first version that knows all that the manifests ask for, and the last one that is out.
const VERSIONS: [&str; 2] = ["1.30", "1.37"];

/// Writes the objects as JSON, and validates them against each version that is named.
const TO_JSON: &str = r#"
import json, sys, yaml
objects = [it for it in yaml.safe_load_all(sys.stdin) if it]
for version in sys.argv[1:]:
    import kubernetes_validate
    for it in objects:
        group = it["apiVersion"].split("/")[0]
        # What has another group is another program's, and no schema of the API has it.
        if "." not in group or group.endswith(".k8s.io"):
            kubernetes_validate.validate(it, version, strict=True)
json.dump(objects, sys.stdout)
"#;

/// A copy of the manifests, in which a user may have changed something.
pub struct Folder {
    dir: TempDir,
}

impl Folder {
    #[track_caller]
    pub fn new() -> Folder {
        let dir = TempDir::new("kubernetes");
        copy(&deployed::file("kubernetes"), dir.path());
        Folder { dir }
    }

    /// Another text in the place of one that is there once.
    #[track_caller]
    pub fn change(&self, name: &str, from: &str, to: &str) {
        let path = self.dir.path().join(name);
        let text = std::fs::read_to_string(&path).expect(name);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {name}");
        std::fs::write(path, text.replacen(from, to, 1)).expect(name);
    }

    /// These lines count from now on.
    #[track_caller]
    pub fn uncomment(&self, name: &str, lines: &[&str]) {
        for line in lines {
            self.change(name, &format!("#{line}\n"), &format!("{line}\n"));
        }
    }

    /// One resource in the place of another.
    #[track_caller]
    pub fn choose(&self, name: &str, other: &str, instead_of: &str) {
        self.uncomment(name, &[&format!("- {other}")]);
        self.change(name, &format!("\n- {instead_of}\n"), &format!("\n#- {instead_of}\n"));
    }

    #[track_caller]
    pub fn render(&self) -> Objects {
        self.render_of("")
    }

    /// The kustomization in one of its folders.
    #[track_caller]
    pub fn render_of(&self, folder: &str) -> Objects {
        Objects::read(&self.yaml(folder), &[])
    }

    /// Has the schemas of the API look at it.
    #[track_caller]
    pub fn validate(&self, folder: &str) {
        Objects::read(&self.yaml(folder), &VERSIONS);
    }

    #[track_caller]
    fn yaml(&self, folder: &str) -> Vec<u8> {
        let output = Command::new(peers::path("kubectl"))
            .arg("kustomize")
            .arg(self.dir.path().join(folder))
            .env("HOME", self.dir.path())
            .output()
            .expect("kubectl");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "kubectl kustomize: {said}");
        output.stdout
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// The files of a ConfigMap or a Secret.
pub type Data = BTreeMap<String, Vec<u8>>;

/// The objects that a cluster is given.
#[derive(Debug, Clone)]
pub struct Objects(Vec<Value>);

impl Objects {
    #[track_caller]
    fn read(yaml: &[u8], versions: &[&str]) -> Objects {
        let mut python = Command::new(peers::path("python-kubernetes-validate"))
            .args(["-c", TO_JSON])
            .args(versions)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python");
        python.stdin.take().expect("a pipe").write_all(yaml).expect("write");
        let output = python.wait_with_output().expect("python");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "not valid: {said}\n{}", String::from_utf8_lossy(yaml));
        Objects(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    pub fn all(&self) -> &[Value] {
        &self.0
    }

    pub fn of_kind<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |it| it["kind"] == kind)
    }

    /// The object of this kind and this whole name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.of_kind(kind).find(|it| it["metadata"]["name"] == name)
    }

    #[track_caller]
    pub fn get(&self, kind: &str, name: &str) -> &Value {
        self.find(kind, name).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// A ConfigMap's or a Secret's files, by its whole name.
    pub fn data(&self, kind: &str, name: &str) -> Option<Data> {
        let object = self.find(kind, name)?;
        let decode = |text: &str| match kind {
            // (Long ones are broken into lines.)
            "Secret" => {
                let text = text.replace('\n', "");
                base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
            }
            _ => text.as_bytes().to_vec(),
        };
        let data = object["data"].as_object().into_iter().flatten();
        Some(data.map(|(key, value)| (key.clone(), decode(value.as_str().expect("a text")))).collect())
    }

    /// Another Secret that somebody has made: `kubectl create secret tls`, or cert-manager.
    pub fn add_certificate(&mut self, cert: &[u8], key: &[u8]) {
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        self.0.push(serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": "obfs-rs-tls", "namespace": "obfs-rs"},
            "data": {"tls.crt": encode(cert), "tls.key": encode(key)},
        }));
    }

    /// The files of a ConfigMap or Secret that the kustomization makes, by the name without its hash.
    #[track_caller]
    pub fn generated(&mut self, kind: &str, name: &str) -> &mut serde_json::Map<String, Value> {
        let whole = self.generated_name(kind, name);
        self.data_mut(kind, &whole)
    }

    /// Its name with the hash.
    #[track_caller]
    pub fn generated_name(&self, kind: &str, name: &str) -> String {
        let mut names = self.of_kind(kind).map(|it| text(&it["metadata"]["name"]));
        let named = |whole: &&str| whole.rsplit_once('-').is_some_and(|(start, _)| start == name);
        names.find(named).unwrap_or_else(|| panic!("no {kind} {name}")).to_owned()
    }

    /// A ConfigMap's or a Secret's files, by its whole name.
    #[track_caller]
    pub fn data_mut(&mut self, kind: &str, name: &str) -> &mut serde_json::Map<String, Value> {
        let this = |it: &&mut Value| it["kind"] == kind && it["metadata"]["name"] == name;
        let object = self.0.iter_mut().find(this).unwrap_or_else(|| panic!("no {kind} {name}"));
        object["data"].as_object_mut().expect("data")
    }
}

/// A text in an object.
#[track_caller]
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// A list in an object; none is an empty one.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The labels of an object, or those that a selector asks for.
pub fn labels(value: &Value) -> BTreeMap<String, String> {
    let all = value.as_object().into_iter().flatten();
    all.map(|(name, value)| (name.clone(), text(value).to_owned())).collect()
}

/// Bytes from a quantity such as `128Mi`.
#[track_caller]
pub fn bytes(quantity: &str) -> u64 {
    let number = quantity.strip_suffix("Mi").unwrap_or_else(|| panic!("{quantity} is not in Mi"));
    number.parse::<u64>().expect("a number") * 1024 * 1024
}
