"""What goes with a program: what it is made of (SBOM), and the licences of that."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .build import Builder
from .targets import Target
from .tools import ABOUT, CYCLONEDX, Missing, Tools

DOCUMENTS = ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"]


def documents(root: Path, folder: Path, target: Target) -> None:
    """The texts, and where they are of use manual pages and completions."""
    for name in DOCUMENTS:
        shutil.copyfile(root / name, folder / name)
    if target.system == "linux":
        for name in ["man", "completions"]:
            shutil.copytree(root / "docs" / name, folder / name, copy_function=shutil.copyfile)


def licences(tools: Tools, root: Path, builder: Builder, target: Target) -> str:
    """The licences of all that is in the program, each with those whose it is."""
    about = tools.crate("cargo-about", ABOUT, "cli")
    command = [
        str(about), "generate", "--offline", "--locked", "--fail", "--config", str(root / "scripts/release_lib/about.toml"),
        *builder.features(target), "--target", target.triple, str(root / "scripts/release_lib/about.hbs"),
    ]
    done = subprocess.run(command, cwd=root, env=_cargo_env(), capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise Missing(f"{target.name}: cargo-about found no licences: {done.stderr.strip()}")
    return done.stdout + _of_the_toolchain(tools, target)


def _of_the_toolchain(tools: Tools, target: Target) -> str:
    """The licences of what comes with the compilers: the standard library, the C library and what unwinds the stack."""
    if target.system == "darwin":
        return ""
    zig = next(tools.zig().parent.glob("lib/python3*/site-packages/ziglang"))
    texts = [
        ("Rust's standard library", Path("/usr/lib/rustlib/src/rust/COPYRIGHT")),
        ("libunwind, of LLVM", zig / "lib/libunwind/LICENSE.TXT"),
        ("compiler-rt, of zig", zig / "LICENSE"),
    ]
    if "musl" in target.triple:
        texts.append(("musl, the C library", zig / "lib/libc/musl/COPYRIGHT"))
    if target.system == "windows":
        texts.append(("mingw-w64, the C library's beginning", zig / "lib/libc/mingw/COPYING"))
    line = "=" * 80
    return "".join(
        f"{line}\n{name}\n{line}\n\n{text.read_text(errors='replace').strip()}\n\n" for name, text in texts
    )


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
        text = (beside / "obfs-rs.cdx.json").read_text().replace(f"path+file://{beside}", "path+file:///obfs-rs")
    bom = json.loads(text)
    bom.pop("serialNumber", None)
    return (json.dumps(bom, indent=2, sort_keys=True) + "\n").encode()


def _cargo_env() -> dict[str, str]:
    """That of tools which ask cargo of the dependencies, and build nothing."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CARGO_PROFILE_", "RUSTFLAGS"))}
