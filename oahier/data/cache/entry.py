"""The file of one preprocessed knee: a small header, then the voxels, then the label map.

The header carries checksums and the time stamp that the finished file was given: as long as size and time
stamp are those, the content is trusted without reading it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import struct
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from oahier.data.preprocessing import PreparedKnee
from oahier.files import write_atomically
from oahier.images import Affine

logger = logging.getLogger(__name__)

MAGIC = b"OAHIER01"
HEADER_BYTES = 4096
"""One memory page, so that the voxels start on one."""

_PREFIX = struct.Struct("<8sIIIq")
"""Magic, length and checksum of the JSON header, checksum of the voxels, time stamp in seconds."""


class DamagedEntry(ValueError):
    """The file is not a complete cache entry."""


def write_entry(path: Path, knee: PreparedKnee) -> None:
    """Write the file atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written; no half-written file stays behind.
    """
    mri = np.ascontiguousarray(knee.mri)
    arrays = [mri] if knee.cartilage is None else [mri, np.ascontiguousarray(knee.cartilage)]
    voxels = 0
    for array in arrays:
        voxels = zlib.crc32(array.data.cast("B"), voxels)
    facts = {"shape": mri.shape, "affine": knee.affine.tolist(), "cartilage": len(arrays) == 2}
    facts["type"] = str(mri.dtype)
    text = json.dumps(facts).encode()
    # In the past, so that no later change can leave the same time stamp.
    stamp = int(time.time()) - 10
    prefix = _PREFIX.pack(MAGIC, len(text), zlib.crc32(text), voxels, stamp)

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            file.write((prefix + text).ljust(HEADER_BYTES, b"\0"))
            for array in arrays:
                file.write(array.data.cast("B"))
            file.flush()
            os.fsync(file.fileno())
        os.utime(temporary, (stamp, stamp))

    write_atomically(path, save)


def read_entry(path: Path) -> PreparedKnee:
    """Map an entry into memory; changes to the arrays stay in memory.

    Raises:
        DamagedEntry: not a complete entry.
    """
    if path.stat().st_size < HEADER_BYTES:
        raise DamagedEntry(f"{path}: half-written, {path.stat().st_size} bytes")
    content = np.memmap(path, dtype=np.uint8, mode="c")
    head = _parsed(path, content[:HEADER_BYTES].tobytes(), len(content))
    end = HEADER_BYTES + math.prod(head.shape) * np.dtype(head.kind).itemsize
    cartilage = content[end:].reshape(head.shape) if head.has_cartilage else None
    return PreparedKnee(content[HEADER_BYTES:end].view(head.kind).reshape(head.shape), cartilage, head.affine)


def entry_size(shape: tuple[int, ...], has_cartilage: bool, kind: str = "float16") -> int:
    """Bytes of an entry.

    >>> entry_size((160, 384, 384), True) / 1e6
    70.782976
    """
    return HEADER_BYTES + math.prod(shape) * (np.dtype(kind).itemsize + has_cartilage)


def verify_entry(path: Path, *, every_byte: bool = False) -> None:
    """Make sure that an entry is whole.

    Args:
        path: the file.
        every_byte: read all voxels; otherwise only if the file's time stamp is not its own.

    Raises:
        DamagedEntry: with the reason.
        FileNotFoundError: there is no such file.
    """
    head = _header(path)
    if not every_byte and path.stat().st_mtime_ns == head.stamp * 1_000_000_000:
        return
    found = 0
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while block := file.read(1 << 24):
            found = zlib.crc32(block, found)
    if found != head.checksum:
        raise DamagedEntry(f"{path}: the checksum of its voxels does not match")
    with contextlib.suppress(OSError):  # somebody else's file: it is read in full again next time
        os.utime(path, (head.stamp, head.stamp))


def is_whole(path: Path, *, verify: bool = False) -> bool:
    """True if there is a complete entry; a damaged one is logged."""
    try:
        verify_entry(path, every_byte=verify)
    except FileNotFoundError:
        return False
    except DamagedEntry as error:
        logger.warning("cache entry is rebuilt: %s", error)
        return False
    return True


class _Head(NamedTuple):
    shape: tuple[int, ...]
    affine: Affine
    has_cartilage: bool
    kind: str
    checksum: int
    stamp: int


def _header(path: Path) -> _Head:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    return _parsed(path, head, size)


def _parsed(path: Path, head: bytes, size: int) -> _Head:
    if len(head) < HEADER_BYTES:
        raise DamagedEntry(f"{path}: half-written, {len(head)} bytes")
    magic, length, text_checksum, checksum, stamp = _PREFIX.unpack_from(head)
    text = head[_PREFIX.size : _PREFIX.size + length]
    if magic != MAGIC or zlib.crc32(text) != text_checksum:
        raise DamagedEntry(f"{path}: its header is damaged")
    facts = json.loads(text)
    shape = tuple(int(count) for count in facts["shape"])
    has_cartilage, kind = bool(facts["cartilage"]), str(facts.get("type", "float16"))
    expected = entry_size(shape, has_cartilage, kind)
    if size != expected:
        raise DamagedEntry(f"{path}: half-written, {size} bytes instead of {expected}")
    return _Head(shape, np.array(facts["affine"]), has_cartilage, kind, checksum, stamp)
