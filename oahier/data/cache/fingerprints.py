"""Fingerprints of source files, remembered by size and time stamp."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahier.files import feed_file, write_atomically
from oahier.images import image_files, read_grid


@dataclass(frozen=True)
class Content:
    """What a file holds, and its size and time stamp before it was read."""

    hash: str
    signature: str


class Sources:
    """Content hash and extent of image files (or DICOM folders), kept in ``sources.json`` of the cache.

    Only a memory: it can be deleted, and when two processes write it the last one wins. Of a cache that
    cannot be written the memory lies in ``$XDG_CACHE_HOME/oahier`` (``~/.cache/oahier``).
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "sources.json"
        self._elsewhere = _user_folder() / f"{_digest(str(folder.absolute()).encode())}.json"
        self._known: dict[str, dict[str, Any]] = self._read()
        self._changed = False

    def extent(self, path: Path) -> tuple[float, ...]:
        """Millimetres from edge to edge along right, anterior, superior.

        Raises:
            UnreadableImage: the header cannot be read.
            OSError: the file cannot be read.
        """
        return tuple(self._fact(path, "extent", lambda source: list(read_grid(source).extent)))

    def learn(
        self, paths: Sequence[Path], threads: int, follow: Callable[[Any, int], Any] = lambda made, _: made
    ) -> dict[Path, Content | OSError]:
        """What is in many files; several at a time are read where that is not known yet.

        Args:
            paths: the files, each of them once.
            threads: files that are read at once.
            follow: wraps the iterator over the files that have to be read, given their number.

        Returns:
            for each path its content, or why it cannot be read.
        """
        found: dict[Path, Content | OSError] = {}
        unread = {}
        for path in paths:
            try:
                known = self._entry(path)
            except OSError as error:
                found[path] = error
                continue
            if "hash" in known:
                found[path] = Content(known["hash"], known["signature"])
            else:
                unread[path] = known
        if unread:
            with ThreadPoolExecutor(max(1, threads)) as pool:
                made = zip(unread.items(), pool.map(_try_hash, unread), strict=True)
                for (path, known), result in follow(made, len(unread)):
                    if isinstance(result, OSError):
                        found[path] = result
                        continue
                    known["hash"], self._changed = result, True
                    found[path] = Content(result, known["signature"])
        return found

    def save(self) -> None:
        """Write what is new, keeping what another process wrote in the meantime.

        Raises:
            OSError: neither the folder nor the user's own can be written.
        """
        if not self._changed:
            return
        self._known = self._read() | self._known
        text = json.dumps(self._known)
        try:
            write_atomically(self._path, text)
        except OSError:
            write_atomically(self._elsewhere, text)
        self._changed = False

    def _read(self) -> dict[str, dict[str, Any]]:
        return _read(self._elsewhere) | _read(self._path)

    def _entry(self, path: Path) -> dict[str, Any]:
        """What is known of a file as it is now."""
        key, signature = str(path.absolute()), file_signature(path)
        known = self._known.get(key)
        if known is None or known.get("signature") != signature:
            known = self._known[key] = {"signature": signature}
        return known

    def _fact(self, path: Path, name: str, compute: Any) -> Any:
        known = self._entry(path)
        if name not in known:
            known[name] = compute(path)
            self._changed = True
        return known[name]


def file_signature(path: Path) -> str:
    """Size and time stamp of a file, or of all files that make an image.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    try:
        files = image_files(path)
        stats = [(file.name, file.stat()) for file in files]
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(f"missing file {path}; the cache is made from it") from error
    if files == (path,):
        return f"{stats[0][1].st_size} {stats[0][1].st_mtime_ns}"
    listing = "\n".join(f"{name} {one.st_size} {one.st_mtime_ns}" for name, one in stats)
    return _digest(listing.encode())


def _user_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "oahier"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if isinstance(known, dict) and all(isinstance(value, dict) for value in known.values()):
        return known
    return {}


def _try_hash(path: Path) -> str | OSError:
    try:
        return _hash(path)
    except OSError as error:
        return error


def _hash(path: Path) -> str:
    """BLAKE2b of the bytes, of all files that make an image one after the other."""
    digest = hashlib.blake2b(digest_size=16)
    for file in image_files(path):
        feed_file(digest, file)
    return digest.hexdigest()
