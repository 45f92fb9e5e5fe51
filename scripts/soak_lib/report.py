"""What a run leaves: Markdown, JSON, and a plot over time."""

import json
import os
from collections import Counter

from common import page
from common.page import FAINT, INK, OURS, PAPER, RULE, counted, number, opening, text

WIDTH, MARGIN, LEFT, PANEL, GAP = 1000, 28, 70, 130, 46
COLOURS = [OURS, "#b45309", "#7c3aed", "#94a3b8"]


def verdict(soak):
    if soak.judge.fault_count:
        return f"FAILED: {counted(soak.judge.fault_count, 'fault')}"
    return (
        f"interrupted by {soak.stopped.name}, no fault until then"
        if soak.stopped
        else "PASSED: nothing lost, corrupt, leaked or hung"
    )


def length(soak):
    """How long it was to be under load; if it did not come to that, how long it was."""
    minutes = soak.options.minutes
    wanted = f"{minutes:g} minute{'' if minutes == 1 else 's'}"
    return f"{soak.loaded:.0f} s of {wanted}" if soak.loaded < soak.seconds else wanted


def table(head, rows):
    if not rows:
        return ["None."]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]


def kinds_table(soak):
    rows = []
    for name, tally in soak.judge.tallies.items():
        rows.append(
            [
                name,
                tally.tunnels,
                tally.whole,
                tally.undisturbed,
                tally.aborted,
                tally.cut,
                f"{tally.up / 1e6:.1f}",
                f"{tally.down / 1e6:.1f}",
            ]
        )
    return table(
        [
            "tunnels through",
            "all",
            "whole",
            "of these with no excuse to be cut",
            "reset as planned",
            "cut with excuse",
            "MB up",
            "MB down",
        ],
        rows,
    )


def halves_table(soak):
    rows = []
    peaks = {}
    for sample in soak.watch.samples:
        for name, reading in sample["halves"].items():
            for key, value in (reading or {}).items():
                peaks.setdefault(name, Counter())[key] = max(peaks.get(name, {}).get(key, 0), value)
    for half in soak.pairs.halves:
        peak = peaks.get(half.name)
        readings = [rest.get(half.name) for rest in soak.rests]

        def over_time(key):
            cells = [f"{reading[key]:.0f}" if reading else "–" for reading in readings]
            return f"{' → '.join(cells) or '–'} ({peak[key] if peak else '–'})"

        rest = soak.cpu_at_rest.get(half.name)
        hwm = peak["hwm"] if peak else "–"
        rows.append(
            [
                half.name,
                *(over_time(key) for key in ("pss", "fds", "threads")),
                hwm,
                "–" if rest is None else f"{100 * rest:.1f} %",
            ]
        )
    head = ["process", "Pss at each rest (most), KiB", "descriptors", "threads", "VmHWM, KiB", "CPU at rest"]
    return table(head, rows)


def markdown(soak):
    judge, heading = soak.judge, page.heading()
    lines = [
        "# Soak",
        "",
        f"**{verdict(soak)}**",
        "",
        f"{heading['machine_line']}, {heading['date']}; {length(soak)} under load, {soak.lasted:.0f} s in all, "
        f"seed {soak.options.seed}, binary {os.path.basename(soak.binary)} ({soak.version}).",
        "",
    ]
    if soak.options.fault:
        lines += [f"**The backends are broken on purpose (--fault {soak.options.fault}): faults are to be found.**", ""]
    lines += [f"- {note}" for note in soak.notes]
    if judge.faults:
        lines += ["", "## Faults", ""] + [f"- {fault}" for fault in judge.faults]
        more = judge.fault_count - len(judge.faults)
        lines += [f"- and {more} more"] * bool(more)
    tunnels = sum(tally.tunnels for tally in judge.tallies.values())
    volume = sum(tally.up + tally.down for tally in judge.tallies.values()) / 1e9
    most = max((sample["open"] for sample in soak.watch.samples), default=0) if soak.watch else 0
    lines += [
        "",
        f"{counted(tunnels, 'tunnel')}, at most {most} at a time; {volume:.2f} GB, each byte compared.",
        "",
        "## Tunnels",
        "",
    ]
    lines += kinds_table(soak)
    ends = sum((tally.ends for tally in judge.tallies.values()), Counter())
    if ends:
        words = ", ".join(f"{name} {count}" for name, count in sorted(ends.items()))
        lines += ["", f"How they were to end: {words}."]
    rows = [
        [kind, *(counts[key] for key in ("visits", "whole", "cut"))] for kind, counts in sorted(judge.visits.items())
    ]
    lines += ["", "## Visitors", "", *table(["visitor", "visits", "answered", "cut with excuse"], rows)]
    if soak.disturbances:
        lines += ["", "## Disturbances", "", *table(["what", "times"], sorted(soak.disturbances.counts.items()))]
    if soak.watch:
        lines += ["", "## Processes", "", *halves_table(soak)]
    if soak.metrics:
        lines += ["", "## Metrics", ""]
        names = [
            "tunnels_total",
            "tunnel_ends_total",
            "tunnels_open",
            "visitors_total",
            "connections_failed_total",
            "panics_total",
        ]
        rows = [[half, *(f"{total_of(metrics, name):.0f}" for name in names)] for half, metrics in soak.metrics.items()]
        lines += table(["half", *names], rows)
        lines += ["", f"Of the access log on the full disk {counted(soak.access_lines, 'line')} could be read."]
    return "\n".join(lines) + "\n"


