"""The far side: a backend for each group of tunnels, and the website."""

import asyncio
import os
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from soak_lib import site, stream  # noqa: E402
from soak_lib.ends import End, Watch, Weather, run  # noqa: E402
from soak_lib.worker import Bucket, Tasks, main, orders, reset, tell  # noqa: E402


def fault_maker(kind):
    """What a backend that is broken on purpose does to its bytes, once in a while."""
    sent = 0

    def fault(data):
        nonlocal sent
        before, sent = sent, sent + len(data)
        every = 4_000_000
        if before // every == sent // every or len(data) < 64:
            return data
        if kind == "hang":
            return None
        broken = bytearray(data)
        if kind == "flip":
            broken[len(broken) // 2] ^= 0x20
        elif kind == "drop":
            del broken[len(broken) // 2]
        elif kind == "repeat":
            broken[:0] = broken[:32]
        return bytes(broken)

    return fault if kind else None


class Listener:
    """One backend."""

    def __init__(self, backends, group, port):
        self.backends, self.group, self.port = backends, group, port
        self.tasks = Tasks()
        self.sockets = set()
        self.listener = None

    def listen(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=1024)
        self.listener.setblocking(False)
        self.accepting = self.tasks.start(self.accept())

    async def accept(self):
        loop = asyncio.get_running_loop()
        while True:
            sock, _address = await loop.sock_accept(self.listener)
            sock.setblocking(False)
            self.tasks.start(self.serve(sock))

    async def serve(self, sock):
        self.sockets.add(sock)
        try:
            header = await self.header(sock)
            if len(header) < stream.HEADER:
                # Whether that is right, the application's end knows.
                sock.close()
                return
            backends = self.backends
            end = End(sock, stream.Plan.decode(header), "backend", backends.bucket, backends.fault)
            await run(end, backends.watch, {"group": self.group})
        except stream.Corrupt as error:
            tell(what="stranger", group=self.group, detail=str(error))
            reset(sock)
        except asyncio.CancelledError:
            reset(sock)
        finally:
            self.sockets.discard(sock)

    async def header(self, sock):
        """What comes first, less where the connection ends before."""
        loop = asyncio.get_running_loop()
        header = b""
        try:
            while len(header) < stream.HEADER:
                data = await loop.sock_recv(sock, stream.HEADER - len(header))
                if not data:
                    break
                header += data
        except OSError:
            pass
        return header

    async def restart(self, seconds):
        """What a program's death looks like from outside: nobody listens, and all connections are reset."""
        self.accepting.cancel()
        # The event loop is to forget it before it is closed.
        asyncio.get_running_loop().remove_reader(self.listener)
        self.listener.close()
        for task in list(self.tasks.running - {asyncio.current_task()}):
            task.cancel()
        await asyncio.sleep(seconds)
        self.listen()


class Backends:
    def __init__(self, settings):
        self.bucket = Bucket(settings["rate"])
        self.watch = Watch(settings["patience"])
        self.fault = fault_maker(settings["fault"])
        self.tasks = Tasks()
        self.listeners = {group: Listener(self, group, port) for group, port in settings["groups"].items()}
        self.site = site.Site(settings["site"])

    def handle(self, order):
        match order["do"]:
            case "restart" if order["group"] == "site":
                self.tasks.start(self.site.restart(order["seconds"]))
            case "restart":
                self.tasks.start(self.listeners[order["group"]].restart(order["seconds"]))
            case "hurry":
                Weather.hurry = True
            case "open":
                Weather.hurry = False
            case "calm":
                Weather.calm.set()
            case "rough":
                Weather.calm.clear()

    async def tick(self):
        while True:
            await asyncio.sleep(1)
            tell(
                what="backends",
                open=sum(len(listener.sockets) for listener in self.listeners.values()),
                site=self.site.open,
            )


async def body(settings):
    Weather.calm = asyncio.Event()
    Weather.calm.set()
    backends = Backends(settings)
    for listener in backends.listeners.values():
        listener.listen()
    await backends.site.listen()
    orders(asyncio.get_running_loop(), backends.handle)
    tell(what="ready")
    await asyncio.gather(backends.watch.look(), backends.tick())


main(body)
