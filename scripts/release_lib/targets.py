"""For which systems there are release files, and how each is linked."""

from dataclasses import dataclass

# Where zig brings the C library, rustc's own start files would be a second set.
ZIG_LIBC = "-C link-self-contained=no"

PIE = ("-C", "link-arg=-pie")


@dataclass(frozen=True)
class Target:
    """One system. Names are v2ray-plugin's, whose users look for them: OS-ARCH."""

    name: str
    triple: str
    # Arguments for the last crate alone.
    link: tuple[str, ...] = PIE
    flags: str = ZIG_LIBC
    # The version of the C library that it is linked to at its start, as zig is told it.
    libc: str = ""
    # Features that it cannot have.
    without: tuple[str, ...] = ()
    # In the archive.
    program: str = "obfs-rs"
    # What runs it on a Linux machine of x86_64: a program, or None for the machine itself, or "" for nothing.
    runner: str | None = None

    @property
    def system(self) -> str:
        return self.name.split("-")[0]

    @property
    def is_zip(self) -> bool:
        return self.system == "windows"


def _windows(arch: str, triple: str, runner: str) -> Target:
    return Target(f"windows-{arch}", triple, link=(), program="obfs-rs.exe", runner=runner)


def _mips(name: str, triple: str, runner: str) -> Target:
    return Target(
        name,
        triple,
        # As a position-independent one it dies at its start.
        ("-C", "link-arg=-no-pie"),
        f"{ZIG_LIBC} -C relocation-model=static -C target-feature=+crt-static",
        # prometheus counts in 64 bits, for which a 32-bit MIPS has no atomic operation.
        without=("metrics",),
        runner=runner,
    )


# Static and position-independent, which bionic's linker asks for and Linux likes, unless said otherwise.
_LINUX = [
    # (with the pages of 16 KiB that Android may have)
    Target("linux-amd64", "x86_64-unknown-linux-musl", (*PIE, "-C", "link-arg=-Wl,-z,max-page-size=16384")),
    Target("linux-386", "i686-unknown-linux-musl"),
    Target("linux-arm64", "aarch64-unknown-linux-musl", runner="qemu-aarch64-static"),
    # Hard float, as every 32-bit Raspberry Pi since the second one.
    Target("linux-arm7", "armv7-unknown-linux-musleabihf", runner="qemu-arm-static"),
    # Soft float, ARMv6.
    Target("linux-arm", "arm-unknown-linux-musleabi", runner="qemu-arm-static"),
    Target("linux-riscv64", "riscv64gc-unknown-linux-musl", runner="qemu-riscv64-static"),
    _mips("linux-mipsle", "mipsel-unknown-linux-musl", "qemu-mipsel-static"),
    _mips("linux-mips", "mips-unknown-linux-musl", "qemu-mips-static"),
]


def _android(name: str, linux: str) -> Target:
    same = next(target for target in _LINUX if target.name == linux)
    return Target(name, same.triple, same.link, same.flags, program="libobfs-rs.so", runner=same.runner)


TARGETS = [
    *_LINUX,
    _windows("amd64", "x86_64-pc-windows-gnu", "wine64"),
    _windows("386", "i686-pc-windows-gnu", ""),
    _windows("arm64", "aarch64-pc-windows-gnullvm", ""),
    # The same files as Linux's, under the name by which Android unpacks a library.
    _android("android-arm64", "linux-arm64"),
    _android("android-arm7", "linux-arm7"),
    _android("android-amd64", "linux-amd64"),
]

# Built on macOS alone, whose frameworks nobody else may have.
MACOS = [
    Target("darwin-arm64", "aarch64-apple-darwin", link=(), flags=""),
    Target("darwin-amd64", "x86_64-apple-darwin", link=(), flags=""),
]

# With the C library of Debian 12, Ubuntu 22.04 and what came since (2.34 has the threads in it, which Debian counts from): for
# packages, which are to have no second one.
GNU = {
    arch: Target(f"gnu-{arch}", triple, link=(), flags="", libc=".2.34")
    for arch, triple in [("amd64", "x86_64-unknown-linux-gnu"), ("arm64", "aarch64-unknown-linux-gnu")]
}

# Of routers with little flash.
SMALL_FEATURES = ("server", "client")


def find(name: str) -> list[Target]:
    """The targets of this name, or of this triple of Rust's."""
    return [target for target in [*TARGETS, *MACOS] if name in (target.name, target.triple)]
