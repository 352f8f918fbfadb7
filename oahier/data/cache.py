"""Preprocessed knees on disk: made once, named by the content that they come from, mapped when read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from oahier.data.content import Finding, read_knee
from oahier.data.entry import DamagedEntry, verify_entry, write_entry
from oahier.data.manifest import Manifest
from oahier.data.preprocessing import Preprocessing, preprocess
from oahier.data.problems import ManifestError, Problem
from oahier.data.reading import UnreadableImage
from oahier.data.sources import Sources
from oahier.data.table import row_number
from oahier.files import write_atomically

logger = logging.getLogger(__name__)


class CacheError(RuntimeError):
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
        for position in range(len(manifest)):
            path = manifest.file(position, "mri")
            try:
                extents.append(self._sources.extent(_existing(path)))
            except (UnreadableImage, OSError) as error:
                problems.append(_problem(manifest, position, Finding("mri", str(error))))
        if problems:
            raise ManifestError(manifest.name, problems)
        middle = np.median(np.array(extents), axis=0) / np.array(shape)
        return tuple(round(float(value), 4) for value in middle)

    def build(self, manifest: Manifest, preprocessing: Preprocessing, num_workers: int = 0) -> list[Path]:
        """Make the entries that are absent or damaged.

        Args:
            manifest: the knees.
            preprocessing: shape and spacing.
            num_workers: processes that preprocess; 0 for this one.

        Returns:
            the entry of every knee, in the order of the manifest.

        Raises:
            ManifestError: every knee whose files cannot be used, each with file and reason.
            CacheError: the folder cannot be written, or the disk is full.
        """
        try:
            entries = [self._entry(manifest, position, preprocessing) for position in range(len(manifest))]
            jobs = self._jobs(manifest, entries, preprocessing)
            if jobs:
                self._prepare_folder()
                self._run(manifest, jobs, num_workers)
            self._save_sources()
        except OSError as error:
            raise CacheError(
                f"cache {self.folder}: {error}; free some space or choose another folder (`cache`, or the "
                "environment variable OAHIER_CACHE)"
            ) from error
        return entries

    def _entry(self, manifest: Manifest, position: int, preprocessing: Preprocessing) -> Path:
        mri, cartilage = manifest.file(position, "mri"), manifest.file(position, "cartilage")
        try:
            labels = None if cartilage is None else self._sources.content_hash(_existing(cartilage))
            mirror = preprocessing.mirrors(str(manifest.table["side"].iloc[position]))
            name = preprocessing.entry_name(self._sources.content_hash(_existing(mri)), labels, mirror=mirror)
        except OSError as error:
            raise ManifestError(
                manifest.name, [_problem(manifest, position, Finding("mri", str(error)))]
            ) from error
        return self.folder / name[:2] / name

    def _jobs(self, manifest: Manifest, entries: Sequence[Path], preprocessing: Preprocessing) -> list[_Job]:
        jobs: dict[Path, _Job] = {}
        for position, path in enumerate(entries):
            if path in jobs or _is_whole(path):
                continue
            mri = _existing(manifest.file(position, "mri"))
            mirror = preprocessing.mirrors(str(manifest.table["side"].iloc[position]))
            cartilage = manifest.file(position, "cartilage")
            jobs[path] = _Job(position, path, mri, cartilage, preprocessing, mirror)
        return list(jobs.values())

    def _run(self, manifest: Manifest, jobs: list[_Job], num_workers: int) -> None:
        problems = []
        logger.info("preprocessing %d of %d knees into %s", len(jobs), len(manifest), self.folder)
        loader: Any = DataLoader(_Jobs(jobs), batch_size=None, num_workers=min(num_workers, len(jobs)))
        for job, findings in zip(jobs, _progress(loader, len(jobs)), strict=True):
            if isinstance(findings, OSError):
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
        """Mark the folder as a cache, which backup tools and git leave out."""
        if not (self.folder / "CACHEDIR.TAG").exists():
            write_atomically(
                self.folder / "CACHEDIR.TAG",
                "Signature: 8a477f597d28d172789f06886806bc55\n"
                "# Preprocessed knees made by oahier; the folder can be deleted at any time.\n",
            )
            write_atomically(self.folder / ".gitignore", "*\n")

    def _save_sources(self) -> None:
        """The memory of hashes is a convenience: a read-only cache works without."""
        try:
            self._sources.save()
        except OSError as error:
            logger.info("file hashes are not remembered: %s", error)


@dataclass(frozen=True)
class _Job:
    position: int
    entry: Path
    mri: Path
    cartilage: Path | None
    preprocessing: Preprocessing
    mirror: bool

    def run(self) -> list[Finding] | OSError:
        try:
            images, findings = read_knee(self.mri, self.cartilage)
            if images is not None:
                knee = preprocess(images, self.preprocessing, mirror=self.mirror)
                write_entry(self.entry, knee)
        except OSError as error:
            return error
        except ValueError as error:
            return [Finding("mri", f"{self.mri}: {error}")]
        return findings


class _Jobs(Dataset[Any]):
    """Lets the loader's worker processes do the preprocessing."""

    def __init__(self, jobs: list[_Job]) -> None:
        self._jobs = jobs

    def __len__(self) -> int:
        return len(self._jobs)

    def __getitem__(self, index: int) -> list[Finding] | OSError:
        return self._jobs[index].run()


def _progress(results: Any, total: int) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    disable = not console.is_terminal
    yield from track(results, "Preprocessing knees", total=total, console=console, disable=disable)


def _is_whole(path: Path) -> bool:
    try:
        verify_entry(path)
    except FileNotFoundError:
        return False
    except DamagedEntry as error:
        logger.warning("cache entry is rebuilt: %s", error)
        return False
    return True


def _existing(path: Path | None) -> Path:
    if path is None or not path.exists():
        raise FileNotFoundError(f"missing file {path}; the cache is made from it")
    return path


def _problem(manifest: Manifest, position: int, finding: Finding) -> Problem:
    index = manifest.table.index[position]
    knee = str(manifest.table["knee"].iloc[position])
    return Problem(finding.message, row_number(index), knee, finding.column, finding.severity)
