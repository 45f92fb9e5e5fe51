//! Every option of the table in every way in which people write options: what is meant the same is the
//! same, what is odd is warned about, what is wrong is refused with the option's name, and nothing panics.

use super::super::options::{Kind, OPTIONS, OptionSpec};
use super::*;

/// What an option without a value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Empty {
    /// It is as if it were not there, and the log says so: v2ray-plugin takes it.
    Ignored,
    /// It is refused: simple-obfs refuses it, or nobody could tell what was meant.
    Refused,
    /// It has a meaning of its own.
    Meant,
}
use Empty::{Ignored, Meant, Refused};

/// An option's row.
struct Row {
    /// A value that it can have, and one more.
    good: [&'static str; 2],
    /// Without a value.
    empty: Empty,
    /// A value of another kind, where not every text is a value.
    wrong: Option<&'static str>,
    /// Whether capitals in the value are the same.
    folds: bool,
    /// Options without which it says nothing.
    beside: &'static str,
}

const fn row(good: [&'static str; 2], empty: Empty, wrong: Option<&'static str>) -> Row {
    Row { good, empty, wrong, folds: false, beside: "" }
}

const WEB: &str = "mode=websocket;";
const TLS: &str = "mode=websocket;tls;cert=/c.pem;key=/k.pem;";

const QUIC: &str = "mode=quic;cert=/c.pem;key=/k.pem;";

/// The row of an option: a new one needs one, too.
fn row_of(spec: &OptionSpec) -> Row {
    const ADDRESSES: [&str; 2] = ["127.0.0.1:8080", "[::1]:8081"];
    match spec.name {
        "udp" => Row { folds: true, beside: WEB, ..row(["true", "false"], Meant, Some("perhaps")) },
        "quic" => Row {
            folds: true,
            beside: "mode=auto;tls;cert=/c.pem;key=/k.pem",
            ..row(["true", "false"], Meant, Some("perhaps"))
        },
        _ if spec.kind == Kind::Flag => Row { folds: true, ..row(["true", "false"], Meant, Some("perhaps")) },
        "tls" => Row {
            folds: true,
            beside: "mode=websocket;cert=/c.pem;key=/k.pem",
            ..row(["only", "false"], Meant, Some("perhaps"))
        },
        "obfs-tls-host" => {
            Row { beside: "obfs=tls", ..row(["a.example", "b.example"], Refused, Some("a b")) }
        }
        "obfs" => Row { folds: true, ..row(["http", "tls"], Refused, Some("htpp")) },
        "mode" => Row { folds: true, ..row(["websocket", "httpupgrade"], Refused, Some("gprc")) },
        "host" => Row { beside: WEB, ..row(["a.example", "b.example:443"], Meant, Some("a b")) },
        "sni" => Row { beside: TLS, ..row(["a.example", "b.example"], Ignored, Some("*.a b")) },
        "cert" => Row {
            beside: "mode=websocket;tls;key=/k.pem;host=a.example",
            ..row(["/a.pem", "/b c.pem"], Ignored, None)
        },
        "key" => Row {
            beside: "mode=websocket;tls;cert=/c.pem;host=a.example",
            ..row(["/a.pem", "/b c.pem"], Ignored, None)
        },
        "certRaw" => Row {
            beside: "mode=websocket;tls;cert=/c.pem;key=/k.pem",
            ..row(["TUlJ", "TUlK"], Ignored, Some("ä"))
        },
        "mux" => Row { beside: WEB, ..row(["8", "0"], Ignored, Some("-1")) },
        "serviceName" => {
            Row { beside: "mode=grpc", ..row(["a service", "/a/b/tun|multi"], Meant, Some("a\u{1}")) }
        }
        "header" => Row { beside: WEB, ..row(["X-A: b", "X-B: c"], Refused, Some("X A")) },
        "user-agent" => Row { beside: WEB, ..row(["Mozilla/5.0 (X11)", "curl/8"], Ignored, Some("ä")) },
        "proxy" => row(["socks5://a:b@127.0.0.1", "http://[::1]:3128/"], Refused, Some("https://127.0.0.1")),
        "keepalive" => Row { beside: WEB, ..row(["30", "0"], Refused, Some("86401")) },
        "fwmark" => row(["7", "8"], Ignored, Some("-1")),
        "localAddr" | "remoteAddr" => row(["127.0.0.2", "::1"], Refused, Some("a b")),
        "localPort" | "remotePort" => row(["1080", "8080"], Refused, Some("http")),
        "obfs-host" => row(["a.example", "b.example:443"], Refused, Some("a b")),
        "obfs-uri" => row(["/a", "b c"], Refused, Some("/a\u{1}")),
        "path" => Row { beside: WEB, ..row(["/a", "b c"], Ignored, Some("/a\u{1}")) },
        "route" => row(["/a:127.0.0.1:8388", "/b:c:[::1]:8389"], Refused, Some("/a")),
        "http-method" => row(["PUT", "post"], Refused, Some("G T")),
        "handshake" => Row { folds: true, ..row(["standard", "eager"], Refused, Some("slow")) },
        "drain" => row(["30", "86400"], Refused, Some("0")),
        "failover" => row(["127.0.0.1:8080", "status:404"], Refused, Some("nowhere")),
        "failover-tls" => row(ADDRESSES, Refused, Some("status:404")),
        "failover-http" => Row { beside: TLS, ..row(ADDRESSES, Refused, Some("x")) },
        "failover-h2" => Row {
            beside: "mode=websocket;tls;cert=/c.pem;key=/k.pem;failover=a:1",
            ..row(ADDRESSES, Meant, Some("x"))
        },
        "failover-quic" => Row { beside: QUIC, ..row(ADDRESSES, Refused, Some("status:404")) },
        "quic-congestion" => Row { folds: true, ..row(["cubic", "bbr"], Refused, Some("vegas")) },
        "failover-proxy" => Row { beside: "failover=a:1", ..row(["v1", "v2"], Refused, Some("3")) },
        "proxy-protocol" => Row { beside: "trusted=::1", ..row(["in", "in"], Refused, Some("out")) },
        "trusted" => row(["10.0.0.0/8", "::1"], Refused, Some("10.0.0.0/99")),
        "limit-tunnels" | "limit-tunnels-per-address" | "limit-rate-per-address" | "limit-buffers" => {
            row(["1", "1000"], Refused, Some("0"))
        }
        "t" => row(["60", "61"], Refused, Some("soon")),
        "i" => row(["lo", "eth0"], Refused, None),
        "b" => row(["127.0.0.1", "::1"], Refused, Some("lo")),
        "d" => row(["9.9.9.9", "1.1.1.1"], Refused, None),
        // A folder is no file: what is said of the file is what matters here.
        "c" => row(["", ""], Refused, Some("/no/such/file")),
        "a" => row(["nobody", "0"], Refused, None),
        "f" => row(["/tmp/a.pid", "/tmp/b.pid"], Refused, None),
        "n" => row(["1024", "2048"], Refused, Some("many")),
        "metrics" => row(["127.0.0.1:9180", "/run/obfs-rs.sock"], Refused, Some("192.0.2.1:9180")),
        "access-log" => row(["stdout", "/tmp/access.log"], Refused, None),
        "access-log-format" => Row {
            folds: true,
            beside: "access-log=/tmp/access.log",
            ..row(["text", "json"], Refused, Some("xml"))
        },
        "loglevel" => Row { folds: true, ..row(["debug", "error"], Ignored, Some("loud")) },
        name => panic!("the option `{name}` is new: give it a row here"),
    }
}

/// The hosts of the two halves, by which each is what it is.
const HALVES: [&str; 2] = ["ss-local", "ss-server"];

fn run(half: &str, options: &str) -> Result<Config, String> {
    let mut env = hosted("203.0.113.1:8388", "127.0.0.1:1984", options);
    env.parent = Some(half.to_owned());
    match read(Settings::default(), &env) {
        Ok(config) => Ok(config),
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains('\n'), "{options}: {error}");
            Err(error)
        }
    }
}

