"""Whether what happened to each tunnel may have happened."""

import time
from collections import Counter
from dataclasses import dataclass, field

from .stream import ABORT_APP, ABORT_BACKEND, ENDS

# Told in full; further ones are counted.
MOST_TOLD = 200
# How long the other end's report may take once one is there.
OTHER_END = 90
# So many disturbances are told beside a fault.
MOST_MEANWHILE = 12


@dataclass
class Window:
    """A time in which something was done that tunnels may notice."""

    what: str
    began: float
    ended: float = float("inf")
    # The groups that it hits; None: all.
    groups: set = None
    weather: bool = False
    # What nobody may notice is no excuse.
    excuses: bool = True

    def overlaps(self, began, ended):
        return began < self.ended and ended > self.began


@dataclass
class Tally:
    """What came of a kind's tunnels."""

    tunnels: int = 0
    whole: int = 0
    cut: int = 0
    aborted: int = 0
    # What came, and what was sent.
    up: int = 0
    down: int = 0
    sent_up: int = 0
    sent_down: int = 0
    undisturbed: int = 0
    # Some of those that were cut with an excuse, to see whether it is a good one.
    examples: list = field(default_factory=list)
    ends: Counter = field(default_factory=Counter)
    notes: Counter = field(default_factory=Counter)


