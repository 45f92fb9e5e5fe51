//! Every combination of options, and every kind of first bytes.

use super::*;
use crate::config::options::Options;
use crate::config::sip003::PluginOption;
use crate::config::{names, website};
use crate::net::addr::HostPort;

const PLAIN: &str = "127.0.0.1:80";
const TLS: &str = "127.0.0.1:443";
const CLEAR: &str = "127.0.0.1:8080";
const H2: &str = "127.0.0.1:82";

fn port(text: &str) -> Website {
    Website::Port(HostPort::parse(text).unwrap())
}

fn options(list: &[(&str, Option<&str>)]) -> Options {
    let given = list.iter().filter_map(|(key, value)| Some((*key, (*value)?)));
    Options::new(given.map(|(key, value)| PluginOption { key: key.into(), value: Some(value.into()) }))
}

/// All servers that the options can make, each with the options.
fn servers(sni: &[&str]) -> Vec<(String, Failover, Routes, bool)> {
    let mut all = Vec::new();
    let options_of_sni: Vec<_> = sni.iter().map(|value| ("sni", Some(*value))).collect();
    let names = names::routes(&options(&options_of_sni)).unwrap();
    for plain in [None, Some(PLAIN), Some("status:404"), Some("dir:/srv"), Some("redirect:https://a.example")]
    {
        for (tls, clear) in [(None, None), (Some(TLS), None), (None, Some(CLEAR)), (Some(TLS), Some(CLEAR))] {
            for h2 in [None, Some(H2), Some("same")] {
                for (certificate, auto) in [(false, false), (true, false), (true, true)] {
                    let list = [
                        ("failover", plain),
                        ("failover-tls", tls),
                        ("failover-http", clear),
                        ("failover-h2", h2),
                    ];
                    // What contradicts itself is no server.
                    let Ok(failover) = website::failover(&options(&list), certificate, auto, false) else {
                        continue;
                    };
                    let routes = Routes::new(&failover, &names, certificate, failover.h2.is_some());
                    let text = format!("{list:?}, certificate {certificate}, auto {auto}");
                    all.push((text, failover, routes, certificate));
                }
            }
        }
    }
    assert!(all.len() > 60, "{}", all.len());
    all
}

/// What comes: its name here, the layer, what it speaks, and what it is found to be.
fn kinds() -> Vec<(&'static str, Layer, VisitorProtocol, Detection)> {
    let hello = |name: Option<&str>, alpn: &[&str]| {
        Detection::Tls(TlsHello {
            server_name: name.map(|name| name.as_bytes().to_vec()),
            has_alpn: !alpn.is_empty(),
            offers_h2: alpn.contains(&"h2"),
            offers_http1: alpn.contains(&"http/1.1"),
            is_fallback: false,
        })
    };
    let again = match hello(Some("own.example"), &[]) {
        Detection::Tls(hello) => Detection::Tls(TlsHello { is_fallback: true, ..hello }),
        _ => unreachable!(),
    };
    let clear = |name, protocol, seen| (name, Layer::Clear, protocol, seen);
    vec![
        clear("silence or HTTP", VisitorProtocol::Plain, Detection::Visitor),
        clear("what is no hello", VisitorProtocol::Tls, Detection::Visitor),
        clear("a client's hello", VisitorProtocol::Tls, hello(Some("own.example"), &["http/1.1"])),
        clear("a client's hello without ALPN", VisitorProtocol::Tls, hello(Some("own.example"), &[])),
        clear("a client's hello without a name", VisitorProtocol::Tls, hello(None, &["http/1.1"])),
        clear("a browser's hello", VisitorProtocol::Tls, hello(Some("own.example"), &["h2", "http/1.1"])),
        clear("a hello for other protocols", VisitorProtocol::Tls, hello(Some("own.example"), &["imap"])),
        clear("a second attempt", VisitorProtocol::Tls, again),
        clear("a hello for another name", VisitorProtocol::Tls, hello(Some("other.example"), &["http/1.1"])),
        ("a visitor inside TLS", Layer::Tls, VisitorProtocol::Plain, Detection::Visitor),
        ("TLS inside TLS", Layer::Tls, VisitorProtocol::Tls, Detection::Visitor),
        ("HTTP/2 inside TLS", Layer::Tls, VisitorProtocol::H2, Detection::Visitor),
    ]
}

/// Our certificate is for a name, and for the address that was reached.
fn of_certificate(name: Option<&[u8]>) -> bool {
    name.is_none_or(|name| name == b"own.example")
}

