"""Records of opened knees, kept between two runs of an import."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from oahier.file_facts import FileFacts
from oahier.images import image_files
from oahier.intake.candidate import Candidate
from oahier.intake.destination import FOLDER

_FORMAT = 2
"""Raised when records have other fields, or the same files give other ones."""


@dataclass(frozen=True)
class Record:
    """Result of opening the files of one knee.

    Args:
        fingerprint: of the source files and options that it was made from.
        reason: why the knee is left out, empty if it is not.
        side: what the image's header says: left, right or empty.
        source_hash: SHA-256 of the image's file; of several files, of their hashes in order.
        written: files made in the destination and their sizes, ``images/<knee>.nii.gz`` for example.
        notes: remarks of the mask step.
    """

    fingerprint: str = ""
    reason: str = ""
    side: str = ""
    source_hash: str = ""
    written: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Journal(FileFacts):
    """The records of the knees of a destination."""

    def __init__(self, destination: Path) -> None:
        super().__init__(destination / FOLDER / "knees.jsonl", {"format": _FORMAT})
        self.destination = destination

    def record(self, knee: str) -> Record | None:
        """The record of a knee, ``None`` if there is none."""
        found = self.get(knee)
        return Record(**found) if found else None

    def valid(self, knee: str, fingerprint: str) -> Record | None:
        """The record of a knee if it still holds: same source, same options, files in place."""
        record = self.record(knee)
        if record is None or record.fingerprint != fingerprint:
            return None
        sizes = {name: size_of(self.destination / name) for name in record.written}
        return record if sizes == record.written else None

    def remember(self, knee: str, record: Record) -> None:
        """Keep a record.

        Raises:
            OSError: the destination cannot be written.
        """
        self.add(knee, asdict(record))

    def remove_others(self, knees: set[str]) -> None:
        """Forget all other knees, and remove the files that were written for them."""
        for knee in set(self) - knees:
            record = self.record(knee)
            for name in record.written if record else ():
                if name in (f"images/{knee}.nii.gz", f"cartilage/{knee}.nii.gz"):
                    (self.destination / name).unlink(missing_ok=True)
        self.keep(knees)


def written_files(destination: Path) -> frozenset[str]:
    """The files that imports wrote to a folder, as :func:`os.path.realpath` gives them."""
    if not (destination / FOLDER).is_dir():
        return frozenset()
    with closing(Journal(destination)) as journal:
        records = [journal.record(knee) for knee in journal]
    names = [name for record in records if record is not None for name in record.written]
    return frozenset(os.path.realpath(destination / name) for name in names)


def fingerprint(candidate: Candidate, convert: bool) -> str:
    """Hash of what an import of a knee depends on: paths, sizes and times of its files, and the options.

    Raises:
        OSError: a file is not there.
    """
    files = [*candidate.image_files, *(image_files(candidate.cartilage) if candidate.cartilage else ())]
    state = [(str(path.absolute()), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    step = candidate.mask
    name = getattr(step, "__qualname__", None)
    identity = f"{getattr(step, '__module__', '')}.{name}" if name else repr(step)
    facts = [state, convert, identity, *candidate.insist]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def size_of(path: Path) -> int:
    """Size of a file, -1 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return -1
