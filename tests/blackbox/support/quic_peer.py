"""A QUIC client that does what no other would: the tests ask it for one thing, and it says in a line what came of it."""

import hashlib
import os
import random
import signal
import socket
import ssl
import sys
import time

from aioquic.buffer import encode_uint_var
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.rangeset import RangeSet
from aioquic.tls import Epoch
from cryptography.hazmat.primitives.hashes import SHA256

VERSION_1 = 1


class Client:
    """One connection from a socket of its own."""

    def __init__(self, port, name, alpn, roots=None, source="127.0.0.1"):
        configuration = QuicConfiguration(is_client=True, alpn_protocols=alpn or None, server_name=name)
        configuration.supported_versions = [VERSION_1]
        if roots:
            configuration.load_verify_locations(roots)
        else:
            configuration.verify_mode = ssl.CERT_NONE
        self.server = ("127.0.0.1", port)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.received = 0
        self.quic = QuicConnection(configuration=configuration)
        self.quic.connect(self.server, now=time.time())

    def hello(self):
        """The ClientHello, before anything is sent."""
        return bytes(self.quic._crypto_streams[Epoch.INITIAL].sender._buffer)

    def flush(self):
        for datagram, _address in self.quic.datagrams_to_send(now=time.time()):
            self.socket.sendto(datagram, self.server)

    def initial(self, number, frames):
        """A packet of the first flight with these frames."""
        cid, scid = self.quic._peer_cid.cid, self.quic.host_cid
        pair = CryptoPair()
        pair.setup_initial(cid=cid, is_client=True, version=VERSION_1)
        header = bytes([0xC3]) + VERSION_1.to_bytes(4, "big") + bytes([len(cid)]) + cid + bytes([len(scid)]) + scid
        # No token; the length is that of a packet which fills the datagram.
        payload = frames + bytes(max(0, 1200 - len(header) - 1 - 2 - 4 - 16 - len(frames)))
        length = 4 + len(payload) + 16
        header += b"\0" + (0x4000 | length).to_bytes(2, "big") + number.to_bytes(4, "big")
        return pair.encrypt_packet(header, payload, number)

    def events(self, seconds):
        """What happens within that time."""
        self.flush()
        end = time.time() + seconds
        while True:
            while (event := self.quic.next_event()) is not None:
                yield event
            now = time.time()
            timer = self.quic.get_timer()
            if now >= end or timer is None:
                return
            self.socket.settimeout(max(0.001, min(end, timer) - now))
            try:
                datagram, address = self.socket.recvfrom(65536)
                self.received += 1
                self.quic.receive_datagram(datagram, address, now=time.time())
            except TimeoutError:
                if time.time() >= timer:
                    self.quic.handle_timer(now=time.time())
            self.flush()

    def outcome(self, seconds=5):
        """How the handshake ends, in words."""
        for event in self.events(seconds):
            if isinstance(event, events.HandshakeCompleted):
                return f"open {event.alpn_protocol}"
            if isinstance(event, events.ConnectionTerminated):
                return closed(event) if self.received else "silence"
        return "unfinished" if self.received else "silence"

    def certificate(self):
        return self.quic.tls._peer_certificate.fingerprint(SHA256()).hex()


def closed(event):
    return f"closed {event.error_code:#x}"


def crypto(offset, data):
    return b"\x06" + encode_uint_var(offset) + encode_uint_var(len(data)) + data


# What may be asked for.


def page(port, name, roots, *paths):
    """Pages over HTTP/3: status, length and digest of each."""
    client = Client(int(port), name, ["h3"], roots)
    print(client.outcome(), flush=True)
    http = H3Connection(client.quic)
    for path in paths:
        stream = client.quic.get_next_available_stream_id()
        headers = [(":method", "GET"), (":scheme", "https"), (":authority", f"{name}:{port}"), (":path", path)]
        http.send_headers(stream, [(key.encode(), value.encode()) for key, value in headers], end_stream=True)
        status, body = "none", bytearray()
        for event in client.events(60):
            ended = False
            for part in http.handle_event(event):
                if isinstance(part, HeadersReceived):
                    status = dict(part.headers)[b":status"].decode()
                if isinstance(part, DataReceived):
                    body += part.data
                ended = part.stream_ended
            if ended:
                break
        print("page", status, len(body), hashlib.sha1(body).hexdigest(), flush=True)


