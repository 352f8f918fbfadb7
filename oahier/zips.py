"""Safe reading of zip archives: names, sizes and kinds of all members are checked before any is read."""

from __future__ import annotations

import io
import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RATIO = 1000
"""More than images compress: the bytes of an empty label map stand for a few hundred each."""

_SMALL = 10 << 20
"""Bytes up to which a ratio says nothing."""

_BLOCK = 1 << 20
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, RuntimeError),
    UnicodeDecodeError,  # a damaged name
)


class UnsafeArchive(ValueError):
    """An archive with a member that nobody should unpack."""


def check_members(path: Path, content: bytes) -> None:
    """Check an archive that is in memory, such as an Excel workbook.

    Raises:
        ValueError: it is no zip archive, or an unsafe one.
    """
    with opened(path, io.BytesIO(content)) as archive:
        safe_members(path, archive, len(content))


@contextmanager
def opened(path: Path, stream: io.BufferedIOBase) -> Iterator[zipfile.ZipFile]:
    """An archive; ``path`` is its name in messages.

    Raises:
        ValueError: truncated, or no zip file.
    """
    try:
        archive = zipfile.ZipFile(stream)
    except (*_DAMAGED, ValueError, OverflowError, OSError) as error:
        raise ValueError(f"{path} is truncated or no zip archive: {error}; download it again") from error
    with archive:
        yield archive


def safe_members(path: Path, archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The files in an archive of so many bytes by their names, with ``/`` between folders.

    Raises:
        UnsafeArchive: one that nobody should unpack; names it.
        ValueError: truncated.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        if not 0 <= member.header_offset < size:
            raise ValueError(f"{path} is truncated: the member {member.filename!r} lies outside of it")
        name = member.filename.replace("\\", "/")
        why = _unsafe(member, name)
        if not why and name in members:
            why = "occurs twice"
        if why:
            raise UnsafeArchive(f"{path}: the member {member.filename!r} {why}; nothing was extracted")
        if not name.endswith("/"):
            members[name] = member
    if sum(member.compress_size for member in members.values()) > size:
        raise UnsafeArchive(
            f"{path}: its members overlap, as in an archive made to fill disks; nothing was extracted"
        )
    return members


def _unsafe(member: zipfile.ZipInfo, name: str) -> str:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "leads out of the folder"
    if not name or not name.isprintable():
        return "has a name that cannot be printed"
    if kind == stat.S_IFLNK:
        return "is a symbolic link"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is no regular file"
    if member.flag_bits & 0x1:
        return "is encrypted"
    if member.file_size > max(_SMALL, _RATIO * member.compress_size):
        return f"would grow from {member.compress_size} to {member.file_size} bytes"
    return ""


def copy_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, target: io.BufferedIOBase
) -> None:
    """Copy the bytes of a member, which is called ``name`` in messages.

    Raises:
        ValueError: it is damaged.
        OSError: the target cannot be written.
    """
    written = 0
    try:
        with archive.open(member) as stream:
            while block := stream.read(_BLOCK):
                written += len(block)
                target.write(block)
    except _DAMAGED as error:
        raise ValueError(f"{name} is damaged: {error}; download it again") from error
    if written != member.file_size:
        raise ValueError(f"{name} is damaged: expected {member.file_size} bytes, got {written}")


def is_hidden(name: str) -> bool:
    """True for what file browsers hide, or add to archives."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))
