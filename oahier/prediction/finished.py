"""Records of finished knees, so that the same knee is not computed again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from oahier.callbacks.files import knee_file, write_json
from oahier.prediction.inputs import Scan
from oahier.prediction.one_knee import Row
from oahier.prediction.trained import file_hash

FORMAT = 4
"""Raise it when the same scan and checkpoint give other files."""


@dataclass(frozen=True, eq=False)
class Record:
    """The row, the embedding and the facts of the page of a knee."""

    key: str
    row: Row
    embedding: Float32[np.ndarray, " features"]
    facts: Mapping[str, Any]
    files: tuple[str, ...]
    """Files of the knee, relative to the output folder."""

    def write(self, folder: Path) -> None:
        """Write the record atomically; it is the last file of a knee."""
        content = {
            "key": self.key, "row": self.row, "embedding": [float(value) for value in self.embedding],
            "facts": self.facts, "files": list(self.files),
        }  # fmt: skip
        write_json(record_path(folder, str(self.row["knee"])), content)


def record_path(folder: Path, knee: str) -> Path:
    """The record of a knee."""
    return folder / "records" / f"{knee_file(knee)}.json"


def record_key(scan: Scan, identity: str, options: Mapping[str, object]) -> str:
    """What a record depends on: model, options, the scan's name and side, and the content of its files.

    Raises:
        OSError: a file of the scan cannot be read.
    """
    named = [scan.knee, scan.subject, scan.side, scan.source, dict(scan.labels), list(scan.notes)]
    content = [FORMAT, identity, sorted(options.items()), named, file_hash(scan.files)]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=20).hexdigest()


def finished_record(folder: Path, scan: Scan, key: str) -> Record | None:
    """The record of a knee that was finished with this key and whose files are all there."""
    try:
        content = json.loads(record_path(folder, scan.knee).read_text(encoding="utf-8"))
        record = Record(
            content["key"], content["row"], np.array(content["embedding"], dtype=np.float32),
            content["facts"], tuple(content["files"]),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return None
    whole = all((folder / name).is_file() for name in record.files)
    return record if record.key == key and whole else None
