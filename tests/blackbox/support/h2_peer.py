"""HTTP/2 clients and servers that do what no other would: a test asks for one thing, and what came of it is a line."""

import hashlib
import os
import selectors
import socket
import ssl
import struct
import sys
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2 import events
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

LIMIT = 20
LAST_PING = b"the last"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def say(*words):
    print(*words, flush=True)


def digest(data):
    return hashlib.sha1(data).hexdigest()


def dial(port, name, source="127.0.0.1"):
    """In TLS where there is a name; `-` is none."""
    plain = socket.create_connection(("127.0.0.1", int(port)), LIMIT, (source, 0))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if name == "-":
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    stream = context.wrap_socket(plain, server_hostname=name)
    if stream.selected_alpn_protocol() != "h2":
        raise SystemExit(f"no h2 but {stream.selected_alpn_protocol()}")
    return stream


# gRPC's messages.


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def field(data):
    return b"\x0a" + varint(len(data)) + data


def message(content, flag=0, length=None):
    return struct.pack(">BI", flag, len(content) if length is None else length) + content


def hunk(data):
    return message(field(data))


class Hunks:
    """Takes messages apart."""

    def __init__(self):
        self.rest, self.fields = bytearray(), []

    def feed(self, data):
        """The payload that these bytes complete."""
        self.rest += data
        payload = bytearray()
        while len(self.rest) >= 5:
            flag, length = struct.unpack_from(">BI", self.rest)
            if flag:
                raise SystemExit("a compressed message")
            if len(self.rest) < 5 + length:
                break
            content, self.rest = bytes(self.rest[5 : 5 + length]), self.rest[5 + length :]
            self.fields.append(0)
            at = 0
            while at < len(content):
                if content[at] != 0x0A:
                    raise SystemExit(f"field {content[at]:#x}")
                size = shift = 0
                at += 1
                while True:
                    byte, at = content[at], at + 1
                    size |= (byte & 127) << shift
                    shift += 7
                    if byte < 128:
                        break
                payload += content[at : at + size]
                at += size
                self.fields[-1] += 1
        return bytes(payload)


class Stream:
    def __init__(self):
        self.headers = self.trailers = self.reset = None
        self.ended, self.data, self.hunks, self.payload = False, bytearray(), Hunks(), bytearray()

    @property
    def over(self):
        return self.ended or self.reset is not None


