//! The table of options: what each is called, whether it takes a value, which half knows it.
//!
//! Plugin options, the command line, `--help` and the "did you mean" of an unknown name all read
//! this one table, so that none of them can know an option that another does not.

mod nearest;
mod table;

pub(crate) use nearest::{closest, nearest};
pub use table::{Group, Kind, OPTIONS, OptionSpec};

use super::error::{ConfigError, one_line};
use super::role::{Role, RoleReason};
use super::sip003::PluginOption;
use std::cell::RefCell;

/// Names that hosts and other plugins put into the string and that ask nothing of this program:
/// no warning for them.
const SILENT: &[&str] =
    &["obfs-local", "obfs-server", "obfs-rs", "simple-obfs", "v2ray-plugin", "xray-plugin", "plugin"];

/// Options that say what the connections look like. What may be a slip in one of these is refused: to go
/// on without it would be another disguise.
const DISGUISE: &[&str] = &["obfs", "mode", "tls"];

/// Words for a disguise that some write without `obfs=` or `mode=`.
const DISGUISE_WORDS: &[&str] =
    &["http", "websocket", "ws", "wss", "httpupgrade", "http-upgrade", "quic", "grpc", "h2"];

/// Options that only v2ray-plugin has among the programs whose strings are handed to us, as far as they
/// say something about the disguise: with one of these and no `obfs`, WebSocket is meant.
const V2RAY_ONLY: &[&str] = &["host", "path", "tls", "cert", "certRaw", "key", "mux"];

/// Options of which each says that simple-obfs's disguises are meant.
const SIMPLE_OBFS_ONLY: &[&str] = &["obfs", "obfs-host", "obfs-uri", "http-method"];

/// Whether two spellings of an option name are the same: case does not count, nor `_` for `-`. It does
/// count in single letters, which run out otherwise.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    if a.len() == 1 {
        return a == b;
    }
    let fold = |b: u8| if b == b'_' { b'-' } else { b.to_ascii_lowercase() };
    a.len() == b.len() && a.bytes().map(fold).eq(b.bytes().map(fold))
}

/// The option that goes by this name.
pub fn find(name: &str) -> Option<&'static OptionSpec> {
    OPTIONS
        .iter()
        .find(|spec| same_name(spec.name, name) || spec.aliases.iter().any(|alias| same_name(alias, name)))
}

/// An option with a name that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownOption {
    /// The name as it was written.
    pub name: String,
    /// The known name that is nearest to it, if one is near enough to be what was meant.
    pub nearest: Option<&'static str>,
    /// Whether its value looks like a path.
    is_path: bool,
}

/// A known option.
#[derive(Debug)]
struct Known {
    spec: &'static OptionSpec,
    /// As it was written; from a file, with the place in front of its name.
    option: PluginOption,
    in_file: bool,
}

/// Options that were looked up in the table.
#[derive(Debug, Default)]
pub struct Options {
    /// Known options, in the order in which they count: the first of a name wins.
    known: Vec<Known>,
    /// The rest, to be warned about.
    pub unknown: Vec<UnknownOption>,
    /// What was odd and taken all the same; the log warns of it.
    warnings: RefCell<Vec<String>>,
}

impl Options {
    /// Looks every option up.
    pub fn new(options: impl IntoIterator<Item = PluginOption>) -> Options {
        let mut found = Options::default();
        for option in options.into_iter().filter(|option| !SILENT.contains(&option.key.as_str())) {
            found.add(option, None);
        }
        found
    }

    /// Adds what the configuration file says, behind all that was said before. `place` is its file and
    /// line, under which an error in it will be told.
    pub(super) fn add_from_file(&mut self, option: PluginOption, place: &str) {
        self.add(option, Some(place));
    }

    fn add(&mut self, option: PluginOption, place: Option<&str>) {
        let PluginOption { key, value } = option;
        let name = place.map_or_else(|| key.clone(), |place| format!("{place}: {key}"));
        match find(&key) {
            Some(spec) => {
                let option = PluginOption { key: name, value };
                self.known.push(Known { spec, option, in_file: place.is_some() });
            }
            None => {
                let is_path = value.is_some_and(|value| value.starts_with('/'));
                self.unknown.push(UnknownOption { name: one_line(&name), nearest: nearest(&key), is_path });
            }
        }
    }

