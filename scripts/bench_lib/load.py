"""Backends and load: iperf3, wrk against nginx, and an opener of many connections."""

import json
import os
import re
import resource
import selectors
import socket
import sys
import time

from common.procs import RunError, find_program, free_port

NGINX_CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx-{port}.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  open_file_cache max=16;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path {directory};
  proxy_temp_path {directory};
  fastcgi_temp_path {directory};
  uwsgi_temp_path {directory};
  scgi_temp_path {directory};
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {directory}/www;
  }}
}}
"""
WRK_CONNECTIONS = 32
PAYLOAD = bytes(range(256)) * 16
AT_ONCE = 64


def need(name):
    path = find_program(name)
    if path is None:
        raise RunError(f"{name} is not installed")
    return path


def start_iperf3(group, _bench):
    port = free_port()
    group.start_listening([need("iperf3"), "-s", "-B", "127.0.0.1", "-p", str(port)], port)
    return port


def start_nginx(group, bench):
    port = free_port()
    root = os.path.join(bench.directory, "www")
    os.makedirs(root, exist_ok=True)
    with open(os.path.join(root, "small"), "w") as file:
        file.write("x" * 1023 + "\n")
    config = bench.file(f"nginx-{port}.conf", NGINX_CONFIG.format(directory=bench.directory, port=port))
    argv = [need("nginx"), "-p", bench.directory, "-e", "stderr", "-c", config]
    group.start_listening(argv, port)
    return port


def start_echo(group, _bench):
    port = free_port()
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "echo.py")
    group.start_listening([sys.executable, script, str(port)], port)
    return port


def run_iperf3(group, port, seconds, reverse):
    """(Gbit/s, GB) of one stream, both as the receiving end counted them:
    what still sits in buffers at the end was not carried."""
    argv = [need("iperf3"), "-c", "127.0.0.1", "-p", str(port), "-t", str(seconds), "-J"]
    text = group.output_of(argv + ["-R"] * reverse, seconds + 15)
    try:
        report = json.loads(text)
    except ValueError:
        raise RunError(f"iperf3 wrote no JSON: {text.strip()[-160:]!r}") from None
    if "error" in report:
        raise RunError(f"iperf3: {report['error']}")
    received = report["end"]["sum_received"]
    if received["bytes"] <= 0:
        raise RunError("iperf3 moved no bytes")
    return received["bits_per_second"] / 1e9, received["bytes"] / 1e9


UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def run_wrk(group, port, seconds, close):
    """wrk's figures; `close` has every request make a connection of its own."""
    argv = [need("wrk"), "-t1", f"-c{WRK_CONNECTIONS}", f"-d{seconds}s", "--latency", "--timeout", "5s"]
    if close:
        argv += ["-H", "Connection: close"]
    text = group.output_of([*argv, f"http://127.0.0.1:{port}/small"], seconds + 15)
    return parse_wrk(text)


def parse_wrk(text):
    def search(pattern):
        return re.search(pattern, text, re.MULTILINE)

    def latency(percentile):
        found = search(rf"^\s+{percentile}%\s+([\d.]+)(us|ms|s|m)$")
        return float(found[1]) * UNITS[found[2]] if found else None

    total, rate = search(r"(\d+) requests in "), search(r"^Requests/sec:\s+([\d.]+)")
    if not total or not int(total[1]):
        raise RunError(f"wrk completed no request: {text.strip()[-160:]!r}")
    errors = search(r"Socket errors: (.*)")
    refused = search(r"Non-2xx or 3xx responses: (\d+)")
    complaints = [found[0].strip() for found in (errors, refused) if found]
    return {
        "requests": int(total[1]),
        "rate": float(rate[1]),
        "p50": latency(50),
        "p99": latency(99),
        "complaints": ", ".join(complaints),
    }


def set_file_limit(wanted):
    """Our own limit and, inherited, that of every child; returns what it got.

    The hard limit comes down to it as well: some programs size their tables
    by it, and where it is a million that would be measured as theirs.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return limit


class Opener:
    """Opens connections, has each echo 4 KiB, and keeps them open.

    A window instead of all at once: the figure wanted is what an idle
    connection holds, not how long a listening queue is.
    """

    def __init__(self, port):
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.echoed = []
        self.failed = 0

    def open(self, count, seconds):
        end, started = time.monotonic() + seconds, 0
        while len(self.echoed) + self.failed < count and time.monotonic() < end:
            while started < count and len(self.selector.get_map()) < AT_ONCE:
                self.start()
                started += 1
            for key, _events in self.selector.select(0.1):
                self.step(key)
        for key in list(self.selector.get_map().values()):
            self.drop(key.fileobj)

    def start(self):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(("127.0.0.1", self.port))
        self.selector.register(connection, selectors.EVENT_WRITE, bytearray())

    def step(self, key):
        connection, received = key.fileobj, key.data
        try:
            if key.events & selectors.EVENT_WRITE:
                # A fresh socket's buffer takes 4 KiB at once.
                if connection.send(PAYLOAD) != len(PAYLOAD):
                    raise ConnectionError("short write")
                self.selector.modify(connection, selectors.EVENT_READ, received)
                return
            data = connection.recv(65536)
            received += data
            if not data or not PAYLOAD.startswith(received):
                raise ConnectionError("not what was sent")
        except BlockingIOError:
            return
        except OSError:
            self.drop(connection)
            return
        if len(received) == len(PAYLOAD):
            self.selector.unregister(connection)
            self.echoed.append(connection)

    def drop(self, connection):
        self.selector.unregister(connection)
        connection.close()
        self.failed += 1

    def still_open(self):
        """How many of the echoed connections nobody has closed since."""
        alive = 0
        for connection in self.echoed:
            try:
                alive += connection.recv(1, socket.MSG_PEEK) != b""
            except BlockingIOError:
                alive += 1
            except OSError:
                pass
        return alive

    def close(self):
        for connection in self.echoed:
            connection.close()
        self.selector.close()
