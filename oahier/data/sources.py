"""What is known of the source files, remembered by their size and time stamp."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from oahier.data.reading import read_grid
from oahier.files import write_atomically


class Sources:
    """Content hash and extent of image files (or DICOM folders), kept in ``sources.json`` of the cache.

    Only a memory: it can be deleted, and when two processes write it the last one wins.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sources.json"
        self._known: dict[str, dict[str, Any]] = _read(self._path)
        self._changed = False

    def content_hash(self, path: Path) -> str:
        """BLAKE2b of the bytes; of all files, by name, for a folder."""
        return str(self._fact(path, "hash", _hash))

    def extent(self, path: Path) -> tuple[float, ...]:
        """Millimetres from edge to edge along right, anterior, superior.

        Raises:
            UnreadableImage: the header cannot be read.
        """
        return tuple(self._fact(path, "extent", lambda source: list(read_grid(source).extent)))

    def save(self) -> None:
        """Write what is new, keeping what another process wrote in the meantime.

        Raises:
            OSError: the folder cannot be written.
        """
        if self._changed:
            self._known = _read(self._path) | self._known
            write_atomically(self._path, json.dumps(self._known))
            self._changed = False

    def _fact(self, path: Path, name: str, compute: Any) -> Any:
        key, signature = str(path.absolute()), _signature(path)
        known = self._known.get(key)
        if known is None or known.get("signature") != signature:
            known = self._known[key] = {"signature": signature}
        if name not in known:
            known[name] = compute(path)
            self._changed = True
        return known[name]


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return (
        known if isinstance(known, dict) and all(isinstance(value, dict) for value in known.values()) else {}
    )


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]


def _signature(path: Path) -> str:
    stats = [(file.name, file.stat()) for file in _files(path)]
    if not path.is_dir():
        return f"{stats[0][1].st_size} {stats[0][1].st_mtime_ns}"
    listing = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    return hashlib.blake2b(listing.encode(), digest_size=16).hexdigest()


def _hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for file in _files(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
