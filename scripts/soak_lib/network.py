"""Three networks: the clients', the servers', and the one in between that has its weather."""

import os
import subprocess
import time

from common.procs import RunError, find_program

SERVER = "10.77.2.2"
_LINKS = [("client", "10.77.1"), ("server", "10.77.2")]


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RunError(f"{' '.join(words)}: {(done.stderr or done.stdout).strip()[-160:]}")
    return done.stdout


def works(*words):
    try:
        run(*words)
    except RunError:
        return False
    return True


class Network:
    """This process is in the network in between; the others are held by a process each."""

    def __init__(self, group):
        self.holders = {side: self.hold(group) for side, _net in _LINKS}
        run("ip", "link", "set", "lo", "up")
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        for side, net in _LINKS:
            holder = self.holders[side].pid
            run("ip", "link", "add", side, "type", "veth", "peer", "name", "wan", "netns", str(holder))
            run("ip", "addr", "add", f"{net}.1/24", "dev", side)
            run("ip", "link", "set", side, "up")
            for words in (
                "link set lo up",
                f"addr add {net}.2/24 dev wan",
                "link set wan up",
                f"route add default via {net}.1",
            ):
                run(*self.inside(side), "ip", *words.split())
            # Thousands of connections come and go in seconds.
            run(*self.inside(side), "sh", "-c", "echo 10000 65000 > /proc/sys/net/ipv4/ip_local_port_range")
        run("nft", "add table inet soak")
        run("nft", "add chain inet soak loss { type filter hook forward priority 0; }")
        self.netem = self.can("netem", "delay", "1ms")
        self.tbf = self.can("tbf", "rate", "50mbit", "burst", "64k", "latency", "50ms")

    def hold(self, group):
        child = group.start([find_program("unshare"), "--net", "sleep", "infinity"])
        end = time.monotonic() + 5
        mine = os.readlink("/proc/self/ns/net")
        while os.readlink(f"/proc/{child.pid}/ns/net") == mine:
            if child.exited() or time.monotonic() > end:
                raise RunError(f"no network namespace: {child.why()}")
            time.sleep(0.005)
        return child

    def inside(self, side):
        """What a command is prefixed with to run on that side."""
        return ["nsenter", f"--net=/proc/{self.holders[side].pid}/ns/net", "--"]

    def can(self, *qdisc):
        """Whether this kernel has a queueing discipline."""
        if not find_program("tc") or not works("tc", "qdisc", "add", "dev", "client", "root", *qdisc):
            return False
        run("tc", "qdisc", "del", "dev", "client", "root")
        return True

    def drop(self, per_mille):
        """Loses so many packets of a thousand in each direction."""
        run("nft", "flush chain inet soak loss")
        if per_mille:
            run("nft", f"add rule inet soak loss numgen random mod 1000 < {per_mille} drop")

    def queue(self, *qdisc):
        """Puts a queueing discipline before both sides; none takes it away."""
        for side, _net in _LINKS:
            if qdisc:
                run("tc", "qdisc", "replace", "dev", side, "root", *qdisc)
            else:
                works("tc", "qdisc", "del", "dev", side, "root")

    def link(self, side, state):
        run("ip", "link", "set", side, state)

    def sockets(self, side, ports):
        """What the kernel knows of the sockets at these ports on one side."""
        ends = " or ".join(f"{end} = :{port}" for port in sorted(ports) for end in ("sport", "dport"))
        return run(*self.inside(side), "ss", "-tinmoe", f"( {ends} )")

    def cut(self, side, port):
        """Resets all connections of one side to a port of the servers; how many."""
        filters = (
            ["dst", SERVER, "dport", "=", str(port)] if side == "client" else ["src", SERVER, "sport", "=", str(port)]
        )
        return len(run(*self.inside(side), "ss", "-H", "-K", "-tn", "state", "established", *filters).splitlines())
