"""The website behind the servers: what it sends and takes can be checked."""

import asyncio

from .stream import CHUNK, DOWN, UP, Check, Corrupt, piece, start_of
from .worker import Tasks

IDLE = 30
NOT_FOUND = b"nothing here\n"


class Site:
    def __init__(self, port):
        self.port = port
        self.writers = set()
        self.server = None

    @property
    def open(self):
        return len(self.writers)

    async def listen(self):
        self.tasks = Tasks()
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=1024)

    async def restart(self, seconds):
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        await asyncio.sleep(seconds)
        await self.listen()

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            async with asyncio.timeout(None) as limit:
                while True:
                    limit.reschedule(asyncio.get_running_loop().time() + IDLE)
                    head = await reader.readuntil(b"\r\n\r\n")
                    limit.reschedule(asyncio.get_running_loop().time() + 10 * IDLE)
                    if not await self.answer(head, reader, writer):
                        break
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, OSError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def answer(self, head, reader, writer):
        """Whether the connection stays open."""
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return False
        path = words[1].split("/")
        keep = headers.get("connection", "") != "close"
        if words[0] == "GET" and path[1] == "n" and len(path) == 4:
            await self.send(writer, int(path[2]), int(path[3]), keep)
        elif words[0] == "POST" and path[1] == "post":
            await self.take(reader, writer, int(path[2]), int(headers["content-length"]), keep)
        else:
            await self.say(writer, "404 Not Found", NOT_FOUND, keep)
        return keep

    async def say(self, writer, status, body, keep):
        writer.write(self.head(status, len(body), keep) + body)
        await writer.drain()

    def head(self, status, length, keep):
        connection = "keep-alive" if keep else "close"
        return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n".encode()

    async def send(self, writer, visit, length, keep):
        writer.write(self.head("200 OK", length, keep))
        start = start_of(visit, DOWN)
        for position in range(0, length, CHUNK):
            writer.write(piece(start, position, min(CHUNK, length - position)))
            await writer.drain()

    async def take(self, reader, writer, visit, length, keep):
        check = Check(visit, UP, length)
        try:
            while not check.whole():
                data = await reader.read(min(CHUNK, length - check.position))
                if not data:
                    raise asyncio.IncompleteReadError(b"", None)
                check.feed(data)
        except Corrupt as error:
            await self.say(writer, "500 Corrupt", str(error).encode(), False)
            raise OSError from None
        await self.say(writer, "200 OK", b"whole\n", keep)
