"""Builds the program for a target, with a C library and a linker of zig's and a standard library from source."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path

from .targets import SMALL_FEATURES, Target
from .tools import ZIG, Missing, Tools, output, say

# Where the builder's folders are in what is built.
SOURCE, CRATES, RUST = "/obfs-rs", "/crates", "/rust"

# Of the environment: where things are, and how the registry is reached.
KEPT = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "TMPDIR", "CARGO_BUILD_JOBS", "SSL_CERT_FILE", "SSL_CERT_DIR"]
KEPT += [name for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY") for name in (proxy, proxy.lower())]
KEPT += [name for name in os.environ if name.startswith(("CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTRIES_"))]

QUICK = {"LTO": "off", "OPT_LEVEL": "1", "CODEGEN_UNITS": "16"}
SMALL = {"OPT_LEVEL": "z"}


# So many are built at a time. To link one as a whole takes minutes of one core, in which another is compiled.
LANES = 2

# How long a command may take to end when it is told to, in seconds.
TIDYING = 3


class Builder:
    """Builds in one folder, as one kind: whole or small, as it is released or quickly."""

    def __init__(self, root: Path, tools: Tools, *, small: bool, quick: bool, commit: str, epoch: int) -> None:
        self.root = root
        self.tools = tools
        self.small = small
        self.quick = quick
        self.commit = commit
        self.epoch = epoch
        kind = "-".join(["small"] * small + ["quick"] * quick) or "whole"
        # (cargo does not know by which zig the C of a dependency was compiled)
        self.folder = tools.folder.parent / "release-build" / f"{kind}-zig-{ZIG}"
        self._lanes = [ThreadPoolExecutor(1) for _ in range(LANES)]
        self._waiting = [0] * LANES
        self._programs: dict[str, Future[Path]] = {}
        self.groups = Groups()

    def __enter__(self) -> "Builder":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Missing(f"another run makes files in {self.folder}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what is still built."""
        for lane in self._lanes:
            lane.shutdown(wait=False, cancel_futures=True)
        self.groups.end()
        for lane in self._lanes:
            lane.shutdown()
        self._lock.close()

    def features(self, target: Target) -> list[str]:
        """What cargo is told of features."""
        if self.small:
            features = list(SMALL_FEATURES)
        elif target.without:
            features = [feature for feature in self._default_features() if feature not in target.without]
        else:
            return []
        return ["--no-default-features", "--features", ",".join(features)]

    def _default_features(self) -> list[str]:
        with (self.root / "Cargo.toml").open("rb") as file:
            return tomllib.load(file)["features"]["default"]

    def begin(self, target: Target) -> "Future[Path]":
        """Has the program for this target built, if it is not yet, beside those of other lanes."""
        name = target.triple + target.libc
        if name not in self._programs:
            lane = self._lane(target)
            self._waiting[lane] += 1
            self._programs[name] = self._lanes[lane].submit(self._build, target, self.folder / f"lane-{lane}")
        return self._programs[name]

    def _lane(self, target: Target) -> int:
        """The one that has what was built of it before, or else the one with less to do."""
        built = (lane for lane in range(LANES) if (self.folder / f"lane-{lane}" / target.triple).is_dir())
        return next(built, self._waiting.index(min(self._waiting)))

    def build(self, target: Target) -> Path:
        """The program for this target. Where another cannot be built meanwhile, it is not waited for."""
        mine = self.begin(target)
        while True:
            done = [program for program in self._programs.values() if program.done()]
            for program in done:
                program.result()
            if mine in done:
                return mine.result()
            wait([program for program in self._programs.values() if program not in done], return_when=FIRST_COMPLETED)

    def _build(self, target: Target, folder: Path) -> Path:
        say(f"building for {target.triple}{' (small)' if self.small else ''}")
        folder.mkdir(parents=True, exist_ok=True)
        command, env = self._for_macos(target) if target.system == "darwin" else self._with_zig(target, folder)
        if self.groups.run(command, self.root, env | {"CARGO_TARGET_DIR": str(folder)}) != 0:
            raise Missing(f"{target.name}: cargo could not build it")
        suffix = ".exe" if target.system == "windows" else ""
        program = folder / target.triple / "release" / f"obfs-rs{suffix}"
        self.check_paths(program)
        return program

    def check_paths(self, program: Path) -> None:
        """Makes sure that a file says nothing of the machine that it was built on."""
        content = program.read_bytes()
        for path in {str(self.root), str(Path.home()), str(self.folder), cargo_home()} - {"/"}:
            # (the end of another path is none)
            if re.search(rb"(?<![\w./-])" + re.escape(path.encode()) + rb"/", content):
                raise Missing(f"{program.name} names a folder of this machine: {path}")

    def _with_zig(self, target: Target, folder: Path) -> tuple[list[str], dict[str, str]]:
        zig = self.tools.zig()
        link = list(target.link)
        if target.system == "windows":
            link += ["-L", f"native={self._stack_protector(zig, folder / 'windows')}"]
        std = ["-Zbuild-std=std,panic_unwind"]
        if self.small:
            std.append("-Zbuild-std-features=optimize_for_size")
        command = [
            str(zig / "cargo-zigbuild"), "rustc", "--release", "--locked", "--bin", "obfs-rs", *self.features(target), *std,
            "--target", target.triple + target.libc, "--", *link,
        ]
        env = {
            "PATH": f"{zig}:/usr/bin:/bin",
            "RUSTC": "/usr/bin/rustc",
            "CARGO": "/usr/bin/cargo",
            # For -Zbuild-std.
            "RUSTC_BOOTSTRAP": "1",
            # Where the allocator looks for atomics of 64 bits on ARM: zig links what it needs of them without being asked.
            "DEP_ATOMIC": "c",
        }
        return command, self._env(target) | env

    def _for_macos(self, target: Target) -> tuple[list[str], dict[str, str]]:
        if sys.platform != "darwin":
            raise Missing(f"{target.name} is built on macOS alone, with the toolchain that rustup has there")
        subprocess.run(["rustup", "target", "add", target.triple], check=True)
        command = ["cargo", "build", "--release", "--locked", "--bin", "obfs-rs", *self.features(target), "--target", target.triple]
        return command, self._env(target) | {"PATH": os.environ["PATH"], "MACOSX_DEPLOYMENT_TARGET": "11.0"}

    def _env(self, target: Target) -> dict[str, str]:
        remap = self._remap()
        flags = " ".join([target.flags, *(f"--remap-path-prefix={old}={new}" for old, new in remap)])
        # The C and the assembler of dependencies. The time goes by flags: zig keeps what it has compiled, and takes it again where
        # all that it was told is the same, whatever SOURCE_DATE_EPOCH says then.
        time_told = datetime.fromtimestamp(self.epoch, UTC)
        cflags = " ".join([
            *(f"-ffile-prefix-map={old}={new}" for old, new in remap),
            "-Wno-builtin-macro-redefined",
            f'-D__DATE__="{time_told:%Y-%m-%d}"',
            f'-D__TIME__="{time_told:%H:%M:%S}"',
        ])
        env = {name: os.environ[name] for name in KEPT if name in os.environ}
        return env | {
            "RUSTFLAGS": flags,
            f"CFLAGS_{target.triple.replace('-', '_')}": cflags,
            "SOURCE_DATE_EPOCH": str(self.epoch),
            "OBFS_RS_COMMIT": self.commit,
        } | self.profile()

    def profile(self) -> dict[str, str]:
        """The profile's settings as cargo reads them from the environment."""
        settings = (SMALL if self.small else {}) | (QUICK if self.quick else {})
        return {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in settings.items()}

    def _remap(self) -> list[tuple[str, str]]:
        """The builder's folders, the longest last: the last that fits counts."""
        library = Path("/usr/lib/rustlib/src/rust")
        rust = {(str(library), RUST), (str(library.resolve()), RUST)}
        return sorted([(str(self.root), SOURCE), (cargo_home(), CRATES), *rust], key=lambda pair: len(pair[0]))

    def _stack_protector(self, zig: Path, folder: Path) -> Path:
        """An empty library that zig's linker asks for on Windows, and has not."""
        folder.mkdir(parents=True, exist_ok=True)
        library = folder / "libssp_nonshared.a"
        if not library.exists():
            fresh = library.with_suffix(".new")
            if self.groups.run([str(zig / "python-zig"), "ar", "rcs", str(fresh)], self.root, dict(os.environ)) != 0:
                raise Missing(f"{fresh}: zig could not make it")
            fresh.rename(library)
        return folder


