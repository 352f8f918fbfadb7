"""The rights of an ordinary user, for tests of folders that may not be written, also where root runs them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VERSION = 0x20080522
_OVERRIDE = 0b110
"""The rights of root to pass over the permissions of files: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""


@contextmanager
def locked_folder(folder: Path) -> Iterator[Path]:
    """A new folder in ``folder`` that may be read and not written, by whoever runs the block, root too."""
    locked = folder / "locked"
    locked.mkdir(mode=0o500)
    if os.geteuid() or sys.platform != "linux":
        yield locked
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION, 0)
    rights = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    _check(libc.capget(header, rights))
    before = rights[0]
    rights[0] = before & ~_OVERRIDE
    _check(libc.capset(header, rights))
    try:
        yield locked
    finally:
        rights[0] = before
        _check(libc.capset(header, rights))


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), "the rights of root cannot be given up")