/// What a configuration makes of the process, without what the log says of it.
fn meaning(config: &Config) -> String {
    let Config { half, tunnel, process, log_level, nameserver, .. } = config;
    format!("{half:?} {tunnel:?} {process:?} {log_level:?} {nameserver:?}")
}

#[track_caller]
fn assert_same(half: &str, options: &str, wanted: &str, warned: Option<&str>) {
    match (run(half, options), run(half, wanted)) {
        (Ok(config), Ok(wanted_config)) => {
            assert_eq!(meaning(&config), meaning(&wanted_config), "{options:?} is not {wanted:?}");
            let said = config.warnings.join("\n");
            if let Some(word) = warned {
                assert!(said.contains(word), "{options:?} lacks {word}: {said}");
            }
        }
        other => panic!("{options:?}: {other:?}"),
    }
}

#[track_caller]
fn assert_refused(half: &str, options: &str, name: &str) {
    let error = run(half, options).expect_err(options);
    assert!(error.contains(name), "{options:?} lacks {name}: {error}");
}

/// Each option that has values, with its row and the options that stand before it.
fn rows() -> impl Iterator<Item = (&'static OptionSpec, Row, &'static str)> {
    HALVES.into_iter().flat_map(|half| {
        OPTIONS.iter().filter(|spec| spec.name != "c").map(move |spec| (spec, row_of(spec), half))
    })
}

