"""Bytes of image files: read, unpacked and checked for size before anything is allocated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8

from oahier.images.errors import UnreadableImage, reason

GZIP, ZLIB = 31, 15
"""How a deflated stream is wrapped, in zlib's numbers."""

LARGEST = 8 << 30
"""Bytes of voxels that are read; a knee has 50 MB."""

_DEFLATE = 1040
"""More than one byte of a deflated stream can stand for."""

_PIECE = 1 << 20


def file_bytes(path: Path) -> bytes:
    """All bytes of a regular file.

    Raises:
        UnreadableImage: no such file, no permission, a pipe or a device.
    """
    try:
        if not path.exists():
            raise UnreadableImage(f"{path} cannot be read: no such file or directory")
        if not path.is_file():
            raise UnreadableImage(f"{path} cannot be read: expected a regular file")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableImage):
            raise
        raise UnreadableImage(f"{path} cannot be read: {reason(error)}") from error


def first_bytes(path: Path, count: int) -> bytes:
    """The first ``count`` bytes of a file, or all of a shorter one.

    Raises:
        UnreadableImage: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(count)
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read: {reason(error)}") from error


def damaged(path: Path, why: str) -> UnreadableImage:
    """The error of a file that was whole once."""
    return UnreadableImage(f"{path} is truncated or damaged: {why}; copy it again from its source")


def is_gzip(content: bytes) -> bool:
    """True if the bytes start as gzip's do."""
    return content[:2] == b"\x1f\x8b"


def start_of(path: Path, content: bytes, count: int) -> bytes:
    """The first ``count`` bytes of what a gzip stream holds, or fewer if it holds fewer."""
    from isal import igzip_lib, isal_zlib

    try:
        return bytes(isal_zlib.decompressobj(wbits=GZIP).decompress(content, count))
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stub has an instance
        raise damaged(path, reason(error)) from error


def unpacked(path: Path, content: bytes | memoryview, count: int, wrapping: int) -> UInt8[np.ndarray, " b"]:
    """Exactly ``count`` bytes out of a deflated stream whose checksum holds, and nothing behind it.

    Raises:
        UnreadableImage: another length, a wrong checksum, a stream cut off or followed by other bytes, or
            more bytes asked for than the stream can hold.
    """
    from isal import igzip_lib, isal_zlib

    check_size(path, count, _DEFLATE * len(content))
    packed = memoryview(content)
    target, filled, start = np.empty(count, dtype=np.uint8), 0, 0
    try:
        while start < len(packed) or start == 0:
            stream = isal_zlib.decompressobj(wbits=wrapping)
            filled, start = _fill(path, stream, packed, start, target, filled)
            if wrapping != GZIP or not is_gzip(bytes(packed[start : start + 2])):
                break
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # the stub has an instance
        raise damaged(path, reason(error)) from error
    if any(packed[start:]):  # zeros are the padding of tapes
        raise damaged(path, f"{len(packed) - start} bytes follow the compressed data")
    if filled != count:
        raise damaged(path, f"expected {count} bytes as the header says, got {filled}")
    return target


def _fill(
    path: Path, stream: Any, packed: memoryview, start: int, target: UInt8[np.ndarray, " b"], filled: int
) -> tuple[int, int]:
    """Unpack one member piece by piece, never more than the target holds and one byte.

    Returns:
        bytes of the target that are filled, and where the member ends.
    """
    while not stream.eof:
        if start >= len(packed):
            raise damaged(path, "the compressed data stop before their end")
        pending: bytes | memoryview = packed[start : start + _PIECE]
        start += len(pending)
        while len(pending) and not stream.eof:
            out = stream.decompress(pending, len(target) - filled + 1)
            if filled + len(out) > len(target):
                raise damaged(path, f"it holds more than the {len(target)} bytes that the header says")
            target[filled : filled + len(out)] = np.frombuffer(out, dtype=np.uint8)
            filled += len(out)
            pending = stream.unconsumed_tail
    return filled, start - len(stream.unused_data)


def check_size(path: Path, wanted: int, held: int) -> None:
    """Refuse a header that asks for more bytes than there can be."""
    if wanted > held:
        raise damaged(path, f"the header asks for {wanted} bytes, the file holds at most {held}")
    if wanted > LARGEST:
        raise UnreadableImage(
            f"{path}: expected a volume of at most {LARGEST >> 30} GiB, the header asks for {wanted} bytes"
        )


def voxels(
    path: Path,
    raw: Shaped[np.ndarray, " b"] | bytes | memoryview,
    dtype: np.dtype[np.generic],
    shape: tuple[int, ...],
) -> Shaped[np.ndarray, "*axes"]:
    """Bytes as an array whose first axis runs fastest, in the machine's byte order; writable.

    Raises:
        UnreadableImage: not exactly the bytes of that shape.
    """
    wanted, held = math.prod(shape) * dtype.itemsize, len(raw)
    check_size(path, wanted, held)
    if held != wanted:
        raise damaged(path, f"expected {wanted} bytes of voxels as the header says, got {held}")
    flat = np.frombuffer(raw, dtype=dtype)
    if not flat.flags.writeable or not flat.flags.aligned or not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F")


def rescaled(stored: Shaped[np.ndarray, "*axes"], slope: float, offset: float) -> Shaped[np.ndarray, "*axes"]:
    """``stored * slope + offset`` in float32, computed in float64 slab by slab."""
    if slope == 1 and offset == 0:
        return stored
    out = np.empty(stored.shape, dtype=np.float32, order="F")
    with np.errstate(over="ignore", invalid="ignore"):  # infinite values are reported with the contents
        for k in range(stored.shape[-1]):
            out[..., k] = stored[..., k] * np.float64(slope) + np.float64(offset)
    return out


def in_single(stored: Shaped[np.ndarray, "*axes"]) -> Shaped[np.ndarray, "*axes"]:
    """Doubles as float32, everything else as it is."""
    if stored.dtype != np.float64:
        return stored
    with np.errstate(over="ignore"):  # infinite values are reported with the other contents
        return stored.astype(np.float32, order="K")


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
