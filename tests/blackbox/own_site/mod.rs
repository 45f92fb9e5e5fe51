//! The small websites of our own: nobody can tell them from nginx with the same on it.

mod claims;
mod files;
mod requests;
mod seeds;
pub mod twins;

use crate::fallback::compare::{Probe, Step, differences, play, play_for};
use crate::support::conn::{End, connect, recv_to_end, send};
use crate::support::peers::need;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::{secs, within};
use requests::with_ends;
use twins::{Folder, Twins};

#[track_caller]
fn assert_alike(twins: &Twins, probes: Vec<Probe>) {
    // Not all at once: the machine is small, and so is the twins' backlog.
    let found: Vec<String> =
        probes.chunks(60).flat_map(|probes| differences(twins.nginx, twins.ours, probes)).collect();
    assert!(
        found.is_empty(),
        "{} of {} probes tell us from nginx:\n{}\n",
        found.len(),
        probes.len(),
        found.join("\n")
    );
    assert_eq!(twins.backend.accepted(), 0, "a visitor reached Shadowsocks; {}", twins.child.show_log());
}

#[test]
fn a_folder_is_like_nginx() {
    within(secs(280), || {
        need!("nginx");
        let folder = Folder::new();
        let probes = with_ends(requests::general());
        assert!(probes.len() > 900, "{}", probes.len());
        assert_alike(&folder.twins(""), probes);
    });
}

#[test]
fn conditions_and_ranges_are_like_nginx() {
    within(secs(280), || {
        need!("nginx");
        let folder = Folder::new();
        assert_alike(&folder.twins(""), with_ends(requests::files()));
    });
}

#[test]
fn a_redirect_is_like_nginx() {
    within(secs(280), || {
        need!("nginx");
        for (url, option) in [
            ("https://www.example.com", "redirect:https://www.example.com"),
            ("http://[::1]:8080/new/place", "redirect:http://[::1]:8080/new/place/"),
        ] {
            let twins = Twins::start(
                &format!("location / {{ return 301 {url}$request_uri; }}"),
                &format!("failover={option}"),
            );
            assert_alike(&twins, with_ends(requests::general()));
        }
    });
}

#[test]
fn one_status_for_everything_is_like_nginx() {
    within(secs(280), || {
        need!("nginx");
        for status in [404, 503, 204, 444] {
            let twins = Twins::start(
                &format!("location / {{ return {status}; }}"),
                &format!("failover=status:{status}"),
            );
            assert_alike(&twins, with_ends(requests::general()));
        }
    });
}

/// Every number that the option takes.
#[test]
fn every_status_is_like_nginx() {
    within(secs(280), || {
        need!("nginx");
        let mut servers = String::new();
        let all: Vec<u16> = [204].into_iter().chain(400..=599).collect();
        for status in &all {
            servers.push_str(&format!("location /{status} {{ return {status}; }}\n"));
        }
        let twins = Twins::start(&servers, "failover=status:404");
        // One server of ours for each would be many; a few are started, the others asked in turn.
        for statuses in all.chunks(20) {
            let found: Vec<String> = std::thread::scope(|scope| {
                let threads: Vec<_> = statuses
                    .iter()
                    .map(|status| {
                        let nginx = twins.nginx;
                        scope.spawn(move || status_difference(nginx, *status))
                    })
                    .collect();
                threads.into_iter().filter_map(|thread| thread.join().expect("a status")).collect()
            });
            assert!(found.is_empty(), "{}", found.join("\n"));
        }
    });
}

fn status_difference(nginx: std::net::SocketAddr, status: u16) -> Option<String> {
    use crate::support::plugin::{Ours, server};
    let ours = server(Ours, "127.0.0.1:9".parse().expect("an address"), &format!("failover=status:{status}"));
    let request = |line: &str| {
        let text = format!("{line} /{status} HTTP/1.1\r\nHost: a\r\nUser-Agent: Chrome/1\r\n\r\n");
        text.clone() + &text.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    };
    ["GET", "HEAD", "POST"].iter().find_map(|method| {
        let steps = vec![Step::Send(request(method).into())];
        let probe = Probe { name: format!("{method} for {status}"), steps };
        let (wanted, got) = (play(nginx, &probe).0, play(ours.addr, &probe).0);
        (wanted != got).then(|| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            format!(
                "{}: nginx {:?} {:?}, ours {:?} {:?}",
                probe.name,
                text(&wanted.bytes),
                wanted.end,
                text(&got.bytes),
                got.end
            )
        })
    })
}

