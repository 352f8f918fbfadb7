"""Facts and pictures of knees kept on disk, so that an audit of unchanged files is quick."""

from __future__ import annotations

import base64
import logging
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from oahier.audit.facts import VERSION, KneeFacts, examine
from oahier.data.cache.fingerprints import file_signature
from oahier.file_facts import FileFacts
from oahier.files import write_atomically
from oahier.processes import process_map
from oahier.progress import progress

logger = logging.getLogger(__name__)

Files = tuple[Path, Path | None]


class FactStore:
    """Facts and pictures by path, size and time stamp of the knees' files, in ``facts.jsonl`` of a folder.

    It can be deleted at any time; two audits may use it at once. Where its folder cannot be written,
    facts last as long as the object.

    Args:
        folder: where the file lies; made if missing.
    """

    def __init__(self, folder: Path) -> None:
        try:
            write_atomically(folder / ".gitignore", "*\n")
        except OSError as error:
            logger.info("the audit is not remembered: %s", error)
            folder = Path(tempfile.mkdtemp(prefix="oahier-audit-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.folder = folder
        self._known = FileFacts(folder / "facts.jsonl", {"version": VERSION})

    def facts(self, knees: Sequence[Files], workers: int) -> Iterator[KneeFacts]:
        """Facts of knees in their order; those not known yet are read, several at a time.

        Args:
            knees: files that exist.
            workers: processes that read; 0 for this one.

        Raises:
            ProcessKilled: a process was killed.
            OSError: a file is not there.
        """
        keys = [files_key(files) for files in knees]
        known = {key: self._read(key) for key in keys}
        jobs = {key: files for key, files in zip(keys, knees, strict=True) if known[key] is None}
        found = process_map(_examined, list(jobs.values()), workers, name=lambda files: files[0])
        made = progress(found, len(jobs), "Reading knees")
        for key in keys:
            facts = known[key]
            if facts is None:  # every key is once among the jobs
                facts = known[key] = self._keep(key, next(made))
            yield facts

    def picture(self, files: Files) -> bytes:
        """The picture (JPEG) of a knee whose facts are known; empty if there is none."""
        record = self._known.get(files_key(files))
        return base64.b64decode(record["picture"]) if record else b""

    def _read(self, key: str) -> KneeFacts | None:
        record = self._known.get(key)
        return KneeFacts.from_dict(record) if record else None

    def _keep(self, key: str, record: dict[str, Any]) -> KneeFacts:
        try:
            self._known.add(key, record)
        except OSError as error:  # a full disk: it is read anew next time
            logger.warning("the audit of a knee is not remembered: %s", error)
        return KneeFacts.from_dict(record)


def files_key(files: Files) -> str:
    """Paths, sizes and time stamps of the files of a knee."""
    return "; ".join(f"{file.absolute()} {file_signature(file)}" for file in files if file is not None)


def _examined(files: Files) -> dict[str, Any]:
    facts, picture = examine(*files)
    return facts.as_dict() | {"picture": base64.b64encode(picture).decode("ascii")}
