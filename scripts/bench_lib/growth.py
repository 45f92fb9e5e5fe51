"""What `--scale` leaves: tables, JSON, and a plot of the costs over the number of tunnels."""

import math
from dataclasses import dataclass

from common import page
from common.page import FAINT, INK, OURS, PAPER, RULE, counted, number, opening, text

from .scale import BUSY, KINDS, MEMORY_FROM, kind_of


@dataclass(frozen=True)
class Cost:
    title: str
    unit: str
    metrics: tuple
    # Of several metrics: their sum, or their mean.
    mean: bool = False
    plotted: bool = True

    def of(self, result):
        values = [result.median(metric) for metric in self.metrics]
        if None in values:
            return None
        return sum(values) / (len(values) if self.mean else 1)


COSTS = [
    Cost("CPU a GB", "s, both halves, mean of up and down", ("up_cpu", "down_cpu"), mean=True),
    Cost("CPU a new tunnel", "ms, both halves", ("connection_cpu_ms",)),
    Cost("Memory a tunnel", f"KiB, both halves, at rest; from {MEMORY_FROM} tunnels on", ("server_kib", "client_kib")),
    Cost("Throughput", "Gbit/s, mean of up and down", ("up_gbps", "down_gbps"), mean=True, plotted=False),
    Cost("Most memory", "MiB, all halves, the busy tunnels' included", ("peak_mib",), plotted=False),
    Cost("CPU at rest", "% of a core, all halves", ("rest_percent",), plotted=False),
]


def settings_line(settings):
    rounds = f"Median of {settings.rounds} interleaved rounds" if settings.rounds > 1 else "One round"
    few = " (of fewer, all)" if settings.tunnels[0] < BUSY else ""
    return (
        f"{rounds}; both halves on this machine, their CPU added up; 1 in {BUSY} tunnels{few} busy with "
        f"{settings.volume / 1e9:.3g} GB together each way, then {settings.connections:,} that come and go; "
        f"at most {settings.pair_holds:,} tunnels a pair of client and server."
    )


def markdown(contenders, results, unavailable, settings):
    lines = []
    for cost in COSTS:
        head = ["", *(f"{tunnels:,}" for tunnels in settings.tunnels)]
        lines += [f"**{cost.title}** ({cost.unit}), by the number of open tunnels", "", row(head)]
        lines.append("| --- " * len(head) + "|")
        for contender in contenders:
            if not unavailable[contender.name]:
                values = [cost.of(results[contender.name][tunnels]) for tunnels in settings.tunnels]
                lines.append(row([contender.title, *("–" if value is None else number(value) for value in values)]))
        lines.append("")
    for contender in contenders:
        if unavailable[contender.name]:
            lines.append(f"- {contender.title}: not available: {unavailable[contender.name]}")
        for tunnels, result in results[contender.name].items():
            lines += [f"- {contender.title}, {counted(tunnels, 'tunnel')}: {note}" for note in result.notes]
    return "\n".join(lines).rstrip()


def row(cells):
    return f"| {' | '.join(cells)} |"


def as_json(contenders, results, unavailable, settings, versions):
    def point(result):
        return {
            "median": {metric: result.median(metric) for cost in COSTS for metric in cost.metrics},
            "rounds": result.rounds,
            "notes": result.notes,
        }

    return {
        **page.heading(),
        "settings": dict(vars(settings)),
        "versions": versions,
        "contenders": {
            contender.name: {
                "title": contender.title,
                "unavailable": unavailable[contender.name] or None,
                "tunnels": {tunnels: point(result) for tunnels, result in results[contender.name].items()},
            }
            for contender in contenders
        },
    }


WIDTH, MARGIN, HEAD, LEFT, GAP, PANEL, BELOW = 1000, 28, 104, 46, 24, 150, 64
# What the number of tunnels at a line takes.
TICK = 24
PEER, EARLIER = "#b45309", "#94a3b8"


def colour_of(contender):
    return OURS if contender.ours else EARLIER if contender.name.startswith("earlier") else PEER


