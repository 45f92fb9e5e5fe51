//! What holds for any server and any profile.

use super::super::offers::Offer;
use super::super::page::one;
use super::super::*;
use super::{entry, request, share};
use crate::config::{self, ClientDisguise, Half, ProcessEnv, Role, RoleReason, Settings, WebBody, sip003};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;

/// The link read back, by the grammar of SIP002 and nothing of ours.
fn read_link(link: &str) -> (String, String, String, String, String) {
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, more @ ..] = rest {
            rest = more;
            if *first == b'%' {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&more[..2]).unwrap(), 16).unwrap());
                rest = &more[2..];
            } else {
                bytes.push(*first);
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    let (body, tag) = link.strip_prefix("ss://").unwrap().split_once('#').unwrap();
    let (address, plugin) = body.split_once("/?plugin=").unwrap();
    let (user, address) = address.split_once('@').unwrap();
    let user = match user.split_once(':') {
        Some((method, password)) => format!("{}:{}", decode(method), decode(password)),
        None => String::from_utf8(URL_SAFE_NO_PAD.decode(user).unwrap()).unwrap(),
    };
    let (method, password) = user.split_once(':').unwrap();
    (method.into(), password.into(), address.into(), decode(plugin), decode(tag))
}

/// A client's options as the client half reads them.
fn client(options: &str) -> ClientDisguise {
    let variables = [
        (sip003::REMOTE_HOST, "www.example.com"),
        (sip003::REMOTE_PORT, "443"),
        (sip003::LOCAL_HOST, "127.0.0.1"),
        (sip003::LOCAL_PORT, "1"),
        (sip003::PLUGIN_OPTIONS, options),
    ];
    let vars = variables.map(|(name, value)| (name.into(), value.into())).into();
    let role = Some((Role::Client, RoleReason::Subcommand));
    let settings = Settings { role, ..Settings::default() };
    let config = config::read(settings, &ProcessEnv { vars, parent: None }).unwrap();
    assert!(config.unknown.is_empty() && config.warnings.is_empty(), "{options}: {:?}", config.warnings);
    match config.half {
        Half::Client(client) => client.disguise,
        Half::Server(_) => panic!("{options}"),
    }
}

/// Whether a client asks for just what the server takes.
fn is_meant(offer: &Offer) -> bool {
    match client(&Plugin::ObfsRs.options(offer).unwrap()) {
        ClientDisguise::Web(web) => {
            let kind = if matches!(web.body, WebBody::Frames) { Kind::WebSocket } else { Kind::HttpUpgrade };
            let name = web.tls.as_ref().map(|tls| &tls.server_name);
            kind == offer.kind
                && crate::wire::http::host::is_path(&web.path, &offer.path)
                && web.host == offer.host
                && name == offer.tls.then_some(&offer.server_name)
        }
        ClientDisguise::Http(request, _) => {
            let host = request.host.trim_end_matches(":443");
            offer.kind == Kind::Http
                && (&request.path, host, &request.method) == (&offer.path, &*offer.host, &offer.method)
        }
        ClientDisguise::FakeTls { server_name } => {
            offer.kind == Kind::FakeTls && server_name == offer.server_name
        }
        ClientDisguise::Quic(quic) => offer.kind == Kind::Quic && quic.tls.server_name == offer.server_name,
        ClientDisguise::Grpc(grpc) => {
            offer.kind == Kind::Grpc
                && grpc.path == offer.path
                && grpc.tls.map(|tls| tls.server_name) == offer.tls.then(|| offer.server_name.clone())
        }
    }
}

proptest! {
    #[test]
    fn a_link_read_back_has_the_same_fields(
        password in ".{1,40}",
        name in "[^\u{0}-\u{1f}]{0,20}",
        method in prop::sample::select(vec!["aes-256-gcm", "2022-blake3-aes-128-gcm"]),
        path in "[!-~é ]{0,20}",
    ) {
        let escaped: String = path.chars().flat_map(|c| ['\\', c]).collect();
        let mut request = request(&format!("mode=websocket;path=/{escaped}"));
        request.method = Some(method.into());
        request.password = Some(password.clone());
        request.name = Some(name);
        let shared = share(&request);
        let link = one(&shared, Format::Link, None, None).unwrap();
        prop_assert!(link.trim_end().bytes().all(|byte| byte.is_ascii_graphic()));
        let (read_method, read_password, address, plugin, tag) = read_link(link.trim_end());
        prop_assert_eq!((&*read_method, &read_password), (method, &password));
        prop_assert_eq!(&*address, "www.example.com:443");
        prop_assert_eq!(&tag, &shared.profile.name);
        let options = Plugin::V2rayPlugin.options(&shared.offers[0]).unwrap();
        prop_assert_eq!(plugin, format!("v2ray-plugin;{options}"));
        // JSON and YAML hold any password.
        let json: serde_json::Value =
            serde_json::from_str(&one(&shared, Format::Json, None, None).unwrap()).unwrap();
        prop_assert_eq!(json["password"].as_str(), Some(&*password));
    }

    #[test]
    fn a_client_asks_for_what_the_server_takes(
        path in "[!-~é ]{0,20}",
        // What is likely a mistake in a name is warned of.
        service in "[!-$&-+\\-.0-9;-{}~é]{1,12}",
        host in prop::option::of("[a-z]{1,8}\\.example"),
        tls in any::<bool>(),
        mode in prop::sample::select(vec!["mode=auto", "mode=websocket", "obfs=http", "obfs=tls", "mode=grpc"]),
    ) {
        let escape = |text: &str| text.chars().flat_map(|c| ['\\', c]).collect::<String>();
        let mut server = format!("{mode};path=/{};serviceName={}", escape(&path), escape(&service));
        if tls && !mode.starts_with("obfs") {
            server.push_str(";tls;cert=/c.pem;key=/k.pem");
        }
        if let Some(host) = &host {
            server.push_str(&format!(";obfs-host={host}"));
        }
        for offer in share(&request(&server)).offers {
            prop_assert!(is_meant(&offer), "{}: {:?}", server, offer);
        }
    }

    #[test]
    fn nothing_that_is_printed_moves_a_terminal(password in any::<String>(), name in any::<String>()) {
        let request = Request { password: Some(format!("p{password}")), name: Some(name), ..request("obfs=http") };
        let page = entry(&request, Format::All).unwrap();
        prop_assert!(!page.replace('\n', "").contains(char::is_control), "{:?}", page);
    }
}