    /// Has the log warn of what was odd and is taken all the same; once, however often it is said.
    pub(super) fn warn(&self, text: String) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// What the log is to warn of.
    pub(super) fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    /// Warns of options of which one option string has several with different values.
    pub(super) fn warn_of_repeats(&self, string: &[PluginOption]) {
        for (at, option) in string.iter().enumerate() {
            let Some(spec) = find(&option.key) else { continue };
            let earlier = string.get(..at).unwrap_or_default();
            let first =
                earlier.iter().find(|earlier| find(&earlier.key).is_some_and(|s| s.name == spec.name));
            if let Some(first) = first.filter(|first| first.value != option.value)
                && !matches!(spec.kind, Kind::Values(_))
            {
                // Values may be secret: a path is. These are not.
                let which = match (spec.name, first.value.as_deref()) {
                    ("obfs" | "mode", Some(value)) => format!(", `{}`, ", one_line(value)),
                    _ => " ".to_owned(),
                };
                self.warn(format!("option `{}` is given more than once: the first{which}counts", first.key));
            }
        }
    }

    /// Warns of options that only the other half has, but not of a file's: it is often that of both halves.
    pub(super) fn warn_of_other_half(&self, role: Role, why: &RoleReason) {
        let owner = match role {
            Role::Client => "a server's",
            Role::Server => "a client's",
        };
        let mut names: Vec<String> = Vec::new();
        for Known { spec, option, .. } in self.known.iter().filter(|known| !known.in_file) {
            let name = format!("`{}`", option.key);
            if spec.half.is_some_and(|half| half != role) && !names.contains(&name) {
                names.push(name);
            }
        }
        let (options, is) = if names.len() == 1 { ("option", "is") } else { ("options", "are") };
        if !names.is_empty() {
            self.warn(format!(
                "{options} {} {is} {owner} and {is} ignored: this is a {role} ({why})",
                names.join(", ")
            ));
        }
    }

    /// Sees to it that nothing in an option string that is not understood may have meant another disguise.
    /// `implied`: the program's name says which disguise is meant where the options do not.
    pub(super) fn check_understood(&self, string: &[PluginOption], implied: bool) -> Result<(), ConfigError> {
        let unknown = || string.iter().filter(|option| !is_known(&option.key));
        let fail = |text: String| Err(ConfigError::NotUnderstood(text));
        let disguise = self.get("obfs").or(self.get("mode")).is_some();
        for option in unknown() {
            let name = one_line(&option.key);
            let meant = match may_mean(option) {
                Some("tls") if self.get("tls").is_none() => "tls",
                Some(meant) if meant != "tls" && !disguise => meant,
                _ => continue,
            };
            return fail(match DISGUISE_WORDS.iter().any(|word| same_name(word, &option.key)) {
                true => format!("`{name}` is no option: did you mean `{meant}={name}`?"),
                false => format!("`{name}` is no option: did you mean `{meant}`?"),
            });
        }
        if !implied && !string.is_empty() && unknown().count() == string.len() {
            let names: Vec<_> = unknown().map(|option| format!("`{}`", one_line(&option.key))).collect();
            return fail(match (names.as_slice(), string.first().and_then(|option| nearest(&option.key))) {
                ([name], Some(nearest)) => format!("{name} is no option: did you mean `{nearest}`?"),
                ([name], None) => format!("{name} is no option of obfs-rs: is it another plugin's?"),
                _ => format!(
                    "none of {} is an option of obfs-rs: are they another plugin's?",
                    names.join(", ")
                ),
            });
        }
        Ok(())
    }

    /// Sees to it that a tunnel is not on any path, where it was to have one of its own.
    pub(super) fn check_path(&self) -> Result<(), ConfigError> {
        let names = ["path", "obfs-uri"];
        if names.iter().any(|name| self.get(name).is_some()) {
            return Ok(());
        }
        let meant = |unknown: &&UnknownOption| {
            let known = unknown.nearest.and_then(find);
            unknown.is_path && known.is_some_and(|known| names.contains(&known.name))
        };
        match self.unknown.iter().find(meant) {
            Some(UnknownOption { name, nearest: Some(meant), .. }) => {
                Err(ConfigError::Unknown { name: name.clone(), meant })
            }
            _ => Ok(()),
        }
    }

