"""The applications: opens tunnels at a steady rate and goes through their plans."""

import asyncio
import os
import random
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from soak_lib import stream  # noqa: E402
from soak_lib.ends import End, Ended, Watch, Weather, run  # noqa: E402
from soak_lib.worker import Bucket, Tasks, main, now, orders, tell  # noqa: E402


class Apps:
    def __init__(self, settings):
        self.settings = settings
        self.kinds = settings["kinds"]
        self.dice = random.Random(settings["seed"])
        self.bucket = Bucket(settings["rate"])
        self.watch = Watch(settings["patience"])
        self.tasks = Tasks()
        self.opening = False
        self.open = {kind["name"]: 0 for kind in self.kinds}
        self.next_tunnel = settings["seed"] % 1000 * 1_000_000_000
        self.counted = [0, 0]
        self.order = []

    def handle(self, order):
        match order["do"]:
            case "open":
                Weather.hurry = False
                self.opening = True
            case "stop":
                self.opening = False
            case "hurry":
                Weather.hurry = True
            case "calm":
                Weather.calm.set()
            case "rough":
                Weather.calm.clear()

    async def churn(self):
        """Opens tunnels, of every kind in turn, as many as there may be."""
        pause = 1 / self.settings["opens"]
        due = now()
        while True:
            due = max(due + pause, now() - 1)
            await asyncio.sleep(max(0, due - now()))
            if self.opening and sum(self.open.values()) < self.settings["most"]:
                self.tasks.start(self.tunnel(self.next_kind()))

    def next_kind(self):
        if not self.order:
            self.order = list(self.kinds)
            self.dice.shuffle(self.order)
        return self.order.pop()

    async def tunnel(self, kind):
        self.next_tunnel += 1
        plan = stream.draw(self.dice, self.next_tunnel, kind["ends"], self.settings, kind["stalls"])
        name = kind["name"]
        self.open[name] += 1
        sock = socket.socket()
        sock.setblocking(False)
        began = now()
        try:
            end = End(sock, plan, "app", self.bucket)
            try:
                async with asyncio.timeout(self.settings["patience"]):
                    await self.connect(sock, kind, end)
            except (Ended, OSError) as error:
                self.tell_refused(plan, kind, began, str(error) or type(error).__name__)
                sock.close()
                return
            await run(end, self.watch, {"kind": name, "began": began})
        finally:
            self.counted[0] += end.sent
            self.counted[1] += end.check.position
            self.open[name] -= 1

    async def connect(self, sock, kind, end):
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, tuple(kind["address"]))
        if kind["socks"]:
            await end.write(b"\x05\x01\x00")
            await self.expect(end, 2)
            host, port = kind["socks"]
            await end.write(b"\x05\x01\x00\x01" + socket.inet_aton(host) + struct.pack(">H", port))
            await self.expect(end, 10)
        await end.write(end.plan.encode())

    async def expect(self, end, count):
        answer = b""
        while len(answer) < count:
            data = await end.read(count - len(answer))
            if not data:
                raise Ended("end instead of SOCKS's answer")
            answer += data
        if answer[:2] not in (b"\x05\x00",):
            raise Ended(f"SOCKS answers {answer.hex()}")

    def tell_refused(self, plan, kind, began, why):
        tell(
            what="tunnel",
            tunnel=plan.tunnel,
            role="app",
            kind=kind["name"],
            began=began,
            ended=now(),
            plan=vars(plan),
            sent=0,
            received=0,
            result="refused",
            detail=why,
        )

    async def tick(self):
        while True:
            await asyncio.sleep(1)
            live_sent = sum(end.sent for end in self.watch.ends)
            live_received = sum(end.check.position for end in self.watch.ends)
            tell(
                what="tick",
                open=sum(self.open.values()),
                kinds=self.open,
                up=self.counted[0] + live_sent,
                down=self.counted[1] + live_received,
            )


async def body(settings):
    Weather.calm = asyncio.Event()
    Weather.calm.set()
    apps = Apps(settings)
    orders(asyncio.get_running_loop(), apps.handle)
    tell(what="ready")
    await asyncio.gather(apps.churn(), apps.watch.look(), apps.tick())


main(body)
