//! The APK: that shadowsocks-android would find a plugin in it, that Android would install it, and that its programs are
//! those of the release. (No phone takes part.)

mod apk;
mod manifest;
mod packager;

use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect};
use crate::support::peers::need;
use crate::support::plugin::{Ours, client, server};
use crate::support::{assert_same, noise, secs, within};
use apk::{Apk, LIBRARIES, run};
use manifest::Element;
use std::collections::BTreeSet;

const ACTION: &str = "com.github.shadowsocks.plugin.ACTION_NATIVE_PLUGIN";
/// Nobody else's: with two plugins of one id, the app does not start.
const ID: &str = "obfs-rs";

/// What the app asks of a plugin, point by point.
#[test]
fn the_app_finds_the_plugin_by_its_manifest() {
    within(secs(60), || {
        need!("aapt");
        let manifest = Apk::of_release().manifest();
        assert_eq!(manifest.get("android:installLocation"), Some("1"), "internalOnly");
        let application = manifest.only("application");
        assert_eq!(application.get("android:extractNativeLibs"), Some("true"));
        let version = application.meta_data("com.github.shadowsocks.plugin.version").expect("a version");
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        assert!(major.is_some_and(|major| major >= 2), "a VPN is told as an option since 2: {version}");

        let provider = application.only("provider");
        assert_eq!(provider.get("android:exported"), Some("true"));
        assert_eq!(provider.get("android:directBootAware"), Some("true"));
        assert_eq!(provider.get("android:permission"), None);
        let package = manifest.get("package").expect("a package");
        let authority = provider.get("android:authorities").expect("an authority");
        assert!(authority.strip_prefix(package).is_some_and(|rest| rest.starts_with('.')), "{authority}");

        // Once for who lists plugins, and once for who wants this one: its whole path, not what begins so.
        let filters: BTreeSet<_> = provider.all("intent-filter").map(filter).collect();
        let data = [
            ("android:host", "com.github.shadowsocks"),
            ("android:path", "/obfs-rs"),
            ("android:scheme", "plugin"),
        ];
        let data = data.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        assert_eq!(filters, BTreeSet::from([(ACTION.to_owned(), vec![]), (ACTION.to_owned(), vec![data])]));

        assert_eq!(provider.meta_data("com.github.shadowsocks.plugin.id"), Some(ID));
        assert_eq!(provider.meta_data("com.github.shadowsocks.plugin.id.aliases"), None);
        let path = provider.meta_data("com.github.shadowsocks.plugin.executable_path");
        assert_eq!(path, Some("libobfs-rs.so"), "in the folder into which libraries are unpacked");
        let options = provider.meta_data("com.github.shadowsocks.plugin.default_config").expect("options");
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "");
        assert_echo(&connect(client(Ours, server.addr, options).addr), &noise(200_000, 1));
    });
}

/// The action of a filter, and each of its data.
fn filter(filter: &Element) -> (String, Vec<Vec<(String, String)>>) {
    let action = filter.only("action").get("android:name").expect("an action").to_owned();
    (action, filter.all("data").map(|data| data.attributes.clone().into_iter().collect()).collect())
}

#[test]
fn android_would_install_it() {
    within(secs(60), || {
        need!("aapt", "apksigner", "unzip", "zipalign");
        let apk = Apk::of_release();
        let manifest = apk.manifest();
        assert_eq!(manifest.get("android:versionName"), Some(env!("CARGO_PKG_VERSION")));
        let sdk = manifest.only("uses-sdk");
        assert_eq!(sdk.get("android:minSdkVersion"), Some("21"));
        assert_eq!(sdk.get("android:targetSdkVersion"), Some("36"));
        let application = manifest.only("application");
        assert_eq!(application.get("android:hasCode"), Some("false"));
        for unwanted in ["android:debuggable", "android:testOnly"] {
            assert_eq!(application.get(unwanted), None);
        }
        let kinds: BTreeSet<_> = application.children.iter().map(|child| child.name.as_str()).collect();
        assert_eq!(kinds, BTreeSet::from(["meta-data", "provider"]));

        let mut wanted = BTreeSet::from(
            ["AndroidManifest.xml", "assets/licenses.txt", "res/drawable/icon.xml", "resources.arsc"]
                .map(str::to_owned),
        );
        wanted.extend(LIBRARIES.map(|library| library.path()));
        let names = run("unzip", &["-Z1", apk.name()]);
        let names = names.lines().filter(|name| !name.starts_with("META-INF/")).map(str::to_owned);
        assert_eq!(names.collect::<BTreeSet<_>>(), wanted);

        let said = run("apksigner", &["verify", "--verbose", "--min-sdk-version", "21", apk.name()]);
        for scheme in
            ["v2 scheme (APK Signature Scheme v2): true", "v3 scheme (APK Signature Scheme v3): true"]
        {
            assert!(said.contains(scheme), "{said}");
        }
        // Since Android 11 the table of resources is mapped as it lies there.
        let aligned = run("zipalign", &["-c", "-v", "4", apk.name()]);
        let table = aligned.lines().find(|line| line.contains("resources.arsc")).expect("the table");
        assert!(table.ends_with("(OK)"), "{table}");
    });
}

#[test]
fn its_programs_are_the_releases_and_start_without_an_interpreter() {
    within(secs(120), || {
        need!("readelf", "tar", "unzip");
        let apk = Apk::of_release();
        for library in LIBRARIES {
            let program = apk.read(&library.path());
            assert_same(library.abi, &program, &library.in_release());
            library.assert_starts(&program);
        }
    });
}
