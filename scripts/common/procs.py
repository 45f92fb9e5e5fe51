"""Children: started on loopback, accounted for, and always killed."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Where scripts/test puts the peers that Debian does not have.
PEERS = os.path.join(os.path.abspath(os.environ.get("CARGO_TARGET_DIR") or os.path.join(ROOT, "target")), "peers")
# Debian keeps daemons in sbin, which users often lack in PATH.
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:{PEERS}/bin:{PEERS}/venv/bin:/usr/sbin:/usr/local/sbin"


class RunError(Exception):
    """A measurement that cannot be made; its text goes into the report."""


class DeadlineExceeded(RunError):
    """The step took longer than it was given."""


def find_program(name):
    return shutil.which(name, path=SEARCH_PATH)


@contextmanager
def deadline(seconds, what):
    """Bounds a whole step, its children included.

    An alarm rather than a watchdog thread: it interrupts whatever blocking
    call we are in, and the exception runs the clean-up of every `Group`.
    """

    def expired(_signal, _frame):
        raise DeadlineExceeded(f"{what} took longer than {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class Child:
    """One program in a session of its own, its output in a log file."""

    def __init__(self, argv, log, env=None, orphan_guard=True, name=None, **pipes):
        self.name = name or os.path.basename(argv[0])
        self.log = log
        # The last resort against SIGKILL of the benchmark itself, when no
        # clean-up of ours can run. It costs one more exec, so measurements
        # of the start-up go without.
        guard = find_program("setpriv") if orphan_guard else None
        if guard:
            argv = [guard, "--pdeathsig", "KILL", "--", *argv]
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                argv,
                **{"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output, **pipes},
                env={**os.environ, "PATH": SEARCH_PATH, **(env or {})},
                # A Ctrl-C at the terminal must reach only us: we decide in
                # which order things end.
                start_new_session=True,
            )
        self.pid = self.popen.pid

    def exited(self):
        return self.popen.poll() is not None

    def why(self):
        """What the program said last, for the report."""
        with open(self.log, errors="replace") as file:
            lines = [line.strip() for line in file if line.strip()]
        status = self.popen.poll()
        status = "still running" if status is None else f"exit status {status}"
        return f"{self.name}: {status}" + (f", {lines[-1][:160]!r}" if lines else "")

    def kill(self):
        # The group, so that forked workers go too; SIGKILL, because nothing
        # here has state worth a graceful end. As long as we have not reaped
        # the leader, its id cannot belong to anyone else.
        if self.popen.returncode is None:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.popen.wait()


class Group:
    """The children of one measurement; leaving the block kills them all."""

    def __init__(self, directory):
        self.directory = directory
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, *_exception):
        for child in reversed(self.children):
            child.kill()

    def start(self, argv, env=None, orphan_guard=True, name=None, log=None, **pipes):
        name = name or os.path.basename(argv[0])
        log = log or os.path.join(self.directory, f"{name}-{time.monotonic_ns()}.log")
        child = Child(argv, log, env, orphan_guard, name, **pipes)
        self.children.append(child)
        return child

    def start_listening(self, argv, port, env=None, seconds=5, udp=False, **how):
        child = self.start(argv, env, **how)
        end = time.monotonic() + seconds
        while not is_listening(port, child.pid, udp):
            if child.exited():
                raise RunError(f"ended at start-up: {child.why()}")
            if time.monotonic() > end:
                raise RunError(f"does not listen after {seconds} s: {child.why()}")
            time.sleep(0.005)
        return child

    def output_of(self, argv, seconds):
        """Runs a load tool to its end and returns what it wrote."""
        child = self.start(argv)
        try:
            child.popen.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RunError(f"{child.name} did not end within {seconds:.0f} s") from None
        with open(child.log, errors="replace") as file:
            return file.read()


_handed_out = set()


def free_port():
    """A loopback port that no outgoing connection can take meanwhile.

    Below Linux's ephemeral range (32768 and up): thousands of connections
    come from that range while we run. None is handed out twice, because
    TIME_WAIT of an earlier pair would linger on it.
    """
    for _attempt in range(1000):
        port = random.randrange(18000, 32000)
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise RunError("no free loopback port between 18000 and 32000")


def is_listening(port, pid, udp=False):
    """Whether anybody listens in the network that the process is in.

    Asks the kernel, not the port: a probing connection would go through
    the pair and confuse the backend (iperf3 takes it for a client)."""
    # What the kernel calls one that listens, and one that is bound and not connected.
    protocol, state = ("udp", "07") if udp else ("tcp", "0A")
    for table in (f"/proc/{pid}/net/{protocol}", f"/proc/{pid}/net/{protocol}6"):
        try:
            with open(table) as file:
                next(file)
                for line in file:
                    fields = line.split()
                    # Listening sockets come first; behind them there may be
                    # tens of thousands in TIME_WAIT.
                    if fields[3] != state:
                        if udp:
                            continue
                        break
                    if int(fields[1].rsplit(":", 1)[1], 16) == port:
                        return True
        except OSError:
            continue
    return False


def process_tree(pid):
    """The process and all that it forked and that still run."""
    found, queue = [], [pid]
    while queue:
        current = queue.pop()
        found.append(current)
        try:
            for task in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{task}/children") as file:
                    queue.extend(int(child) for child in file.read().split())
        except OSError:
            continue
    return found


def cpu_seconds(children):
    """User and system time of the children with their threads and forks.

    Live processes: the POSIX CPU clock, which is utime+stime of
    /proc/PID/stat without the rounding to 10 ms, threads that ended
    included. Forks already reaped: only their parent's stat has them.
    """
    tick = os.sysconf("SC_CLK_TCK")
    total = 0.0
    for child in children:
        for pid in process_tree(child.pid):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    fields = file.read().rsplit(")", 1)[1].split()
                total += time.clock_gettime((~pid << 3) | 2)
                total += (int(fields[13]) + int(fields[14])) / tick
            except OSError:
                continue
    return total


def pss_kib(child):
    """Proportional set size, so that pages shared by two halves of the same
    program are not counted twice."""
    total = 0
    for pid in process_tree(child.pid):
        with open(f"/proc/{pid}/smaps_rollup") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
    return total


def peak_kib(child):
    """The most that it has held in memory at a time (VmHWM), its forks' included."""
    total = 0
    for pid in process_tree(child.pid):
        with open(f"/proc/{pid}/status") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    return total
