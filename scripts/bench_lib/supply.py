"""The backend of a crowd: `supply.py PORT` listens on 127.0.0.1 and gives each connection what it asks for.

An application sends how many bytes it is going to send and how many it wants, then its bytes; when they are all
there it gets the others, and may ask again.
"""

import selectors
import socket
import struct
import sys

# How many bytes come up, how many are to go down.
HEAD = struct.Struct(">QQ")
BLOCK = memoryview(bytes(range(256)) * 1024)


class Connection:
    __slots__ = ("socket", "head", "up", "down")

    def __init__(self, connection):
        self.socket = connection
        self.head = b""
        self.up = self.down = 0

    def step(self, scratch):
        """Does what can be done now; returns the events to wait for."""
        if self.down and not self.up:
            self.down -= self.socket.send(BLOCK[: min(self.down, len(BLOCK))])
        elif self.up:
            self.up -= self.received(self.socket.recv_into(scratch, min(self.up, len(scratch))))
        else:
            self.read_head()
        return selectors.EVENT_WRITE if self.down and not self.up else selectors.EVENT_READ

    def read_head(self):
        data = self.socket.recv(HEAD.size - len(self.head))
        self.received(len(data))
        self.head += data
        if len(self.head) == HEAD.size:
            self.up, self.down = HEAD.unpack(self.head)
            self.head = b""

    @staticmethod
    def received(count):
        if not count:
            raise ConnectionResetError
        return count


def serve(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    scratch = bytearray(1 << 20)
    while True:
        for key, _events in selector.select():
            if key.fileobj is listener:
                accept(selector, listener)
                continue
            try:
                wanted = key.data.step(scratch)
            except BlockingIOError:
                continue
            except OSError:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                continue
            if wanted != key.events:
                selector.modify(key.fileobj, wanted, key.data)


def accept(selector, listener):
    try:
        connection, _address = listener.accept()
    except OSError:
        return
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ, Connection(connection))


if __name__ == "__main__":
    serve(int(sys.argv[1]))
