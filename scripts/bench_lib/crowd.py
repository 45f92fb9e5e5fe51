"""Applications by the thousand: tunnels that are opened and stay, and what is exchanged in some of them."""

import os
import selectors
import socket
import sys
import time

from .supply import BLOCK, HEAD
from common.page import counted
from common.procs import RunError, free_port

# So many connections are opened at a time: the figures wanted are those of tunnels, not of listening queues.
AT_ONCE = 64
# What each tunnel carries when it is opened, in either direction.
GREETING = 4096
SCRATCH = bytearray(1 << 20)


def start_supply(group):
    port = free_port()
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "supply.py")
    group.start_listening([sys.executable, script, str(port)], port)
    return port


class Exchange:
    """So many bytes up, then so many down, in one tunnel."""

    __slots__ = ("socket", "head", "up", "down")

    def __init__(self, connection, up, down):
        self.socket = connection
        self.head = HEAD.pack(up, down)
        self.up, self.down = up, down

    def step(self):
        """Does what can be done now; returns the events to wait for, None at the end."""
        if self.head:
            self.head = self.head[self.socket.send(self.head) :]
        elif self.up:
            self.up -= self.socket.send(BLOCK[: min(self.up, len(BLOCK))])
        else:
            count = self.socket.recv_into(SCRATCH, min(self.down, len(SCRATCH)))
            if not count:
                raise ConnectionResetError
            self.down -= count
        if self.head or self.up:
            return selectors.EVENT_WRITE
        return selectors.EVENT_READ if self.down else None


def exchange(begin, seconds):
    """Runs what `begin` yields, AT_ONCE or all of them; returns the sockets of those that came to their end.

    `begin` yields one Exchange after the other, or None where it has no further one for now.
    """
    done, end = [], time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        begin, more = iter(begin(selector)), True
        while True:
            while more:
                following = next(begin, False)
                if following is None:
                    break
                more = following is not False
                if more:
                    selector.register(following.socket, selectors.EVENT_WRITE, following)
            if not selector.get_map():
                return done
            if time.monotonic() > end:
                raise RunError(f"{counted(len(selector.get_map()), 'exchange')} did not end within {seconds} s")
            for key, _events in selector.select(1):
                try:
                    wanted = key.data.step()
                except BlockingIOError:
                    continue
                except OSError:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    continue
                if wanted is None:
                    selector.unregister(key.fileobj)
                    done.append(key.fileobj)
                elif wanted != key.events:
                    selector.modify(key.fileobj, wanted, key.data)


class Crowd:
    """Tunnels through one or several pairs, in turn."""

    def __init__(self, ports):
        self.ports = ports
        self.tunnels = []

    def connect(self, count, seconds):
        """Opens so many, each of which carries a greeting; returns those that could be opened."""

        def begin(selector):
            for number in range(count):
                while len(selector.get_map()) >= AT_ONCE:
                    yield None
                connection = socket.socket()
                connection.setblocking(False)
                connection.connect_ex(("127.0.0.1", self.ports[number % len(self.ports)]))
                yield Exchange(connection, GREETING, GREETING)

        return exchange(begin, seconds)

    def open(self, count, seconds):
        self.tunnels += self.connect(count, seconds)
        if len(self.tunnels) < count:
            raise RunError(f"only {len(self.tunnels)} of {counted(count, 'tunnel')} could be opened")

    def come_and_go(self, count, seconds):
        """Opens and closes so many further ones."""
        connections = self.connect(count, seconds)
        for connection in connections:
            connection.close()
        if len(connections) < count:
            raise RunError(f"only {len(connections)} of {counted(count, 'further tunnel')} could be opened")

    def carry(self, tunnels, up, down, seconds):
        """The same in each of these tunnels, all at once."""
        carried = exchange(lambda _selector: (Exchange(tunnel, up, down) for tunnel in tunnels), seconds)
        if len(carried) < len(tunnels):
            raise RunError(f"{len(tunnels) - len(carried)} of {counted(len(tunnels), 'busy tunnel')} ended")

    def lost(self):
        """How many have been closed by the other side."""
        lost = 0
        for tunnel in self.tunnels:
            try:
                lost += tunnel.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                pass
            except OSError:
                lost += 1
        return lost

    def close(self):
        for tunnel in self.tunnels:
            tunnel.close()