    /// Sees to it that a server has the website that it was to have: without one, it would be found for what it is.
    pub(super) fn check_website(&self) -> Result<(), ConfigError> {
        let names = ["failover", "failover-tls", "failover-http", "failover-h2", "failover-quic"];
        if names.iter().any(|name| self.get(name).is_some()) {
            return Ok(());
        }
        for UnknownOption { name, nearest: meant, .. } in &self.unknown {
            if let Some(meant) = *meant
                && find(meant).is_some_and(|known| names.contains(&known.name))
            {
                return Err(ConfigError::Unknown { name: name.clone(), meant });
            }
        }
        Ok(())
    }

    /// The option of this table name, as it was first written.
    pub fn get(&self, name: &str) -> Option<&PluginOption> {
        self.all(name).next()
    }

    /// All options of this table name, in their order.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &PluginOption> {
        debug_assert!(OPTIONS.iter().any(|spec| spec.name == name), "{name} is not in the table");
        self.known.iter().filter(move |known| known.spec.name == name).map(|known| &known.option)
    }

    /// Whether the options are those of v2ray-plugin, and none is simple-obfs's.
    pub fn are_v2ray_plugins(&self) -> bool {
        let any = |names: &[&str]| self.known.iter().any(|known| names.contains(&known.spec.name));
        any(V2RAY_ONLY) && !any(SIMPLE_OBFS_ONLY)
    }

    /// The first option by which a server is known, as it was written. `reverse-proxy` is none: it asks
    /// nothing.
    pub fn server_only(&self) -> Option<&str> {
        let is_one = |spec: &OptionSpec| spec.half == Some(Role::Server) && spec.name != "reverse-proxy";
        let first = self.known.iter().find(|known| is_one(known.spec))?;
        // Behind the file's place; no option has a space in its name.
        first.option.key.rsplit(' ').next()
    }
}

/// Whether a name says something here, if only that nothing is asked.
fn is_known(name: &str) -> bool {
    find(name).is_some() || SILENT.contains(&name)
}

