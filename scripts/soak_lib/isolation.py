"""Namespaces that end with this run, however it ends, and so does every process in them."""

import ctypes
import os
import signal
import sys
import traceback

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNS, _NEWPID, _NEWNET = 0x00020000, 0x20000000, 0x40000000
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG = 1
# What asks us to end.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _call(name, *arguments):
    if getattr(_LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def mount(kind, where, options=""):
    _call("mount", kind.encode(), where.encode(), kind.encode(), 0, options.encode())


def unmount(where):
    _LIBC.umount2(where.encode(), _MNT_DETACH)


def hear(handler):
    """Has this called when we are to end, but for what is ignored (nohup has the hang-up)."""
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def alone(body):
    """Runs `body` as the first process of namespaces of its own (processes, mounts, network); its exit code.

    When the first process of such a namespace ends, the kernel ends all others: nothing is left behind
    even if all of this is killed. Signals that ask us to end are handed on.
    """
    _call("unshare", _NEWPID)
    # None is lost, and none ends the one without the other, before they are handed on.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            # A terminal's Ctrl-C is handed on, too, and need not come twice.
            os.setsid()
            _call("unshare", _NEWNS | _NEWNET)
            _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
            mount("proc", "/proc")
            status = body()
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            else:
                status = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    hear(lambda number, _frame: os.kill(pid, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    while True:
        _pid, status = os.waitpid(pid, 0)
        # What is left to do is short, and nobody is there to be told.
        hear(signal.SIG_IGN)
        return os.waitstatus_to_exitcode(status)