class Axes:
    """A panel, logarithmic both ways: what is flat is flat on it, too, and 2 KiB can stand beside 100."""

    def __init__(self, x, y, width, tunnels, values):
        self.x, self.y, self.width = x, y, width
        self.last = max(math.log10(max(tunnels)), 1)
        self.low = math.floor(math.log10(min(values)))
        self.high = max(math.ceil(math.log10(max(values))), self.low + 1)

    def place(self, tunnels, value):
        across = self.x + self.width * math.log10(tunnels) / self.last
        return across, self.y + PANEL * (self.high - math.log10(value)) / (self.high - self.low)

    def grid(self, tunnels, labels):
        parts = []
        for decade in range(self.low, self.high + 1):
            _across, y = self.place(1, 10.0**decade)
            parts.append(f'<path d="M{self.x:.1f} {y:.1f}h{self.width:.1f}" stroke="{RULE}"/>')
            if labels:
                parts.append(text(self.x - 6, y + 4, f"{10.0**decade:g}", 11, FAINT, "end"))
        free = math.inf
        for count in reversed(tunnels):
            across, _y = self.place(count, 10.0**self.low)
            parts.append(f'<path d="M{across:.1f} {self.y:.1f}v{PANEL}" stroke="{RULE}"/>')
            if across + TICK <= free:
                parts.append(text(across, self.y + PANEL + 15, short(count), 10, FAINT, "middle"))
                free = across
        return parts

    def line(self, points, colour):
        places = [self.place(*point) for point in points]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        (x, y), (_tunnels, last) = places[-1], points[-1]
        # Ours below its line and the peer's above: of two that are equal both can be read.
        label = text(x, y + (16 if colour == OURS else -7), number(last), 11, colour, "end", "600")
        return [f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots, label]


def short(count):
    return f"{count // 1000}k" if count >= 1000 and count % 1000 == 0 else str(count)


def draw(contenders, results, settings):
    kinds = [kind for kind in KINDS if any(kind_of(contender) == kind for contender in contenders)]
    width = (WIDTH - 2 * MARGIN - LEFT - GAP * (len(kinds) - 1)) / len(kinds)
    parts, y = [], HEAD
    for cost in COSTS:
        if not cost.plotted:
            continue
        lines = {}
        for contender in contenders:
            points = [(tunnels, cost.of(result)) for tunnels, result in results[contender.name].items()]
            # Less than nothing is noise: a logarithm has no place for it.
            lines[contender.name] = [(tunnels, value) for tunnels, value in points if value and value > 0]
        values = [value for points in lines.values() for _tunnels, value in points]
        if not values:
            continue
        parts += [
            text(MARGIN, y, cost.title, 14, weight="700"),
            text(MARGIN + 150, y, cost.unit, 12, FAINT),
        ]
        for column, kind in enumerate(kinds):
            x = MARGIN + LEFT + column * (width + GAP)
            axes = Axes(x, y + 34, width, settings.tunnels, values)
            parts += [text(x, y + 24, KINDS[kind], 12, INK), *axes.grid(settings.tunnels, labels=column == 0)]
            for contender in contenders:
                if kind_of(contender) == kind and lines[contender.name]:
                    parts += axes.line(lines[contender.name], colour_of(contender))
        y += 34 + PANEL + BELOW
    about = page.heading()
    # The words that say how it was measured are long: one line for each half of them.
    how = settings_line(settings).split("; ", 2)
    head = [
        "<title>Costs of obfs-rs and its peers by the number of tunnels</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        text(MARGIN, 34, "Costs by the number of open tunnels", 20, weight="700"),
        text(MARGIN, 53, f"{about['machine_line']}, {about['date'][:10]}. {how[0]}; {how[1]};", 12, FAINT),
        text(MARGIN, 69, how[2], 12, FAINT),
        *legend(contenders),
    ]
    return "\n".join([opening(WIDTH, y - 20), *head, *parts, "</svg>"]) + "\n"


def legend(contenders):
    titles = {OURS: "obfs-rs", PEER: "simple-obfs, v2ray-plugin", EARLIER: "obfs-rs, earlier"}
    present = {colour_of(contender) for contender in contenders}
    x, parts = WIDTH - MARGIN, []
    for colour in (PEER, EARLIER, OURS):
        if colour in present:
            parts.append(text(x, 34, titles[colour], 12, colour, "end", "600"))
            x -= 8 * len(titles[colour]) + 16
    return parts
