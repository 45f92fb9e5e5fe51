"""The run: warm-up, the soak itself, its end, and what is looked at then."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time

from common.page import counted
from common.procs import Group, RunError

from . import isolation, pairs, watch
from .disturbances import Disturbances
from .judge import Judge
from .network import SERVER, Network
from .stream import HEADER

HERE = os.path.dirname(os.path.abspath(__file__))
# How much CPU a process may use in which nothing happens, as a part of one core.
AT_REST = 0.03
# How much more memory than after the warm-up a process may have: KiB, and a part of it. An allocator keeps some
# of what the busiest moment needed.
MORE_KIB, MORE_PART = 4096, 0.25
# A run of so many seconds has parts, and a rest after each.
LONG, PARTS = 600, 3
GROWTH_KIB, GROWTH_PART = 1024, 0.15
RENEWAL_PATIENCE = 20
# What is kept of each log when there are faults.
LOG_KEPT = 200_000
# So many tunnels that make no progress are looked at.
MOST_LOOKED_AT = 40
# Threads for what would block (files, look-ups) come when several are needed at once, and stay while there is now
# and then something to do for any of them.
MORE_THREADS = 2
# Descriptors of the pipes that a thread keeps: 16 of two sizes (src/relay/splice.rs).
PIPES_PER_THREAD = 2 * 2 * 16


class Stopped(Exception):
    """Somebody wants the run to end."""


def scale(options):
    """The load, by the length of the run."""
    seconds = options.minutes * 60
    if options.small:
        load = {"opens": 40, "most": 120, "rate": 8e6, "bulk": 2_000_000, "visits": 10, "patience": 20}
    else:
        load = {
            "opens": 50,
            "most": 600,
            "rate": options.rate * 1e6 / 2,
            "bulk": 32_000_000,
            "visits": 15,
            "patience": 60,
        }
    load["longest"] = max(1.0, min(60, seconds / 8))
    load["longest_stall"] = max(0.5, min(150, seconds / 8))
    load["patience"] += load["longest_stall"]
    # A stalled reader is to fill all buffers on its way.
    load.update(stalls=0.04, stalled=2_000_000 if options.small else 12_000_000, seed=options.seed)
    return load


def files_needed(options):
    """Descriptors of the process that has most: an end of each tunnel, visitors, and what else a process has open."""
    most = scale(options)["most"]
    return most + most // 4 + 250


class Worker:
    """A process of the load."""

    def __init__(self, soak, name, side, settings):
        self.name = name
        file = os.path.join(soak.directory, f"{name}.json")
        with open(file, "w") as output:
            json.dump(settings, output)
        argv = [*soak.network.inside(side), sys.executable, "-B", os.path.join(HERE, f"{name}.py"), file]
        self.child = soak.started.start(argv, name=name, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        threading.Thread(target=self.read, args=(soak.messages,), daemon=True).start()

    def read(self, messages):
        for line in self.child.popen.stdout:
            messages.put((self.name, json.loads(line)))

    def tell(self, **order):
        try:
            self.child.popen.stdin.write(json.dumps(order).encode() + b"\n")
            self.child.popen.stdin.flush()
        except OSError:
            pass


class Soak:
    def __init__(self, options, binary, folder, directory):
        self.options, self.binary = options, binary
        # What stays, and what is for the time of the run.
        self.folder, self.directory = folder, directory
        self.messages = queue.Queue()
        self.began = time.monotonic()
        self.traffic = {"open": 0, "up": 0, "down": 0, "backends": 0, "site": 0, "visitors": 0}
        self.notes = []
        self.renewals = []
        self.stopped = None
        self.gone = set()
        self.ready = set()
        self.disturbances = None
        self.disturbing = False
        # Readings while all is closed: after the warm-up, between the parts, at the end.
        self.rests = []
        self.cpu_at_rest = {}
        self.metrics = {}
        self.access_lines = 0
        self.seconds = options.minutes * 60
        # Under load, and in all.
        self.loaded = self.lasted = 0.0

    def note(self, what):
        if what not in self.notes:
            self.notes.append(what)

    def say(self, what):
        print(f"{time.monotonic() - self.began:7.0f} s  {what}", flush=True)

    # The parts.

    def run(self):
        """The run; what it leaves is in this object's fields."""
        isolation.hear(self.stop)
        os.chmod(self.directory, 0o755)
        self.groups, self.kinds = pairs.everything(self.options.without, self.options.small)
        self.judge = Judge(self.groups, self.kinds, self.say, self.began)
        self.watch = None
        try:
            with Group(self.directory) as self.started:
                self.start()
                self.go()
        except Stopped:
            self.say(f"ending: {self.stopped.name}")
        except (RunError, OSError) as error:
            self.judge.fault(f"the soak itself: {error}")
        finally:
            self.lasted = time.monotonic() - self.began
            self.keep_logs()
            isolation.unmount(os.path.join(self.directory, "disk"))

    def keep_logs(self):
        """The ends of all logs, where there is something to look for."""
        folder = os.path.join(self.folder, "logs")
        shutil.rmtree(folder, ignore_errors=True)
        if not self.judge.fault_count:
            return
        os.makedirs(folder)
        for child in self.started.children:
            try:
                with open(child.log, "rb") as log:
                    log.seek(max(0, os.path.getsize(child.log) - LOG_KEPT))
                    with open(os.path.join(folder, os.path.basename(child.log)), "wb") as copy:
                        copy.write(log.read())
            except OSError as error:
                self.note(f"{child.log} cannot be kept: {error}")
        for name in self.judge.looked_at.values():
            try:
                shutil.copy(os.path.join(self.directory, name), folder)
            except OSError as error:
                self.note(f"{name} cannot be kept: {error}")
        self.note(f"the ends of all logs are in {folder}")

    def look_at(self, stuck):
        """Writes down what is known of a tunnel that makes no progress: where its bytes are, the kernel says."""
        tunnel, judge = stuck["tunnel"], self.judge
        if tunnel in judge.looked_at or len(judge.looked_at) >= MOST_LOOKED_AT:
            return
        kinds = [kind for kind in self.kinds if stuck.get("kind") == kind.name or stuck.get("group") == kind.group]
        group = next(group for group in self.groups if group.name == kinds[0].group)
        on_the_way = {group.port} | {self.pairs.fronts[kind.front] for kind in kinds if kind.front}
        ports = {
            "client": on_the_way | {kind.port for kind in kinds},
            "server": on_the_way | {group.backend},
        }
        text = f"{self.at()}: tunnel {tunnel}, {', '.join(kind.name for kind in kinds)}\n{json.dumps(stuck)}\n"
        text += f"it has moved last at {self.at(stuck['moved'])}\n"
        for side in ports:
            try:
                text += f"\n== the {side}s' sockets\n{self.network.sockets(side, ports[side])}"
            except RunError as error:
                text += f"\n== the {side}s' sockets: {error}\n"
        names = {f"{kind.name} client" for kind in kinds}
        for half in self.pairs.halves:
            if half.metrics and half.group == group.name and (half.side == "server" or half.name in names or group.host):
                text += f"\n== {half.name}\n{watch.ask(half.metrics, 1) or 'it does not answer'}"
        name = f"hung-{tunnel}.txt"
        with open(os.path.join(self.directory, name), "w") as file:
            file.write(text)
        judge.looked_at[tunnel] = name

    def at(self, moment=None):
        return f"{(moment or time.monotonic()) - self.began:.0f} s"

    def stop(self, number, _frame):
        self.stopped = signal.Signals(number)

    def start(self):
        self.disk = os.path.join(self.directory, "disk")
        os.mkdir(self.disk)
        isolation.mount("tmpfs", self.disk, "size=256k")
        self.network = Network(self.started)
        if not self.network.netem:
            rest = "and queues of a narrow link (tbf) " if self.network.tbf else ""
            self.note(
                f"this kernel has no netem: no reordering; packets are dropped by nft, links are down {rest}instead"
            )
        self.certificates = pairs.Certificates(self.directory)
        self.renewals.append((time.monotonic(), self.certificates.serials[0]))
        load = scale(self.options)
        backends = {group.name: group.backend for group in self.groups}
        far = {**load, "groups": backends, "site": pairs.SITE_PORT, "fault": self.options.fault}
        self.workers = [Worker(self, "backends", "server", far)]
        self.await_ready()
        self.pairs = pairs.Pairs(self.started, self.network, self.directory, self.binary, self.certificates, self.disk)
        self.pairs.start(self.groups, self.kinds)
        by_name = {group.name: group for group in self.groups}
        near = [
            {
                "name": kind.name,
                "address": ["127.0.0.1", kind.port],
                "socks": ["127.0.0.1", by_name[kind.group].backend] if by_name[kind.group].host else None,
                "ends": kind.ends,
                "stalls": kind.stalls,
            }
            for kind in self.kinds
        ]
        self.workers.append(Worker(self, "apps", "client", {**load, "kinds": near}))
        places = [{"name": group.name, "address": [SERVER, group.port]} for group in self.groups if group.visitors]
        strangers = {**load, "most": load["most"] // 4, "places": places, "name": pairs.NAME}
        strangers["authority"] = self.certificates.authority
        self.workers.append(Worker(self, "visitors", "client", strangers))
        self.await_ready()
        every = max(0.5, min(10, self.seconds / 200))
        self.watch = watch.Watch(self.pairs.halves, every)
        self.say(f"{len(self.pairs.halves)} processes, {len(self.kinds)} kinds of tunnels, seed {self.options.seed}")

    def await_ready(self):
        end = time.monotonic() + 20
        while len(self.ready) < len(self.workers):
            self.pump()
            if time.monotonic() > end:
                raise RunError("the load does not start: " + "; ".join(worker.child.why() for worker in self.workers))

    def go(self):
        warm = 1.5 if self.options.small else max(5, min(60, self.seconds / 10))
        self.load_for("warm-up", warm)
        self.drain()
        self.settle(5 if self.options.small else 30)
        self.rests.append(self.readings())
        self.disturbances = Disturbances(self, self.seconds)
        parts = PARTS if self.seconds >= LONG else 1
        for part in range(parts):
            self.disturbances.schedule()
            self.disturbing = True
            began = time.monotonic()
            try:
                self.load_for("soak", self.seconds / parts)
            finally:
                self.loaded += time.monotonic() - began
            self.disturbing = False
            self.disturbances.finish()
            self.say("everything ends" if part == parts - 1 else "a rest: everything ends")
            self.drain()
            self.say("all is closed: is anything left?")
            self.settle(15 if self.options.small else 60, self.rests[0])
            self.rests.append(self.readings())
        self.look()

    def load_for(self, phase, seconds):
        self.say(f"{phase}: {seconds:.0f} s")
        self.tell(do="open")
        end = time.monotonic() + seconds
        pause = min(60, max(5, seconds / 4))
        due = time.monotonic() + pause
        while time.monotonic() < end:
            self.pump()
            if time.monotonic() > due:
                due += pause
                self.progress()
        self.tell(do="stop")

    def drain(self):
        """Nobody new, and those that are there come to their end."""
        self.tell(do="calm")
        self.tell(do="hurry")
        patience = scale(self.options)["patience"] + 30
        end = time.monotonic() + patience
        quiet = 0
        while quiet < 3:
            self.pump(0.5)
            busy = any(self.traffic[key] for key in ("open", "visitors", "backends"))
            quiet = 0 if busy else quiet + 1
            if time.monotonic() > end:
                left = ", ".join(f"{key} {self.traffic[key]}" for key in ("open", "visitors", "backends"))
                self.judge.fault(f"hung: {patience:.0f} s after the last was opened there are still {left}")
                break
        self.judge.overdue(time.monotonic() + 1000)

    def pump(self, seconds=0.1):
        """What there is to do all the time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                worker, message = self.messages.get(timeout=left)
            except queue.Empty:
                break
            self.handle(worker, message)
        if self.stopped:
            raise Stopped
        if self.disturbing:
            self.disturbances.tick()
        if self.watch:
            self.watch.tick(self.began, self.traffic)
        self.judge.overdue(time.monotonic())
        for child in self.started.children:
            if child.exited() and child.pid not in self.gone:
                self.gone.add(child.pid)
                self.judge.fault(f"ended by itself: {child.why()}")

    def handle(self, worker, message):
        what = message.pop("what")
        match what:
            case "tunnel":
                self.judge.tunnel(message)
            case "visit":
                self.judge.visit(message)
            case "certificate":
                self.judge.certificate(message, self.renewals, RENEWAL_PATIENCE)
            case "tick":
                self.traffic.update(open=message["open"], up=message["up"], down=message["down"])
            case "backends":
                self.traffic.update(backends=message["open"], site=message["site"])
            case "visitors":
                self.traffic.update(visitors=message["open"])
            case "stuck":
                self.look_at(message)
            case "stranger":
                self.judge.fault(f"corrupt: a backend of {message['group']}: {message['detail']}")
            case "ready":
                self.ready.add(worker)

    def tell(self, **order):
        for worker in self.workers:
            if order["do"] != "restart" or worker.name == "backends":
                worker.tell(**order)

    def progress(self):
        judge, traffic = self.judge, self.traffic
        done = sum(tally.tunnels for tally in judge.tallies.values())
        last = self.watch.samples[-1]["halves"] if self.watch.samples else {}
        memory = sum(last[half.name]["pss"] for half in self.pairs.halves if half.ours and last.get(half.name)) / 1024
        visits = sum(counts["visits"] for counts in judge.visits.values())
        events = sum(self.disturbances.counts.values()) if self.disturbances else 0
        self.say(
            f"{counted(done, 'tunnel')} done, {traffic['open']} open, {traffic['up'] / 1e6:.0f} MB up, {traffic['down'] / 1e6:.0f} MB down, "
            f"{counted(visits, 'visit')}, {counted(events, 'disturbance')}, our halves {memory:.0f} MiB, "
            f"{counted(judge.fault_count, 'fault')}"
        )

    # The end.

    def readings(self):
        found = {half.name: watch.reading(half) for half in self.watched()}
        for half in self.pairs.halves:
            if half.metrics and found.get(half.name):
                found[half.name]["mux"] = watch.total(watch.scrape(half.metrics) or {}, "obfs_rs_mux_connections_open")
        return found

    def watched(self):
        return [half for half in self.pairs.halves if not half.child.exited()]

    def settle(self, seconds, wanted=None):
        """Waits until the processes are back where they were (or change no more), at most so long."""
        end = time.monotonic() + seconds
        last, same = None, 0
        while time.monotonic() < end:
            self.pump(0.5)
            now = self.readings()
            if wanted is not None:
                idle = self.options.small or not any(reading and reading.get("mux") for reading in now.values())
                if idle and not self.grown(wanted, now):
                    break
                continue
            counts = {name: reading and (reading["fds"], reading["threads"]) for name, reading in now.items()}
            same = same + 1 if counts == last else 0
            last = counts
            # As long as a mux connection stays without sessions, and more.
            if same >= (2 if self.options.small else 36):
                break

    def grown(self, before, after):
        """What our processes hold beyond what they held, in words."""
        found = []
        for half in self.pairs.halves:
            old, new = before.get(half.name), after.get(half.name)
            if not half.ours or not old or not new:
                continue
            limit = old["pss"] + max(MORE_KIB, int(old["pss"] * MORE_PART))
            if new["pss"] > limit:
                found.append(f"leaked: {half.name} has {new['pss']} KiB of memory, and had {old['pss']}")
            # A mux connection stays for a while for the next session.
            others = [reading["fds"] - reading["pipes"] - reading["mux"] for reading in (old, new)]
            most_pipes = old["pipes"] + PIPES_PER_THREAD * new["threads"]
            if others[1] > others[0] or new["pipes"] > most_pipes:
                found.append(
                    f"leaked: {half.name} has {new['fds']} descriptors ({new['sockets']} sockets, {new['pipes']} of pipes), "
                    f"and had {old['fds']} ({old['sockets']}, {old['pipes']})"
                )
            if new["threads"] > old["threads"] + MORE_THREADS:
                found.append(f"leaked: {half.name} has {new['threads']} threads, and had {old['threads']}")
        return found

    def look(self):
        """Everything is closed: what is left?"""
        self.judge.finish()
        for fault in self.grown(self.rests[0], self.rests[-1]):
            self.judge.fault(fault)
        self.look_for_growth()
        halves = self.watched()
        before, began = {half.name: watch.cpu(half) for half in halves}, time.monotonic()
        # Their own readings cost them nothing, but take the machine's time.
        self.watch.due = began + 60
        while time.monotonic() < began + (1 if self.options.small else 10):
            self.pump(0.5)
        for half in halves:
            self.cpu_at_rest[half.name] = (watch.cpu(half) - before[half.name]) / (time.monotonic() - began)
            if half.ours and self.cpu_at_rest[half.name] > AT_REST:
                self.judge.fault(f"not at rest: {half.name} uses {self.cpu_at_rest[half.name]:.2f} of a core")
        self.rotate()
        self.read_logs()
        self.count()

    def look_for_growth(self):
        """What an allocator keeps, it keeps after the first parts; what still grows in the last one leaks."""
        if len(self.rests) <= PARTS:
            return
        for half in self.pairs.halves:
            before, after = (rest.get(half.name) for rest in self.rests[-2:])
            if half.ours and before and after and after["pss"] > before["pss"] + max(GROWTH_KIB, before["pss"] * GROWTH_PART):
                self.judge.fault(
                    f"grows: {half.name} has {after['pss']} KiB of memory, and had {before['pss']} one part before"
                )

    def rotate(self):
        """The log of the server on the full disk, as logrotate does it."""
        for half in self.pairs.halves:
            if half.access_log and not half.child.exited():
                if not os.path.exists(half.access_log):
                    self.note(f"{half.name} had no access log at {self.at()}")
                    continue
                self.look_for_panics(half)
                self.read_access_log(half.access_log)
                os.truncate(half.child.log, 0)
                os.replace(half.access_log, half.access_log + ".1")
                os.kill(half.child.pid, signal.SIGHUP)
                os.remove(half.access_log + ".1")

    def read_access_log(self, path):
        with open(path, errors="replace") as file:
            lines = file.read().split("\n")
        # The last one may not have found room.
        for line in lines[:-1]:
            try:
                json.loads(line)
                self.access_lines += 1
            except ValueError:
                self.judge.fault(f"a line of the access log is none: {line[:200]!r}")

    def look_for_panics(self, half):
        try:
            with open(half.child.log, errors="replace") as file:
                for line in file:
                    if "panicked" in line:
                        self.judge.fault(f"panic: {half.name}: {line.strip()[:300]}")
        except OSError:
            pass

    def read_logs(self):
        for half in self.pairs.halves:
            self.look_for_panics(half)
        for worker in self.workers:
            if os.path.getsize(worker.child.log):
                self.judge.fault(f"the soak itself: {worker.child.why()}")

    def count(self):
        """Whether the metrics agree with what was seen."""
        for half in self.pairs.halves:
            if not half.metrics:
                continue
            metrics = watch.scrape(half.metrics)
            if metrics is None:
                self.judge.fault(f"metrics: {half.name} does not answer")
                continue
            self.metrics[half.name] = metrics
            for name in self.zero_at_rest():
                value = watch.total(metrics, f"obfs_rs_{name}")
                if value:
                    self.judge.fault(f"metrics: {half.name} has {name} {value:.0f} when all is closed")
            tunnels, ends = (watch.total(metrics, f"obfs_rs_{name}") for name in ("tunnels_total", "tunnel_ends_total"))
            if tunnels != ends:
                self.judge.fault(f"metrics: {half.name} counts {tunnels:.0f} tunnels and {ends:.0f} ends")
        for group in self.groups:
            self.count_bytes(group)

    def zero_at_rest(self):
        # There is no time in a small run to wait until idle mux connections are closed.
        return ["tunnels_open", "visitors_open", "buffered_bytes", "panics_total"] + ["mux_connections_open"] * (
            not self.options.small
        )

    def count_bytes(self, group):
        """Nobody on the way counts more than was sent into it, or less than came out."""
        kinds = [kind for kind in self.kinds if kind.group == group.name]
        clients = [self.metrics.get(f"{kind.name} client") for kind in kinds]
        server = self.metrics.get(f"{group.name} server")
        if not server or not all(clients) or any(kind.front for kind in kinds):
            return
        tallies = [self.judge.tallies[kind.name] for kind in kinds]
        tunnels = sum(tally.tunnels for tally in tallies)

        def counted(metrics, direction):
            return watch.labelled(metrics, "obfs_rs_tunnel_bytes_total", direction)

        up = [
            ("the applications sent", sum(tally.sent_up for tally in tallies) + HEADER * tunnels),
            ("the clients count", sum(counted(client, "up") for client in clients)),
            ("the server counts", counted(server, "up")),
            ("the backend has", sum(tally.up for tally in tallies)),
        ]
        down = [
            ("the backend sent", sum(tally.sent_down for tally in tallies) + tunnels),
            ("the server counts", counted(server, "down")),
            ("the clients count", sum(counted(client, "down") for client in clients)),
            ("the applications have", sum(tally.down for tally in tallies)),
        ]
        for direction, steps in (("up", up), ("down", down)):
            for (who, more), (next_who, less) in zip(steps, steps[1:]):
                if less > more:
                    self.judge.fault(
                        f"metrics: {group.name}, {direction}: {who} {more:.0f} bytes, {next_who} {less:.0f}"
                    )
