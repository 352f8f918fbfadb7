"""Bytes of image files: read, unpacked and checked for size before anything is allocated."""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from oahier.images.errors import UnreadableImage, reason

LARGEST = 8 << 30
"""Bytes of voxels that are read; a knee has 50 MB."""

_DEFLATE = 1040
"""More than one byte of a deflated stream can stand for."""

_TAIL = 1 << 20
"""Bytes behind the voxels that are passed over."""

_PIECE = 1 << 20
_NEXT = {"gzip": b"\x1f\x8b", "bzip2": b"BZh"}
"""First bytes of a stream that may be followed by another one."""


def file_bytes(path: Path) -> bytes:
    """All bytes of a regular file.

    Raises:
        UnreadableImage: no such file, no permission, a pipe or a device.
    """
    check_file(path)
    return first_bytes(path, -1)


def check_file(path: Path) -> None:
    """Refuse what is no regular file: opening a pipe would wait for ever.

    Raises:
        UnreadableImage: no such file, a pipe or a device.
    """
    try:
        why = (
            ""
            if path.is_file()
            else "expected a regular file"
            if path.exists()
            else "no such file or directory"
        )
    except (OSError, ValueError) as error:
        why = reason(error)
    if why:
        raise UnreadableImage(f"{path} cannot be read: {why}")


def first_bytes(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of a file, or all of a shorter one.

    Raises:
        UnreadableImage: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"{path} cannot be read: {reason(error)}") from error


def damaged(path: Path, why: str) -> UnreadableImage:
    """The error of a file that was whole once."""
    return UnreadableImage(f"{path} is truncated or damaged: {why}; copy it again from its source")


def is_gzip(content: bytes | memoryview) -> bool:
    """True if the bytes start as gzip's do."""
    return bytes(content[:2]) == _NEXT["gzip"]


def start_of(path: Path, content: bytes, count: int) -> bytes:
    """The first ``count`` bytes of what a gzip stream holds, or fewer if it holds fewer."""
    try:
        return bytes(_decompressor("gzip").decompress(content, count))
    except Exception as error:  # isal's own kind
        raise damaged(path, reason(error)) from error


def check_size(path: Path, wanted: int, held: int) -> None:
    """Refuse a header that asks for more bytes than there can be."""
    if wanted > held:
        raise damaged(path, f"the header asks for {wanted} bytes, the file holds at most {held}")
    if wanted > LARGEST:
        raise UnreadableImage(
            f"{path}: expected a volume of at most {LARGEST >> 30} GiB, the header asks for {wanted} bytes"
        )


def inflated(
    path: Path, packed: memoryview, packing: str, wanted: int, size: int | None
) -> tuple[UInt8[np.ndarray, " b"], int, int]:
    """Exactly the first bytes of one or several compressed streams in a row whose checksums hold.

    Args:
        path: for messages.
        packed: the streams, which may be followed by other bytes.
        packing: gzip, zlib or bzip2.
        wanted: bytes.
        size: of the streams, where it is known.

    Returns:
        the bytes, how many more there are in the streams, and how many behind them but zeros.

    Raises:
        UnreadableImage: fewer bytes, a wrong checksum, a stream cut off, or a megabyte that follows.
    """
    packing = "gzip" if is_gzip(packed) and packing == "zlib" else packing
    packed, behind = packed[:size], 0 if size is None else len(packed) - size
    if behind < 0:
        why = f"the header announces {size} compressed bytes, there are {len(packed)}"
        raise damaged(path, why)
    check_size(path, wanted, wanted if packing == "bzip2" else _DEFLATE * len(packed))
    target, filled, start, mark = np.empty(wanted, dtype=np.uint8), 0, 0, _NEXT.get(packing, b"-")
    while start == 0 or bytes(packed[start : start + len(mark)]) == mark:
        filled, start = _fill(path, _decompressor(packing), packed, start, target, filled)
    if filled < wanted:
        raise damaged(path, f"expected {wanted} bytes as the header says, got {filled}")
    if len(packed) - start + behind > _TAIL or (size is not None and start < len(packed)):
        raise damaged(path, f"{len(packed) - start + behind} bytes follow the compressed data")
    behind += len(packed) - start if any(packed[start:]) else 0  # zeros are the padding of tapes
    return target, filled - wanted, behind


def _decompressor(packing: str) -> Any:
    from isal import igzip_lib

    if packing == "bzip2":
        return bz2.BZ2Decompressor()
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP if packing == "gzip" else igzip_lib.DECOMP_ZLIB)


def _fill(
    path: Path, stream: Any, packed: memoryview, start: int, target: UInt8[np.ndarray, " b"], filled: int
) -> tuple[int, int]:
    """Unpack one stream piece by piece, never much more than the target holds.

    Returns:
        bytes that were unpacked so far, and where the stream ends.
    """
    while not stream.eof:
        pending: bytes | memoryview = b""
        if stream.needs_input:
            if start >= len(packed):
                raise damaged(path, "the compressed data stop before their end")
            pending = packed[start : start + _PIECE]
            start += len(pending)
        room = max(len(target) - filled, 0)
        try:
            out = stream.decompress(pending, room or _PIECE)
        except Exception as error:  # isal's own kind, OSError of bzip2
            raise damaged(path, reason(error)) from error
        kept = out[:room]
        target[filled : filled + len(kept)] = np.frombuffer(kept, dtype=np.uint8)
        filled += len(out)
        if filled > len(target) + _TAIL:
            raise damaged(path, f"it holds more than the {len(target)} bytes that the header says")
    return filled, start - len(stream.unused_data)


def beside(path: Path, name: str) -> Path:
    """The data file that a detached header names, which must lie in the header's folder or below.

    Raises:
        UnreadableImage: the name, or the link that it is, leads out of the folder, or there is no such file.
    """
    folder = path.parent.resolve()
    try:
        target = (folder / name.replace("\\", "/")).resolve()
        inside = target.is_relative_to(folder) and target != folder
        exists = inside and target.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise UnreadableImage(f"{path}: the data file {name!r} cannot be read: {reason(error)}") from error
    if not inside:
        raise UnreadableImage(
            f"{path}: the header names the data file {name!r}, which is outside of its folder; refused. "
            "Put the data file beside the header"
        )
    if not exists:
        raise UnreadableImage(f"{path}: the header names the data file {name!r}, which does not exist")
    return target
