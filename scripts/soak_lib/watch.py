"""What the processes hold and use, and what they say of themselves."""

import os
import re
import socket
import time

from common.procs import cpu_seconds, process_tree


def status_of(pid):
    """Fields of /proc/PID/status."""
    with open(f"/proc/{pid}/status") as file:
        return {name: value.split() for name, value in (line.split(":", 1) for line in file)}


def reading(half):
    """Memory in KiB, descriptors, sockets and threads of a process and its children; None if it is gone.

    Pipes are counted apart: each of our threads keeps some for the next flow.
    """
    total = {"pss": 0, "hwm": 0, "fds": 0, "sockets": 0, "pipes": 0, "threads": 0}
    try:
        for pid in process_tree(half.child.pid):
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total["pss"] += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
            status = status_of(pid)
            total["hwm"] += int(status["VmHWM"][0])
            total["threads"] += int(status["Threads"][0])
            for name in os.listdir(f"/proc/{pid}/fd"):
                total["fds"] += 1
                try:
                    kind = os.readlink(f"/proc/{pid}/fd/{name}").split(":")[0]
                    total["sockets"] += kind == "socket"
                    total["pipes"] += kind == "pipe"
                except OSError:
                    continue
    except (OSError, StopIteration):
        return None
    return total


def cpu(half):
    return cpu_seconds([half.child])


def ask(path, seconds=5):
    """What the metrics at a Unix socket say; None if nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(seconds)
            sock.connect(path)
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            text = b""
            while data := sock.recv(65536):
                text += data
    except OSError:
        return None
    return text.decode(errors="replace")


def scrape(path):
    """The metrics at a Unix socket: {name with labels: value}; None if nobody answers."""
    text = ask(path)
    if text is None:
        return None
    lines = re.findall(r"^(obfs_rs_\S+|process_\S+) ([\d.e+-]+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in lines}


def total(metrics, name):
    """The sum over a metric's labels."""
    return sum(value for key, value in metrics.items() if key.split("{")[0] == name)


def labelled(metrics, name, label):
    return sum(value for key, value in metrics.items() if key.startswith(name + "{") and f'"{label}"' in key)


class Watch:
    """Readings of all halves over time."""

    def __init__(self, halves, every):
        self.halves, self.every = halves, every
        self.due = 0.0
        self.samples = []

    def tick(self, since, traffic):
        """Takes readings when it is time."""
        moment = time.monotonic()
        if moment < self.due:
            return
        self.due = moment + self.every
        readings = {half.name: reading(half) for half in self.halves}
        self.samples.append({"at": moment - since, **traffic, "halves": readings})
