"""The table as an SVG: a panel of horizontal bars for each row of it."""

from common.page import FAINT, OURS, PAPER, RULE, number, opening, text

from .report import LINES

WIDTH, MARGIN, GUTTER = 1000, 28, 36
LABEL, VALUE = 150, 62
ROW, PANEL_HEAD, PANEL_GAP, GROUP_HEAD = 19, 28, 20, 40
PEER, DIRECT = "#94a3b8", "#d3dae3"
TITLES = {
    "bulk": "Bulk transfer, one stream",
    "requests": "Kept-alive requests, 32 connections",
    "connections": "A new connection for each request",
    "idle": "Memory of an idle connection",
    "startup": "Start-up and size",
}
# Rows with two figures become two panels.
PANEL_SUFFIX = {"server": "server half", "client": "client half"}


def panels(contenders, results, rows):
    """{group: [(title, more is better, [(contender, value)])]}."""
    grouped = {}
    for line in LINES:
        for metric in line.metrics if line.group in rows else ():
            values = [(contender, results[contender.name].median(metric)) for contender in contenders]
            values = [pair for pair in values if pair[1] is not None]
            if values:
                grouped.setdefault(line.group, []).append((panel_title(line, metric), line.more_is_better, values))
    return grouped


def panel_title(line, metric):
    if len(line.metrics) == 1:
        return line.title
    role = next(role for role in PANEL_SUFFIX if role in metric)
    return line.title.replace("server / client", PANEL_SUFFIX[role])


def panel_height(panel):
    return PANEL_HEAD + ROW * len(panel[2]) + PANEL_GAP


def draw_panel(panel, x, y, width):
    title, more_is_better, values = panel
    parts = [
        text(x, y + 14, title, 13, weight="600"),
        text(x + width, y + 14, "more is better" if more_is_better else "less is better", 11, FAINT, "end"),
    ]
    span = width - LABEL - VALUE
    largest = max(value for _contender, value in values) or 1
    left, top = x + LABEL, y + PANEL_HEAD
    for index, (contender, value) in enumerate(values):
        middle = top + ROW * index + ROW / 2
        # A negative growth of memory is noise; a bar cannot show it.
        length = max(span * value / largest, 1)
        colour = OURS if contender.ours else DIRECT if contender.kind == "direct" else PEER
        weight = "600" if contender.ours else "normal"
        parts += [
            text(left - 8, middle + 4, contender.title, 12, anchor="end", weight=weight),
            f'<rect x="{left:.1f}" y="{middle - 6:.1f}" width="{length:.1f}" height="12" rx="2" fill="{colour}"/>',
            text(left + length + 6, middle + 4, number(value), 12, weight=weight),
        ]
    bottom = top + ROW * len(values)
    parts.append(f'<path d="M{left:.1f} {top:.1f}V{bottom:.1f}" stroke="{RULE}"/>')
    return parts


def draw_group(group, members, y):
    """Two panels side by side; returns the parts and the y below them."""
    parts = [
        f'<path d="M{MARGIN} {y:.1f}H{WIDTH - MARGIN}" stroke="{RULE}"/>',
        text(MARGIN, y + 24, TITLES[group], 15, weight="700"),
    ]
    y += GROUP_HEAD
    width = (WIDTH - 2 * MARGIN - GUTTER) / 2
    for first in range(0, len(members), 2):
        side_by_side = members[first : first + 2]
        for column, panel in enumerate(side_by_side):
            parts += draw_panel(panel, MARGIN + column * (width + GUTTER), y, width)
        y += max(panel_height(panel) for panel in side_by_side)
    return parts, y


def draw(contenders, results, rows, header, subtitle):
    y = 84.0
    parts = []
    for group, members in panels(contenders, results, rows).items():
        drawn, y = draw_group(group, members, y)
        parts += drawn
    height = y + 8
    head = [
        "<title>obfs-rs beside its peers</title>",
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        text(MARGIN, 34, "obfs-rs beside its peers", 20, weight="700"),
        text(MARGIN, 54, f"{header['machine_line']}, {header['date'][:10]}", 12, FAINT),
        text(MARGIN, 71, subtitle, 12, FAINT),
    ]
    return "\n".join([opening(WIDTH, height), *head, *parts, "</svg>"]) + "\n"