def total_of(metrics, name):
    return sum(value for key, value in metrics.items() if key.split("{")[0] == f"obfs_rs_{name}")


def as_json(soak):
    judge = soak.judge
    return {
        **page.heading(),
        "verdict": verdict(soak),
        "passed": not judge.fault_count and not soak.stopped,
        "minutes": soak.options.minutes,
        "seconds_under_load": round(soak.loaded, 1),
        "seconds": round(soak.lasted, 1),
        "fault": soak.options.fault,
        "seed": soak.options.seed,
        "version": soak.version,
        "without": sorted(soak.options.without),
        "notes": soak.notes,
        "fault_count": judge.fault_count,
        "faults": judge.faults,
        "kinds": {name: {**vars(tally)} for name, tally in judge.tallies.items()},
        "visitors": judge.visits,
        "disturbances": soak.disturbances.timeline if soak.disturbances else [],
        "rests": soak.rests,
        "cpu_at_rest": soak.cpu_at_rest,
        "metrics": soak.metrics,
        "samples": soak.watch.samples if soak.watch else [],
    }


# The plot.


def series(soak):
    """(title, unit, [(name, [(second, value)])]) of each panel."""
    samples = soak.watch.samples
    halves = soak.pairs.halves

    def summed(side, ours, key, scale=1.0):
        names = [half.name for half in halves if half.side == side and half.ours == ours]
        return [
            (sample["at"], sum(sample["halves"][name][key] for name in names if sample["halves"].get(name)) / scale)
            for sample in samples
        ]

    def rate(key):
        pairs = zip(samples, samples[1:])
        return [(b["at"], max(0, b[key] - a[key]) / max(b["at"] - a["at"], 0.01) / 1e6) for a, b in pairs]

    ours = [("our servers", "server", True), ("our clients", "client", True)]
    counts = [("tunnels", "open"), ("visitors", "visitors")]
    yield "Memory (Pss)", "MiB", [(name, summed(side, mine, "pss", 1024)) for name, side, mine in ours]
    yield "Descriptors", "", [(name, summed(side, mine, "fds")) for name, side, mine in ours]
    yield "Threads", "", [(name, summed(side, mine, "threads")) for name, side, mine in ours]
    yield "Open", "", [(name, [(sample["at"], sample[key]) for sample in samples]) for name, key in counts]
    yield "Throughput", "MB/s", [(name, rate(key)) for name, key in (("up", "up"), ("down", "down"))]


def draw_panel(title, unit, lines, y, end, marks):
    span = WIDTH - 2 * MARGIN - LEFT
    left = MARGIN + LEFT
    most = max((value for _name, points in lines for _at, value in points), default=0) * 1.05 or 1
    parts = [text(MARGIN, y - 8, f"{title}{', ' * bool(unit)}{unit}", 13, weight="600")]
    for at, _what in marks:
        x = left + span * at / end
        parts.append(f'<path d="M{x:.1f} {y:.1f}v{PANEL}" stroke="{RULE}" stroke-width="1"/>')
    for part in (0, 0.5, 1):
        height = y + PANEL - PANEL * part
        parts.append(f'<path d="M{left} {height:.1f}h{span}" stroke="{FAINT}" stroke-opacity="0.3"/>')
        parts.append(text(left - 8, height + 4, number(most * part), 11, FAINT, "end"))
    for index, (name, points) in enumerate(lines):
        places = " ".join(
            f"{left + span * at / end:.1f},{y + PANEL - PANEL * value / most:.1f}" for at, value in points
        )
        parts.append(f'<polyline points="{places}" fill="none" stroke="{COLOURS[index]}" stroke-width="1.5"/>')
        parts.append(text(WIDTH - MARGIN - 120 * (len(lines) - 1 - index), y - 8, name, 12, COLOURS[index], "end"))
    return parts


def svg(soak):
    panels = list(series(soak))
    end = max((sample["at"] for sample in soak.watch.samples), default=1) or 1
    height = 110 + len(panels) * (PANEL + GAP)
    parts = [
        opening(WIDTH, height),
        "<title>obfs-rs soak</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        text(MARGIN, 34, f"obfs-rs, {length(soak)} of soak", 20, INK, weight="700"),
        text(MARGIN, 54, f"{verdict(soak)}; vertical lines: disturbances", 12, FAINT),
    ]
    marks = [(event["at"], event["what"]) for event in soak.disturbances.timeline] if soak.disturbances else []
    y = 96
    for title, unit, lines in panels:
        parts += draw_panel(title, unit, lines, y, end, marks)
        y += PANEL + GAP
    parts.append(text(MARGIN + LEFT, y - GAP + 18, "0", 11, FAINT, "middle"))
    parts.append(text(WIDTH - MARGIN, y - GAP + 18, f"{end / 60:.1f} min", 11, FAINT, "end"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def publish(soak, folder):
    page.write(os.path.join(folder, "report.md"), markdown(soak))
    page.write(os.path.join(folder, "report.json"), json.dumps(as_json(soak), ensure_ascii=False) + "\n")
    written = ["report.md", "report.json"]
    if soak.watch and soak.watch.samples:
        page.write(os.path.join(folder, "report.svg"), svg(soak))
        written.append("report.svg")
    # Each fault has been told when it was found.
    print(f"{verdict(soak)}\nwritten: {', '.join(os.path.join(folder, name) for name in written)}", flush=True)
