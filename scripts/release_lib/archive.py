"""Archives that are equal byte for byte when what is in them is."""

import gzip
import os
import tarfile
import time
import zipfile
from pathlib import Path


def make(folder: Path, out: Path, epoch: int, *, as_zip: bool) -> None:
    """Packs a folder, with its name, into a file."""
    (_zip if as_zip else _tar_gz)(folder, out, epoch)


def files(folder: Path) -> list[Path]:
    """All that is below a folder, sorted, folders before what is in them."""
    return sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)


def _mode(path: Path) -> int:
    return 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644


def _tar_gz(folder: Path, out: Path, epoch: int) -> None:
    def plain(info: tarfile.TarInfo, path: Path) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = epoch
        info.mode = _mode(path)
        return info

    with out.open("wb") as file:
        # (the name and the time that gzip keeps would differ)
        with gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed:
            with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for path in [folder, *files(folder)]:
                    info = plain(tar.gettarinfo(path, str(path.relative_to(folder.parent))), path)
                    if path.is_file():
                        with path.open("rb") as content:
                            tar.addfile(info, content)
                    else:
                        tar.addfile(info)
        _sync(file)


def _zip(folder: Path, out: Path, epoch: int) -> None:
    # Its times begin in 1980, and have no zone.
    when = time.gmtime(max(epoch, 315_532_800))[:6]
    with out.open("wb") as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
            for path in files(folder):
                if path.is_file():
                    info = zipfile.ZipInfo(str(path.relative_to(folder.parent)), when)
                    info.compress_type = zipfile.ZIP_DEFLATED
                    info.create_system = 3
                    info.external_attr = (0o100000 | _mode(path)) << 16
                    packed.writestr(info, path.read_bytes(), compresslevel=9)
        _sync(file)


def _sync(file: object) -> None:
    """A disk that is full says so now, and not when the file has its name."""
    file.flush()  # type: ignore[attr-defined]
    os.fsync(file.fileno())  # type: ignore[attr-defined]
