"""What is done to the tunnels and to those who carry them, at random times."""

import heapq
import itertools
import os
import random
import signal
import time

from common.procs import RunError

# After a backend's return, and after bad weather, for so long.
AFTERWARDS = 3


class Disturbances:
    """One generator for each disturbance that goes on; each yields how long it waits."""

    def __init__(self, soak, seconds):
        self.soak, self.seconds = soak, seconds
        self.dice = random.Random(soak.options.seed + 2)
        self.queue = []
        self.order = itertools.count()
        self.counts = {}
        self.timeline = []
        self.weather_until = 0.0
        # Resets go through the network, which would lose them: no backend restarts in bad weather, and the other way
        # round.
        self.rough_until = self.restart_until = 0.0

    def schedule(self):
        """Each kind at its own pace: a few times in a short run, every minute or less in a long one."""
        now, groups = time.monotonic(), self.soak.groups
        kinds = [
            (self.outage, 4, 90),
            (self.loss, 4, 70),
            (self.backend_restart, 3, 25),
            (self.site_restart, 5, 60),
            (self.cut, 3, 20),
            (self.renewal, 4, 45),
            (self.reload, 2, 15),
            (self.full_disk, 5, 80),
        ]
        if self.soak.network.netem or self.soak.network.tbf:
            kinds.append((self.narrow, 5, 90))
        self.rough = [group for group in groups if group.rough]
        for make, least, pause in kinds:
            pause = min(pause, max(self.seconds / 3, least))
            self.add(now + self.dice.uniform(0.1, 0.6) * pause, self.repeat(make, pause))

    def add(self, when, steps):
        heapq.heappush(self.queue, (when, next(self.order), steps))

    def repeat(self, make, pause):
        while True:
            yield from make()
            yield pause * self.dice.uniform(0.5, 1.5)

    def tick(self):
        """Goes on with all whose time has come."""
        while self.queue and self.queue[0][0] <= time.monotonic():
            _when, _order, steps = heapq.heappop(self.queue)
            wait = next(steps, None)
            if wait is not None:
                self.add(time.monotonic() + wait, steps)

    def finish(self):
        """No new ones; those that go on come to their end."""
        for _when, _order, steps in self.queue:
            steps.close()
        self.queue.clear()

    def told(self, what):
        kind = what.split(":")[0]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.timeline.append({"at": round(time.monotonic() - self.soak.began, 1), "what": what})

    def window(self, what, groups=None, weather=False):
        self.told(what)
        return self.soak.judge.open(what, time.monotonic(), groups, weather)

    def unnoticed(self, what, groups=None, seconds=0):
        """Something that no tunnel may notice."""
        self.told(what)
        now = time.monotonic()
        self.soak.judge.open(what, now, groups, excuses=False).ended = now + seconds

    # The network.

    def weather(self, what, begin, end, seconds, echo=0):
        """Bad weather: nobody resets meanwhile, since the network would lose it."""
        while (busy := max(self.weather_until, self.restart_until)) > time.monotonic():
            yield busy - time.monotonic() + self.dice.uniform(0, 2)
        # One at a time, with a clear sky in between.
        self.weather_until = time.monotonic() + seconds + 3 * AFTERWARDS
        self.rough_until = time.monotonic() + 0.5 + seconds + echo
        self.soak.tell(do="rough")
        window = None
        try:
            # Resets that are under way arrive.
            yield 0.5
            window = self.window(what, weather=True)
            begin()
            yield seconds
        finally:
            end()
            if window:
                window.ended = time.monotonic() + AFTERWARDS + echo
        yield AFTERWARDS
        self.soak.tell(do="calm")

    def length(self, least, most):
        return self.dice.uniform(least, max(least, min(most, self.seconds / 8)))

    def outage(self):
        network, seconds = self.soak.network, self.length(0.5, 6)
        side = self.dice.choice(["client", "server"])
        yield from self.weather(
            f"outage: {seconds:.1f} s, the {side}s' link",
            lambda: network.link(side, "down"),
            lambda: network.link(side, "up"),
            seconds,
            # TCP tries again after a pause as long as all that it has waited.
            echo=seconds,
        )

    def loss(self):
        network, seconds = self.soak.network, self.length(2, 15)
        per_mille = self.dice.choice([2, 5, 10, 30])
        yield from self.weather(
            f"loss: {per_mille / 10} % of the packets for {seconds:.1f} s",
            lambda: network.drop(per_mille),
            lambda: network.drop(0),
            seconds,
        )

    def narrow(self):
        network, seconds = self.soak.network, self.length(2, 15)
        if network.netem and self.dice.random() < 0.5:
            what, qdisc = "delay and reordering: 40 ± 20 ms", ("netem", "delay", "40ms", "20ms", "reorder", "20%")
        elif network.tbf:
            rate = self.dice.choice([40, 100, 200])
            # What does not pass at once waits, which is a delay, too.
            what, qdisc = f"narrow: {rate} Mbit/s", ("tbf", "rate", f"{rate}mbit", "burst", "128k", "latency", "100ms")
        else:
            what, qdisc = "delay: 50 ms", ("netem", "delay", "50ms")
        yield from self.weather(
            f"{what} for {seconds:.1f} s", lambda: network.queue(*qdisc), lambda: network.queue(), seconds
        )

    # Those at the far end.

    def backend_restart(self):
        if not self.rough:
            return
        while time.monotonic() < self.rough_until:
            yield self.rough_until - time.monotonic() + 0.05
        group, seconds = self.dice.choice(self.rough), self.length(0.3, 5)
        self.restart_until = time.monotonic() + seconds + 0.5
        window = self.window(f"backend restart: {group.name}, away for {seconds:.1f} s", {group.name})
        self.soak.tell(do="restart", group=group.name, seconds=seconds)
        try:
            yield seconds
        finally:
            window.ended = time.monotonic() + AFTERWARDS

    def site_restart(self):
        seconds = self.length(0.3, 4)
        window = self.window(f"website restart: away for {seconds:.1f} s", {"site"})
        self.soak.tell(do="restart", group="site", seconds=seconds)
        try:
            yield seconds
        finally:
            window.ended = time.monotonic() + AFTERWARDS

    def cut(self):
        """RST from the network, to both ends of what it finds."""
        if not self.rough:
            return
        while time.monotonic() < self.weather_until:
            yield self.weather_until - time.monotonic() + 0.1
        group, side = self.dice.choice(self.rough), self.dice.choice(["client", "server"])
        window = self.window(f"cut: all of {group.name}, at the {side}s' end", {group.name})
        try:
            self.soak.network.cut(side, group.port)
            for port in self.soak.pairs.fronts.values() if group.name == "fronts" else ():
                self.soak.network.cut(side, port)
        except RunError as error:
            self.soak.note(str(error))
        window.ended = time.monotonic() + AFTERWARDS

    # The halves' own.

    def renewal(self):
        self.unnoticed("certificate renewed")
        self.soak.certificates.renew()
        self.soak.renewals.append((time.monotonic(), self.soak.certificates.serials[-1]))
        yield 0

    def reload(self):
        ours = [half for half in self.soak.pairs.halves if half.ours]
        half = self.dice.choice(ours)
        self.unnoticed(f"reload: {half.name}", {half.group})
        os.kill(half.child.pid, signal.SIGHUP)
        yield 0

    def full_disk(self):
        seconds = self.length(1, 20)
        self.unnoticed(f"full disk: {seconds:.1f} s", seconds=seconds)
        filler = os.path.join(self.soak.disk, "filler")
        try:
            for _attempt in range(3):
                try:
                    with open(filler, "ab", buffering=0) as file:
                        while True:
                            file.write(bytes(4096))
                except OSError:
                    pass
                yield seconds / 3
        finally:
            if os.path.exists(filler):
                os.remove(filler)
            self.soak.rotate()
