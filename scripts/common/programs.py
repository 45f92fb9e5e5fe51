"""Programs: ours, as cargo builds it, and those that Debian has."""

import argparse
import json
import os
import shutil
import subprocess
import sys

from .procs import ROOT, RunError, find_program


# Types for argparse, whose own messages would name the functions.


def positive(text):
    return whole(text, 1)


def whole(text, least=None):
    try:
        value = int(text)
    except ValueError:
        value = None
    if value is None or (least is not None and value < least):
        from_least = "" if least is None else f" from {least}"
        raise argparse.ArgumentTypeError(f"expected a whole number{from_least}, not {text!r}")
    return value


def program(text):
    """The path of a program of ours."""
    if not os.path.exists(text):
        raise argparse.ArgumentTypeError(f"{text}: no such program")
    if not os.path.isfile(text):
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    if not os.access(text, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text} is not executable")
    return os.path.abspath(text)


def build():
    """The release binary's path, as cargo reports it."""
    cargo = find_program("cargo")
    if not cargo:
        raise RunError("cargo is not installed; name a binary with --binary")
    command = [cargo, "build", "--release", "--bin", "obfs-rs", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        raise RunError("the release binary does not build; name one with --binary")
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    return [message["executable"] for message in messages if message.get("executable")][-1]


def sip003(remote, local, options):
    """The environment in which a host starts a plugin."""
    return {
        "SS_REMOTE_HOST": remote[0],
        "SS_REMOTE_PORT": str(remote[1]),
        "SS_LOCAL_HOST": local[0],
        "SS_LOCAL_PORT": str(local[1]),
        "SS_PLUGIN_OPTIONS": options,
    }


def install(packages):
    """Installs with apt-get when we are root or sudo asks for no password.

    Returns what is still missing: the caller names it and goes on without.
    """
    apt, sudo = find_program("apt-get"), find_program("sudo")
    if os.geteuid() == 0:
        prefix = []
    elif sudo and subprocess.run([sudo, "-n", "true"], capture_output=True).returncode == 0:
        prefix = [sudo, "-n"]
    else:
        return packages
    if not apt:
        return packages
    print(f"installing {' '.join(packages)}", file=sys.stderr)
    command = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", apt, "-qq"]
    done = subprocess.run([*command, "install", "-y", "--no-install-recommends", *packages], stdout=sys.stderr, timeout=900)
    return packages if done.returncode else []


def versions(packages):
    """Installed versions, so that a published table can be repeated."""
    query = shutil.which("dpkg-query")
    if not query:
        return {}
    listed = subprocess.run(
        [query, "-W", "-f", "${Package} ${Version}\n", *packages], capture_output=True, text=True, timeout=30
    )
    return dict(line.split(" ", 1) for line in listed.stdout.splitlines() if not line.endswith(" "))
