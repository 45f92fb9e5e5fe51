"""What the builds need, of which versions, and where each comes from."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .targets import Target

ROOT = Path(__file__).resolve().parent.parent.parent

# (those of zig.txt)
ZIG = "0.17.1"
ZIGBUILD = "0.24.1"
CYCLONEDX = "0.5.9"

# A current Rust with the source of its standard library, for targets that no toolchain has one for.
RUST = {"/usr/bin/rustc": "rustc-web", "/usr/bin/cargo": "cargo-web", "/usr/lib/rustlib/src/rust/library": "rust-web-src"}


class Missing(Exception):
    """A tool that is not there and cannot be installed here."""


def say(text: str) -> None:
    # (at once: others say something, too)
    sys.stderr.write(f"scripts/release: {text}\n")
    sys.stderr.flush()


def _may_install() -> list[str] | None:
    """How Debian packages are installed here, if they may be."""
    if not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0:
        return ["sudo", "-n"]
    return None


def debian(programs: dict[str, str]) -> None:
    """Sees to it that each program (or file) is there, from its Debian package."""
    def missing() -> dict[str, str]:
        return {p: pkg for p, pkg in programs.items() if not (Path(p).exists() if "/" in p else shutil.which(p))}

    lacking = missing()
    if not lacking:
        return
    packages = sorted(set(lacking.values()))
    as_root = _may_install()
    if as_root is not None:
        say(f"installing {' '.join(packages)}")
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = [*as_root, "apt-get"]
        subprocess.run([*apt, "update", "-qq"], env=env, check=False, stdin=subprocess.DEVNULL)
        subprocess.run(
            [*apt, "install", "-y", "-qq", "--no-install-recommends", *packages],
            env=env, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        )
        lacking = missing()
    if lacking:
        told = ", ".join(f"{program} (Debian package {package})" for program, package in sorted(lacking.items()))
        raise Missing(f"missing: {told}")


class Tools:
    """The tools of one release, in a folder of their own that later ones find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rust(self) -> None:
        """On macOS rustup's is taken, with which it is for cargo to say what is missing."""
        if sys.platform == "darwin":
            return
        debian({**RUST, "git": "git", "cc": "gcc", "/usr/include/stdlib.h": "libc6-dev"})
        version = output(["/usr/bin/rustc", "--version"])
        wanted = next(
            line.split('"')[1] for line in (ROOT / "Cargo.toml").read_text(encoding="utf-8").splitlines() if line.startswith("rust-version")
        )
        number = tuple(int(part) for part in version.split()[1].split("-")[0].split("."))
        if number < tuple(int(part) for part in wanted.split(".")):
            raise Missing(f"missing: Rust {wanted} or newer in /usr/bin (Debian package rustc-web, of the security updates); there is {version}")

    def versions(self, target: Target) -> dict[str, str]:
        """What a program was built with."""
        if target.system == "darwin":
            return {"rustc": output(["rustc", "--version"])}
        return {"rustc": output(["/usr/bin/rustc", "--version"]), "zig": ZIG, "cargo-zigbuild": ZIGBUILD}

    def zig(self) -> Path:
        """The folder of zig's and cargo-zigbuild's programs."""
        venv = self.folder / f"zig-{ZIG}-{ZIGBUILD}"
        whole = venv / "whole"
        if not whole.exists():
            say(f"installing zig {ZIG} and cargo-zigbuild {ZIGBUILD}")
            if not has_venv():
                debian({"/usr/share/doc/python3-venv": "python3-venv"})
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(venv)], check=True)
            packages = [f"ziglang=={ZIG}", f"cargo-zigbuild=={ZIGBUILD}"]
            pinned = Path(__file__).with_name("zig.txt")
            assert all(f"{package} " in pinned.read_text(encoding="utf-8") for package in packages)
            options = ["-q", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:", "-r", str(pinned)]
            pip = [str(venv / "bin/python"), "-m", "pip", "install", *options]
            if subprocess.run(pip, stdin=subprocess.DEVNULL).returncode != 0:
                raise Missing(f"missing: {' and '.join(packages)} (Python packages, which pip could not install)")
            whole.touch()
        return venv / "bin"

    def crate(self, name: str, version: str) -> Path:
        """The program of a crate, built once."""
        root = self.folder / f"{name}-{version}"
        program = root / "bin" / name
        if not program.exists():
            say(f"building {name} {version}")
            # Not optimised: that would take longer than it saves.
            command = ["cargo", "install", "--quiet", "--locked", "--debug", "--root", str(root), f"{name}@{version}"]
            if subprocess.run(command, stdin=subprocess.DEVNULL, env=crate_env(self.folder)).returncode != 0:
                raise Missing(f"missing: the crate {name} {version}, which cargo could not install")
        return program


def has_venv() -> bool:
    """Debian's python3 has none of its own."""
    return subprocess.run([sys.executable, "-c", "import ensurepip, venv"], capture_output=True).returncode == 0


def crate_env(folder: Path) -> dict[str, str]:
    """The environment in which tools of this machine are built: nothing of the release's is for them."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("CARGO_PROFILE_")}
    return {**env, "CARGO_TARGET_DIR": str(folder / "build")}


def output(command: list[str], **more: object) -> str:
    """What a command prints, without its last line end."""
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout.strip()  # type: ignore[call-overload]