class Judge:
    def __init__(self, groups, kinds, say, start):
        self.say = say
        # When the soak has begun: all that is told counts from there.
        self.start = start
        self.kinds = {kind.name: kind for kind in kinds}
        self.groups = {group.name: group for group in groups}
        self.tallies = {kind.name: Tally() for kind in kinds}
        self.visits = {}
        self.windows = []
        self.pending = {}
        self.faults = []
        self.fault_count = 0
        self.certificates = []
        # Where the sockets of a tunnel that made no progress have been written down.
        self.looked_at = {}

    def fault(self, what, began=None, ended=None, group=None):
        """Something is wrong: in that time, or now; with a group of tunnels, or with all."""
        self.fault_count += 1
        if len(self.faults) < MOST_TOLD:
            now = time.monotonic()
            what += f" [{self.when(began or now, ended or now, group)}]"
            self.faults.append(what)
            # At once: who watches a soak of hours wants to look while it is there to be looked at.
            self.say(f"fault: {what}")

    def when(self, began, ended, group):
        """Seconds since the start, and the disturbances of that time."""
        meanwhile = [
            window
            for window in self.windows
            if window.overlaps(began - 1, ended + 1) and (not group or not window.groups or group in window.groups)
        ]
        words = self.seconds(began, ended)
        # (the latest ones, if not all: a tunnel that is hung has moved before)
        told = [f"{window.what} ({self.seconds(window.began, window.ended)})" for window in meanwhile[-MOST_MEANWHILE:]]
        if told:
            more = len(meanwhile) - len(told)
            words += f"; meanwhile {f'{more} more, ' if more else ''}{', '.join(told)}"
        return words

    def seconds(self, began, ended):
        first, last = (f"{moment - self.start:.0f}" for moment in (began, min(ended, time.monotonic())))
        return f"{first} s" if first == last else f"{first} to {last} s"

    def open(self, what, began, groups=None, weather=False, excuses=True):
        window = Window(what, began, groups=groups, weather=weather, excuses=excuses)
        self.windows.append(window)
        return window

    # Tunnels.

    def tunnel(self, record):
        """One end's report."""
        ends = self.pending.setdefault(record["tunnel"], {})
        ends[record["role"]] = record
        # Without the other end's there is nothing to say yet, but of one that was refused there is no other end.
        if len(ends) == 2:
            del self.pending[record["tunnel"]]
            self.judge(ends["app"], ends["backend"])

    def overdue(self, moment):
        """Judges those whose other end does not report."""
        for tunnel, ends in list(self.pending.items()):
            # (What an application has said may be in buffers on the way while its backend reads nothing.)
            if "app" in ends and moment > ends["app"]["ended"] + OTHER_END + ends["app"]["plan"]["stall_up"] / 1000:
                del self.pending[tunnel]
                self.judge(ends["app"], None)

    def finish(self):
        for ends in self.pending.values():
            if "app" in ends:
                self.judge(ends["app"], None)
            else:
                self.fault(
                    f"a tunnel of {ends['backend']['group']} has a backend's end and no application's: {shown(ends['backend'])}"
                )
        self.pending.clear()

    def excuse(self, kind, began, ended):
        """What may have ended a tunnel of this kind early."""
        # Of two excuses the nearer one.
        for window in sorted(self.windows, key=lambda window: window.weather):
            if not window.excuses:
                continue
            if window.weather:
                # Whoever is established outlasts it; who comes meanwhile may be refused.
                born_in_it = window.began - 2 < began < window.ended
                if (kind.frail and window.overlaps(began - 1, ended)) or born_in_it:
                    return window.what
            elif (window.groups is None or kind.group in window.groups) and window.overlaps(began - 1, ended + 1):
                return window.what
        return ""

    def judge(self, app, backend):
        kind, plan = self.kinds[app["kind"]], app["plan"]
        tally = self.tallies[app["kind"]]
        both = [end for end in (app, backend) if end]
        began, ended = app["began"], max(end["ended"] for end in both)
        tally.tunnels += 1
        tally.ends[ENDS[plan["end"]]] += 1
        tally.up += backend["received"] if backend else 0
        tally.down += app["received"]
        tally.sent_up += app["sent"]
        tally.sent_down += backend["sent"] if backend else 0
        for end in both:
            if end["result"] == "whole" and end["detail"]:
                tally.notes[f"{end['role']}: {end['detail']}"] += 1
        said = f"{kind.name}: {'; '.join(shown(end) for end in both)}"

        def fault(what):
            self.fault(what, began, ended, kind.group)

        if any(end["result"] == "corrupt" for end in both):
            fault(f"corrupt: {said}")
            return
        excuse = self.excuse(kind, began, ended)
        if backend and (backend["received"] > app["tried"] or app["received"] > backend["tried"] + 1):
            fault(f"more than was sent: {said}")
            return
        if any(end["result"] == "hung" for end in both):
            # Nobody may hang, whatever happened; peers in bad weather may.
            if not (excuse and kind.frail):
                looked_at = self.looked_at.get(plan["tunnel"])
                seen = f", its sockets: {looked_at}" if looked_at else ""
                fault(f"hung: {said}{' (during: ' + excuse + ')' if excuse else ''}{seen}")
                return
        stalled = kind.mux and (plan["stall_up"] or plan["stall_down"])
        # An application that resets at once may do so before there is anything at the other end.
        resetting = {ABORT_APP: app, ABORT_BACKEND: backend}.get(plan["end"])
        if resetting and resetting["result"] == "whole":
            tally.aborted += 1
            return
        if backend and app["result"] == backend["result"] == "whole":
            tally.whole += 1
            tally.undisturbed += not excuse
            return
        if excuse or stalled:
            tally.cut += 1
            if len(tally.examples) < 20:
                tally.examples.append(f"{excuse or 'stalled'}: {said}")
            return
        if not backend:
            said += "; the backend has not seen it"
        fault(f"not whole, and nobody disturbed it: {said}")

    # Visitors.

    def visit(self, record):
        counts = self.visits.setdefault(record["kind"], Counter())
        counts["visits"] += 1
        counts[record["result"]] += 1
        if record["result"] == "whole":
            return
        said = f"visitor {record['kind']} of {record['server']}: {record['detail']}"
        if record["result"] == "corrupt":
            self.fault(f"corrupt: {said}", record["began"], record["ended"])
            return
        for window in self.windows:
            if (
                window.excuses
                and (window.weather or window.groups is None or {"site", record["server"]} & window.groups)
            ) and window.overlaps(record["began"] - 2, record["ended"] + 1):
                counts["cut"] += 1
                return
        self.fault(f"not whole, and nobody disturbed it: {said}", record["began"], record["ended"])

    def certificate(self, record, renewals, patience):
        """Whether a server shows what is on disk; `renewals` are (moment, serial)."""
        late = [moment for moment, _serial in renewals if moment < record["began"] - patience]
        allowed = [serial for moment, serial in renewals[max(len(late) - 1, 0) :]]
        serial = record["serial"].lstrip("0")
        if serial not in allowed:
            self.fault(f"{record['server']} shows the certificate {serial}, on disk there are {', '.join(allowed)}")


def shown(end):
    plan = end["plan"]
    stall = plan["stall_up"] or plan["stall_down"]
    words = (
        f"tunnel {plan['tunnel']} ({ENDS[plan['end']]}, {plan['up']} up, {plan['down']} down, pieces of {plan['chunk']}"
    )
    words += f", stalls for {stall} ms)" if stall else ")"
    if end["role"] == "backend":
        words = "backend"
    return f"{words}: {end['result']}, {end['sent']} sent, {end['received']} received, {end['ended'] - end['began']:.1f} s, {end['detail']}"
