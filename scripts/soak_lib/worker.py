"""What the load's processes have in common: orders on standard input, reports on standard output."""

import asyncio
import json
import logging
import os
import socket
import struct
import sys
import time

LINGER_0 = struct.pack("ii", 1, 0)


def tell(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def now():
    """Seconds of a clock that all processes share."""
    return time.monotonic()


def reset(sock):
    """Ends a connection with RST."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    except OSError:
        pass
    sock.close()


class Bucket:
    """Bytes in a second for all senders of a process."""

    def __init__(self, rate):
        self.rate = rate
        self.next = 0.0

    async def take(self, count):
        moment = now()
        self.next = max(self.next, moment - 0.05) + count / self.rate
        if self.next - moment > 0.001:
            await asyncio.sleep(self.next - moment)


def orders(loop, handle):
    """Hands every line of standard input to `handle`; its end ends the process."""
    pending = bytearray()

    def readable():
        data = os.read(0, 65536)
        if not data:
            os._exit(0)
        pending.extend(data)
        while b"\n" in pending:
            line, _, rest = bytes(pending).partition(b"\n")
            pending[:] = rest
            handle(json.loads(line))

    loop.add_reader(0, readable)


class Tasks:
    """Tasks that nobody waits for. (asyncio itself does not hold on to them.)"""

    def __init__(self):
        self.running = set()

    def start(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return task


def main(body):
    """Runs a worker with the settings in the file that is its argument."""
    # What it warns of is that a connection has ended that is written to: here they do all the time. What a worker writes
    # otherwise is a fault.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    with open(sys.argv[1]) as file:
        settings = json.load(file)
    asyncio.run(body(settings))