/// Without `failover`: nginx with nothing on it, which has no folder to look into.
#[test]
fn the_bare_server_is_like_nginx() {
    within(secs(280), || {
        need!("nginx");
        let twins = Twins::start("root /dev/null/none;", "obfs=http");
        assert_alike(&twins, with_ends(requests::general()));
    });
}

/// And of the tunnel's own options nothing shows.
#[test]
fn a_port_for_everything_is_like_nginx() {
    within(secs(280), || {
        need!("nginx", "openssl");
        let folder = Folder::new();
        let more = ";mode=websocket;path=/stream;obfs-host=www.example.com";
        let mut probes = requests::general();
        probes.extend(crate::fallback::probes::wrong_address());
        assert_alike(&folder.twins(more), with_ends(probes));
        let tls_alone = folder.twins(";obfs=tls");
        assert_alike(&tls_alone, with_ends(requests::general()));
    });
}

/// Time-outs, which are minutes: all at once.
#[test]
fn it_waits_as_long_as_nginx() {
    within(secs(280), || {
        need!("nginx");
        let twins = Twins::start("root /dev/null/none;", "obfs=http");
        let patience = secs(120);
        let found: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = requests::slow()
                .into_iter()
                .map(|probe| {
                    let (nginx, ours) = (twins.nginx, twins.ours);
                    scope.spawn(move || {
                        std::thread::scope(|scope| {
                            let direct = scope.spawn(|| play_for(patience, nginx, &probe));
                            let (got, took) = play_for(patience, ours, &probe);
                            let (wanted, wanted_took) = direct.join().expect("nginx");
                            assert_ne!(wanted.end, End::Open, "{}: nginx never ends this", probe.name);
                            let alike = wanted == got && took.abs_diff(wanted_took) < secs(4);
                            (!alike).then(|| {
                                format!(
                                    "{}: nginx {wanted:?} in {wanted_took:?}, ours {got:?} in {took:?}",
                                    probe.name
                                )
                            })
                        })
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().expect("a probe")).collect()
        });
        assert!(found.is_empty(), "{}", found.join("\n"));
    });
}

/// The thousandth request of a connection is its last.
#[test]
fn a_connection_has_as_many_requests_as_with_nginx() {
    within(secs(60), || {
        need!("nginx");
        let twins = Twins::start("root /dev/null/none;", "obfs=http");
        let requests = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1010);
        let probe = Probe { name: "1010 requests".into(), steps: vec![Step::Send(requests.into())] };
        let found = differences(twins.nginx, twins.ours, std::slice::from_ref(&probe));
        assert!(found.is_empty(), "{}", found.join("\n"));
        let (seen, _) = play(twins.ours, &probe);
        let text = String::from_utf8_lossy(&seen.bytes).into_owned();
        assert_eq!((text.matches("keep-alive").count(), text.matches("close").count()), (999, 1));
    });
}

/// Without a `Host` a redirect names the address that was reached.
#[test]
fn a_visitor_without_host_is_sent_to_the_address() {
    within(secs(60), || {
        need!("nginx");
        let folder = Folder::new();
        let twins = folder.twins("");
        for addr in [twins.nginx, twins.ours] {
            let visitor = connect(addr);
            send(&visitor, b"GET /shop HTTP/1.0\r\n\r\n");
            let (answer, end) = recv_to_end(&visitor, secs(20));
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.contains(&format!("\r\nLocation: http://{addr}/shop/\r\n")), "{answer}");
            assert_eq!(end, End::Fin);
        }
    });
}

/// What visitors of a TLS port meet who do not speak TLS.
#[test]
fn http_where_tls_is_spoken_is_like_nginx() {
    within(secs(120), || {
        need!("nginx", "openssl");
        let certificate = Certificate::new(NAME);
        let (cert, key) = (certificate.cert.display(), certificate.key.display());
        let server = format!("root /dev/null/none; ssl_certificate {cert}; ssl_certificate_key {key};");
        let options = format!("mode=websocket;path=/stream;{}", certificate.for_server());
        let twins = Twins::start_with("ssl", &server, &options);
        // TLS itself is for others to answer.
        let is_tls = |probe: &Probe| probe.name.contains("TLS");
        let probes: Vec<Probe> = requests::general().into_iter().filter(|probe| !is_tls(probe)).collect();
        assert!(probes.len() > 400);
        assert_alike(&twins, with_ends(probes));
    });
}
