"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Digest(Protocol):
    """A hash that takes bytes, of ``hashlib`` for example."""

    def update(self, data: bytes, /) -> None: ...


def feed_file(digest: Digest, path: Path) -> None:
    """Feed the bytes of a file to a hash, block by block.

    Raises:
        OSError: no such file, no regular file (a pipe would never end), or it cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "expected a regular file", str(path))
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)


def write_atomically(path: Path | str, content: str | bytes | Callable[[Path], object]) -> Path:
    """Write a file completely or not at all.

    The content goes to a hidden temporary file in the same folder, which then replaces ``path`` in one
    step. After a crash, an interrupt or a full disk the old file, if there was one, is intact and the
    temporary file is gone.

    Args:
        path: the file to write; missing parent folders are made.
        content: text (written as UTF-8), bytes, or a function that writes to the path it is given
            (that path has all suffixes of ``path``, so savers that look at them work).

    Returns:
        ``path``.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full; the message names the file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(Path(folder, "runs", "note.txt"), "done").read_text()
    'done'
    """
    path = Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(temporary)
        elif isinstance(content, str):
            temporary.write_text(content, encoding="utf-8")
        else:
            temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(
            error.errno, f"cannot write {path}: {reason}; check its folder and the free space"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # also gone where its folder never came to be
            temporary.unlink()
    return path