def handshake(port, name, *alpn):
    """How the handshake ends, and whose certificate it was."""
    client = Client(int(port), name or None, list(alpn))
    outcome = client.outcome()
    print(f"{outcome} {client.certificate()}" if outcome.startswith("open") else outcome, flush=True)


def idle(port, name, count, addresses, wanted):
    """Connections without a tunnel, of so many addresses: how many of them were let in, and how many were ended since, as
    many as are wanted or what there are after a while. They are held until this is ended."""
    clients = []
    for number in range(int(count)):
        client = Client(int(port), name, ["h2", "http/1.1"], source=f"127.0.1.{1 + number % int(addresses)}")
        if client.outcome().startswith("open"):
            clients.append(client)
    # (the event of an end comes only when the connection has been forgotten)
    ended = lambda: sum(client.quic._close_event is not None for client in clients)
    until = time.time() + 20
    while ended() < int(wanted) and time.time() < until:
        for client in clients:
            for _event in client.events(0.001):
                pass
    print("open", len(clients), "ended", ended(), flush=True)
    signal.pause()


def beyond(port, name, kind):
    """A stream beyond what the server allows, or one of a kind that it has not."""
    client = Client(int(port), name, ["h2", "http/1.1"])
    outcome = client.outcome()
    quic = client.quic
    allowed = quic._remote_max_streams_bidi
    quic._remote_max_streams_bidi = quic._remote_max_streams_uni = 1 << 40
    quic._remote_max_stream_data_uni = 1 << 20
    if kind == "bidirectional":
        quic.send_stream_data(4 * allowed, b"one too many")
    elif kind == "unidirectional":
        quic.send_stream_data(2 + 4 * 10**6, b"of no use")
    else:
        # Bytes far beyond the windows of the stream and of the connection.
        quic._remote_max_data = 1 << 60
        stream = quic._get_or_create_stream_for_send(0)
        stream.max_stream_data_remote = 1 << 60
        sender = stream.sender
        sender._buffer_start = sender._buffer_stop = sender.highest_offset = 1 << 40
        quic.send_stream_data(0, b"far away")
    for event in client.events(15):
        if isinstance(event, events.ConnectionTerminated):
            outcome = closed(event)
    print("allowed", allowed, outcome, flush=True)


def pieces(port, name, kind, *alpn):
    """A ClientHello whose CRYPTO frames are not as usual."""
    # Names of protocols that nobody has make it longer than a datagram.
    client = Client(int(port), name, [*alpn, *(f"unheard-of-{number:0200}" for number in range(8))])
    hello = client.hello()
    half = len(hello) // 2
    cuts = sorted(random.sample(range(1, len(hello)), 24))
    parts = [crypto(a, hello[a:b]) for a, b in zip([0, *cuts], [*cuts, len(hello)])]
    random.shuffle(parts)
    shuffled = [b""]
    for part in parts:
        # No datagram is longer than any way takes.
        if len(shuffled[-1]) + len(part) > 1140:
            shuffled.append(b"")
        shuffled[-1] += part + b"\x01"
    flights = {
        "backwards": [crypto(half, hello[half:]), crypto(0, hello[:half])],
        "shuffled": shuffled,
        "overlapping": [crypto(0, hello[: half + 90]), crypto(half - 90, hello[half - 90 :]), crypto(0, hello[:half])],
        "hole": [crypto(0, hello[:half]), crypto(half + 1, hello[half + 1 :])],
        "lies": [crypto(0, hello[:half]), crypto(half - 50, os.urandom(50) + hello[half:])],
        "endless": [crypto(number * 1000, os.urandom(1000)) for number in range(1, 60)],
        "far": [crypto((1 << 62) - 1000, os.urandom(900)), crypto((1 << 61), b"x")],
        "no-hello": [crypto(0, os.urandom(1000))],
        "frames": [os.urandom(1000)],
        "empty": [b"\x06\x00\x00" * 300],
    }
    # The library has sent its hello, as far as it knows, and it has arrived: it will not send it once more.
    quic = client.quic
    quic.datagrams_to_send(now=time.time())
    sent = RangeSet([range(quic._packet_number)])
    quic._loss.on_ack_received(ack_rangeset=sent, ack_delay=0, now=time.time(), space=quic._spaces[Epoch.INITIAL])
    packets = [client.initial(number, frames) for number, frames in enumerate(flights[kind])]
    quic._packet_number = len(packets)
    for _attempt in range(6):
        # A server may lose what comes before it is ready.
        for packet in packets:
            client.socket.sendto(packet, client.server)
        outcome = client.outcome(0.4)
        if outcome not in ("silence", "unfinished"):
            break
    print(kind, outcome, flush=True)


