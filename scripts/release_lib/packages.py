"""Packages, each made by a program of its own beside this file, of files that are built here."""

import os
import subprocess
from pathlib import Path

from .build import Builder
from .targets import GNU, find
from .tools import Missing, debian, say

# Each with what it is made with: program (or file) and its Debian package.
PACKAGES: dict[str, dict[str, str]] = {
    "deb": {"dpkg-deb": "dpkg", "dh": "debhelper", "lintian": "lintian", "fakeroot": "fakeroot"},
    "image": {"buildah": "buildah", "skopeo": "skopeo"},
    "apk": {
        "aapt": "aapt",
        "zipalign": "zipalign",
        "apksigner": "apksigner",
        "/usr/share/android-framework-res/framework-res.apk": "android-framework-res",
    },
}

# The architectures as each kind of package names them.
IMAGES = {
    "amd64": "linux-amd64",
    "386": "linux-386",
    "arm64": "linux-arm64",
    "arm/v7": "linux-arm7",
    "riscv64": "linux-riscv64",
}
ABIS = {"arm64-v8a": "android-arm64", "armeabi-v7a": "android-arm7", "x86_64": "android-amd64"}


def version(root: Path) -> str:
    """That of Cargo.toml."""
    lines = (root / "Cargo.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version"))


def check(wanted: list[str]) -> None:
    """Makes sure of the tools before anything is built, which takes long."""
    for package in wanted:
        debian(PACKAGES[package])


def make(package: str, builder: Builder, work: Path) -> list[Path]:
    """Makes the files of a package."""
    say(f"making {package}")
    out = work / package
    out.mkdir()
    if package == "deb":
        for arch, target in GNU.items():
            _run("deb", [arch, str(builder.build(target)), str(out)], builder)
    elif package == "image":
        _run("image", [str(out), *(f"{arch}={_built(name, builder)}" for arch, name in IMAGES.items())], builder)
    else:
        _run("apk", [str(out), *(f"{abi}={_built(name, builder)}" for abi, name in ABIS.items())], builder)
    made = sorted(path for path in out.iterdir() if path.is_file())
    if not made:
        raise Missing(f"{package}: nothing was made")
    return made


def _built(name: str, builder: Builder) -> Path:
    return builder.build(find(name)[0])


def _run(packager: str, args: list[str], builder: Builder) -> None:
    env = {**os.environ, "SOURCE_DATE_EPOCH": str(builder.epoch)}
    program = builder.root / "scripts/release_lib" / packager
    if subprocess.run([str(program), *args], env=env, cwd=builder.root, stdin=subprocess.DEVNULL).returncode != 0:
        raise Missing(f"{packager}: the package was not made")