class Groups:
    """Commands that are run each in a group of its own, which ends with it: cargo leaves its compilers behind when it is
    killed alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._ended = False

    def run(self, command: list[str], folder: Path, env: dict[str, str]) -> int:
        """Runs one to its end, or to that of all."""
        with self._lock:
            if self._ended:
                return -signal.SIGKILL
            process = subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, start_new_session=True)
            self._running.add(process.pid)
        try:
            return process.wait()
        finally:
            with self._lock:
                self._running.discard(process.pid)
                _signal(process.pid, signal.SIGKILL)
            process.wait()

    def end(self) -> None:
        """Ends those that run, and lets no other begin. They have time to tidy up."""
        self._ended = True
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with self._lock:
                for group in self._running:
                    _signal(group, kind)
            until = time.monotonic() + TIDYING
            while self._running and time.monotonic() < until:
                time.sleep(0.05)


def _signal(group: int, kind: signal.Signals) -> None:
    """Signals a group, of which nobody may be left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, kind)


def check_cargo_config(root: Path) -> None:
    """Makes sure that nobody's settings of cargo change what is built. (Where crates come from may be set there.)"""
    places = [Path(cargo_home()), *(folder / ".cargo" for folder in [root, *root.parents])]
    for path in [place / name for place in places for name in ("config.toml", "config")]:
        if path.is_file():
            settings = tomllib.loads(path.read_text(encoding="utf-8"))
            odd = [name for name in ("profile", "target", "env", "unstable", "patch") if name in settings]
            if odd:
                raise Missing(f"{path} changes what is built, by [{'], ['.join(odd)}]; a release is built without it")


def cargo_home() -> str:
    """Where cargo keeps the crates."""
    return os.path.normpath(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")


def commit(root: Path) -> str:
    """The commit that is built. Changes that are not committed are told."""
    short = output(["git", "rev-parse", "--short=12", "HEAD"], cwd=root)
    changed = output(["git", "status", "--porcelain", "--untracked-files=no"], cwd=root)
    return f"{short}-modified" if changed else short


def epoch(root: Path) -> int:
    """The time that all files have: that of the commit, unless it is set."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    # (a ZIP ends in 2107)
    if given and not (re.fullmatch("[0-9]{1,10}", given) and int(given) < 4_354_819_200):
        raise Missing(f"SOURCE_DATE_EPOCH is no number of seconds since 1970: {given}")
    return int(given) if given else int(output(["git", "log", "-1", "--format=%ct"], cwd=root))