def flood(port, name, count):
    """First flights that nobody goes on with, from many ports, some hundreds a second: no more than a server takes that is
    built for debugging, which would lose its clients' packets, too. Tells how many were answered, and asked to come again."""
    count = int(count)
    sockets = []
    for _index in range(50):
        sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        sockets[-1].bind(("127.0.0.1", 0))
        sockets[-1].setblocking(False)
    made = Client(int(port), name, ["h2", "http/1.1"])
    hello = made.hello()
    said = []
    for number in range(count):
        # Another connection each time, and its keys. (Our own id stands in the hello, too.)
        made.quic._peer_cid.cid = os.urandom(8)
        if number % 20 == 0:
            time.sleep(0.05)
        flooding = sockets[number % len(sockets)]
        flooding.sendto(made.initial(0, crypto(0, hello)), made.server)
        said += drain(flooding)
    time.sleep(0.5)
    for flooding in sockets:
        said += drain(flooding)
    retries = sum(packet[0] & 0xF0 == 0xF0 for packet in said)
    print("sent", count, "answered", len(said), "retries", retries, flush=True)


def drain(receiver):
    """What has come."""
    said = []
    try:
        while True:
            said.append(receiver.recv(2048))
    except BlockingIOError:
        return said


def garbage(port, name, count):
    """Packets that are none, and parts of real ones; counts what is said to them."""
    count, port = int(count), int(port)
    random.seed(7)
    client = Client(port, name, ["h2", "http/1.1"])
    whole = client.initial(0, crypto(0, client.hello()))
    sender = client.socket
    sender.setblocking(False)
    said = []
    for number in range(count):
        kind = number % 8
        if kind == 0:
            packet = os.urandom(random.randrange(0, 1500))
        elif kind == 1:
            packet = whole[: random.randrange(len(whole))]
        elif kind == 2:
            at = random.randrange(len(whole))
            packet = whole[:at] + os.urandom(1) + whole[at + 1 :]
        elif kind == 3:
            # A long header of some version, with ids of impossible lengths.
            packet = bytes([0xC0 | random.randrange(64)]) + os.urandom(4) + bytes([random.randrange(256)]) + os.urandom(1195)
        elif kind == 4:
            packet = bytes([0x40 | random.randrange(64)]) + os.urandom(random.randrange(1, 1400))
        elif kind == 5:
            packet = whole + whole[: random.randrange(200)]
        elif kind == 6:
            # An id of the length that ours have, at random, in each kind of a long header.
            packet = bytes([0xC0 | (number & 0x30)]) + b"\0\0\0\1\x0c" + os.urandom(12) + b"\0" + os.urandom(1180)
        else:
            packet = whole[:5] + bytes([20]) + whole[6:]
        try:
            sender.sendto(packet, client.server)
        except BlockingIOError:
            pass
        said += drain(sender)
    print("sent", count, "answered", len(said), flush=True)


def kind_of(packet):
    """A long header's version; the rest is nobody's to read."""
    return packet[1:5].hex() if packet[0] & 0x80 else "short"


def ask(port, seconds, *packets):
    """Sends these datagrams in hex, and says how many answers came within that time, and what kind of packet each is."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for packet in packets:
        sender.sendto(bytes.fromhex(packet), ("127.0.0.1", int(port)))
    end, said = time.time() + float(seconds), []
    while (left := end - time.time()) > 0:
        sender.settimeout(left)
        try:
            said.append(kind_of(sender.recv(2048)))
        except TimeoutError:
            break
    print("answers", len(said), *said, flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
