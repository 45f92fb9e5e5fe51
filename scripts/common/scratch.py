"""The folder for a run's temporary files."""

import fcntl
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress


@contextmanager
def folder(name):
    """A folder NAME-PID-… among the temporary files, which is gone at the end.

    What runs that were killed have left there is cleared first.
    """
    clear(name)
    path = tempfile.mkdtemp(prefix=f"{name}-{os.getpid()}-")
    lock = os.open(path, os.O_RDONLY)
    try:
        # The kernel gives it up however we end. (Some network file systems have none: there the folder is not cleared.)
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def clear(name):
    pattern = re.compile(rf"{re.escape(name)}-(\d+)-\w+")
    with os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            match = pattern.fullmatch(entry.name)
            if match and is_left(entry, match[1]):
                shutil.rmtree(entry.path, ignore_errors=True)
                print(f"cleared {entry.path}, which a killed run has left", file=sys.stderr)


def is_left(entry, pid):
    """Whether it is ours and nobody uses it: its process has gone, and holds no lock from another pid namespace."""
    # (The lock alone would not do: a folder is made a moment before it is locked.)
    if os.path.exists(f"/proc/{pid}"):
        return False
    try:
        if not entry.is_dir(follow_symlinks=False) or entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            return False
        file = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(file)
