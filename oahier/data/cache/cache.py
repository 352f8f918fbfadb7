"""Preprocessed knees on disk: made once, named by the content that they come from, mapped when read."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from oahier.data.cache.entry import entry_size, is_whole, write_entry
from oahier.data.cache.fingerprints import Sources, file_signature
from oahier.data.manifest.columns import row_number
from oahier.data.manifest.manifest import Manifest
from oahier.data.preprocessing import Preprocessing, preprocess
from oahier.files import write_atomically
from oahier.images import UnreadableImage
from oahier.images.knee import Finding, read_knee
from oahier.problems import ManifestError, Problem
from oahier.processes import ProcessKilled, process_map
from oahier.progress import progress

logger = logging.getLogger(__name__)

_STALE = 24 * 3600
"""Seconds after which a temporary file is taken for that of a killed builder."""


class CacheError(OSError):
    """The cache folder cannot be used; the message says why and what to do."""


class KneeCache:
    """A folder of preprocessed knees.

    Safe for several processes at once: an entry appears complete or not at all, and whoever comes second
    finds it there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._sources = Sources(folder)

    def common_spacing(self, manifest: Manifest, shape: tuple[int, ...]) -> tuple[float, ...]:
        """Millimetres per voxel at which the median field of view of the knees fills ``shape``.

        Raises:
            ManifestError: headers that cannot be read.
        """
        extents, problems = [], []
        for position, path in enumerate(_scans(manifest)):
            try:
                extents.append(self._sources.extent(path))
            except (UnreadableImage, OSError) as error:
                problems.append(_problem(manifest, position, Finding("mri", str(error))))
        if problems:
            raise ManifestError(manifest.name, problems)
        middle = np.median(np.array(extents), axis=0) / np.array(shape)
        return tuple(round(float(value), 4) for value in middle)

    def plan(
        self, manifest: Manifest, preprocessing: Preprocessing, num_workers: int = 0, *, verify: bool = False
    ) -> CachePlan:
        """The entries to be made, and the disk that they will take.

        Args:
            manifest: the knees.
            preprocessing: what decides about voxels.
            num_workers: source files that are hashed at once, where they are not known yet.
            verify: read every byte of the entries that are there; otherwise their content is trusted as long
                as size and time stamp are those that were written.

        Raises:
            ManifestError: every file that is missing or cannot be read.
            CacheError: the folder cannot be used.
        """
        try:
            return self._plan(manifest, preprocessing, num_workers, verify)
        except OSError as error:
            raise self._unusable(error) from error

    def _plan(
        self, manifest: Manifest, preprocessing: Preprocessing, num_workers: int, verify: bool
    ) -> CachePlan:
        if self.folder.is_file():
            raise OSError(errno.ENOTDIR, "expected a folder, got a file")
        scans, labels = _scans(manifest), _label_maps(manifest)
        paths = [path for path in dict.fromkeys((*scans, *labels)) if path is not None]
        known: Any = self._sources.learn(paths, num_workers, partial(progress, description="Hashing files"))
        problems = [
            _problem(manifest, position, Finding(column, str(known[path])))
            for column, files in (("mri", scans), ("cartilage", labels))
            for position, path in enumerate(files)
            if path is not None and isinstance(known[path], OSError)
        ]
        if problems:
            raise ManifestError(manifest.name, problems)
        entries, jobs = [], {}
        for position, side in enumerate(manifest.table["side"].astype(str).tolist()):
            files = {"mri": scans[position], "cartilage": labels[position]}
            mirror = preprocessing.mirrors(side)
            content = {column: known[path] for column, path in files.items() if path is not None}
            names = (content["mri"].hash, content["cartilage"].hash if "cartilage" in content else None)
            name = preprocessing.entry_name(*names, mirror=mirror)
            entry = self.folder / f"{name[:2]}/{name}"
            entries.append(entry)
            if entry not in jobs and not is_whole(entry, verify=verify):
                signatures = {column: one.signature for column, one in content.items()}
                jobs[entry] = Job(
                    position, entry, scans[position], labels[position], preprocessing, mirror, signatures
                )
        return CachePlan(entries, list(jobs.values()))

    def build(self, manifest: Manifest, preprocessing: Preprocessing, num_workers: int = 0) -> list[Path]:
        """Make the entries that are absent or damaged: :meth:`plan`, then :meth:`make`.

        Returns:
            the entry of every knee, in the order of the manifest.
        """
        return self.make(manifest, self.plan(manifest, preprocessing, num_workers), num_workers)

    def make(self, manifest: Manifest, plan: CachePlan, num_workers: int = 0) -> list[Path]:
        """Carry out a plan.

        Args:
            manifest: the knees that the plan was made for.
            plan: of :meth:`plan`.
            num_workers: processes that preprocess; 0 for this one.

        Returns:
            the entry of every knee, in the order of the manifest.

        Raises:
            ManifestError: every knee whose files cannot be used, each with file and reason.
            CacheError: the folder cannot be written, or the disk is full, or a process was killed.
        """
        try:
            if plan.jobs:
                self._prepare_folder()
                self._save_sources()  # a builder that is killed need not hash again
                self._run(manifest, plan.jobs, num_workers)
            self._save_sources()
        except ProcessKilled as error:
            raise CacheError(f"cache {self.folder}: {error}") from error
        except OSError as error:
            raise self._unusable(error) from error
        return plan.entries

    def _unusable(self, error: OSError) -> CacheError:
        return CacheError(
            f"cache {self.folder}: {error.strerror or error}; free some space or choose another folder "
            "(`cache`, or the environment variable OAHIER_CACHE)"
        )

    def unused(self, entries: Iterable[Path]) -> list[Path]:
        """Entries of the folder other than these."""
        used = set(entries)
        return sorted(path for path in self.folder.glob("??/*.knee") if path not in used and _visible(path))

    def _run(self, manifest: Manifest, jobs: list[Job], num_workers: int) -> None:
        problems = []
        logger.info("preprocessing %d of %d knees into %s", len(jobs), len(manifest), self.folder)
        results = process_map(Job.run, jobs, num_workers, name=lambda job: job.mri)
        for job, findings in zip(jobs, progress(results, len(jobs), "Preprocessing knees"), strict=True):
            if isinstance(findings, OSError):  # of the disk: it ends everything
                raise findings
            for problem in (_problem(manifest, job.position, finding) for finding in findings):
                if problem.severity == "error":
                    problems.append(problem)
                else:
                    logger.warning("%s", problem)
        if problems:
            self._save_sources()
            raise ManifestError(manifest.name, problems)

    def _prepare_folder(self) -> None:
        """Mark the folder as a cache, which backups and git leave out; clear up after killed builders."""
        if not (self.folder / "CACHEDIR.TAG").exists():
            write_atomically(
                self.folder / "CACHEDIR.TAG",
                "Signature: 8a477f597d28d172789f06886806bc55\n"
                "# Preprocessed knees made by oahier; the folder can be deleted at any time.\n",
            )
            write_atomically(self.folder / ".gitignore", "*\n")
        for path in self.folder.glob("??/.*.knee"):
            with contextlib.suppress(OSError):  # another builder was quicker
                if time.time() - path.stat().st_mtime > _STALE:
                    path.unlink()

    def _save_sources(self) -> None:
        """The memory of hashes is a convenience: a read-only cache works without."""
        try:
            self._sources.save()
        except OSError as error:
            logger.info("file hashes are not remembered: %s", error)


