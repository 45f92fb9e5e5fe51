//! What users enter, app by app.
//!
//! Sources: the documentation of Surge (policies/shadowsocks) and of sing-box (outbound/shadowsocks), the sample
//! configuration of Quantumult X, mihomo's `adapter/outbound/shadowsocks.go`, sing-box's `transport/sip003`.

use super::methods::{OF_MIHOMO, OF_SING_BOX, OF_SURGE, method_of};
use super::offers::{Kind, Offer};
use super::plugin::Plugin;
use super::profile::Profile;
use super::text::{fits_a_line, quoted};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// All of it.
    All,
    /// The link.
    Link,
    /// The link as a QR code.
    Qr,
    /// The configuration of shadowsocks-rust and -libev.
    Json,
    /// mihomo's, and of other programs of Clash's family.
    Mihomo,
    /// sing-box's.
    SingBox,
    /// Surge's.
    Surge,
    /// Quantumult X's.
    QuantumultX,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 8] = [
        Format::All,
        Format::Link,
        Format::Qr,
        Format::Json,
        Format::Mihomo,
        Format::SingBox,
        Format::Surge,
        Format::QuantumultX,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::All => "all",
            Format::Link => "link",
            Format::Qr => "qr",
            Format::Json => "json",
            Format::Mihomo => "mihomo",
            Format::SingBox => "sing-box",
            Format::Surge => "surge",
            Format::QuantumultX => "quantumult-x",
        }
    }
}

/// What an app is given for a profile: the text, or why there is none.
pub(super) type Entry = Result<String, String>;

/// The first offer that an app knows. Where the server takes clients in TLS, one in the clear is only taken where it was
/// asked for: everybody on the way would read the path.
fn first<T>(offers: &[Offer], app: &str, known: impl Fn(&Offer) -> Option<T>) -> Result<T, String> {
    let has_tls = offers.iter().any(|offer| offer.tls);
    let good = || offers.iter().filter(|offer| offer.tls || !has_tls);
    good().find_map(&known).ok_or_else(|| {
        let taken: Vec<_> = good().map(describe).collect();
        let clear = offers.iter().find(|offer| known(offer).is_some());
        let clear =
            clear.map(|offer| format!("; in the clear it has {offer} (--disguise {})", offer.kind.name()));
        format!("{app} has none of what this server takes: {}{}", taken.join(", "), clear.unwrap_or_default())
    })
}

/// An offer, and what apps may lack of it.
fn describe(offer: &Offer) -> String {
    match offer.kind {
        Kind::Http if offer.path != "/" => format!("{offer} with a path"),
        Kind::Http if offer.method != "GET" => format!("{offer} with a method"),
        _ => offer.to_string(),
    }
}

/// The plugin and its options for the best offer that one of `plugins` knows.
pub(super) fn plugin_for(offers: &[Offer], plugins: &[Plugin]) -> Result<(Plugin, String), String> {
    let names: Vec<_> = plugins.iter().map(|plugin| plugin.name()).collect();
    first(offers, &names.join(" and "), |offer| {
        plugins.iter().find_map(|&plugin| Some((plugin, plugin.options(offer)?)))
    })
}

/// The options of the program that is this plugin.
pub(super) fn program_options(offers: &[Offer], plugin: Plugin) -> Entry {
    first(offers, plugin.name(), |offer| plugin.program_options(offer))
}

