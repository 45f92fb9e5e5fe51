"""Packages, each made by a program of its own beside this file, of files that are built here."""

import json
import os
from pathlib import Path

from . import papers
from .build import Builder
from .targets import GNU, Target, find
from .tools import Missing, debian, say

# Each with what it is made with: program (or file) and its Debian package.
PACKAGES: dict[str, dict[str, str]] = {
    "deb": {"dpkg-deb": "dpkg", "objdump": "binutils"},
    "image": {"buildah": "buildah", "readelf": "binutils", "/etc/ssl/certs/ca-certificates.crt": "ca-certificates"},
    "apk": {
        "aapt": "aapt",
        "zipalign": "zipalign",
        "apksigner": "apksigner",
        "readelf": "binutils",
        "keytool": "default-jre-headless",
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
# Those of the image that has ssserver, too.
WHOLE_SERVERS = ["amd64", "arm64"]
ABIS = {"arm64-v8a": "android-arm64", "armeabi-v7a": "android-arm7", "x86_64": "android-amd64"}


# Of the environment, what would change a build.
BUILD_SETTINGS = ("CARGO_PROFILE_", "CARGO_BUILD_", "CARGO_TARGET_", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "CFLAGS", "CXXFLAGS")


def version(root: Path) -> str:
    """That of Cargo.toml."""
    lines = (root / "Cargo.toml").read_text(encoding="utf-8").splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("version"))


def check(wanted: list[str]) -> None:
    """Makes sure of the tools, and of the APK's key, before anything is built, which takes long."""
    if "apk" in wanted and (keystore := os.environ.get("OBFS_RS_KEYSTORE")):
        # (what is no name of a file may be the key itself, and is not to be shown)
        if not Path(keystore).is_file():
            raise Missing("apk: OBFS_RS_KEYSTORE names no file that is there")
        if not os.environ.get("OBFS_RS_KEYSTORE_PASS"):
            raise Missing("apk: OBFS_RS_KEYSTORE_PASS is not set")
    debian({program: package for name in wanted for program, package in PACKAGES[name].items()})


def programs(package: str) -> list[Target]:
    """The targets whose programs are in a package."""
    if package == "deb":
        return list(GNU.values())
    return [find(name)[0] for name in (IMAGES if package == "image" else ABIS).values()]


def make(package: str, builder: Builder, work: Path) -> list[Path]:
    """Makes the files of a package."""
    say(f"making {package}")
    out = work / package
    out.mkdir()
    if package == "deb":
        for arch, target in GNU.items():
            licences = {"LICENSES": str(_licences(builder, work, target))}
            _run("deb", [arch, str(builder.build(target)), str(out)], builder, licences)
    elif package == "image":
        _images(builder, work, out)
    else:
        licences = {"OBFS_RS_LICENSES": str(_licences(builder, work, find("android-arm64")[-1]))}
        _run("apk", [str(out), *(f"{abi}={_built(name, builder)}" for abi, name in ABIS.items())], builder, licences)
    made = sorted(path for path in out.iterdir() if path.is_file())
    if not made:
        raise Missing(f"{package}: nothing was made")
    return made


def _images(builder: Builder, work: Path, out: Path) -> None:
    """That of obfs-rs alone, and for fewer processors that of a whole server."""
    programs = [f"{arch}={_built(name, builder)}" for arch, name in IMAGES.items()]
    triples = {arch: find(IMAGES[arch])[0].triple for arch in WHOLE_SERVERS}
    # (kept, like all that takes minutes to build)
    kept = builder.folder.parent / "ssserver"
    zig = builder.tools.zig()
    env = {"PATH": f"{zig}:/usr/bin:/bin", "RUSTC": "/usr/bin/rustc", "CARGO": "/usr/bin/cargo"}
    _run("ssserver", [str(kept), *triples.values()], builder, env)
    for triple in triples.values():
        builder.check_paths(kept / triple / "ssserver")
    programs += [f"ssserver:{arch}={kept / triple / 'ssserver'}" for arch, triple in triples.items()]
    target = find("linux-amd64")[0]
    crates = json.loads((kept / target.triple / "crates.json").read_text(encoding="utf-8"))
    of_ssserver = work / "licences-ssserver.txt"
    of_ssserver.write_text(papers.licences_of("ssserver", papers.linked(crates), target), encoding="utf-8")
    texts = {"OBFS_RS_LICENSES": str(_licences(builder, work, target)), "SSSERVER_LICENSES": str(of_ssserver)}
    _run("image", [str(out), *programs], builder, texts)


def _licences(builder: Builder, work: Path, target: Target) -> Path:
    """A file with the licences of what the packages of this target are made of."""
    out = work / f"licences-{target.name}.txt"
    out.write_text(papers.licences(builder.tools, builder.root, builder, target), encoding="utf-8")
    return out


def _built(name: str, builder: Builder) -> Path:
    return builder.build(find(name)[0])


def _run(packager: str, args: list[str], builder: Builder, more: dict[str, str] | None = None) -> None:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(BUILD_SETTINGS)}
    env = {**plain, **(more or {}), "SOURCE_DATE_EPOCH": str(builder.epoch)}
    program = builder.root / "scripts/release_lib" / packager
    if builder.groups.run([str(program), *args], builder.root, env) != 0:
        raise Missing(f"{packager}: the package was not made")