class Client:
    """One connection, that keeps what comes of each stream."""

    def __init__(self, port, name, source="127.0.0.1", settings=None, windows=True):
        self.name, self.port = name, port
        self.socket = dial(port, name, source)
        config = H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            validate_inbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.h2 = H2Connection(config)
        self.streams, self.goaway, self.closed, self.settings = {}, None, None, None
        if windows:
            settings = {SettingCodes.INITIAL_WINDOW_SIZE: 2**24, **(settings or {})}
        if settings:
            self.h2.local_settings = Settings(client=True, initial_values=settings)
        self.h2.initiate_connection()
        if windows:
            self.h2.increment_flow_control_window(2**26)
        self.acknowledge = True
        self.flush()

    def flush(self):
        if self.closed is None:
            try:
                self.socket.sendall(self.h2.data_to_send())
            except OSError:
                self.closed = "reset"

    def pump(self, holds, limit=LIMIT):
        """Reads until it holds, the connection ends or time is up: whether it holds."""
        end = time.monotonic() + limit
        while not holds():
            left = end - time.monotonic()
            if self.closed is not None or left <= 0:
                return False
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return False
            except OSError:
                self.closed = "reset"
                continue
            if not data:
                self.closed = "fin"
                continue
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()
        return True

    def take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, events.RemoteSettingsChanged):
            self.settings = {int(code): change.new_value for code, change in event.changed_settings.items()}
        elif isinstance(event, events.ConnectionTerminated):
            self.goaway = (int(event.error_code), event.last_stream_id)
        elif stream is None:
            return
        elif isinstance(event, events.ResponseReceived):
            stream.headers = dict(event.headers)
        elif isinstance(event, events.TrailersReceived):
            stream.trailers = dict(event.headers)
        elif isinstance(event, events.DataReceived):
            stream.data += event.data
            if self.acknowledge:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, events.StreamEnded):
            stream.ended = True
        elif isinstance(event, events.StreamReset):
            stream.reset = int(event.error_code)

    def authority(self):
        return f"127.0.0.1:{self.port}" if self.name == "-" else self.name

    def request(self, method, path, more=(), end=True):
        number = self.h2.get_next_available_stream_id()
        self.streams[number] = Stream()
        scheme = "http" if self.name == "-" else "https"
        pseudo = [(":method", method), (":scheme", scheme), (":path", path), (":authority", self.authority())]
        self.h2.send_headers(number, [*pseudo, *more], end_stream=end)
        self.flush()
        return number, self.streams[number]

    def write(self, number, data, end=False):
        """All of it, as the windows allow; whether that was so."""
        stream = self.streams[number]
        at = 0
        while at < len(data) and stream.reset is None:
            room = lambda: stream.over or self.h2.local_flow_control_window(number) > 0
            if not self.pump(room) or stream.over:
                return False
            size = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(data) - at)
            self.h2.send_data(number, data[at : at + size])
            at += size
            self.flush()
        if end:
            self.h2.end_stream(number)
            self.flush()
        return True

    def tunnel(self, path, more=()):
        headers = [("content-type", "application/grpc"), ("user-agent", "grpc-go/1.41.0"), ("te", "trailers")]
        return self.request("POST", path, [*headers, *more], end=False)

    def payload(self, number):
        """What has come out of a tunnel so far."""
        stream = self.streams[number]
        stream.payload += stream.hunks.feed(bytes(stream.data))
        stream.data.clear()
        return stream.payload

    def echo(self, number, data, limit=LIMIT):
        """Whether the tunnel gives back what it takes."""
        stream = self.streams[number]
        before = len(self.payload(number))
        for at in range(0, len(data), 32768):
            if not self.write(number, hunk(data[at : at + 32768])):
                return False
        self.pump(lambda: stream.over or len(self.payload(number)) >= before + len(data), limit)
        return bytes(self.payload(number)[before:]) == data

    def page(self, method, path, more=(), body=None):
        """What came: status, length, digest, and the trailers."""
        number, stream = self.request(method, path, more, end=body is None)
        if body is not None:
            self.write(number, body, end=True)
        self.pump(lambda: stream.over, 60)
        status = (stream.headers or {}).get(":status", "none")
        trailers = "".join(f" {key}={value}" for key, value in (stream.trailers or {}).items())
        end = "" if stream.ended else f" reset {stream.reset}" if stream.reset is not None else " unfinished"
        return f"{status} {len(stream.data)} {digest(stream.data)}{trailers}{end}"

    def outcome(self, *numbers):
        """In words: how the connection ended, or else these streams."""
        if self.goaway is not None:
            return f"goaway {self.goaway[0]}"
        if self.closed is not None:
            return f"closed by {self.closed}"
        for number in numbers:
            stream = self.streams[number]
            if stream.reset is not None:
                return f"stream reset {stream.reset}"
            if stream.ended:
                status = (stream.headers or {}).get(":status")
                return f"stream ended {status} {(stream.trailers or stream.headers or {}).get('grpc-status')}"
        return "open"


# What may be asked for: clients.


def visits(port, name, source="127.0.0.1", *paths):
    """Pages of every kind on one connection: of each what came."""
    client = Client(port, name, source)
    for path in paths or ("/",):
        say("GET", path, client.page("GET", path))
    say("HEAD", client.page("HEAD", "/"))
    say("missing", client.page("GET", "/not-there"))
    say("POST", client.page("POST", "/digest", body=b"p" * 2_000_000))
    say("with trailers", client.page("POST", "/trailers", [("te", "trailers")], b"up"))


def opening(port, name):
    """The server's bytes before it answers, with the request and before it."""
    client = dial(port, name)
    encoder = Encoder()
    authority = f"127.0.0.1:{port}" if name == "-" else name
    headers = [(":method", "GET"), (":scheme", "http" if name == "-" else "https"), (":path", "/")]
    block = encoder.encode([*headers, (":authority", authority), ("user-agent", "probe")])
    for settings in ({}, None):
        if settings is None:
            # The preface has been answered without a request; now it comes.
            frame = HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"])
            client.sendall(frame.serialize())
        else:
            client.sendall(PREFACE + SettingsFrame(0, settings=settings).serialize())
        answer = b""
        wanted = 4 if settings is not None else 1
        while True:
            head = exactly(client, 9)
            frame, length = Frame.parse_frame_header(memoryview(head))
            body = exactly(client, length)
            # The acknowledgement of ours ends the first part, the answer's head the second.
            if frame.type == wanted and (wanted == 1 or "ACK" in frame.flags):
                break
            answer += head + body
        say(answer.hex())