#[test]
fn what_surrounds_an_option_means_nothing() {
    for (spec, row, half) in rows() {
        let (name, [good, _], beside) = (spec.name, row.good, row.beside);
        let plain = format!("{beside};{name}={good}");
        assert!(run(half, &plain).is_ok(), "{plain}: {:?}", run(half, &plain));
        for (odd, warned) in [
            (format!("{beside}; {name}={good}"), Some("spaces")),
            (format!("{beside};{name}\t= {good} "), Some("spaces")),
            (format!("{beside};{name}={good}\r\n"), Some("spaces")),
            (format!("\u{feff}{beside};{name}={good};\n"), Some("spaces")),
            (format!("{beside};{name}=\"{good}\""), Some("quotes")),
            (format!("{beside};{name}='{good}'"), Some("quotes")),
            (format!("\"{beside};{name}={good}\""), Some("quotes")),
            (format!("{beside};;{name}={good};;"), None),
            (format!("{beside};obfs-local;{name}={good}"), None),
        ] {
            assert_same(half, &odd, &plain, warned);
        }
        if beside.is_empty() {
            let encoded = good.replace('%', "%25").replace(';', "%3B");
            assert_same(half, &format!("{name}%3D{encoded}"), &plain, Some("percent-encoded"));
        }
    }
}

#[test]
fn every_spelling_of_a_name_is_the_same() {
    for (spec, row, half) in rows() {
        let ([good, _], beside) = (row.good, row.beside);
        let plain = format!("{beside};{}={good}", spec.name);
        for name in std::iter::once(&spec.name).chain(spec.aliases) {
            let mut spellings = vec![(*name).to_owned()];
            if name.len() > 1 {
                spellings.extend([name.to_uppercase(), name.to_lowercase(), name.replace('-', "_")]);
            }
            for spelling in spellings {
                assert_same(half, &format!("{beside};{spelling}={good}"), &plain, None);
            }
        }
        if row.folds {
            let capitals = good.to_uppercase();
            assert_same(half, &format!("{beside};{}={capitals}", spec.name), &plain, None);
        }
    }
}

#[test]
fn of_an_option_that_is_there_twice_the_first_counts() {
    for (spec, row, half) in rows() {
        let (name, [good, other], beside) = (spec.name, row.good, row.beside);
        if matches!(spec.kind, Kind::Values(_)) || good == other {
            continue;
        }
        let plain = format!("{beside};{name}={good}");
        assert_same(half, &format!("{plain};{name}={other}"), &plain, Some("more than once"));
        let again = run(half, &format!("{plain};{name}={good}")).expect(name);
        assert!(!again.warnings.join("\n").contains("more than once"), "{name}: {:?}", again.warnings);
    }
}

#[test]
fn an_option_without_its_value() {
    for (spec, row, half) in rows() {
        let (name, beside) = (spec.name, row.beside);
        for empty in [format!("{name}="), name.to_owned(), format!("{name}= "), format!("{name}=\"\"")] {
            let options = format!("{beside};{empty}");
            match row.empty {
                Ignored => {
                    assert_same(half, &options, beside, None);
                    // A half may leave alone what is the other's.
                    let warned = HALVES.iter().filter_map(|half| run(half, &options).ok());
                    assert!(warned.flat_map(|config| config.warnings).any(|text| text.contains("no value")));
                }
                Refused => {
                    // What only the other half needs is not missed.
                    if run(half, &format!("{beside};{name}=\u{1}")).is_err() {
                        assert_refused(half, &options, name);
                    }
                }
                Meant => assert!(run(half, &options).is_ok(), "{options}: {:?}", run(half, &options)),
            }
        }
    }
}

