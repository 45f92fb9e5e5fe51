"""What goes with a program: what it is made of (SBOM), and the licences of that."""

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from .build import Builder
from .targets import Target
from .tools import CYCLONEDX, ROOT, Missing, Tools, output


# The texts, and the files that they lead to.
DOCUMENTS = [":(glob)*.md", "LICENSE-*", "docs", "deploy", ":(glob)packaging/*/README.md"]
DOCUMENTS += ["packaging/container/config.json", "packaging/debian/obfs-rs/README.Debian"]


def documents(root: Path, folder: Path, target: Target) -> None:
    """The texts; where they are of use, manual pages and completions, in folders of their own."""
    for name in output(["git", "ls-files", "-z", "--", *DOCUMENTS], cwd=root).strip("\0").split("\0"):
        path = Path(name)
        if path.parts[:2] in (("docs", "man"), ("docs", "completions")):
            if target.system != "linux":
                continue
            path = path.relative_to("docs")
        to = folder / path
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / name, to)


def licences(tools: Tools, root: Path, builder: Builder, target: Target) -> str:
    """The licences of all that is in the program.

    (cargo-about does this, too; it compares each text with all that there are, which takes minutes a target.)
    """
    of_crates = licences_of("obfs-rs", _packages(root, builder, target), target)
    return of_crates + _of_the_toolchain(tools, target)


def licences_of(program: str, packages: list[dict[str, Any]], target: Target) -> str:
    """The texts that the crates of a program have, each once, with those that have it."""
    holders: dict[str, list[str]] = {}
    without = []
    for package in packages:
        crate = f"{package['name']} {package['version']} ({package['license']})"
        files = _licence_files(Path(package["manifest_path"]).parent)
        if not files:
            without.append(crate)
        for file in files:
            holders.setdefault(file.read_text(encoding="utf-8", errors="replace").strip(), []).append(crate)
    parts = [f"{program} for {target.triple} is made of what stands here, each under the licence below its name.\n\n"]
    if without:
        parts.append(f"Without a text of their own, under the same licences: {', '.join(without)}.\n\n")
    for text, crates in holders.items():
        parts.append(_section(", ".join(crates), text))
    return "".join(parts)


def _packages(root: Path, builder: Builder, target: Target) -> list[dict[str, Any]]:
    """The crates that are in the program, each once."""
    cargo = "cargo" if target.system == "darwin" else "/usr/bin/cargo"
    command = [
        cargo, "metadata", "--format-version", "1", "--locked", "--filter-platform", target.triple,
        *builder.features(target),
    ]
    return linked(json.loads(output(command, cwd=root, env=_cargo_env())))


def linked(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    """Of what cargo says of dependencies: what is in the program, the program itself among it."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    reached: set[str] = set()
    todo = [metadata["resolve"]["root"]]
    while todo:
        package = todo.pop()
        if package not in reached:
            reached.add(package)
            # What is for builds and tests alone is not in it.
            todo += [
                dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])
            ]
    return sorted((p for p in metadata["packages"] if p["id"] in reached), key=lambda p: (p["name"], p["version"]))


def _licence_files(folder: Path) -> list[Path]:
    names = ("license", "licence", "copying", "copyright", "notice", "unlicense")
    found = [path for path in folder.iterdir() if path.is_file() and path.name.lower().startswith(names)]
    return sorted(path for path in found if path.suffix not in (".rs", ".toml"))


def _section(title: str, text: str) -> str:
    line = "=" * 80
    return f"{line}\n{title}\n{line}\n\n{text}\n\n"


def _of_the_toolchain(tools: Tools, target: Target) -> str:
    """The licences of what comes with the compilers: the standard library, the C library and what unwinds the stack."""
    if target.system == "darwin":
        return ""
    zig = next(tools.zig().parent.glob("lib/python3*/site-packages/ziglang"))
    rust = Path("/usr/lib/rustlib/src/rust")
    texts = [
        ("Rust's standard library", rust / "COPYRIGHT"),
        ("Apache License, of Rust's standard library and its crates", ROOT / "LICENSE-APACHE"),
        ("libunwind, of LLVM", zig / "lib/libunwind/LICENSE.TXT"),
        ("compiler-rt, of zig", zig / "LICENSE"),
    ]
    if "musl" in target.triple:
        texts.append(("musl, the C library", zig / "lib/libc/musl/COPYRIGHT"))
    if target.system == "windows":
        texts.append(("mingw-w64, the C library's beginning", zig / "lib/libc/mingw/COPYING"))
    # Debian has them without their texts.
    others = ("fortanix-", "hermit-", "moto-", "r-efi", "vex-", "wasi", "wit-", "unwinding", "dlmalloc")
    crates = []
    for manifest in sorted((rust / "library/vendor").glob("*/Cargo.toml")):
        package = tomllib.loads(manifest.read_text(encoding="utf-8"))["package"]
        # Those are for systems that there are no files for.
        if package["name"].startswith(others):
            continue
        crates.append(f"{package['name']} {package['version']} ({package.get('license', 'see its package')})")
    standard = _section("Rust's standard library is made of these crates, too", ", ".join(crates))
    return standard + "".join(_section(name, text.read_text(encoding="utf-8", errors="replace").strip()) for name, text in texts)


def sbom(tools: Tools, root: Path, builder: Builder, target: Target) -> bytes:
    """What the program is made of, as CycloneDX has it."""
    cyclonedx = tools.crate("cargo-cyclonedx", CYCLONEDX)
    # It writes beside the manifest.
    with tempfile.TemporaryDirectory(dir=builder.folder) as name:
        beside = Path(name)
        for entry in root.iterdir():
            if entry.name not in ("target", ".git"):
                (beside / entry.name).symlink_to(entry)
        command = [
            str(cyclonedx), "cyclonedx", "--format", "json", "--spec-version", "1.5", "--target", target.triple,
            *builder.features(target), "--override-filename", "obfs-rs.cdx",
        ]
        env = {**_cargo_env(), "SOURCE_DATE_EPOCH": str(builder.epoch), "CARGO_NET_OFFLINE": "true"}
        done = subprocess.run(command, cwd=beside, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            raise Missing(f"{target.name}: cargo-cyclonedx made no SBOM: {done.stderr.strip()}")
        text = (beside / "obfs-rs.cdx.json").read_text(encoding="utf-8").replace(f"path+file://{beside}", "path+file:///obfs-rs")
    bom = json.loads(text)
    bom.pop("serialNumber", None)
    # With others, other files would come out.
    bom["metadata"]["properties"] = bom["metadata"].get("properties", []) + [
        {"name": f"obfs-rs:build:{name}", "value": value} for name, value in sorted(tools.versions(target).items())
    ]
    return (json.dumps(bom, indent=2, sort_keys=True) + "\n").encode()


def _cargo_env() -> dict[str, str]:
    """That of tools which ask cargo of the dependencies, and build nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CARGO_PROFILE_", "RUSTFLAGS"))}
