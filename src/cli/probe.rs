//! The command line of `obfs-rs probe`.

use super::command::{self, CommandError};
use crate::config::ConfigError;
use crate::net::addr::{Host, HostPort, parse_port};
use crate::probe::{self, ProbeConfig, Speech};
use crate::wire::http::host::without_port;
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use std::time::Duration;

/// How long a connection on which nothing happens is watched by default, in seconds: longer than hasty
/// servers wait, and short enough for a run of a minute.
const WAIT: u64 = 3;

/// The longest, in seconds: the time-outs of web servers are a minute or so.
const MOST_WAIT: u64 = 120;

const ABOUT: &str =
    "Show whether visitors can tell a server from the website behind it: visit both, and compare.";

const EXAMPLES: &str = "\
Examples, on the machine of the server:
  obfs-rs probe www.example.com:80 --site 127.0.0.1:8080
  obfs-rs probe www.example.com:443 --site 127.0.0.1:8443 --tls
  obfs-rs probe www.example.com:443 --site 127.0.0.1:8443 --quic
  obfs-rs probe www.example.com:443 --quic";

fn explanation() -> String {
    format!(
        "{ABOUT}\n\n\
         It sends the same visitors to both addresses: plain and malformed requests, upgrades that miss the \
         tunnel, other protocols, TLS, the random bytes that censors are known to send, visitors that break \
         off, that are slow, that say nothing. It compares what comes back byte for byte, how the connection \
         ends (FIN, RST, not at all), and roughly when. With --tls the requests go inside TLS, and hellos of \
         all kinds to the port.\n\n\
         Where both speak HTTP/2, in TLS (ALPN h2) or in the clear at once, visitors speak it, too: requests of \
         browsers, of gRPC's clients and for WebSocket that miss the tunnel, and frames of all kinds that should not \
         come. What frames say is compared: settings, windows, header fields and how they are written, bodies, \
         errors. Where one of the two speaks it, one request shows that.\n\n\
         Not compared is what differs between two visits to the same site: the time in Date, and values of \
         headers that the site itself varies, for which it is visited twice. Where the site varies more than \
         that, the probe is not counted, and reported as such. What differs is tried again, up to twice, and \
         only told if it repeats.\n\n\
         In TLS, certificates are compared and not verified; what is random is not compared. Notes are told \
         and not counted: the order of a ServerHello's extensions, how a first flight is cut into records, \
         and the number of session tickets. They show which TLS library answers. A server that takes TLS off \
         itself has another one than most websites; one that passes TLS on to the site has the site's.\n\n\
         With --quic it visits the two over UDP: versions that nobody has, packets that belong to no connection, \
         first flights of all kinds, handshakes for other names and protocols, and what is no QUIC. It compares \
         which versions are offered, whether a Retry comes, what is agreed on, the certificates, the transport \
         parameters, HTTP/3's settings, and with what the server ends. A website without HTTP/3 has a closed port, of \
         which the system says that nobody listens (ICMP port unreachable), and a server without QUIC is to have \
         one, too. Without --site that is the comparison: with another port of the server. A server that listens and \
         answers nothing is told from that; where a firewall drops what goes to closed ports it is not, and the run \
         says so. Run it on the server's own machine.\n\n\
         It looks from where it runs, at what was sent now: not at addresses, not at how packets are cut, \
         not at traffic of clients, and not longer than --wait.\n\n\
         It connects to the two addresses and to nothing else, but for up to 3 UDP ports of the server with --quic and \
         without --site; names are looked up once. There are at most \
         {} probes at a time, with at most 3 connections each; at most {} connections for a probe; an answer \
         is read up to {} KiB. A run takes about a minute where nothing differs, or half a minute more with HTTP/2, and with the default --wait \
         it ends after {} s at the latest.\n\n\
         What both do where there was no connection, or no TLS for what was to go inside, is not taken for a \
         likeness, and an ordinary request is sent to both before and behind all others: where it is not \
         answered, or both addresses are one, the run shows nothing, and says so.\n\n\
         Exit code: 0 nothing differs, 1 something does, 2 it could not be found out, since an address cannot \
         be reached, there was nothing to compare, or the time was not enough, 23 a wrong command line.",
        probe::AT_ONCE,
        probe::MOST_VISITS,
        probe::play::MAX_ANSWER / 1024,
        probe::limit(Duration::from_secs(WAIT)).as_secs(),
    )
}

/// The subcommand.
pub(super) fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("probe")
        .about(ABOUT)
        .long_about(explanation())
        .after_help(StyledStr::from(EXAMPLES))
        .arg(
            Arg::new("server")
                .value_name("HOST:PORT")
                .required(true)
                .value_hint(ValueHint::Hostname)
                .help("The server to look at."),
        )
        .arg(
            value("site", "HOST:PORT", "The website that it must not be told from.")
                .required_unless_present("quic")
                .value_hint(ValueHint::Hostname),
        )
        .arg(flag("tls", "Both speak TLS."))
        .arg(
            flag(
                "quic",
                "Visit them over UDP, where HTTP/3 is. Without --site, compare with a port at which nobody listens.",
            )
            .conflicts_with_all(["tls", "path"]),
        )
        .arg(value(
            "name",
            "SERVER_NAME",
            "The name that is asked for, in Host and in TLS hellos (default: the server's HOST; hellos name no \
             addresses).",
        ))
        .arg(value(
            "path",
            "PATH",
            "The tunnel's path (path=, obfs-uri=). Upgrades that miss it narrowly are sent, and none that \
             the server would have to grant (default: upgrades go to a random path).",
        ))
        .arg(flag("json", "Print the results as one JSON object."))
        .arg(flag("verbose", "Print every probe, also where nothing differs.").short('v'))
        .arg(value("seed", "NUMBER", "Repeat the random bytes of the run that printed this."))
        .arg(value(
            "wait",
            "SECONDS",
            "How long a connection on which nothing happens is watched; twice as long by some probes \
             (default: 3, at most 120).",
        ))
}

