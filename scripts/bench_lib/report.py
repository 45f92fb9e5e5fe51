"""The table, the ratios against the bar, and the JSON."""

from dataclasses import dataclass

from common import page
from common.page import number

from .rows import ROLES

SERVER, CLIENT = ROLES


@dataclass(frozen=True)
class Line:
    """One row of the table; two metrics are the server's and the client's."""

    group: str
    title: str
    metrics: tuple
    more_is_better: bool = False

    def text(self, result):
        if result.unavailable:
            return "not available"
        values = [result.median(metric) for metric in self.metrics]
        return "–" if None in values else " / ".join(number(value) for value in values)


def halves(pattern):
    return tuple(pattern.format(role) for role in ROLES)


LINES = [
    Line("bulk", "up, Gbit/s", ("up_gbps",), True),
    Line("bulk", "up, CPU s/GB", ("up_cpu",)),
    Line("bulk", "down, Gbit/s", ("down_gbps",), True),
    Line("bulk", "down, CPU s/GB", ("down_cpu",)),
    Line("requests", "requests/s, kept alive", ("rps",), True),
    Line("requests", "p50, ms", ("p50_ms",)),
    Line("requests", "p99, ms", ("p99_ms",)),
    Line("requests", "CPU µs/request", ("request_cpu_us",)),
    Line("connections", "new connections/s", ("cps",), True),
    Line("connections", "CPU ms/connection", ("connection_cpu_ms",)),
    Line("idle", "KiB per idle connection, server / client", halves("idle_{}_kib")),
    Line("startup", "start-up to listening, ms, server / client", halves("startup_{}_ms")),
    Line("startup", "program files, MB", ("binary_mb",)),
]


@dataclass(frozen=True)
class Bar:
    """A figure of ours that has to reach `factor` times another contender's,
    or, with no `against`, `factor` itself; at least or at most."""

    ours: str
    metrics: tuple
    what: str
    sense: str
    factor: float
    against: str = ""

    def judge(self, results):
        """(ours, the other's, ratio, verdict); None where there is no figure."""
        mine = figure(results, self.ours, self.metrics)
        other = figure(results, self.against, self.metrics) if self.against else 1.0
        if mine is None or not other:
            return mine, other, None, "n/a"
        ratio = mine / other
        passed = ratio <= self.factor if self.sense == "≤" else ratio >= self.factor
        return mine, other, ratio, "PASS" if passed else "MISS"


def figure(results, contender, metrics):
    """The median; of two halves, the worse one."""
    result = results.get(contender)
    values = [result.median(metric) for metric in metrics] if result else [None]
    return None if None in values else max(values)


def _bars():
    def bulk(ours, against, up, down):
        yield Bar(ours, ("up_cpu",), "CPU s/GB up", "≤", up, against)
        yield Bar(ours, ("down_cpu",), "CPU s/GB down", "≤", down, against)

    def idle(ours, limit):
        yield Bar(ours, halves("idle_{}_kib"), "KiB per idle connection, worse half", "≤", limit)

    http = "ours-http"
    yield from bulk(http, "simple-obfs-http", 1 / 8, 1 / 4)
    # "HAProxy's spliced TCP" was measured with splice-auto; where that does
    # not splice, the same words mean a harder bar. Both are shown.
    yield from bulk(http, "haproxy", 1 / 2, 1 / 2)
    yield from bulk(http, "haproxy-splice", 1 / 2, 1 / 2)
    yield Bar(http, ("up_gbps",), "Gbit/s up", "≥", 4, "simple-obfs-http")
    yield Bar(http, ("down_gbps",), "Gbit/s down", "≥", 2, "simple-obfs-http")
    for against in ("haproxy", "haproxy-splice"):
        yield Bar(http, ("up_gbps",), "Gbit/s up", "≥", 1.1, against)
        yield Bar(http, ("down_gbps",), "Gbit/s down", "≥", 1.1, against)
    yield from bulk("ours-tls", "simple-obfs-tls", 1 / 4, 1 / 2)
    yield from bulk("ours-ws", "v2ray-ws", 1 / 4, 1 / 4)
    yield from bulk("ours-ws-mux", "v2ray-ws-mux", 1 / 4, 1 / 4)
    yield from bulk("ours-wss", "v2ray-wss", 1 / 3, 1 / 3)
    yield from bulk("ours-quic", "v2ray-quic", 1 / 5, 1 / 5)
    yield from bulk("ours-grpc", "v2ray-grpc", 1 / 3, 1 / 3)
    yield from bulk("ours-grpc-tls", "v2ray-grpc-tls", 1 / 3, 1 / 3)
    yield Bar(http, ("rps",), "requests/s, kept alive", "≥", 1.1, "simple-obfs-http")
    yield Bar("ours-quic", ("rps",), "requests/s, kept alive", "≥", 1, "v2ray-quic")
    yield Bar("ours-grpc", ("rps",), "requests/s, kept alive", "≥", 1, "v2ray-grpc")
    yield Bar(http, ("p99_ms",), "p99, kept alive", "≤", 1, "simple-obfs-http")
    yield Bar(http, ("cps",), "new connections/s", "≥", 1.1, "simple-obfs-http")
    yield Bar("ours-ws", ("cps",), "new connections/s", "≥", 2, "v2ray-ws")
    yield Bar("ours-wss", ("cps",), "new connections/s", "≥", 3, "v2ray-wss")
    for ours, limit in ((http, 3), ("ours-tls", 3), ("ours-ws", 5), ("ours-wss", 25), ("ours-quic", 12)):
        yield from idle(ours, limit)
    yield Bar(http, halves("startup_{}_ms"), "start-up to listening, ms, slower half", "≤", 5)
    yield Bar(http, ("binary_mb",), "stripped binary, MB", "≤", 5)


