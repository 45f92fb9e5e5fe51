"""How the costs grow with the number of tunnels that are open."""

import sys
import time
from dataclasses import dataclass

from . import crowd
from .rows import ROLES, Pair, Result, why_unavailable
from common.page import counted
from common.procs import Group, RunError, cpu_seconds, deadline, peak_kib, pss_kib

TUNNELS = [1, 100, 1000, 5000, 10000]
# Beyond this there is another pair of halves.
PAIR_HOLDS = 5000
# Of so many tunnels one is busy.
BUSY = 10
# What fewer hold is less than what a process takes and gives back meanwhile.
MEMORY_FROM = 100
# How long a tunnel of a crowd has until it is open, or its bytes have come.
SECONDS = 120


@dataclass
class Settings:
    rounds: int
    tunnels: list
    # What the busy tunnels carry together, in each direction.
    volume: int
    # How many come and go while the others are open.
    connections: int
    pair_holds: int


# Those that a peer has, too, by the ends of the contenders' names.
KINDS = {"http": "obfs=http", "tls": "obfs=tls", "ws": "WebSocket", "ws-mux": "WebSocket, mux", "wss": "WebSocket, TLS"}


def kind_of(contender):
    if "-grpc" in contender.name:
        return None
    return next((kind for kind in KINDS if contender.name.endswith(f"-{kind}")), None)


def takes_part(contender):
    return kind_of(contender) is not None


def measure(bench, contender, settings, tunnels, result):
    with Group(bench.directory) as group:
        backend = crowd.start_supply(group)
        pairs = [Pair(group, bench, contender, backend) for _pair in range(-(-tunnels // settings.pair_holds))]
        halves = {role: [pair.halves[index] for pair in pairs] for index, role in enumerate(ROLES)}
        everyone = [half for pair in pairs for half in pair.halves]
        applications = crowd.Crowd([pair.port for pair in pairs])
        try:
            # What a program loads or allocates once is not a tunnel's.
            applications.come_and_go(8 * len(pairs), 10)
            time.sleep(0.5)
            before = {role: sum(map(pss_kib, halves[role])) for role in ROLES}
            applications.open(tunnels, SECONDS)
            # Time to give buffers back, or to run a collector.
            time.sleep(1.5)
            result.add({"rest_percent": 100 * used(everyone, lambda: time.sleep(2)) / 2})
            for role in ROLES if tunnels >= MEMORY_FROM else ():
                result.add({f"{role}_kib": (sum(map(pss_kib, halves[role])) - before[role]) / tunnels})
            # (Of fewer than that, all.)
            busy = applications.tunnels[:: BUSY if tunnels >= BUSY else 1]
            share = settings.volume // len(busy)
            for direction, up, down in (("up", share, 1), ("down", 0, share)):
                started = time.monotonic()
                spent = used(everyone, lambda: applications.carry(busy, up, down, SECONDS))
                volume = share * len(busy) / 1e9
                took = time.monotonic() - started
                result.add({f"{direction}_cpu": spent / volume, f"{direction}_gbps": 8 * volume / took})
            spent = used(everyone, lambda: come_and_go(applications, settings.connections))
            result.add({"connection_cpu_ms": 1e3 * spent / settings.connections})
            result.add({"peak_mib": sum(map(peak_kib, everyone)) / 1024})
            for pair in pairs:
                pair.must_live()
            if lost := applications.lost():
                raise RunError(f"{lost} of {counted(tunnels, 'tunnel')} ended")
        finally:
            applications.close()


def used(children, do):
    """The CPU seconds that they use meanwhile."""
    before = cpu_seconds(children)
    do()
    return cpu_seconds(children) - before


def come_and_go(applications, count):
    applications.come_and_go(count, SECONDS)
    # A tunnel has ended a moment later than its application.
    time.sleep(0.5)


def run(bench, contenders, settings):
    """{name: {tunnels: Result}} after all rounds, and {name: why there is nothing}."""
    results = {contender.name: {tunnels: Result() for tunnels in settings.tunnels} for contender in contenders}
    unavailable = {contender.name: why_unavailable(bench, contender) for contender in contenders}
    present = [contender for contender in contenders if not unavailable[contender.name]]
    started, done, total = time.monotonic(), 0, settings.rounds * len(settings.tunnels) * len(present)
    for number in range(settings.rounds):
        for tunnels in settings.tunnels:
            # Every other round backwards: a machine that slows down favours nobody.
            for contender in present[:: -1 if number % 2 else 1]:
                result = results[contender.name][tunnels]
                try:
                    with deadline(4 * SECONDS, counted(tunnels, "tunnel")):
                        measure(bench, contender, settings, tunnels, result)
                except (RunError, OSError) as error:
                    result.notes.append(str(error))
                    print(f"{contender.name}: {counted(tunnels, 'tunnel')} failed: {error}", file=sys.stderr)
                done += 1
                elapsed = time.monotonic() - started
                print(
                    f"[{done}/{total}] round {number + 1} {counted(tunnels, 'tunnel')} {contender.name}: "
                    f"{elapsed:.0f} s, about {elapsed / done * (total - done):.0f} s to go",
                    file=sys.stderr,
                )
    return results, unavailable