/// Reads the subcommand's flags.
pub(super) fn read(matches: &ArgMatches) -> Result<command::Command, CommandError> {
    Ok(command::Command::Probe(Box::new(parse(matches)?)))
}

fn parse(matches: &ArgMatches) -> Result<ProbeConfig, ConfigError> {
    let value = |name: &str| matches.get_one::<String>(name);
    let address = |id: &str, name: &str| {
        let text = value(id).map(String::as_str).unwrap_or_default();
        HostPort::parse(text)
            .filter(|address| !address.host.is_wildcard())
            .ok_or_else(|| ConfigError::variable(name, text, "an address to connect to (HOST:PORT)"))
    };
    let number = |name: &str, range: std::ops::RangeInclusive<u64>, expected: &str| {
        let Some(text) = value(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(ConfigError::variable(format!("--{name}"), text, expected)),
        }
    };
    Ok(ProbeConfig {
        server: address("server", "the server")?,
        site: value("site").map(|_| address("site", "--site")).transpose()?,
        speech: match (matches.get_flag("tls"), matches.get_flag("quic")) {
            (false, false) => Speech::Http,
            (true, _) => Speech::Tls,
            (false, true) => Speech::Quic,
        },
        name: match value("name") {
            Some(name) if !is_name(name) => {
                return Err(ConfigError::variable("--name", name, "a host name"));
            }
            name => name.cloned(),
        },
        path: match value("path") {
            Some(path) if !is_path(path) => {
                return Err(ConfigError::variable("--path", path, "a path (/…, without spaces)"));
            }
            path => path.cloned(),
        },
        seed: number("seed", 0..=u64::MAX, "a number from 0 to 18446744073709551615")?,
        wait: Duration::from_secs(
            number("wait", 1..=MOST_WAIT, "a number of seconds from 1 to 120")?.unwrap_or(WAIT),
        ),
        json: matches.get_flag("json"),
        verbose: matches.get_flag("verbose"),
    })
}

fn is_name(text: &str) -> bool {
    let name = without_port(text);
    let port = text.get(name.len()..).unwrap_or_default();
    let port_is_one = port.is_empty() || port.strip_prefix(':').and_then(parse_port).is_some();
    matches!(Host::parse(name), Some(Host::Name(_))) && name.is_ascii() && port_is_one
}

fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<ProbeConfig, ConfigError> {
        parse(&command().try_get_matches_from(words.split(' ')).unwrap())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let config = read("probe www.example.com:80 --site 127.0.0.1:8080").unwrap();
        assert_eq!(config.server.to_string(), "www.example.com:80");
        assert_eq!(config.site.unwrap().to_string(), "127.0.0.1:8080");
        assert_eq!((config.speech, config.json, config.verbose), (Speech::Http, false, false));
        assert_eq!((config.name, config.path, config.seed), (None, None, None));
        assert_eq!(config.wait, Duration::from_secs(3));
    }

    #[test]
    fn over_quic_there_may_be_no_site() {
        let config = read("probe a:443 --quic").unwrap();
        assert_eq!((config.speech, config.site), (Speech::Quic, None));
        let config = read("probe a:443 --quic --site b:2").unwrap();
        assert_eq!(config.site.unwrap().to_string(), "b:2");
        assert_eq!(read("probe a:443 --tls --site b:2").unwrap().speech, Speech::Tls);
        for words in ["probe a:1", "probe a:1 --tls", "probe a:1 --quic --tls", "probe a:1 --quic --path /x"]
        {
            assert!(command().try_get_matches_from(words.split(' ')).is_err(), "{words}");
        }
    }

    #[test]
    fn wrong_values_are_named() {
        for (more, name) in [
            ("--name a/b", "--name"),
            ("--name 192.0.2.1", "--name"),
            ("--name a:x", "--name"),
            ("--path secret", "--path"),
            ("--path /a\u{1}b", "--path"),
            ("--seed -1", "--seed"),
            ("--wait 0", "--wait"),
            ("--wait 121", "--wait"),
        ] {
            let words = format!("probe a:1 --site b:2 {more}").replacen("--seed -1", "--seed=-1", 1);
            match read(&words) {
                Err(ConfigError::Variable { name: named, .. }) => assert_eq!(named, name),
                other => panic!("{more}: {other:?}"),
            }
        }
        for words in ["probe a --site b:2", "probe a:1 --site b", "probe 0.0.0.0:1 --site b:2"] {
            assert!(matches!(read(words), Err(ConfigError::Variable { .. })), "{words}");
        }
        for good in
            ["--name www.example.com", "--name a:8080", "--path /x?y=z", "--seed 18446744073709551615"]
        {
            assert!(read(&format!("probe a:1 --site b:2 {good}")).is_ok(), "{good}");
        }
    }
}
