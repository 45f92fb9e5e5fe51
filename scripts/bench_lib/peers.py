"""The contenders: how each pair is started, and where its programs come from."""

import json
import os
import subprocess
from dataclasses import dataclass, replace

from common import programs
from common.procs import RunError, find_program

# Program -> Debian package.
PACKAGES = {
    "haproxy": "haproxy",
    "obfs-local": "simple-obfs",
    "obfs-server": "simple-obfs",
    "ss-v2ray-plugin": "shadowsocks-v2ray-plugin",
    "nginx": "nginx-light",
    "iperf3": "iperf3",
    "wrk": "wrk",
    "openssl": "openssl",
}

HOST = "www.bing.com"

# One thread for each half: the stricter yardstick, because a second thread
# costs HAProxy more CPU per byte and per request on a small machine, where two
# halves, the load tool and the backend already share the cores.
HAPROXY_CONFIG = """\
global
  nbthread 1
defaults
  mode tcp
  {splice}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen half
  bind 127.0.0.1:{listen}
  server next 127.0.0.1:{upstream}
"""

# Two columns, because `splice-auto` leaves it to a heuristic whether splice(2)
# is used at all, and HAProxy 2.6 was seen (with perf) to receive and send a
# whole bulk flow through its buffers. The other two options always splice.
SPLICE_AUTO = "option splice-auto"
SPLICE_ALWAYS = "option splice-request\n  option splice-response"

# Not a CA: some verifiers refuse a CA's certificate as a server's own.
CERTIFICATE_CONFIG = f"""\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = {HOST}
[extensions]
basicConstraints = critical,CA:FALSE
subjectAltName = DNS:{HOST}
"""


@dataclass(frozen=True)
class Contender:
    """One column: a name for --only, a title, and how its pair starts."""

    name: str
    title: str
    kind: str  # "direct", "haproxy", "plugin" or "v2ray"
    programs: tuple = ()  # server half, client half; None stands for ours
    # Plugin options, lines of HAProxy's configuration, or words for V2Ray's.
    server: str = ""
    client: str = ""
    # What the client half must put on the wire first.
    opening: str = ""

    @property
    def ours(self):
        return None in self.programs

    @property
    def over_udp(self):
        """Between its halves."""
        return self.opening == "quic"


HAPROXY = ("haproxy", "haproxy")
SIMPLE_OBFS = ("obfs-server", "obfs-local")
V2RAY = ("ss-v2ray-plugin", "ss-v2ray-plugin")
OURS = (None, None)
OBFS_CLIENT = f"obfs-host={HOST}"
# wss without mux, so that each connection pays for its own TLS handshake, as
# the "new connections" row wants it.
WSS_SERVER = f"server;tls;mux=0;host={HOST};cert={{cert}};key={{key}}"
WSS_CLIENT = f"tls;mux=0;host={HOST};cert={{cert}}"


QUIC_SERVER = f"server;mode=quic;host={HOST};cert={{cert}};key={{key}}"
QUIC_CLIENT = f"mode=quic;host={HOST};cert={{cert}}"

# v2ray-plugin of Debian has no gRPC: the peer is V2Ray 4.45 itself, as scripts/test installs it.
SERVICE = "chairs"
V2RAY_CORE = ("v2ray", "v2ray")


def _plugin(name, title, programs, server, client, opening):
    return Contender(name, title, "plugin", programs, server, client, opening)


def _obfs(prefix, title, programs, flag):
    return [
        _plugin(f"{prefix}-{kind}", f"{title} {kind}", programs, f"{flag}obfs={kind}", f"obfs={kind};{OBFS_CLIENT}", kind)
        for kind in ("http", "tls")
    ]


def _websocket(prefix, title, programs):
    server, client = "server;mode=websocket", f"mode=websocket;host={HOST}"
    # v2ray-plugin's server has to be told, too: it takes one or the other.
    plain = f"{server};mux=0", f"{client};mux=0"
    return [
        _plugin(f"{prefix}-ws", f"{title} ws", programs, *plain, "ws"),
        _plugin(f"{prefix}-ws-mux", f"{title} ws mux", programs, server, client, "ws"),
        _plugin(f"{prefix}-wss", f"{title} wss", programs, WSS_SERVER, WSS_CLIENT, "tls"),
    ]


def _quic(prefix, title, programs):
    return _plugin(f"{prefix}-quic", f"{title} quic", programs, QUIC_SERVER, QUIC_CLIENT, "quic")


def _grpc_of_v2ray():
    def contender(name, title, server, client, opening):
        settings = f"network=grpc serviceName={SERVICE}"
        return Contender(name, title, "v2ray", V2RAY_CORE, settings + server, settings + client, opening)

    tls = " tls cert={cert} key={key}", f" tls serverName={HOST} cert={{cert}}"
    return [
        contender("v2ray-grpc", "V2Ray 4.45 grpc", "", "", "grpc"),
        contender("v2ray-grpc-tls", "V2Ray 4.45 grpc tls", *tls, "tls"),
    ]


def _grpc_of_ours():
    server, client = f"server;mode=grpc;serviceName={SERVICE}", f"mode=grpc;serviceName={SERVICE};host={HOST}"
    return [
        _plugin("ours-grpc", "ours grpc", OURS, server, client, "grpc"),
        _plugin(
            "ours-grpc-tls", "ours grpc tls", OURS, f"{server};tls;cert={{cert}};key={{key}}", f"{client};tls;cert={{cert}}", "tls"
        ),
    ]