/// Which option that decides the disguise may have been meant by one that is not known.
fn may_mean(option: &PluginOption) -> Option<&'static str> {
    let name = option.key.to_ascii_lowercase();
    if option.value.is_none() && DISGUISE_WORDS.contains(&name.as_str()) {
        return Some("mode");
    }
    // `obfs:tls`, `obfs tls`, `mode->websocket`.
    let head =
        name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').map(|at| name.split_at(at));
    if let Some((head, _)) = head
        && let Some(meant) = DISGUISE.iter().find(|meant| head.trim_end_matches('-') == **meant)
    {
        return Some(meant);
    }
    let value = option.value.as_deref().unwrap_or_default().to_ascii_lowercase();
    let fits = |meant: &str| match meant {
        "tls" => matches!(value.as_str(), "" | "1" | "true" | "yes" | "on"),
        _ => value == "tls" || value == "auto" || DISGUISE_WORDS.contains(&value.as_str()),
    };
    // One slip of the finger, and a value that fits.
    DISGUISE.iter().copied().find(|meant| strsim::damerau_levenshtein(&name, meant) == 1 && fits(meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(text: &str) -> Options {
        Options::new(super::super::sip003::parse_options(text).unwrap())
    }

    #[test]
    fn names_and_aliases_find_one_option() {
        for name in ["obfs-uri", "OBFS-URI", "obfs_uri"] {
            assert_eq!(find(name).map(|spec| spec.name), Some("obfs-uri"), "{name}");
        }
        for name in ["fast-open", "fastOpen", "fast_open"] {
            assert_eq!(find(name).map(|spec| spec.name), Some("fast-open"), "{name}");
        }
        assert!(find("obfs-hots").is_none());
    }

    #[test]
    fn no_name_means_two_options() {
        let mut seen = std::collections::HashSet::new();
        for spec in OPTIONS {
            for name in std::iter::once(&spec.name).chain(spec.aliases) {
                let folded = name.to_ascii_lowercase().replace('_', "-");
                let folded = if name.len() == 1 { (*name).to_owned() } else { folded };
                assert!(seen.insert(folded), "{name}");
            }
        }
    }

    #[test]
    fn the_first_of_a_name_wins() {
        assert_eq!(options("fallback=a;failover=b").get("failover").unwrap().value.as_deref(), Some("a"));
    }

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        for (written, meant) in
            [("obfs-hots", "obfs-host"), ("failovr", "failover"), ("pth", "path"), ("obsf", "obfs")]
        {
            assert_eq!(
                options(written).unknown,
                [UnknownOption { name: written.into(), nearest: Some(meant), is_path: false }],
                "{written}"
            );
        }
        for written in ["zzz", "foo"] {
            let unknown = UnknownOption { name: written.into(), nearest: None, is_path: false };
            assert_eq!(options(written).unknown, [unknown]);
        }
    }

    #[test]
    fn a_slip_at_the_path_does_not_leave_the_tunnel_without_one() {
        for text in ["pth=/a", "obfs=http;obfs-url=/a", "mode=websocket;paht=/a"] {
            let error = options(text).check_path().unwrap_err().to_string();
            assert!(error.contains("is no option: did you mean"), "{error}");
        }
        for text in ["pth=1", "paht", "pth=/a;path=/b", "obfs-uri=/b;obfs-url=/a", "zzz=/a"] {
            assert_eq!(options(text).check_path(), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_slip_at_the_website_does_not_leave_the_server_without_one() {
        for text in ["failoverr=a:1", "tls;failoverr-tls=a:1", "falover=a:1"] {
            let error = options(text).check_website().unwrap_err().to_string();
            assert!(error.contains("is no option: did you mean `failover"), "{error}");
        }
        for text in ["failoverr=a:1;failover=b:1", "zzz=a:1", "failover=a:1"] {
            assert_eq!(options(text).check_website(), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_may_mean_another_disguise_is_refused() {
        let check = |text: &str| {
            let string = super::super::sip003::parse_options(text).unwrap();
            Options::new(string.clone()).check_understood(&string, false)
        };
        for (text, words) in [
            ("obsf=tls;obfs-host=a.com", "did you mean `obfs`"),
            ("obf=http;obfs-host=a.com", "did you mean `obfs`"),
            ("obfs:tls;obfs-host=a.com", "`obfs:tls` is no option: did you mean `obfs`"),
            ("moed=websocket;host=a.com", "did you mean `mode`"),
            ("mode->websocket;host=a.com", "did you mean `mode`"),
            ("websocket;host=a.com", "did you mean `mode=websocket`"),
            ("tsl;host=a.com", "did you mean `tls`"),
            ("tls=1;moed=grpc", "did you mean `mode`"),
            ("zzz", "`zzz` is no option of obfs-rs: is it another plugin's?"),
            ("UID=x;PublicKey=y;ServerName=z", "none of `UID`, `PublicKey`, `ServerName`"),
            ("obfs-hots=a.com", "did you mean `obfs-host`"),
        ] {
            let error = check(text).unwrap_err().to_string();
            assert!(error.contains(words) && error.contains("SS_PLUGIN_OPTIONS"), "{text}: {error}");
        }
        for text in [
            "",
            "obfs-local",
            "obfs-local;zzz",
            "obfs=http;obsf=tls",
            "obfs=http;websocket",
            "tls;tsl",
            "obfs-host=a.com;node=7",
            "obfs-host=a.com;til=10",
            "obfs-hots=a.com;v",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
        let string = super::super::sip003::parse_options("zzz").unwrap();
        assert_eq!(Options::new(string.clone()).check_understood(&string, true), Ok(()));
    }

    #[test]
    fn androids_flag_is_taken_silently() {
        for name in ["__android_vpn", "V"] {
            assert_eq!(options(name).unknown, []);
            assert!(options(name).get("V").is_some() && options(name).get("v").is_none());
        }
    }

    #[test]
    fn a_server_is_known_by_its_options() {
        assert_eq!(options("obfs=http;fallback=a:1").server_only(), Some("fallback"));
        assert_eq!(options("obfs=http;obfs-host=a").server_only(), None);
    }
}