@dataclass(frozen=True)
class CachePlan:
    """The entry of every knee in order, and those that have to be made."""

    entries: list[Path]
    jobs: list[Job]

    @property
    def bytes_needed(self) -> int:
        """Disk that the entries to be made will take."""
        return sum(
            entry_size(job.preprocessing.shape, job.cartilage is not None, job.preprocessing.kind)
            for job in self.jobs
        )


@dataclass(frozen=True)
class Job:
    """One entry to be made, and from what."""

    position: int
    entry: Path
    mri: Path
    cartilage: Path | None
    preprocessing: Preprocessing
    mirror: bool
    signatures: Mapping[str, str]
    """Size and time stamp of the files when they were hashed, by column."""

    def run(self) -> list[Finding] | OSError:
        """Read, preprocess and write; an error of the disk is returned, since it ends everything."""
        try:
            images, findings = read_knee(self.mri, self.cartilage)
            findings += self._changed()
            if images is None or any(one.severity == "error" for one in findings):
                return findings
            knee = preprocess(images, self.preprocessing, mirror=self.mirror)
        except (ValueError, OSError) as error:
            return [Finding("mri", f"{self.mri}: {error}")]
        except MemoryError:
            return [Finding("mri", f"{self.mri}: not enough memory; use fewer processes")]
        try:
            write_entry(self.entry, knee)
        except OSError as error:
            return error
        return findings

    def _changed(self) -> Iterator[Finding]:
        """Files that are not those that the entry is named by any more."""
        for column, path in (("mri", self.mri), ("cartilage", self.cartilage)):
            if path is not None and file_signature(path) != self.signatures[column]:
                yield Finding(column, f"{path} was changed while it was read; begin again")


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _scans(manifest: Manifest) -> list[Path]:
    return [manifest.root / cell for cell in manifest.table["mri"].astype(str).tolist()]


def _label_maps(manifest: Manifest) -> list[Path | None]:
    cells = manifest.table["cartilage"].astype(str).tolist()
    return [manifest.root / cell if cell else None for cell in cells]


def _problem(manifest: Manifest, position: int, finding: Finding) -> Problem:
    index = manifest.table.index[position]
    knee = str(manifest.table["knee"].iloc[position])
    return Problem(finding.message, row_number(index), knee, finding.column, finding.severity)
