"""What is measured, and the interleaved rounds that measure it."""

import os
import socket
import statistics
import sys
import time
from dataclasses import dataclass, field

from . import load
from .peers import opening_matches
from common.procs import RunError, Group, cpu_seconds, deadline, free_port, pss_kib

GROUPS = ["bulk", "requests", "connections", "idle", "startup"]
ROLES = ("server", "client")


@dataclass
class Settings:
    rounds: int
    seconds: int
    idle_connections: int
    starts: int
    rows: list


@dataclass
class Result:
    """One column: the figures of every round, or why there are none."""

    unavailable: str = ""
    rounds: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    def add(self, figures):
        for name, value in figures.items():
            if value is not None:
                self.rounds.setdefault(name, []).append(value)

    def median(self, name):
        values = self.rounds.get(name)
        return statistics.median(values) if values else None


class Pair:
    """A contender between load and backend."""

    def __init__(self, group, bench, contender, backend):
        self.halves = []
        self.port = backend
        if contender.kind == "direct":
            return
        for role in ROLES:
            listen = free_port()
            argv, env = bench.half(contender, role, listen, self.port)
            udp = contender.over_udp and role == "server"
            self.halves.append(group.start_listening(argv, listen, env, udp=udp))
            self.port = listen

    def cpu(self):
        return cpu_seconds(self.halves)

    def must_live(self):
        for half in self.halves:
            if half.exited():
                raise RunError(f"ended while measured: {half.why()}")


# Each measurement starts a backend and a fresh pair: an allocator's or a
# pool's state from an earlier row must not flatter or spoil this one.


def measure_bulk(bench, contender, settings, result):
    with Group(bench.directory) as group:
        pair = Pair(group, bench, contender, load.start_iperf3(group, bench))
        for direction, reverse in (("up", False), ("down", True)):
            before = pair.cpu()
            rate, gigabytes = load.run_iperf3(group, pair.port, settings.seconds, reverse)
            pair.must_live()
            cpu = (pair.cpu() - before) / gigabytes if pair.halves else None
            result.add({f"{direction}_gbps": rate, f"{direction}_cpu": cpu})


def measure_requests(bench, contender, settings, result):
    report, cpu = run_wrk(bench, contender, settings, result, False)
    result.add({"rps": report["rate"], "p50_ms": report["p50"], "p99_ms": report["p99"]})
    result.add({"request_cpu_us": cpu and cpu * 1e6})


def measure_connections(bench, contender, settings, result):
    report, cpu = run_wrk(bench, contender, settings, result, True)
    result.add({"cps": report["rate"], "connection_cpu_ms": cpu and cpu * 1e3})


def run_wrk(bench, contender, settings, result, close):
    """wrk's report, and the CPU seconds of both halves per request."""
    with Group(bench.directory) as group:
        pair = Pair(group, bench, contender, load.start_nginx(group, bench))
        before = pair.cpu()
        report = load.run_wrk(group, pair.port, settings.seconds, close)
        pair.must_live()
        cpu = (pair.cpu() - before) / report["requests"] if pair.halves else None
    if report["complaints"]:
        row = "new connections" if close else "requests"
        result.notes.append(f"{row}: {report['complaints']} beside {report['requests']} requests")
    return report, cpu


def measure_idle(bench, contender, settings, result):
    if contender.kind == "direct":
        return
    with Group(bench.directory) as group:
        pair = Pair(group, bench, contender, load.start_echo(group, bench))
        # A few first, so that what a program loads or allocates once is in
        # the figure before, not in that of the connections.
        warm_up = load.Opener(pair.port)
        warm_up.open(8, 10)
        warm_up.close()
        time.sleep(0.5)
        before = [pss_kib(half) for half in pair.halves]
        opener = load.Opener(pair.port)
        try:
            opener.open(settings.idle_connections, 30)
            # Time to be idle in: to run a collector, to give buffers back.
            time.sleep(1.5)
            pair.must_live()
            count = opener.still_open()
            if count < settings.idle_connections / 2:
                raise RunError(f"only {count} of {settings.idle_connections} connections echoed and stayed")
            after = [pss_kib(half) for half in pair.halves]
        finally:
            opener.close()
    if count < settings.idle_connections:
        result.notes.append(f"idle: {count} of {settings.idle_connections} connections echoed and stayed")
    for role, growth in zip(ROLES, (b - a for a, b in zip(before, after))):
        result.add({f"idle_{role}_kib": growth / count})