#[test]
fn values_of_another_kind() {
    for (spec, row, half) in rows() {
        let (name, beside) = (spec.name, row.beside);
        if let Some(wrong) = row.wrong {
            // A half may leave alone what is the other's; what it says of it has the name.
            let said = HALVES.map(|half| run(half, &format!("{beside};{name}={wrong}")));
            let refused: Vec<_> = said.iter().filter_map(|said| said.as_ref().err()).collect();
            assert!(!refused.is_empty(), "{name}={wrong} is taken by both halves");
            assert!(refused.iter().all(|error| error.contains(name)), "{name}={wrong}: {refused:?}");
        }
        let long = "x".repeat(100_000);
        for text in
            ["\u{1}", "a\r\nX: y", "%00", "%zz%", "\\", "，；", "例子", "💥", "-1", "1e9", "0x10", &long]
        {
            match run(half, &format!("{beside};{name}={text}")) {
                Ok(config) => {
                    let shown = meaning(&config);
                    // What could end a line of a head stays outside of heads.
                    let free = matches!(name, "i" | "d" | "a" | "f" | "access-log" | "cert" | "key" | "mux");
                    assert!(free || !shown.contains(r"\r\n"), "{name}={text:?}: {shown}");
                }
                Err(error) => assert!(
                    error.contains(name) || error.contains("SS_PLUGIN_OPTIONS") || error.starts_with("-"),
                    "{name}={text:?}: {error}"
                ),
            }
        }
    }
}

#[test]
fn a_file_is_an_option_like_the_others() {
    let path = std::env::temp_dir().join(format!("obfs-rs-every-option-{}.json", std::process::id()));
    std::fs::write(&path, "{\"t\": 61}").unwrap();
    let name = path.to_str().unwrap();
    for half in HALVES {
        for odd in [format!("c={name}"), format!("c=\"{name}\"\r\n"), format!(" config= {name};t=61")] {
            assert_same(half, &odd, "t=61", None);
        }
        for wrong in ["c", "c=", "c=/no/such/file"] {
            assert!(run(half, wrong).is_err(), "{wrong}");
        }
    }
    std::fs::remove_file(&path).unwrap();
}

/// Whatever a string says of an option that decides the disguise, it is understood or refused: no string
/// becomes what it does not say.
#[test]
fn no_string_becomes_another_disguise() {
    let disguise = |options: &str| {
        let config = run(HALVES[0], options).ok()?;
        let Half::Client(client) = config.half else { panic!("{options}: a server") };
        Some(match client.disguise {
            ClientDisguise::Http(..) => "http",
            ClientDisguise::FakeTls { .. } => "tls",
            ClientDisguise::Quic(_) => "quic",
            ClientDisguise::Grpc(_) => "grpc",
            ClientDisguise::Web(web) => match (web.body, web.tls.is_some()) {
                (WebBody::Frames, false) => "ws",
                (WebBody::Frames, true) => "wss",
                (WebBody::Raw(_), _) => "raw",
            },
        })
    };
    for (options, wanted) in [
        ("obfs=tls;obfs-host=a.com", Some("tls")),
        (" OBFS = TLS ; obfs-host=a.com", Some("tls")),
        ("obfs=\"tls\"", Some("tls")),
        ("obfs%3Dtls%3Bobfs-host%3Da.com", Some("tls")),
        ("obfs-local;obfs=tls;obfs-host=a.com", Some("tls")),
        ("obfs＝tls", None),
        ("obfs=tls；obfs-host=a.com", None),
        ("obfs:tls;obfs-host=a.com", None),
        ("obfs-host=a.com;obsf=tls", None),
        ("obfs", None),
        ("obfs=", None),
        ("obfs=plain", None),
        ("obfs=tls1.2_ticket_auth", None),
        ("tls;obfs=tls", None),
        ("tls;obfs=http", None),
        ("mode=tls", None),
        ("mode=http;host=a.com", None),
        ("mode=ws;host=a.com", Some("ws")),
        ("v2ray-plugin;mode=websocket;host=a.com;tls", Some("wss")),
        ("mode=WebSocket;tls=TRUE", Some("wss")),
        ("tls;host=a.com", Some("wss")),
        ("mode=quic;host=a.com", Some("quic")),
        ("mode=grpc;host=a.com", Some("grpc")),
        ("websocket;host=a.com", None),
        ("mode=;host=a.com", None),
        ("mode=fast2;key=x;crypt=aes", None),
        ("crypt=aes;datashard=10;parityshard=3", None),
        ("UID=x;PublicKey=y;ProxyMethod=z", None),
        ("mode=httpupgrade;path=/x", Some("raw")),
        ("obfs-host=a.com", Some("http")),
        ("", Some("http")),
    ] {
        assert_eq!(disguise(options), wanted, "{options}: {:?}", run(HALVES[0], options).err());
    }
}