def exactly(stream, length):
    data = b""
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            raise SystemExit(f"ended after {data!r}")
        data += piece
    return data


def mixed(port, name, source, path, first, page="/"):
    """A tunnel and a page on one connection, the one or the other first."""
    client = Client(port, name, source)
    if first == "page":
        say("page", client.page("GET", page))
    number, _stream = client.tunnel(path)
    say("tunnel", client.echo(number, os.urandom(10_000), 5))
    say("page", client.page("GET", page))
    say("tunnel", client.echo(number, os.urandom(100_000), 5))
    say(client.outcome(number))


def names(port, name, *paths):
    """Which paths are tunnels: of each whether it echoes, or the answer."""
    for path in paths:
        client = Client(port, name)
        number, stream = client.tunnel(path)
        if client.echo(number, b"hello " * 10, 10):
            say(path, "tunnel", max(stream.hunks.fields))
        else:
            say(path, (stream.headers or {}).get(":status", client.outcome(number)))


def requests(port, name, path):
    """What tunnels look like that a server may take or not."""
    kinds = {
        "grpc": ("POST", [("content-type", "application/grpc"), ("te", "trailers")]),
        "proto": ("POST", [("content-type", "application/grpc+proto"), ("te", "trailers")]),
        "no-te": ("POST", [("content-type", "application/grpc")]),
        "get": ("GET", [("content-type", "application/grpc"), ("te", "trailers")]),
        "no-type": ("POST", [("te", "trailers")]),
        "html": ("POST", [("content-type", "text/html"), ("te", "trailers")]),
    }
    for kind, (method, headers) in kinds.items():
        client = Client(port, name)
        number, stream = client.request(method, path, headers, end=False)
        echoed = client.echo(number, b"hello", 10)
        answer = stream.headers or {}
        say(kind, "tunnel" if echoed else answer.get(":status", client.outcome(number)), answer.get("content-type"))


def many(port, name, path, count):
    """So many tunnels at once on one connection."""
    client = Client(port, name)
    client.pump(lambda: client.settings is not None)
    numbers = [client.tunnel(path)[0] for _ in range(int(count))]
    payload = {number: os.urandom(3000) for number in numbers}
    for number in numbers:
        client.write(number, hunk(payload[number]))
    done = lambda: all(len(client.payload(number)) >= 3000 for number in numbers)
    client.pump(done)
    say("echoed", sum(bytes(client.payload(number)) == payload[number] for number in numbers))
    for number in numbers:
        client.h2.end_stream(number)
    client.flush()
    client.pump(lambda: all(client.streams[number].over for number in numbers))
    ends = {client.outcome(number) for number in numbers}
    say("ends", *sorted(ends))


def greeted(port, name, path, length):
    """A server that speaks first, while nothing is sent; then the end."""
    client = Client(port, name)
    number, stream = client.tunnel(path)
    client.pump(lambda: len(client.payload(number)) >= int(length))
    say("said", client.payload(number).decode())
    client.h2.end_stream(number)
    client.flush()
    client.pump(lambda: stream.over)
    say(client.outcome(number))


# WebSocket over HTTP/2.


