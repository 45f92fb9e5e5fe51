"""What a tunnel carries: bytes that tell where they belong, and the plan by which both ends go."""

import random
import struct
import zlib
from dataclasses import dataclass

# A prime, so that no power of two of bytes can be lost or repeated unseen; what is a multiple of it shows
# in the length.
PERIOD = 1_048_573
CHUNK = 64 * 1024
_BLOCK = random.Random(20).randbytes(PERIOD)
_STREAM = memoryview(_BLOCK + _BLOCK[:CHUNK])
UP, DOWN = 0, 1
# Behind the last byte down of a tunnel that its application is to close: "all of yours is here".
ACK = b"\x06"

# How a tunnel ends.
ACKED = 0  # the application closes once both have everything: all that peers without half-closes can do
HALF_UP = 1  # the application half-closes, and the rest of the answer comes behind that
HALF_DOWN = 2  # the backend half-closes, and the rest of the request goes behind that
ABORT_APP = 3  # the application resets in the midst of it
ABORT_BACKEND = 4  # the backend does
ENDS = ["acked", "half-close up", "half-close down", "reset by the application", "reset by the backend"]


def start_of(tunnel, direction):
    """Where in the period a tunnel's direction begins."""
    return zlib.crc32(struct.pack("<QB", tunnel, direction)) * 2654435761 % PERIOD


def piece(start, position, length):
    """The bytes of a stream from `position` on; at most CHUNK of them."""
    offset = (start + position) % PERIOD
    return _STREAM[offset : offset + length]


class Corrupt(Exception):
    """What came is not what was sent."""


class Check:
    """Compares what comes with what has to come."""

    def __init__(self, tunnel, direction, length, tail=b""):
        self.start = start_of(tunnel, direction)
        self.length = length
        self.tail = tail
        self.position = 0

    @property
    def wanted(self):
        return self.length + len(self.tail)

    def whole(self):
        return self.position == self.wanted

    def feed(self, data):
        view = memoryview(data)
        while view:
            room = min(self.length - self.position, CHUNK, len(view))
            if room > 0:
                wanted = piece(self.start, self.position, room)
            else:
                at = self.position - self.length
                room = min(len(view), len(self.tail) - at)
                if room <= 0:
                    raise Corrupt(f"{len(view)} bytes more than the {self.wanted} that were sent")
                wanted = memoryview(self.tail)[at : at + room]
            if view[:room] != wanted:
                raise Corrupt(self.diagnosis(view, wanted))
            self.position += room
            view = view[room:]

    def diagnosis(self, view, wanted):
        """What is wrong at the first byte that differs, in words."""
        same = next(i for i in range(len(wanted)) if view[i] != wanted[i])
        offset = self.position + same
        rest = bytes(view[same:])
        place = f"at offset {offset} of {self.wanted}"
        if len(rest) > 16:
            found = (_BLOCK + _BLOCK[:64]).find(rest[:32])
            if found >= 0:
                ahead = (found - self.start - offset) % PERIOD
                if ahead <= PERIOD // 2:
                    return f"{ahead} bytes are lost {place}"
                return f"{PERIOD - ahead} bytes are repeated {place}"
            here = min(len(rest), self.length - offset, CHUNK)
            differ = [i for i, (a, b) in enumerate(zip(rest, piece(self.start, offset, here))) if a != b]
            if here and len(differ) < here / 2:
                return f"{len(differ)} bytes between {differ[0]} and {differ[-1]} are changed {place}"
        return f"other bytes {place}: {rest[:16].hex()} instead of {bytes(wanted[same : same + 16]).hex()}"


_PLAN = struct.Struct("<4sQQQBQIIIII")
_MAGIC = b"soak"
HEADER = _PLAN.size + 4


@dataclass
class Plan:
    """What both ends of a tunnel do; the application sends it in front of its bytes."""

    tunnel: int
    up: int
    down: int
    end: int
    # After so many bytes of its own, who resets does.
    abort_at: int = 0
    # Bytes in a second; 0: as fast as may be.
    pace_up: int = 0
    pace_down: int = 0
    # Half-way the reader stops for so long: the backend's, the application's.
    stall_up: int = 0
    stall_down: int = 0
    chunk: int = CHUNK

    def encode(self):
        fields = (self.pace_up, self.pace_down, self.stall_up, self.stall_down, self.chunk)
        packed = _PLAN.pack(_MAGIC, self.tunnel, self.up, self.down, self.end, self.abort_at, *fields)
        return packed + struct.pack("<I", zlib.crc32(packed))

    @staticmethod
    def decode(data):
        if zlib.crc32(data[: _PLAN.size]) != struct.unpack("<I", data[_PLAN.size :])[0]:
            raise Corrupt(f"the first {HEADER} bytes are not a tunnel's: {data.hex()}")
        fields = _PLAN.unpack(data[: _PLAN.size])
        return Plan(*fields[1:])

    @property
    def seconds(self):
        """How long it takes at least."""
        lengths = [(self.up, self.pace_up), (self.down, self.pace_down)]
        return max(length / pace if pace else 0 for length, pace in lengths)


def draw(dice, tunnel, ends, settings, stalls):
    """A plan, by the throw of `dice`; `ends` are those that the tunnel's kind knows."""
    plan = Plan(tunnel, 0, 0, dice.choice(ends))
    sort = dice.random()
    if sort < 0.5:
        plan.up, plan.down = (int(2 ** dice.uniform(0, 16)) - 1 for _direction in range(2))
    elif sort < 0.8:
        plan.up, plan.down = (int(2 ** dice.uniform(12, 22)) for _direction in range(2))
    elif sort < 0.85:
        big = int(dice.uniform(0.2, 1) * settings["bulk"])
        plan.up, plan.down = dice.choice([(big, 1000), (1000, big), (big // 2, big // 2)])
    else:
        # Hundreds of these are open at a time, most of them silent most of the time.
        seconds = dice.uniform(0.2, 1) * settings["longest"]
        plan.pace_up, plan.pace_down = (int(2 ** dice.uniform(6, 14)) for _direction in range(2))
        plan.up, plan.down = int(plan.pace_up * seconds), int(plan.pace_down * seconds)
    if dice.random() < 0.3:
        plan.chunk = dice.choice([1 + dice.randrange(64), 1 + dice.randrange(1460), 16384, 16385])
        # Small pieces cost us more than the halves.
        most = plan.chunk * 2000
        plan.up, plan.down = min(plan.up, most), min(plan.down, most)
    if plan.end in (ABORT_APP, ABORT_BACKEND):
        plan.abort_at = dice.randrange(1 + (plan.up if plan.end == ABORT_APP else plan.down))
    elif stalls and dice.random() < settings["stalls"]:
        seconds = dice.uniform(0.02, 1) ** 2 * settings["longest_stall"]
        # Enough to fill every buffer on the way.
        if dice.random() < 0.5:
            plan.stall_up, plan.up, plan.pace_up = int(seconds * 1000), max(plan.up, settings["stalled"]), 0
        else:
            plan.stall_down, plan.down, plan.pace_down = int(seconds * 1000), max(plan.down, settings["stalled"]), 0
        plan.chunk = CHUNK
    return plan
