"""What reports are made of: the machine's name, numbers, and the parts of an SVG."""

import datetime
import errno
import os
import platform
from xml.sax.saxutils import escape

INK, FAINT, RULE, PAPER = "#1f2933", "#616e7c", "#d9dee4", "#ffffff"
OURS = "#0f766e"


# About as much as a page has.
ROOM = 64 * 1024


def check(path):
    """Whether there can be a page: an OSError says why not. What is there stays as it is, and nothing is left."""
    if os.path.exists(path) and not os.path.isfile(path):
        # A folder, or a terminal, a pipe, a device.
        if os.path.isdir(path) or not os.access(path, os.W_OK):
            number = errno.EISDIR if os.path.isdir(path) else errno.EACCES
            raise OSError(number, os.strerror(number))
        return
    path = os.path.realpath(path)
    was_there = os.path.exists(path)
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        size = os.fstat(file).st_size
        try:
            os.posix_fallocate(file, size, ROOM)
        finally:
            os.truncate(file, size)
    finally:
        os.close(file)
        if not was_there:
            os.remove(path)


def write(path, content):
    with open(path, "w") as file:
        file.write(content)


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def counted(count, what):
    """`1 tunnel`, `2 tunnels`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"cpu": model, "cores": os.cpu_count(), "kernel": f"{platform.system()} {platform.release()}"}


def heading():
    about = machine()
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "machine": about,
        "machine_line": f"{about['cpu']}, {about['cores']} cores, {about['kernel']}",
    }


def opening(width, height):
    """The SVG's own element, to be closed with `</svg>`."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height:.0f}" '
        f'viewBox="0 0 {width} {height:.0f}" role="img" '
        f'font-family="system-ui, -apple-system, \'Segoe UI\', \'DejaVu Sans\', sans-serif">'
    )


def text(x, y, content, size=12, fill=INK, anchor="start", weight="normal"):
    style = f'font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(content)}</text>'
