"""Facts of knees kept on disk, so that an audit of unchanged files is quick."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oahier.audit.facts import VERSION, KneeFacts, examine
from oahier.data.cache.fingerprints import file_signature
from oahier.files import write_atomically
from oahier.processes import process_map
from oahier.progress import progress

logger = logging.getLogger(__name__)

Files = tuple[Path, Path | None]


class FactStore:
    """A file per knee, named by path, size and time stamp of the knee's files, with facts and picture.

    It can be deleted at any time; two audits may use it at once. Where its folder cannot be written,
    facts last as long as the object.

    Args:
        folder: where the files lie; made when the first is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            write_atomically(folder / ".gitignore", "*\n")
        except OSError as error:
            logger.info("the audit is not remembered: %s", error)
            self.folder = Path(tempfile.mkdtemp(prefix="oahier-audit-"))
            weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, files: Files) -> Path:
        """Where the facts of a knee lie.

        Raises:
            OSError: a file of the knee is not there.
        """
        key = [VERSION, *(f"{file.absolute()} {file_signature(file)}" for file in files if file is not None)]
        name = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
        return self.folder / name[:2] / f"{name}.json"

    def facts(self, knees: Sequence[Files], workers: int) -> Iterator[KneeFacts]:
        """Facts of knees in their order; those not known yet are read, several at a time.

        Args:
            knees: files that exist.
            workers: processes that read; 0 for this one.

        Raises:
            OSError: a process was killed.
        """
        paths = [self.path(files) for files in knees]
        known = {path: _read(path) for path in paths}
        files_of = dict(zip(paths, knees, strict=True))
        jobs = [(path, files_of[path]) for path, facts in known.items() if facts is None]
        made = progress(
            process_map(_examined, jobs, workers, name=lambda job: job[1][0]), len(jobs), "Reading knees"
        )
        for path in paths:
            if known[path] is None:  # every path is once among the jobs
                known[path] = KneeFacts.from_dict(next(made))
            yield known[path]  # type: ignore[misc]

    def picture(self, files: Files) -> bytes:
        """The picture (JPEG) of a knee whose facts are known; empty if there is none."""
        try:
            return base64.b64decode(self.path(files).read_bytes().split(b"\n")[1], validate=True)
        except (OSError, ValueError, IndexError):
            return b""


def _examined(job: tuple[Path, Files]) -> dict[str, Any]:
    """Facts of a knee, written as a line of JSON and the picture's line after it."""
    path, files = job
    facts, picture = examine(*files)
    record = facts.as_dict()
    try:
        write_atomically(path, json.dumps(record).encode() + b"\n" + base64.b64encode(picture) + b"\n")
    except OSError as error:  # a full disk: they are read anew next time
        logger.warning("the audit of %s is not remembered: %s", files[0], error)
    return record


def _read(path: Path) -> KneeFacts | None:
    try:
        with path.open("rb") as file:
            return KneeFacts.from_dict(json.loads(file.readline()))
    except (OSError, ValueError, KeyError, TypeError):
        return None
