"""An echo server on 127.0.0.1 for thousands of connections: `echo.py PORT`."""

import selectors
import socket
import sys


def serve(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, events in selector.select():
            if key.fileobj is listener:
                accept(selector, listener)
            else:
                echo(selector, key, events)


def accept(selector, listener):
    try:
        connection, _address = listener.accept()
    except OSError:
        return
    connection.setblocking(False)
    selector.register(connection, selectors.EVENT_READ, bytearray())


def echo(selector, key, events):
    connection, pending = key.fileobj, key.data
    try:
        if events & selectors.EVENT_READ:
            data = connection.recv(65536)
            if not data:
                raise ConnectionResetError
            pending += data
        if pending:
            del pending[: connection.send(pending)]
    except BlockingIOError:
        pass
    except OSError:
        selector.unregister(connection)
        connection.close()
        return
    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if pending else 0)
    if wanted != key.events:
        selector.modify(connection, wanted, pending)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
