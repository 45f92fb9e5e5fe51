"""Whoever comes to the servers and is no client: browsers, scanners, and what is neither."""

import asyncio
import os
import random
import ssl
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from soak_lib.site import NOT_FOUND  # noqa: E402
from soak_lib.stream import CHUNK, DOWN, UP, Check, Corrupt, piece, start_of  # noqa: E402
from soak_lib.worker import Tasks, main, now, orders, tell  # noqa: E402


class Odd(Exception):
    """An answer that is not the website's."""


class Visit:
    """One connection of a visitor."""

    def __init__(self, visitors, number, place, dice):
        self.visitors, self.number, self.place, self.dice = visitors, number, place, dice
        self.host = visitors.settings["name"]

    async def connect(self, context=None):
        host, port = self.place["address"]
        name = {"ssl": context, "server_hostname": self.host} if context else {}
        self.reader, self.writer = await asyncio.open_connection(host, port, **name)

    async def ask(self, method, path, body_start=None, length=0, keep=True):
        connection = "keep-alive" if keep else "close"
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nConnection: {connection}\r\n"
        head += f"Content-Length: {length}\r\n\r\n" if method == "POST" else "\r\n"
        await self.send(head.encode())
        for position in range(0, length, CHUNK):
            await self.send(piece(body_start, position, min(CHUNK, length - position)))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self):
        """The status, and how long the body is."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        return head.split(" ")[1], int(headers["content-length"])

    async def get(self, keep=True):
        length = int(2 ** self.dice.uniform(0, 19))
        self.number += 1
        await self.ask("GET", f"/n/{self.number}/{length}", keep=keep)
        status, told = await self.answer()
        if status != "200" or told != length:
            raise Odd(f"GET of {length} bytes is answered with {status}, {told} bytes")
        check = Check(self.number, DOWN, length)
        while not check.whole():
            data = await self.reader.read(min(CHUNK, length - check.position))
            if not data:
                raise asyncio.IncompleteReadError(b"", length)
            check.feed(data)
        if not keep and await self.reader.read(1):
            raise Corrupt("bytes behind the answer")

    async def post(self):
        length = int(2 ** self.dice.uniform(0, 19))
        self.number += 1
        await self.ask("POST", f"/post/{self.number}", start_of(self.number, UP), length)
        status, told = await self.answer()
        body = await self.reader.readexactly(told)
        if status != "200":
            raise Corrupt(f"POST of {length} bytes is answered with {status}: {body[:200].decode('latin-1')}")

    async def pause(self, seconds):
        """Some time, unless there is none left."""
        try:
            async with asyncio.timeout(seconds):
                await self.visitors.hurry.wait()
        except TimeoutError:
            pass

    async def linger(self, seconds):
        """Until the other says something or ends, or the time is up."""
        waits = [asyncio.ensure_future(self.reader.read(1000)), asyncio.ensure_future(self.pause(seconds))]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    # The kinds. Each leaves the connection to be closed.

    async def plain(self):
        await self.connect()
        await self.get(keep=False)

    async def kept_alive(self):
        await self.connect()
        for _request in range(self.dice.randrange(2, 12)):
            await (self.get() if self.dice.random() < 0.7 else self.post())
            if self.visitors.hurry.is_set():
                break
            await self.pause(self.dice.uniform(0, 1.5))

    async def in_tls(self):
        # Anew for each, so that nobody resumes a session with an older certificate.
        context = ssl.create_default_context(cafile=self.visitors.settings["authority"])
        began = now()
        await self.connect(context)
        certificate = self.writer.get_extra_info("peercert")
        tell(what="certificate", serial=certificate["serialNumber"], server=self.place["name"], began=began)
        for _request in range(self.dice.randrange(1, 5)):
            await (self.get() if self.dice.random() < 0.7 else self.post())

    async def slow(self):
        await self.connect()
        self.number += 1
        for byte in f"GET /n/{self.number}/10 HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode():
            await self.send(bytes([byte]))
            await asyncio.sleep(self.dice.uniform(0, 0.05))
        status, length = await self.answer()
        check = Check(self.number, DOWN, 10)
        check.feed(await self.reader.readexactly(length))
        if status != "200" or not check.whole():
            raise Odd(f"{status}, {length} bytes")

    async def missed(self):
        """An upgrade on a path that is no tunnel's."""
        await self.connect()
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        await self.send(
            f"GET /{self.dice.randrange(10**9)} HTTP/1.1\r\nHost: {self.host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        status, length = await self.answer()
        body = await self.reader.readexactly(length)
        if status != "404" or body != NOT_FOUND:
            raise Odd(f"an upgrade that misses is answered with {status} {body[:40]}")

    async def garbage(self):
        await self.connect()
        try:
            await self.send(self.dice.randbytes(self.dice.randrange(1, 600)))
            await self.linger(self.dice.uniform(0.1, 5))
        except OSError:
            pass

    async def half_open(self):
        """Says a part of something, and no more."""
        await self.connect()
        begun = [
            b"",
            b"G",
            b"GET / HT",
            b"GET / HTTP/1.1\r\nHost: a",
            b"\x16\x03\x01\x02",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ]
        try:
            await self.send(self.dice.choice(begun))
            await self.linger(self.dice.uniform(0.1, self.visitors.settings["longest"] / 2))
        except OSError:
            pass

    async def resets(self):
        await self.connect()
        try:
            await self.ask("GET", f"/n/1/{2**20}")
            await self.reader.read(self.dice.randrange(1, 2**17))
        except OSError:
            pass
        await self.visitors.calm.wait()
        self.writer.transport.abort()


KINDS = [
    Visit.plain,
    Visit.kept_alive,
    Visit.in_tls,
    Visit.slow,
    Visit.missed,
    Visit.garbage,
    Visit.half_open,
    Visit.resets,
]


class Visitors:
    def __init__(self, settings):
        self.settings = settings
        self.dice = random.Random(settings["seed"] + 1)
        self.tasks = Tasks()
        self.calm = asyncio.Event()
        self.calm.set()
        self.hurry = asyncio.Event()
        self.visiting = False
        self.open = 0
        self.visits = 0

    def handle(self, order):
        match order["do"]:
            case "open":
                self.hurry.clear()
                self.visiting = True
            case "hurry":
                self.hurry.set()
            case "stop":
                self.visiting = False
            case "calm":
                self.calm.set()
            case "rough":
                self.calm.clear()

    async def churn(self):
        while True:
            await asyncio.sleep(1 / self.settings["visits"])
            if self.visiting and self.open < self.settings["most"]:
                self.tasks.start(self.visit())

    async def visit(self):
        self.visits += 1
        place, kind = self.dice.choice(self.settings["places"]), self.dice.choice(KINDS)
        visit = Visit(self, 1 << 60 | self.visits << 8, place, random.Random(self.dice.random()))
        began, result, detail = now(), "whole", ""
        self.open += 1
        try:
            async with asyncio.timeout(self.settings["patience"] + 60):
                await kind(visit)
        except (Corrupt, Odd) as error:
            result, detail = "corrupt", str(error)
        except asyncio.IncompleteReadError as error:
            result, detail = "early", f"the connection ended: {error}"
        except OSError as error:
            result, detail = ("hung", "no answer") if isinstance(error, TimeoutError) else ("early", str(error))
        finally:
            self.open -= 1
            if hasattr(visit, "writer"):
                visit.writer.transport.abort() if result != "whole" and self.calm.is_set() else visit.writer.close()
        tell(
            what="visit",
            kind=kind.__name__,
            server=place["name"],
            began=began,
            ended=now(),
            result=result,
            detail=detail,
        )

    async def tick(self):
        while True:
            await asyncio.sleep(1)
            tell(what="visitors", open=self.open)


async def body(settings):
    visitors = Visitors(settings)
    orders(asyncio.get_running_loop(), visitors.handle)
    tell(what="ready")
    await asyncio.gather(visitors.churn(), visitors.tick())


main(body)