def measure_startup(bench, contender, settings, result):
    if contender.kind == "direct":
        return
    for role in ROLES:
        for _start in range(settings.starts):
            result.add({f"startup_{role}_ms": start_up(bench, contender, role) * 1e3})
    programs = {os.path.realpath(bench.program(name)) for name in contender.programs}
    result.rounds["binary_mb"] = [sum(os.path.getsize(path) for path in programs) / 1e6]


def start_up(bench, contender, role):
    """Seconds from the spawn to the first connection, or datagram, that is taken."""
    with Group(bench.directory) as group:
        port = free_port()
        argv, env = bench.half(contender, role, port, free_port())
        before = time.perf_counter()
        child = group.start(argv, env, orphan_guard=False)
        takes = takes_datagrams if contender.over_udp and role == "server" else takes_connections
        while True:
            # No pause between attempts: it would be in the figure. Loopback
            # refuses at once, so an attempt costs some microseconds.
            if takes(port):
                return time.perf_counter() - before
            if child.exited():
                raise RunError(f"ended at start-up: {child.why()}")


def takes_connections(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def takes_datagrams(port):
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.connect(("127.0.0.1", port))
        probe.send(b"")
        # Loopback says in the same moment that nobody is there.
        return not probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


MEASUREMENTS = {
    "bulk": measure_bulk,
    "requests": measure_requests,
    "connections": measure_connections,
    "idle": measure_idle,
    "startup": measure_startup,
}


def why_unavailable(bench, contender):
    """Empty when the pair carries bytes under the disguise it is here for."""
    try:
        with deadline(20, "the check"), Group(bench.directory) as group:
            if contender.opening:
                check_opening(bench, contender, group)
            pair = Pair(group, bench, contender, load.start_echo(group, bench))
            opener = load.Opener(pair.port)
            opener.open(1, 5)
            carried = len(opener.echoed)
            opener.close()
            if not carried:
                pair.must_live()
                return "starts, but carries no byte: " + "; ".join(half.why() for half in pair.halves)
    except (RunError, OSError) as error:
        return str(error)
    return ""


def check_opening(bench, contender, group):
    """The client half alone, with a listener of ours as its server."""
    listen = free_port()
    kind = socket.SOCK_DGRAM if contender.over_udp else socket.SOCK_STREAM
    with socket.socket(type=kind) as server:
        server.bind(("127.0.0.1", free_port()))
        if not contender.over_udp:
            server.listen()
        argv, env = bench.half(contender, "client", listen, server.getsockname()[1])
        client = group.start_listening(argv, listen, env)
        server.settimeout(3)
        try:
            with socket.create_connection(("127.0.0.1", listen), timeout=3) as application:
                application.sendall(b"first bytes")
                opening = server.recv(4096) if contender.over_udp else first_of(server)
        except OSError:
            raise RunError(f"the client half sends nothing: {client.why()}") from None
    if not opening_matches(contender.opening, opening):
        raise RunError(f"the client half opens with {opening[:40]!r}, which is not {contender.opening}")


def first_of(server):
    """What the next connection brings first."""
    with server.accept()[0] as connection:
        connection.settimeout(3)
        return connection.recv(4096)


def run(bench, contenders, settings):
    """{name: Result} after all rounds."""
    results = {contender.name: Result() for contender in contenders}
    present = []
    for contender in contenders:
        reason = why_unavailable(bench, contender)
        results[contender.name].unavailable = reason
        if reason:
            print(f"{contender.name}: not available: {reason}", file=sys.stderr)
        else:
            present.append(contender)
    started, done = time.monotonic(), 0
    total = settings.rounds * len(settings.rows) * len(present)
    for round_number in range(settings.rounds):
        # Row by row, so that the contenders of one row are measured close in
        # time; every other round backwards, so that a machine that slows
        # down or speeds up does not favour a place in the order.
        order = present[:: -1 if round_number % 2 else 1]
        for row in settings.rows:
            for contender in order:
                measure(bench, contender, settings, row, results[contender.name])
                done += 1
                elapsed = time.monotonic() - started
                progress = f"{elapsed:.0f} s, about {elapsed / done * (total - done):.0f} s to go"
                print(f"[{done}/{total}] round {round_number + 1} {row} {contender.name}: {progress}", file=sys.stderr)
    return results


def measure(bench, contender, settings, row, result):
    try:
        # Each load tool has its own, shorter limit; this one is for what
        # nobody thought of.
        with deadline(2 * settings.seconds + 60, row):
            MEASUREMENTS[row](bench, contender, settings, result)
    except (RunError, OSError) as error:
        result.notes.append(f"{row}: failed: {error}")
        print(f"{contender.name}: {row} failed: {error}", file=sys.stderr)