/// Lines of JSON, in this order.
fn object(fields: &[(&str, String)]) -> String {
    let lines: Vec<_> = fields.iter().map(|(key, value)| format!("    {}: {value}", quoted(key))).collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// The configuration of shadowsocks-rust's and -libev's client, with this plugin.
pub(super) fn json(profile: &Profile, offers: &[Offer], plugin: Plugin) -> Entry {
    let (offer, options) =
        first(offers, plugin.name(), |offer| Some((offer.clone(), plugin.program_options(offer)?)))?;
    let mut fields = vec![
        ("server", quoted(&profile.bare_host())),
        ("server_port", profile.port.to_string()),
        ("method", quoted(&profile.method)),
        ("password", quoted(&profile.password)),
        ("local_address", quoted("127.0.0.1")),
        ("local_port", "1080".to_owned()),
        ("plugin", quoted(plugin.name())),
        ("plugin_opts", quoted(&options)),
    ];
    if offer.udp && plugin == Plugin::ObfsRs {
        // shadowsocks-rust's; -libev passes over the second.
        fields.push(("mode", quoted("tcp_and_udp")));
        fields.push(("plugin_mode", quoted("tcp_and_udp")));
    }
    Ok(object(&fields))
}

/// What mihomo and sing-box have of `obfs=http`: no path and no method.
fn is_plain_http(offer: &Offer) -> bool {
    offer.path == "/" && offer.method == "GET"
}

/// An entry of `proxies` for mihomo. UDP, which it would send past the plugin, stays off.
pub(super) fn mihomo(profile: &Profile, offers: &[Offer]) -> Entry {
    let method = method_of("mihomo", OF_MIHOMO, profile)?;
    let (plugin, options) = first(offers, "mihomo", |offer| {
        let host = || ("host", quoted(&offer.host));
        let web = |more: &[(&'static str, &str)]| {
            let all = [("mode", "websocket".to_owned()), ("tls", offer.tls.to_string()), host()];
            let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
            (
                "v2ray-plugin",
                all.into_iter().chain([("path", quoted(&offer.path))]).chain(more).collect::<Vec<_>>(),
            )
        };
        match offer.kind {
            // One option is the name in the hello and in the request.
            Kind::WebSocket | Kind::HttpUpgrade if offer.tls && offer.host != offer.server_name => None,
            // (with mux, downloads of this app break off now and then, whatever the server)
            Kind::WebSocket => Some(web(&[("mux", "false")])),
            Kind::HttpUpgrade => Some(web(&[("mux", "false"), ("v2ray-http-upgrade", "true")])),
            Kind::Http if is_plain_http(offer) => Some(("obfs", vec![("mode", "http".to_owned()), host()])),
            Kind::FakeTls => {
                Some(("obfs", vec![("mode", "tls".to_owned()), ("host", quoted(&offer.server_name))]))
            }
            _ => None,
        }
    })?;
    let Profile { name, port, password, .. } = profile;
    let mut text = format!(
        "proxies:\n  - name: {}\n    type: ss\n    server: {}\n    port: {port}\n    cipher: {}\n    password: {}\n    \
         plugin: {plugin}\n    plugin-opts:\n",
        quoted(name),
        quoted(&profile.bare_host()),
        quoted(method),
        quoted(password)
    );
    for (key, value) in options {
        text.push_str(&format!("      {key}: {value}\n"));
    }
    Ok(text)
}

/// An outbound for sing-box. UDP, which it would send past the plugin, stays off.
pub(super) fn sing_box(profile: &Profile, offers: &[Offer]) -> Entry {
    let method = method_of("sing-box", OF_SING_BOX, profile)?;
    let (plugin, options) = first(offers, "sing-box", |offer| match offer.kind {
        Kind::Http if !is_plain_http(offer) => None,
        Kind::Http | Kind::FakeTls => Some((Plugin::ObfsLocal, Plugin::ObfsLocal.options(offer)?)),
        // It wants `tls` beside it, which v2ray-plugin implies.
        Kind::Quic => Some((Plugin::V2rayPlugin, format!("{};tls", Plugin::V2rayPlugin.options(offer)?))),
        // (as above)
        Kind::WebSocket => {
            Some((Plugin::V2rayPlugin, format!("{};mux=0", Plugin::V2rayPlugin.options(offer)?)))
        }
        _ => Some((Plugin::V2rayPlugin, Plugin::V2rayPlugin.options(offer)?)),
    })?;
    Ok(object(&[
        ("type", quoted("shadowsocks")),
        ("tag", quoted(&profile.name)),
        ("server", quoted(&profile.bare_host())),
        ("server_port", profile.port.to_string()),
        ("method", quoted(method)),
        ("password", quoted(&profile.password)),
        ("plugin", quoted(plugin.name())),
        ("plugin_opts", quoted(&options)),
        ("network", quoted("tcp")),
    ]))
}

/// Sees to it that values can stand in a line of an app.
fn all_fit(app: &str, values: &[(&str, &str)]) -> Result<(), String> {
    match values.iter().find(|(_, value)| !fits_a_line(value)) {
        Some((name, _)) => {
            Err(format!("{app} cannot be given this {name} in a line (a comma, a quotation mark, …)"))
        }
        None => Ok(()),
    }
}

/// A line of Surge's section `[Proxy]`.
pub(super) fn surge(profile: &Profile, offers: &[Offer]) -> Entry {
    let Profile { name, port, password, .. } = profile;
    let method = method_of("Surge", OF_SURGE, profile)?;
    let (obfs, host, uri) = first(offers, "Surge", |offer| match offer.kind {
        Kind::Http if offer.method == "GET" => Some(("http", offer.host.clone(), Some(offer.path.clone()))),
        Kind::FakeTls => Some(("tls", offer.server_name.clone(), None)),
        _ => None,
    })?;
    let address = profile.bare_host();
    let uri = uri.filter(|path| path != "/");
    all_fit(
        "Surge",
        &[
            ("method", method),
            ("password", password),
            ("host", &host),
            ("path", uri.as_deref().unwrap_or("/")),
        ],
    )?;
    // What stands before the first `=` is the name.
    let name: String = name.chars().filter(|c| !matches!(c, '=' | ',' | '"' | '#' | ';' | '/')).collect();
    let mut line = format!(
        "{} = ss, {address}, {port}, encrypt-method={method}, password={password}, obfs={obfs}, obfs-host={host}",
        name.trim()
    );
    if let Some(uri) = uri {
        line.push_str(&format!(", obfs-uri={uri}"));
    }
    Ok(line + "\n")
}

/// The methods that Quantumult X has with WebSocket: v2ray's.
const OF_V2RAY: &[&str] = &["aes-128-gcm", "aes-256-gcm", "chacha20-ietf-poly1305"];

/// A line of Quantumult X's section `[server_local]`.
pub(super) fn quantumult_x(profile: &Profile, offers: &[Offer]) -> Entry {
    let Profile { name, host: address, port, method, password } = profile;
    let websocket = OF_V2RAY.contains(&method.to_ascii_lowercase().as_str());
    let found = first(offers, "Quantumult X", |offer| match offer.kind {
        Kind::WebSocket if websocket && (!offer.tls || offer.host == offer.server_name) => {
            Some((if offer.tls { "wss" } else { "ws" }, offer.host.clone(), Some(offer.path.clone())))
        }
        Kind::Http if offer.method == "GET" => Some(("http", offer.host.clone(), Some(offer.path.clone()))),
        Kind::FakeTls => Some(("tls", offer.server_name.clone(), None)),
        _ => None,
    });
    let (obfs, host, uri) = match found {
        Err(_) if !websocket && offers.iter().any(|offer| offer.kind == Kind::WebSocket) => {
            return Err(format!("Quantumult X does not have the method {method} with WebSocket"));
        }
        found => found?,
    };
    let path = uri.as_deref().unwrap_or("/");
    all_fit("Quantumult X", &[("method", method), ("password", password), ("host", &host), ("path", path)])?;
    let uri = uri.as_ref().map(|path| format!(", obfs-uri={path}")).unwrap_or_default();
    let tag: String = name.chars().filter(|c| !matches!(c, '=' | ',' | '"')).collect();
    Ok(format!(
        "shadowsocks={address}:{port}, method={method}, password={password}, obfs={obfs}, obfs-host={host}{uri}, \
         fast-open=false, udp-relay=false, tag={}\n",
        tag.trim()
    ))
}
