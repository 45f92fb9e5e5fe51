"""One end of a tunnel: an application's or a backend's."""

import asyncio
import socket

from .stream import ABORT_APP, ABORT_BACKEND, ACK, ACKED, CHUNK, DOWN, HALF_UP, UP, Check, Corrupt
from .stream import piece, start_of
from .worker import now, reset, tell


# So long before it is given up, a tunnel that makes no progress is looked at.
LOOK = 5


class Ended(Exception):
    """The connection ended before it was time."""


class Weather:
    """What the whole process goes by."""

    # Resets wait for good weather: one that the network loses leaves a connection behind that nobody can know of.
    calm = None
    # Near the end nobody dawdles any more.
    hurry = False

    @classmethod
    async def wait(cls):
        await cls.calm.wait()


class End:
    """A socket, its plan, and what has been seen of it."""

    def __init__(self, sock, plan, role, bucket, fault=None):
        self.sock, self.plan, self.role, self.bucket, self.fault = sock, plan, role, bucket, fault
        self.loop = asyncio.get_running_loop()
        mine, theirs = (UP, DOWN) if role == "app" else (DOWN, UP)
        lengths = {UP: plan.up, DOWN: plan.down}
        tail = ACK if role == "app" and plan.end == ACKED else b""
        self.length = lengths[mine]
        self.start = start_of(plan.tunnel, mine)
        self.check = Check(plan.tunnel, theirs, lengths[theirs], tail)
        self.pace = plan.pace_up if role == "app" else plan.pace_down
        self.stall = (plan.stall_down if role == "app" else plan.stall_up) / 1000
        self.sent = self.tried = 0
        # Both ends reading and writing count as progress.
        self.progress = now()
        self.stalled_until = 0.0
        # What was odd, but lost nothing.
        self.note = ""

    async def send_to(self, limit):
        """Sends the stream up to `limit`."""
        size = min(self.plan.chunk, CHUNK)
        while self.sent < limit:
            pace = 0 if Weather.hurry else self.pace
            count = min(size, limit - self.sent)
            if pace:
                count = min(count, max(1, pace // 4))
            data = piece(self.start, self.sent, count)
            if self.fault:
                data = self.fault(data)
                if data is None:
                    await asyncio.Future()
            await self.bucket.take(count)
            # The other end may have had a part of what could not be sent whole.
            self.tried = self.sent + count
            await self.write(data)
            self.sent += count
            self.progress = now()
            if pace:
                await asyncio.sleep(count / pace)

    async def write(self, data):
        try:
            await self.loop.sock_sendall(self.sock, data)
        except OSError as error:
            raise Ended(f"reset while writing ({error.strerror})") from None

    async def read(self, limit=CHUNK):
        """What comes next; nothing at the end."""
        try:
            data = await self.loop.sock_recv(self.sock, limit)
        except OSError as error:
            raise Ended(f"reset ({error.strerror})") from None
        self.progress = now()
        return data

    async def receive(self, to_end):
        """Takes the other's stream, and its end where that is planned."""
        half = self.check.length // 2 if self.stall else None
        while True:
            if half is not None and self.check.position >= half:
                half = None
                await self.dawdle(self.stall)
            if not to_end and self.check.whole():
                return
            data = await self.read()
            if not data:
                if self.check.whole():
                    return
                raise Ended(f"end after {self.check.position} of {self.check.wanted} bytes")
            self.check.feed(data)

    async def dawdle(self, seconds):
        self.stalled_until = now() + seconds
        while now() < self.stalled_until and not Weather.hurry:
            await asyncio.sleep(min(0.5, seconds))
        self.stalled_until = 0.0
        self.progress = now()

    def half_close(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Ended(f"reset before the half-close ({error.strerror})") from None

    async def go(self):
        """Does what the plan says; raises what goes wrong."""
        role, end = self.role, self.plan.end
        if end in (ABORT_APP, ABORT_BACKEND):
            await (self.abort() if (end == ABORT_APP) == (role == "app") else self.until_aborted())
        elif end == ACKED:
            await together(self.send_to(self.length), self.receive(to_end=False))
            if role == "backend":
                await self.write(ACK)
                await self.last_end()
        elif (end == HALF_UP) == (role == "app"):
            await together(self.send_and_half_close(), self.receive(to_end=True))
        else:
            # The other half-closes; half of ours goes behind that.
            await together(self.send_to(self.length // 2), self.receive(to_end=True))
            await self.send_to(self.length)

    async def last_end(self):
        """The other's end, when both have everything."""
        try:
            if await self.read():
                raise Corrupt("bytes behind the last one")
        except Ended as error:
            self.note = str(error)

    async def send_and_half_close(self):
        await self.send_to(self.length)
        self.half_close()

    async def abort(self):
        receiving = asyncio.ensure_future(self.receive(to_end=True))
        try:
            await self.send_to(self.plan.abort_at)
            await Weather.wait()
        finally:
            # Before the socket is closed: the event loop is to forget it first.
            await finish(receiving)
        reset(self.sock)

    async def until_aborted(self):
        """Sends and receives until the other's reset, which may come as an end."""
        sending = asyncio.ensure_future(self.send_to(self.length))
        try:
            while data := await self.read():
                self.check.feed(data)
        except Ended:
            pass
        finally:
            await finish(sending)


async def together(*coroutines):
    """All of them; the first that fails ends the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            await finish(task)


async def finish(task):
    """Ends a task whose result nobody wants but where it has found something corrupt."""
    task.cancel()
    try:
        await task
    except (asyncio.CancelledError, Ended):
        pass
    except OSError:
        pass


class Watch:
    """Ends whatever makes no progress."""

    def __init__(self, patience):
        self.patience = patience
        self.ends = {}

    def hold(self, end, task, report):
        self.ends[end] = task, report

    def drop(self, end):
        self.ends.pop(end, None)

    async def look(self):
        while True:
            await asyncio.sleep(1)
            moment = now()
            for end, (task, report) in list(self.ends.items()):
                still = moment - max(end.progress, end.stalled_until)
                if still > self.patience:
                    end.hung = True
                    task.cancel()
                elif still > self.patience - LOOK and not end.looked_at:
                    self.tell_stuck(end, report)

    def tell_stuck(self, end, report):
        """While its sockets are there."""
        end.looked_at = True
        try:
            addresses = f"{end.sock.getsockname()} {end.sock.getpeername()}"
        except OSError as error:
            addresses = error.strerror
        tell(
            what="stuck",
            tunnel=end.plan.tunnel,
            role=end.role,
            plan=vars(end.plan),
            sent=end.sent,
            received=end.check.position,
            addresses=addresses,
            moved=end.progress,
            **report,
        )


async def run(end, watch, report):
    """Goes through a plan and tells how it went."""
    end.hung = end.looked_at = False
    began = now()
    watch.hold(end, asyncio.current_task(), report)
    result, detail = "whole", ""
    try:
        await end.go()
    except Corrupt as error:
        result, detail = "corrupt", str(error)
    except Ended as error:
        result, detail = "early", str(error)
    except asyncio.CancelledError:
        result, detail = "hung", f"nothing moved for {watch.patience} s"
        if not end.hung:
            result, detail = "cut", "the backend was restarted"
    finally:
        watch.drop(end)
        if result == "whole":
            end.sock.close()
        else:
            reset(end.sock)
    tell(
        what="tunnel",
        tunnel=end.plan.tunnel,
        role=end.role,
        began=report.get("began", began),
        ended=now(),
        plan=vars(end.plan),
        sent=end.sent,
        tried=end.tried,
        received=end.check.position,
        result=result,
        detail=detail or end.note,
        **{key: value for key, value in report.items() if key != "began"},
    )