_OURS_OBFS = _obfs("ours", "ours", OURS, "server;")
CONTENDERS = [
    Contender("direct", "direct", "direct"),
    Contender("haproxy", "HAProxy, splice-auto", "haproxy", HAPROXY, SPLICE_AUTO, SPLICE_AUTO),
    Contender("haproxy-splice", "HAProxy, always splice", "haproxy", HAPROXY, SPLICE_ALWAYS, SPLICE_ALWAYS),
    *_obfs("simple-obfs", "simple-obfs", SIMPLE_OBFS, ""),
    *_websocket("v2ray", "v2ray", V2RAY),
    _quic("v2ray", "v2ray", V2RAY),
    *_grpc_of_v2ray(),
    _OURS_OBFS[0],
    _plugin(
        "ours-httpupgrade",
        "ours httpupgrade",
        OURS,
        "server;mode=httpupgrade",
        f"mode=httpupgrade;host={HOST}",
        "httpupgrade",
    ),
    _OURS_OBFS[1],
    *_websocket("ours", "ours", OURS),
    _quic("ours", "ours", OURS),
    *_grpc_of_ours(),
]


def earlier(contenders, binary):
    """Our contenders once more, with another binary of ours."""
    return [
        replace(
            contender,
            name=contender.name.replace("ours", "earlier"),
            title=contender.title.replace("ours", "earlier"),
            programs=(binary, binary),
        )
        for contender in contenders
        if contender.ours
    ]


def opening_matches(kind, data):
    """Whether a client's first bytes are those of the disguise asked for.

    Plugins must let unknown options pass, so a program that does not have a
    disguise yet may carry bytes under another one; its figures would then
    stand in the wrong column.
    """
    head = data.lower()
    if kind == "tls":
        return data[:2] == b"\x16\x03"
    if kind == "quic":
        # An Initial packet of version 1.
        return data[0] & 0xF0 == 0xC0 and data[1:5] == b"\0\0\0\1"
    if kind == "grpc":
        # HTTP/2 by prior knowledge.
        return data.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    is_upgrade = head.startswith(b"get ") and b"\r\nupgrade: websocket" in head
    versioned = b"\r\nsec-websocket-version:" in head
    with_body = b"\r\ncontent-length:" in head
    return is_upgrade and {
        "ws": versioned,
        "http": with_body and not versioned,
        "httpupgrade": not with_body and not versioned,
    }[kind]


class Bench:
    """What all measurements share: programs, certificate, scratch space."""

    def __init__(self, directory, binary):
        self.directory = directory
        self.binary = binary
        self.cert = os.path.join(directory, "cert.pem")
        self.key = os.path.join(directory, "key.pem")

    def program(self, name):
        path = self.binary if name is None else find_program(name)
        if path is None:
            raise RunError(f"{name or 'our binary'} is not installed")
        return path

    def file(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def half(self, contender, role, listen, upstream):
        """(argv, environment) of one half."""
        program = self.program(contender.programs[0 if role == "server" else 1])
        options = contender.server if role == "server" else contender.client
        if contender.kind == "haproxy":
            text = HAPROXY_CONFIG.format(splice=options, listen=listen, upstream=upstream)
            return [program, "-db", "-f", self.file(f"haproxy-{listen}.cfg", text)], {}
        if "{cert}" in options:
            self.make_certificate()
        if contender.kind == "v2ray":
            stream = v2ray_stream(options.format(cert=self.cert, key=self.key))
            text = json.dumps(v2ray_half(role, listen, upstream, stream))
            return [program, "-config", self.file(f"v2ray-{listen}.json", text)], {}
        # SIP003: the local side is where the server half sends to, and where
        # the client half listens.
        remote, local = (listen, upstream) if role == "server" else (upstream, listen)
        options = options.format(cert=self.cert, key=self.key)
        return [program], programs.sip003(("127.0.0.1", remote), ("127.0.0.1", local), options)

    def make_certificate(self):
        """Self-signed, P-256, as ACME clients ask for today."""
        if os.path.exists(self.cert):
            return
        config = self.file("openssl.cnf", CERTIFICATE_CONFIG)
        command = f"req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -config {config}"
        made = subprocess.run(
            [self.program("openssl"), *command.split(), "-keyout", self.key, "-out", self.cert],
            capture_output=True,
            text=True,
            timeout=30,
        )
        if made.returncode:
            raise RunError(f"openssl: {made.stderr.strip()[-160:]}")


def v2ray_stream(options):
    """V2Ray's `streamSettings` of a contender's words."""
    words = dict(word.partition("=")[::2] for word in options.split())
    stream = {"network": words["network"], "grpcSettings": {"serviceName": words["serviceName"]}}
    if "tls" in words:
        certificate = {"certificateFile": words["cert"]}
        if "key" in words:
            tls = {"alpn": ["h2"], "certificates": [certificate | {"keyFile": words["key"]}]}
        else:
            tls = {"serverName": words["serverName"], "certificates": [certificate | {"usage": "verify"}]}
        stream |= {"security": "tls", "tlsSettings": tls}
    return stream


def v2ray_half(role, listen, upstream, stream):
    """What comes to a port goes to another one, in this stream on the one side."""
    door = {
        "listen": "127.0.0.1",
        "port": listen,
        "protocol": "dokodemo-door",
        "settings": {"address": "127.0.0.1", "port": upstream, "network": "tcp"},
    }
    way = {"protocol": "freedom", "settings": {"redirect": f"127.0.0.1:{upstream}"}}
    (door if role == "server" else way)["streamSettings"] = stream
    return {"log": {"loglevel": "warning"}, "inbounds": [door], "outbounds": [way]}


def missing_packages(contenders, tools):
    programs = {name for contender in contenders for name in contender.programs if name}
    if any("{cert}" in contender.server for contender in contenders):
        programs.add("openssl")
    # (Debian has no V2Ray; without it, its columns say so)
    wanted = {name for name in programs | set(tools) if name in PACKAGES}
    return sorted({PACKAGES[name] for name in wanted if not find_program(name)})
