//! The website behind the server.

use super::{Kind, OptionSpec, SERVER, option};

pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        aliases: &["fallback"],
        ..option(
            "failover",
            Kind::Value("WEBSITE"),
            SERVER,
            "The website behind the port: everything that is no tunnel goes there unchanged. HOST:PORT, or a \
             built-in website: redirect:URL, dir:PATH (the files of a folder) or status:NUMBER (one answer to \
             everything). Default: answers like an nginx without a website.",
        )
    },
    OptionSpec {
        aliases: &["fallback-tls"],
        ..option(
            "failover-tls",
            Kind::Value("HOST:PORT"),
            SERVER,
            "The website for visitors who speak TLS. With tls: for TLS with another name than the server's \
             own, and for hellos that no client of ours sends. Default: as failover, if that is HOST:PORT; \
             with tls none.",
        )
    },
    OptionSpec {
        aliases: &["fallback-http"],
        ..option(
            "failover-http",
            Kind::Value("HOST:PORT"),
            SERVER,
            "With tls: the website for visitors without TLS. Default: with mode=auto that of failover; \
             otherwise that of failover-tls, or a page that says that this is a port for HTTPS.",
        )
    },
    OptionSpec {
        aliases: &["fallback-h2"],
        ..option(
            "failover-h2",
            Kind::Value("HOST:PORT"),
            SERVER,
            "The website for HTTP/2, at a port that speaks HTTP/2 without TLS; same means the port of \
             failover. With tls, HTTP/2 is then offered to visitors. Where grpc is taken without TLS, \
             visitors with HTTP/2 go there, too. Default: HTTP/2 is offered only with mode=grpc.",
        )
    },
    OptionSpec {
        aliases: &["fallback-quic"],
        ..option(
            "failover-quic",
            Kind::Value("HOST:PORT"),
            SERVER,
            "With mode=quic or quic: the website's HTTP/3, for QUIC with another name than the server's own \
             and for QUIC that offers h3. Default: these get no answer.",
        )
    },
    OptionSpec {
        aliases: &["fallback-proxy"],
        ..option(
            "failover-proxy",
            Kind::Value("VERSION"),
            SERVER,
            "Tell the websites each visitor's address in a PROXY header: v1 (text) or v2 (binary). The \
             websites must expect it. Default: no header.",
        )
    },
];