def ws_frame(opcode, data, fin=True):
    mask = os.urandom(4)
    length = len(data)
    if length < 126:
        head = bytes([0x80 | length])
    elif length < 65536:
        head = bytes([0x80 | 126]) + struct.pack(">H", length)
    else:
        head = bytes([0x80 | 127]) + struct.pack(">Q", length)
    masked = (int.from_bytes(data, "big") ^ int.from_bytes((mask * (length // 4 + 1))[:length], "big")).to_bytes(length, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + head + mask + masked


def ws_frames(data):
    """(opcode, payload) of each whole frame, and the rest."""
    found, at = [], 0
    while len(data) >= at + 2:
        length, head = data[at + 1] & 127, 2
        if length == 126:
            head = 4
        elif length == 127:
            head = 10
        if len(data) < at + head:
            break
        if head > 2:
            length = int.from_bytes(data[at + 2 : at + head], "big")
        if len(data) < at + head + length:
            break
        found.append((data[at] & 15, bytes(data[at + head : at + head + length])))
        at += head + length
    return found, data[at:]


def websocket(port, name, source, path, page="/", key="-"):
    """A WebSocket on a connection that loads pages, too."""
    client = Client(port, name, source)
    client.pump(lambda: client.settings is not None)
    say("announced", (client.settings or {}).get(8, 0))
    say("page", client.page("GET", page))
    more = [(":protocol", "websocket"), ("sec-websocket-version", "13"), ("origin", "https://live.example.com")]
    if key != "-":
        more.append(("sec-websocket-key", key))
    number, stream = client.request("CONNECT", path, more, end=False)
    client.pump(lambda: stream.headers or stream.over)
    answer = stream.headers or {}
    say("status", answer.get(":status", client.outcome(number)), answer.get("sec-websocket-accept", "-"))
    if answer.get(":status") != "200":
        return
    sent, got, rest, kinds = bytearray(), bytearray(), bytearray(), set()

    def take():
        nonlocal rest
        frames, rest = ws_frames(rest + bytes(stream.data))
        stream.data.clear()
        for opcode, data in frames:
            kinds.add(opcode)
            if opcode in (0, 2):
                got.extend(data)
        return len(got)

    for length in (1, 125, 126, 65535, 65536, 300_000):
        data = os.urandom(length)
        sent += data
        client.write(number, ws_frame(2, data))
    client.pump(lambda: take() >= len(sent) or stream.over)
    say("echo", bytes(got) == bytes(sent))
    client.write(number, ws_frame(9, b"are you there"))
    client.pump(lambda: take() and 10 in kinds or stream.over)
    say("pong", 10 in kinds)
    say("page", client.page("GET", page))
    client.write(number, ws_frame(8, struct.pack(">H", 1000)), end=True)
    client.pump(lambda: take() and stream.over)
    say("close", 8 in kinds, client.outcome(number))


# Hostile ones. Each says how its connection ended, or that it is open.


class Raw:
    """Frames as they are, and what comes back, read by the way so that nobody waits for the other."""

    def __init__(self, port, name, settings=None):
        self.socket = dial(port, name)
        self.authority = f"127.0.0.1:{port}" if name == "-" else name
        self.scheme = "http" if name == "-" else "https"
        self.encoder = Encoder()
        self.buffer, self.seen, self.ended, self.codes = bytearray(), {}, None, []
        self.answered = False
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.socket, selectors.EVENT_READ)
        self.send(PREFACE + SettingsFrame(0, settings=settings or {}).serialize())

    def headers(self, number, path, method="POST", end=False, more=()):
        fields = [(":method", method), (":scheme", self.scheme), (":path", path), (":authority", self.authority)]
        if method == "POST":
            fields += [("content-type", "application/grpc"), ("te", "trailers")]
        block = self.encoder.encode([*fields, *more])
        flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
        return HeadersFrame(number, block, flags=flags).serialize()

    def read(self, limit):
        """What there is, waiting so long for the first of it; whether the connection is open."""
        if self.ended is None and (getattr(self.socket, "pending", int)() or self.selector.select(limit)):
            try:
                data = self.socket.recv(65536)
                self.ended = None if data else "fin"
            except OSError:
                data, self.ended = b"", "reset"
            self.buffer += data
            while len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) < 9 + length:
                    break
                kind, number = self.buffer[3], int.from_bytes(self.buffer[5:9], "big")
                body, flags = bytes(self.buffer[9 : 9 + length]), self.buffer[4]
                del self.buffer[: 9 + length]
                self.seen[kind] = self.seen.get(kind, 0) + 1
                if kind == 6 and flags & 1 and body == LAST_PING:
                    self.answered = True
                elif kind == 7:
                    self.codes.append(f"goaway {int.from_bytes(body[4:8], 'big')}")
                elif kind == 3:
                    self.codes.append(f"reset {int.from_bytes(body, 'big')}")
                elif kind in (0, 1) and flags & 1:
                    self.codes.append("end")
                elif kind == 4 and not flags & 1:
                    self.send(SettingsFrame(0, flags=["ACK"]).serialize(), read=False)
        return self.ended is None

    def send(self, data, read=True):
        """Whether it was taken, the connection being open."""
        self.socket.settimeout(LIMIT)
        try:
            self.socket.sendall(data)
        except OSError:
            self.ended = self.ended or "reset"
        while read and self.ended is None and (getattr(self.socket, "pending", int)() or self.selector.select(0)):
            self.read(0)
        return self.ended is None

    def until(self, holds, limit=LIMIT):
        end = time.monotonic() + limit
        while not holds() and self.ended is None and time.monotonic() < end:
            self.read(end - time.monotonic())
        return holds()

    def outcome(self):
        """How it has ended, or else its streams, once all that was sent has been read: a PING says when."""
        if self.ended is None:
            self.send(PingFrame(0, LAST_PING).serialize())
        self.until(lambda: self.answered or self.codes and self.codes[-1].startswith("goaway"))
        goaway = [code for code in self.codes if code.startswith("goaway")]
        if goaway:
            return goaway[0]
        if self.ended is not None:
            return f"closed by {self.ended}"
        return self.codes[0] if self.codes else "open"


def rapid_reset(port, name, path, count, method="POST"):
    raw = Raw(port, name)
    raw.until(lambda: raw.seen.get(4))
    for turn in range(int(count)):
        number = 2 * turn + 1
        if not raw.send(raw.headers(number, path, method, end=method != "POST") + RstStreamFrame(number, 8).serialize()):
            break
    say(raw.outcome())


def endless_headers(port, name, path):
    """HEADERS that are never complete."""
    raw = Raw(port, name)
    raw.until(lambda: raw.seen.get(4))
    block = raw.encoder.encode([(":method", "POST"), (":scheme", raw.scheme), (":path", path)])
    raw.send(HeadersFrame(1, block).serialize())
    piece = b"".join(b"\x00\x05x-pad\x7f\xa1\x00" + b"v" * 160 for _ in range(80))
    sent = 0
    while sent < 64 * 2**20 and raw.send(ContinuationFrame(1, piece).serialize()):
        sent += len(piece)
    say(raw.outcome())


def empty_continuations(port, name, path):
    raw = Raw(port, name)
    raw.until(lambda: raw.seen.get(4))
    block = raw.encoder.encode([(":method", "POST"), (":scheme", raw.scheme), (":path", path)])
    raw.send(HeadersFrame(1, block).serialize())
    many = ContinuationFrame(1, b"").serialize() * 1000
    for _ in range(1000):
        if not raw.send(many):
            break
    say(raw.outcome())


def hpack_bomb(port, name, path):
    """One big field in the table, named thousands of times in each head."""
    raw = Raw(port, name)
    raw.until(lambda: raw.seen.get(4))
    raw.send(raw.headers(1, path, more=[("x-big", "b" * 3900)]))
    number = 3
    while number < 400:
        fields = [(":method", "POST"), (":scheme", raw.scheme), (":path", path), (":authority", raw.authority)]
        block = raw.encoder.encode(fields) + bytes([0x80 | 62]) * 12000
        if not raw.send(HeadersFrame(number, block, flags=["END_HEADERS"]).serialize()):
            break
        number += 2
    say(raw.outcome())


def flood(port, name, path, kind, count):
    """Frames that want an answer, or none, while a tunnel is open; the answers are read or not."""
    raw = Raw(port, name)
    raw.send(raw.headers(1, path) + DataFrame(1, hunk(b"hello")).serialize())
    raw.until(lambda: raw.seen.get(0) or raw.codes)
    frame = {
        "settings": SettingsFrame(0, settings={4: 65535}).serialize(),
        "settings-many": SettingsFrame(0, settings={code: code for code in range(100, 1000)}).serialize(),
        "ping": PingFrame(0, b"12345678").serialize(),
        "unread-ping": PingFrame(0, b"12345678").serialize(),
        "unread-settings": SettingsFrame(0, settings={4: 65535}).serialize(),
        "empty-data": DataFrame(1, b"").serialize(),
        "window": WindowUpdateFrame(1, window_increment=1).serialize(),
        "priority": b"\0\0\5\2\0\0\0\0\1" + b"\0\0\0\0\x10",
        "unknown": b"\0\1\0\xfe\0\0\0\0\1" + b"?" * 256,
        "reset-unknown": RstStreamFrame(1, 8).serialize(),
    }[kind]
    batch, sent = max(1, 16384 // len(frame)), 0
    while sent < int(count):
        try:
            # What is not read fills the ways between, so that it is not taken either.
            raw.socket.settimeout(1)
            if kind.startswith("unread"):
                raw.socket.sendall(frame * batch)
            elif not raw.send(frame * batch):
                break
        except TimeoutError:
            say("not taken")
            return
        except OSError:
            raw.ended = "reset"
            break
        sent += batch
    say("not taken" if kind.startswith("unread") and raw.ended is None else raw.outcome())


def window(port, name, path, kind):
    """Windows that are nothing, or too much."""
    if kind == "zero":
        raw = Raw(port, name, {4: 0})
        raw.send(raw.headers(1, path) + DataFrame(1, hunk(b"d" * 60_000)[:16384]).serialize())
        raw.until(lambda: raw.seen.get(1))
        outcome = raw.outcome()
        say("data", raw.seen.get(0, 0), outcome)
    elif kind == "overflow-stream":
        raw = Raw(port, name)
        update = WindowUpdateFrame(1, window_increment=2**31 - 1).serialize()
        raw.send(raw.headers(1, path) + update + update)
        say(raw.outcome())
    elif kind == "overflow-connection":
        raw = Raw(port, name)
        update = WindowUpdateFrame(0, window_increment=2**31 - 1).serialize()
        raw.send(raw.headers(1, path) + update + update)
        say(raw.outcome())
    elif kind == "zero-increment":
        raw = Raw(port, name)
        raw.send(raw.headers(1, path) + b"\0\0\4\x08\0\0\0\0\1\0\0\0\0")
        say(raw.outcome())
    elif kind == "beyond":
        # More than the windows that were given.
        raw = Raw(port, name)
        raw.until(lambda: raw.seen.get(4))
        raw.send(raw.headers(1, path))
        piece, sent = message(field(b"x" * 16000)), 0
        data = b"".join(DataFrame(1, piece[at : at + 16384]).serialize() for at in range(0, len(piece), 16384))
        while sent < 2**31 and raw.send(data):
            sent += len(piece)
            if raw.codes:
                break
        say(raw.outcome())


def unread(port, name, path, count):
    """Tunnels through which much is asked for, of which nothing is read."""
    raw = Raw(port, name, {4: 2**31 - 1})
    raw.socket.sendall(WindowUpdateFrame(0, window_increment=2**30).serialize())
    for turn in range(int(count)):
        number = 2 * turn + 1
        raw.socket.sendall(raw.headers(number, path) + DataFrame(number, hunk(b"more")).serialize())
    say("asked")
    sys.stdin.read()


def message_of(port, name, path, kind):
    """A hunk that is none, in a tunnel that has shown that it works."""
    client = Client(port, name)
    number, stream = client.tunnel(path)
    if not client.echo(number, b"before"):
        say("no tunnel")
        return
    content = {
        "empty": message(b""),
        "empty-field": hunk(b""),
        "two": message(field(b"one") + field(b"two")),
        "compressed": message(field(b"abc"), flag=1),
        "flag": message(field(b"abc"), flag=7),
        "long": message(field(b"abc"), length=100),
        "short": message(field(b"abc"), length=2),
        "huge": message(b"", length=2**32 - 1) + b"x" * 1000,
        "huge-field": message(b"\x0a\xff\xff\xff\xff\x0fabc"),
        "endless-varint": message(b"\x0a" + b"\xff" * 40),
        "other-field": message(b"\x12\x03abc"),
        "other-type": message(b"\x08\x05"),
        "field-beyond": message(b"\x0a\x10abc"),
        "garbage": b"\xff" * 500,
    }[kind]
    client.write(number, content)
    # What comes behind it shows whether the stream goes on.
    going_on = client.write(number, hunk(b"after")) and client.pump(
        lambda: stream.over or client.payload(number).endswith(b"after"), 5
    )
    if going_on and not stream.over:
        say("goes on", client.payload(number)[6:].decode())
    else:
        say(client.outcome(number))
    other, _stream = client.tunnel(path)
    say("another", client.echo(other, b"on the same connection") if client.closed is None else "no connection")


def ends(port, name, path, kind):
    """A tunnel that ends in a way of its own; the next one on the connection works."""
    client = Client(port, name)
    number, stream = client.tunnel(path)
    say("tunnel", client.echo(number, b"before"))
    if kind == "fin":
        client.h2.end_stream(number)
    elif kind == "trailers":
        client.h2.send_headers(number, [("x-end", "yes")], end_stream=True)
    elif kind == "cancel":
        client.h2.reset_stream(number, 8)
    elif kind == "half-message":
        client.write(number, hunk(b"0123456789")[:9], end=True)
    client.flush()
    if kind != "cancel":
        client.pump(lambda: stream.over)
    say(client.outcome(number))
    number, _stream = client.tunnel(path)
    say("another", client.echo(number, b"after"))


# Servers.


class Served:
    """One connection to a server."""

    def __init__(self, server, sock, number):
        self.server, self.socket, self.number = server, sock, number
        self.h2 = H2Connection(
            H2Configuration(client_side=False, header_encoding="utf-8", validate_outbound_headers=False, validate_inbound_headers=False)
        )
        self.streams, self.pending, self.order, self.last = {}, {}, 0, 0
        self.h2.local_settings = Settings(client=False, initial_values=server.settings)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(2**26)
        self.flush()

    def flush(self):
        self.socket.settimeout(LIMIT)
        self.socket.sendall(self.h2.data_to_send())

    def readable(self):
        data = self.socket.recv(65536)
        if not data:
            return False
        for event in self.h2.receive_data(data):
            self.take(event)
        self.write()
        return True

    def take(self, event):
        number = getattr(event, "stream_id", None)
        if isinstance(event, events.RequestReceived):
            self.last = number
            self.order += 1
            self.streams[number] = state = {"headers": dict(event.headers), "body": bytearray(), "hunks": Hunks(), "order": self.order}
            self.server.opened(self, number, state)
        elif isinstance(event, events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, number)
            if number in self.streams:
                self.server.data(self, number, self.streams[number], event.data)
        elif isinstance(event, events.StreamEnded):
            if number in self.streams:
                self.server.ended(self, number, self.streams[number])
        elif isinstance(event, events.StreamReset):
            self.streams.pop(number, None)
            self.pending.pop(number, None)
            self.server.reset(self, number, int(event.error_code))

    def put(self, number, data, end=None):
        """Sends it when the windows allow; `end` are the trailers then, or True without any."""
        kept, _end = self.pending.get(number, (bytearray(), None))
        self.pending[number] = (kept + data, end)

    def write(self):
        for number, (data, end) in list(self.pending.items()):
            while data:
                size = min(self.h2.local_flow_control_window(number), self.h2.max_outbound_frame_size, len(data))
                if size <= 0:
                    break
                self.h2.send_data(number, bytes(data[:size]))
                del data[:size]
            if not data and end is not None:
                if end is True:
                    self.h2.end_stream(number)
                else:
                    self.h2.send_headers(number, end, end_stream=True)
            if not data:
                del self.pending[number]
        self.flush()


class Server:
    settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, SettingCodes.INITIAL_WINDOW_SIZE: 2**24}

    def __init__(self, *words):
        self.words = words

    def run(self, port, cert="-", key="-"):
        listener = socket.create_server(("127.0.0.1", int(port)))
        selector = selectors.DefaultSelector()
        selector.register(listener, selectors.EVENT_READ)
        context = None
        if cert != "-":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(cert, key)
            context.set_alpn_protocols(["h2"])
        count = 0
        while True:
            for ready, _mask in selector.select():
                if ready.fileobj is listener:
                    accepted, _address = listener.accept()
                    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    accepted.settimeout(LIMIT)
                    try:
                        if context:
                            accepted = context.wrap_socket(accepted, server_side=True)
                        count += 1
                        connection = Served(self, accepted, count)
                        self.connected(connection)
                    except OSError:
                        accepted.close()
                        continue
                    selector.register(accepted, selectors.EVENT_READ, connection)
                    continue
                connection = ready.data
                try:
                    going_on = connection.readable()
                    while going_on and getattr(connection.socket, "pending", int)():
                        going_on = connection.readable()
                except Exception as error:  # Whatever ends a connection is no end of the server.
                    say("error", repr(error))
                    going_on = False
                if not going_on:
                    selector.unregister(connection.socket)
                    connection.socket.close()
                    say("closed", connection.number)

    def connected(self, connection):
        pass

    def reset(self, connection, number, code):
        pass


class Site(Server):
    """A website: pages, a digest of what is posted, trailers."""

    def opened(self, connection, number, state):
        method, path = state["headers"][":method"], state["headers"][":path"]
        say("request", connection.number, method, path)
        if method == "CONNECT" or method == "POST" and path not in ("/digest", "/trailers"):
            # At once, as websites do that take nothing there.
            state["answered"] = True
            connection.h2.send_headers(number, [(":status", "404"), ("content-length", "0")], end_stream=True)

    def data(self, connection, number, state, data):
        state["body"] += data

    def ended(self, connection, number, state):
        if state.get("answered"):
            return
        method, path = state["headers"][":method"], state["headers"][":path"]
        status, body, trailers = "200", b"<title>A shop for garden chairs over HTTP/2</title>\n", None
        if path == "/big":
            body = b"0123456789abcdef" * (5 * 2**16)
        elif path == "/digest":
            body = digest(state["body"]).encode()
        elif path == "/trailers":
            trailers = [("x-sum", digest(state["body"]))]
        elif path == "/headers":
            body = "".join(f"{key}: {value}\n" for key, value in state["headers"].items()).encode()
        elif path != "/":
            status, body = "404", b"no such page\n"
        headers = [(":status", status), ("content-type", "text/html"), ("server", "chairs")]
        if trailers is None:
            headers.append(("content-length", str(len(body))))
        connection.h2.send_headers(number, headers, end_stream=method == "HEAD")
        if method != "HEAD":
            connection.put(number, body, trailers or True)


TRAILERS = [("grpc-status", "0"), ("grpc-message", "")]
OK = [(":status", "200"), ("content-type", "application/grpc")]


class Tunnels(Server):
    """A server of tunnels that echo, with a manner of its own."""

    def __init__(self, kind="echo", number="0"):
        super().__init__()
        self.kind, self.number = kind, int(number)
        self.settings = dict(Server.settings)
        if kind == "few":
            self.settings[SettingCodes.MAX_CONCURRENT_STREAMS] = self.number

    def opened(self, connection, number, state):
        headers = state["headers"]
        say("stream", connection.number, number, headers[":path"], headers.get("content-type"), headers.get("te"))
        if self.kind == "headers":
            say(*[f"{key}={value}" for key, value in headers.items()])
        open_now = sum(1 for each in connection.streams.values() if not each.get("over"))
        say("open", connection.number, open_now)
        if self.kind == "status":
            connection.h2.send_headers(number, [(":status", str(self.number)), ("content-type", "text/html")])
            connection.put(number, b"<title>no</title>", True)
        elif self.kind == "html":
            connection.h2.send_headers(number, [(":status", "200"), ("content-type", "text/html")])
            connection.put(number, b"<title>a page</title>", True)
        elif self.kind == "grpc-status":
            trailers = [*OK, ("grpc-status", str(self.number)), ("grpc-message", "unknown service X")]
            connection.h2.send_headers(number, trailers, end_stream=True)
        elif self.kind == "refuse" and state["order"] <= self.number and connection.number == 1:
            connection.h2.reset_stream(number, 7)
            connection.streams.pop(number)
        elif self.kind == "rst":
            connection.h2.reset_stream(number, self.number)
            connection.streams.pop(number)
        elif self.kind != "silent":
            connection.h2.send_headers(number, OK)

    def data(self, connection, number, state, data):
        payload = state["hunks"].feed(data)
        if not payload or self.kind in ("status", "html", "silent", "grpc-status"):
            return
        if self.kind == "two":
            half = len(payload) // 2
            connection.put(number, message(field(payload[:half]) + field(payload[half:])))
        elif self.kind == "empties":
            connection.put(number, hunk(b"") + message(b"") + hunk(payload) + hunk(b""))
        elif self.kind == "bytes":
            # Every byte a frame of its own.
            for byte in hunk(payload):
                connection.h2.send_data(number, bytes([byte]))
        elif self.kind == "compressed":
            connection.put(number, message(field(payload), flag=1))
        elif self.kind == "lies":
            connection.put(number, message(field(payload), length=2))
        elif self.kind == "huge":
            connection.put(number, message(b"", length=2**32 - 1) + payload)
        elif self.kind == "no-trailers":
            connection.put(number, hunk(payload), True)
        elif self.kind == "trailers":
            connection.put(number, hunk(payload), [("grpc-status", str(self.number)), ("grpc-message", "")])
        elif self.kind == "abort":
            connection.put(number, hunk(payload))
            connection.write()
            connection.h2.reset_stream(number, self.number)
            connection.streams.pop(number)
        elif self.kind == "goaway" and connection.number == 1 and state["order"] == self.number and not state.get("told"):
            state["told"] = True
            connection.put(number, hunk(payload))
            # As a server does that is being stopped: what is open goes on. (h2 itself would be closed then.)
            connection.write()
            last = struct.pack(">II", connection.last, 0)
            connection.socket.sendall(b"\0\0\x08\x07\0\0\0\0\0" + last)
            say("goaway", connection.number)
        else:
            connection.put(number, hunk(payload))

    def ended(self, connection, number, state):
        say("end", connection.number, number)
        state["over"] = True
        if self.kind not in ("status", "html", "no-trailers", "trailers", "grpc-status"):
            if self.kind == "silent":
                connection.h2.send_headers(number, OK)
            connection.put(number, b"", TRAILERS)

    def reset(self, connection, number, code):
        say("reset", connection.number, number, code)


def site(port, cert="-", key="-", window="65535"):
    """A website that grants each stream so much."""
    served = Site()
    served.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, SettingCodes.INITIAL_WINDOW_SIZE: int(window)}
    served.run(port, cert, key)


def tunnels(port, cert, key, kind="echo", number="0"):
    Tunnels(kind, number).run(port, cert, key)


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")](*sys.argv[2:])
