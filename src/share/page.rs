//! What is printed.

use super::apps::{self, Format};
use super::link::link;
use super::plugin::Plugin;
use super::prepare::Share;
use super::qr;
use super::{Profile, Shared};
use crate::os::stderr::print_error;
use crate::os::stdout::print;
use std::io::IsTerminal as _;
use std::process::ExitCode;

/// Plugins that apps have built in, or as apps of their own.
const OF_APPS: &[Plugin] = &[Plugin::V2rayPlugin, Plugin::ObfsLocal];

/// Prints what was asked for. The exit code is 1 where an app that was asked for knows nothing of what the server takes.
pub fn run(share: &Share) -> ExitCode {
    for warning in &share.warnings {
        print_error(warning);
    }
    let terminal = std::io::stdout().is_terminal().then(|| Terminal { columns: columns() });
    let mut text = String::new();
    let mut complete = true;
    for (at, shared) in share.shared.iter().enumerate() {
        if share.format == Format::All {
            text.push_str(if at > 0 { "\n" } else { "" });
            text.push_str(&page(shared, share.plugin, terminal));
            continue;
        }
        match one(shared, share.format, share.plugin, terminal) {
            Ok(entry) => text.push_str(&entry),
            Err(why) => {
                complete = false;
                print_error(&format!("{}: {why}", shared.profile.name));
            }
        }
    }
    let printed = print(&text);
    if printed && complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is known of the terminal that it is printed on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terminal {
    /// How long its lines are.
    pub columns: Option<usize>,
}

fn columns() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns)).filter(|columns| *columns > 0)
}

/// Whether the terminal may be given colours (<https://no-color.org>).
fn has_colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// The link with the plugin that was asked for, or with one that apps have, or with ours, which has everything.
fn link_of(Shared { profile, offers, .. }: &Shared, plugin: Option<Plugin>) -> apps::Entry {
    let (plugin, options) = match plugin {
        Some(plugin) => apps::plugin_for(offers, &[plugin])?,
        None => apps::plugin_for(offers, OF_APPS).or_else(|_| apps::plugin_for(offers, &[Plugin::ObfsRs]))?,
    };
    Ok(link(profile, Some((plugin.name(), &options))))
}

fn code(shared: &Shared, plugin: Option<Plugin>, terminal: Option<Terminal>) -> apps::Entry {
    let link = link_of(shared, plugin)?;
    let colours = terminal.is_some() && has_colours();
    let drawn = qr::draw(&link, colours).ok_or_else(|| {
        format!("the link is too long for a QR code on a terminal ({} bytes, 1273 fit)", link.len())
    })?;
    match terminal.and_then(|terminal| terminal.columns) {
        Some(columns) if !qr::fits(&drawn, columns) => Err(format!(
            "the QR code takes {} columns, and this terminal has {columns}: make it wider, or its letters smaller",
            qr::width(&drawn)
        )),
        _ => Ok(drawn),
    }
}

/// What one format has.
pub(super) fn one(
    shared: &Shared,
    format: Format,
    plugin: Option<Plugin>,
    terminal: Option<Terminal>,
) -> apps::Entry {
    let Shared { profile, offers, .. } = shared;
    match format {
        Format::All => Ok(page(shared, plugin, terminal)),
        Format::Link => link_of(shared, plugin).map(|link| link + "\n"),
        Format::Qr => code(shared, plugin, terminal),
        Format::Json => apps::json(profile, offers, plugin.unwrap_or(Plugin::ObfsRs)),
        Format::Mihomo => apps::mihomo(profile, offers),
        Format::SingBox => apps::sing_box(profile, offers),
        Format::Surge => apps::surge(profile, offers),
        Format::QuantumultX => apps::quantumult_x(profile, offers),
    }
}

/// Everything for one profile.
fn page(shared: &Shared, plugin: Option<Plugin>, terminal: Option<Terminal>) -> String {
    let Shared { profile: Profile { name, host, port, .. }, offers, routes } = shared;
    let all: Vec<_> = offers.iter().map(ToString::to_string).collect();
    let mut page = format!("{name}\n{host}:{port} takes {}\n", all.join(", "));
    let mut section = |title: &str, entry: apps::Entry| match entry {
        Ok(text) => page.push_str(&format!("\n## {title}\n\n{}\n", text.trim_end_matches('\n'))),
        Err(why) => page.push_str(&format!("\n## {title}\n\n{why}.\n")),
    };
    let link = link_of(shared, plugin);
    let only_some =
        link.as_ref().is_ok_and(|link| link.contains("plugin=obfs-local%3B") && link.contains("obfs-uri"));
    let title = match only_some {
        true => {
            "Link (SIP002), for apps that have a path in obfs=http: simple-obfs and shadowsocks-android have none"
        }
        false => "Link (SIP002)",
    };
    section(title, link);
    if terminal.is_some() {
        section("QR code of the link", code(shared, plugin, terminal));
    }
    let of = |format| one(shared, format, plugin, terminal);
    section("shadowsocks-rust (sslocal -c FILE) and shadowsocks-libev (ss-local -c FILE)", of(Format::Json));
    if plugin.is_none() {
        section("The same programs with another plugin", others(shared));
    }
    section("mihomo, Clash Verge and others of this family", of(Format::Mihomo));
    section("sing-box, in `outbounds`", of(Format::SingBox));
    section("Surge, in [Proxy]", of(Format::Surge));
    section("Quantumult X, in [server_local]", of(Format::QuantumultX));
    let more: Vec<_> = offers
        .iter()
        .skip(1)
        .filter_map(|offer| Some(format!("{offer}: {}", Plugin::ObfsRs.options(offer)?)))
        .collect();
    if !more.is_empty() {
        section(
            "What obfs-rs may have instead in plugin_opts (for all apps: --disguise)",
            Ok(more.join("\n")),
        );
    }
    if *routes > 0 {
        let text = format!(
            "{routes} routes lead to other Shadowsocks servers. For the users of one: --route PATH or --route NAME, \
             with the method and the password of its server"
        );
        section("Routes", Err(text));
    }
    page
}

/// The options of other plugins.
fn others(Shared { offers, .. }: &Shared) -> apps::Entry {
    let lines: Vec<_> = OF_APPS
        .iter()
        .map(|&plugin| match apps::program_options(offers, plugin) {
            Ok(options) => format!("{}: {options}", plugin.name()),
            Err(why) => format!("{why}."),
        })
        .collect();
    Ok(lines.join("\n"))
}