#[derive(Debug, PartialEq)]
enum Goes {
    /// To this website, and how it is spoken to.
    To(Website, &'static str),
    /// TLS ends here, or else goes there.
    Ends(Option<Website>),
}

fn goes(routes: &Routes, layer: Layer, protocol: VisitorProtocol, seen: Detection) -> Goes {
    let website = |id: UpstreamId| routes.upstreams[id.0].website.clone();
    match routes.route(layer, protocol, seen, of_certificate) {
        Route::Fallback(id) => {
            let how = match &routes.upstreams[id.0] {
                UpstreamConfig { tls: true, .. } => "in TLS",
                UpstreamConfig { http1: true, .. } => "HTTP/1",
                UpstreamConfig { .. } => "raw",
            };
            Goes::To(website(id), how)
        }
        Route::TerminateTls(otherwise) => Goes::Ends(otherwise.map(website)),
        Route::Tunnel(kind) => panic!("{kind:?}"),
        Route::H2(id) => panic!("{id:?}"),
    }
}

/// Where it is to go, told without a table.
fn wanted(failover: &Failover, certificate: bool, kind: &str) -> Goes {
    let Failover { plain, tls, h2, clear, .. } = failover;
    let raw = |address: &HostPort| Goes::To(Website::Port(address.clone()), "raw");
    let http1 = |website: &Website| Goes::To(website.clone(), "HTTP/1");
    let ends = || Goes::Ends(tls.clone().map(Website::Port));
    match kind {
        "silence or HTTP" if certificate => http1(clear.as_ref().unwrap_or(plain)),
        "silence or HTTP" => http1(plain),
        "HTTP/2 inside TLS" if h2.is_some() => raw(h2.as_ref().unwrap()),
        "a visitor inside TLS" | "TLS inside TLS" | "HTTP/2 inside TLS" => match tls {
            Some(tls) if certificate && *plain == Website::Bare => {
                Goes::To(Website::Port(tls.clone()), "in TLS")
            }
            _ => http1(plain),
        },
        "a client's hello" | "a client's hello without ALPN" | "a client's hello without a name"
            if certificate =>
        {
            ends()
        }
        "a browser's hello" if certificate && h2.is_some() => ends(),
        _ => match tls {
            Some(tls) => raw(tls),
            None if certificate => Goes::Ends(None),
            None => http1(plain),
        },
    }
}

#[test]
fn every_server_sends_every_kind_where_it_is_to_go() {
    for sni in [&[][..], &["elsewhere.example:127.0.0.1:9"]] {
        for (text, failover, routes, certificate) in servers(sni) {
            for (kind, layer, protocol, seen) in kinds() {
                assert_eq!(
                    goes(&routes, layer, protocol, seen),
                    wanted(&failover, certificate, kind),
                    "{kind}; {text}"
                );
            }
        }
    }
}

#[test]
fn whoever_is_a_client_has_a_tunnel() {
    let kind = ClientKind::Web(crate::wire::http::Upgrade {
        route: None,
        head_len: 1,
        key: None,
        versioned: true,
        protocol: None,
        packets: false,
    });
    for (text, _, routes, _) in servers(&["*.example:127.0.0.1:9"]) {
        for layer in [Layer::Clear, Layer::Tls] {
            let route =
                routes.route(layer, VisitorProtocol::Plain, Detection::Client(kind.clone()), |_| panic!());
            assert_eq!(route, Route::Tunnel(kind.clone()), "{text}");
        }
    }
}

/// Whoever hesitates has that website dialled to which it would go by what it seems to speak.
#[test]
fn the_website_that_is_dialled_early_is_the_one_of_visitors() {
    for (text, failover, routes, certificate) in servers(&["own.example:127.0.0.1:9"]) {
        for (layer, protocol, kind) in [
            (Layer::Clear, VisitorProtocol::Plain, "silence or HTTP"),
            (Layer::Clear, VisitorProtocol::Tls, "what is no hello"),
            (Layer::Tls, VisitorProtocol::Plain, "a visitor inside TLS"),
        ] {
            let early = routes.upstream_for(layer, protocol).map(|id| routes.upstreams[id.0].website.clone());
            let wanted = match wanted(&failover, certificate, kind) {
                Goes::To(website, _) => Some(website),
                Goes::Ends(_) => None,
            };
            assert_eq!(early, wanted, "{kind}; {text}");
        }
    }
}

/// TLS for names of the option `sni` goes there, whatever else it says; of several that match, the closest counts.
#[test]
fn names_of_others_come_first() {
    let sni = [
        "*.example.com:127.0.0.1:1",
        "www.Example.com:127.0.0.1:2",
        "*.b.example.com:[::1]:3",
        "plain.example:host.example:4",
        "own.example:127.0.0.1:5",
        "*.example.com:127.0.0.1:6",
    ];
    for (text, _, routes, _) in servers(&sni) {
        let port = |name: &str| {
            let hello = TlsHello { server_name: Some(name.as_bytes().to_vec()), ..TlsHello::default() };
            let route =
                routes.route(Layer::Clear, VisitorProtocol::Tls, Detection::Tls(hello), of_certificate);
            let Route::Fallback(id) = route else { return None };
            let upstream = &routes.upstreams[id.0];
            assert!(
                !upstream.http1 && !upstream.tls
                    || upstream.website.port().is_none_or(|site| site.port == 80)
            );
            upstream.website.port().map(|site| site.port).filter(|port| *port < 10)
        };
        for (name, wanted) in [
            ("a.example.com", Some(1)),
            ("x.a.example.com", Some(1)),
            ("WWW.example.com", Some(2)),
            ("www.example.com.", Some(2)),
            ("c.b.EXAMPLE.com", Some(3)),
            ("plain.example", Some(4)),
            ("own.example", Some(5)),
            ("example.com", None),
            (".example.com", None),
            ("wwwexample.com", None),
            ("plain.example.org", None),
            ("", None),
        ] {
            assert_eq!(port(name), wanted, "{name}; {text}");
        }
    }
}

/// Servers of other names are told nothing of who came, all others where it is asked for.
#[test]
fn the_proxy_header_is_for_our_own_websites() {
    let list = [("failover", Some(PLAIN)), ("failover-tls", Some(TLS)), ("failover-proxy", Some("v2"))];
    let failover = website::failover(&options(&list), true, false, false).unwrap();
    let names = names::routes(&options(&[("sni", Some("a.example:127.0.0.1:9"))])).unwrap();
    for upstream in Routes::new(&failover, &names, true, false).upstreams {
        let other = upstream.website == port("127.0.0.1:9");
        assert_eq!(upstream.proxy_header.is_none(), other, "{upstream:?}");
    }
}