BARS = list(_bars())


def relevant_bars(contenders, rows):
    """Those about a contender and a row of this run."""
    names = {contender.name for contender in contenders}
    measured = {metric for line in LINES if line.group in rows for metric in line.metrics}
    return [bar for bar in BARS if bar.ours in names and measured.issuperset(bar.metrics)]


def heading(settings):
    return {**page.heading(), "settings": dict(vars(settings))}


def settings_line(settings):
    return (
        f"Median of {settings.rounds} interleaved round{'s' * (settings.rounds != 1)} of {settings.seconds} s; "
        f"both halves of a pair on this machine, their CPU added up; "
        f"{settings.idle_connections:,} idle connections."
    )


def markdown_table(contenders, results, rows):
    lines = [
        "| | " + " | ".join(contender.title for contender in contenders) + " |",
        "| --- " * (len(contenders) + 1) + "|",
    ]
    for line in LINES:
        if line.group in rows:
            cells = [line.text(results[contender.name]) for contender in contenders]
            lines.append(f"| {line.title} | {' | '.join(cells)} |")
    # The reasons are too long for a cell.
    absent = [contender for contender in contenders if results[contender.name].unavailable]
    lines += [""] * bool(absent)
    lines += [f"- {contender.title}: not available: {results[contender.name].unavailable}" for contender in absent]
    return "\n".join(lines)


def markdown_notes(contenders, results):
    return "\n".join(
        f"- {contender.title}: {note}" for contender in contenders for note in results[contender.name].notes
    )


def bar_text(factor):
    inverse = 1 / factor
    return f"1/{inverse:.0f}" if factor < 1 and abs(inverse - round(inverse)) < 1e-9 else f"{factor:g}"


def markdown_bars(bars, results):
    lines = ["| figure | ours | against | ratio | bar | |", "| --- | --- | --- | --- | --- | --- |"]
    for bar in bars:
        mine, other, ratio, verdict = bar.judge(results)
        against = f"{bar.against} {'–' if other is None else number(other)}" if bar.against else "–"
        shown_ratio = "–" if ratio is None or not bar.against else f"{ratio:.3f}"
        target = f"{bar.sense} {bar_text(bar.factor)}{' ×' * bool(bar.against)}"
        cells = [f"{bar.ours}: {bar.what}", "–" if mine is None else number(mine), against, shown_ratio, target, verdict]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(header, contenders, results, bars, versions):
    def column(contender):
        result = results[contender.name]
        return {
            "title": contender.title,
            "unavailable": result.unavailable or None,
            "median": {name: result.median(name) for name in result.rounds},
            "rounds": result.rounds,
            "notes": result.notes,
        }

    def judged(bar):
        mine, other, ratio, verdict = bar.judge(results)
        return {
            "contender": bar.ours,
            "figure": bar.what,
            "ours": mine,
            "against": bar.against or None,
            "theirs": other if bar.against else None,
            "ratio": ratio if bar.against else None,
            "bar": f"{bar.sense} {bar_text(bar.factor)}",
            "verdict": verdict,
        }

    return {
        **header,
        "versions": versions,
        "contenders": {contender.name: column(contender) for contender in contenders},
        "bars": [judged(bar) for bar in bars],
    }
